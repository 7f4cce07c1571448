//! The int8 network on a photo's bytes, with the integer arithmetic of TFLite's reference
//! kernels. Products are summed up in float32 by the float interpreter's panels, in
//! pieces so short that no sum is rounded: a vector of int32 products is slow without
//! SSE4.1, and this is exact as well.

use graph::{Activation, Padding, Pool, Shape};
use pulp::Arch;

use super::arithmetic::Factor;
use super::{IMAGE_I8, IntConv, IntNetwork, IntNode, IntOp, Quant};
use crate::interpret::{PANEL, TILE, panels, tile_sums};

/// Products whose sum float32 holds exactly, whatever they are: one is at most 255 * 128,
/// and 2^24 is the first integer with a neighbour that is missing.
const EXACT: usize = 512;

/// Runs one network, photo after photo, in memory that is taken once.
#[derive(Debug, Clone)]
pub(crate) struct IntInterpreter {
    pub(super) network: IntNetwork,
    /// Weights in the order in which they are read, and factors, per node.
    prepared: Vec<Prepared>,
    pub(super) values: Vec<Vec<i8>>,
    patches: Vec<f32>,
    logits: Vec<f32>,
}

#[derive(Debug, Clone, Default)]
struct Prepared {
    weights: Vec<f32>,
    factors: Vec<Factor>,
}

impl IntInterpreter {
    pub fn new(network: IntNetwork) -> Self {
        let num_values =
            |node: &IntNode| node.shape.height * node.shape.width * node.shape.channels;
        Self {
            prepared: network.nodes.iter().map(|n| prepare(&network, n)).collect(),
            values: network
                .nodes
                .iter()
                .map(|n| vec![0; num_values(n)])
                .collect(),
            patches: Vec::new(),
            logits: Vec::new(),
            network,
        }
    }

    /// What one photo is.
    pub fn input(&self) -> Shape {
        self.network.input
    }

    /// The logits of a photo of RGB bytes.
    pub fn run(&mut self, photo: &[u8]) -> &[f32] {
        self.photo(photo);
        for id in 1..self.network.nodes.len() {
            self.step(id);
        }
        let output = self.network.output;
        let quant = self.network.nodes[output].quant;
        let real = |&q: &i8| quant.scale * (i32::from(q) - quant.zero_point) as f32;
        self.logits.clear();
        self.logits.extend(self.values[output].iter().map(real));
        &self.logits
    }

    /// Computes one node, for the vectors of the machine at hand.
    pub(super) fn step(&mut self, id: usize) {
        Arch::new().dispatch(
            #[inline(always)]
            || self.compute(id),
        );
    }

    pub(super) fn photo(&mut self, photo: &[u8]) {
        let values = self.values[0].iter_mut().zip(photo);
        let Some(minus_mean) = &self.network.minus_mean else {
            values.for_each(|(to, byte)| *to = byte.wrapping_sub(128) as i8);
            return;
        };
        let quant = self.network.nodes[0].quant;
        let adder = Adder::new([IMAGE_I8, minus_mean.quant], quant, Activation::Identity);
        for (at, (to, byte)) in values.enumerate() {
            *to = adder.add(byte.wrapping_sub(128) as i8, minus_mean.values[at % 3]);
        }
    }

    #[inline(always)]
    fn compute(&mut self, id: usize) {
        let (before, after) = self.values.split_at_mut(id);
        let node = &self.network.nodes[id];
        let Some(input) = node.inputs.first().map(|&i| &self.network.nodes[i]) else {
            return;
        };
        let values = &before[node.inputs[0]][..];
        let out = &mut after[0][..];
        let prepared = &self.prepared[id];
        match &node.op {
            IntOp::Input => {}
            IntOp::Conv(conv) => {
                let layer = Layer {
                    conv,
                    prepared,
                    input,
                    node,
                };
                if conv.groups > 1 {
                    layer.depthwise(values, out);
                } else {
                    layer.full(values, out, &mut self.patches);
                }
            }
            IntOp::Add(activation) => {
                let other = &self.network.nodes[node.inputs[1]];
                let adder = Adder::new([input.quant, other.quant], node.quant, *activation);
                let pairs = values.iter().zip(&before[node.inputs[1]]);
                for (to, (a, b)) in out.iter_mut().zip(pairs) {
                    *to = adder.add(*a, *b);
                }
            }
            IntOp::MaxPool(pool) => max_pool(*pool, (values, input.shape), (out, node.shape)),
            IntOp::Mean => mean(values, out, [input.quant, node.quant]),
        }
    }
}

fn prepare(network: &IntNetwork, node: &IntNode) -> Prepared {
    let IntOp::Conv(conv) = &node.op else {
        return Prepared::default();
    };
    let input = network.nodes[node.inputs[0]].quant;
    let weights: Vec<f32> = conv.weights.iter().map(|&w| f32::from(w)).collect();
    let factor = |scale: &f32| {
        let product = f64::from(input.scale) * f64::from(*scale);
        Factor::of(product / f64::from(node.quant.scale))
    };
    Prepared {
        weights: if conv.groups > 1 {
            crate::weights::to_hwo(&weights, conv.out_channels)
        } else {
            panels(&weights, conv.out_channels)
        },
        factors: conv.scales.iter().map(factor).collect(),
    }
}

/// The int8 values that an activation allows.
fn bounds(activation: Activation, quant: Quant) -> (i32, i32) {
    let of = |value: f32| i32::from(quant.quantize(value));
    match activation {
        Activation::Identity => (-128, 127),
        Activation::Relu => (of(0.0), 127),
        Activation::Relu6 => (of(0.0), of(6.0)),
    }
}

/// `ADD` of two scales into a third.
struct Adder {
    inputs: [(i32, Factor); 2],
    output: (i32, Factor),
    bounds: (i32, i32),
}

impl Adder {
    /// As many bits as fit above an int8 less its zero point.
    const LEFT_SHIFT: u32 = 20;

    fn new(inputs: [Quant; 2], output: Quant, activation: Activation) -> Self {
        let [a, b] = inputs.map(|quant| f64::from(quant.scale));
        let largest = 2.0 * a.max(b);
        let out = largest / (f64::from(1 << Self::LEFT_SHIFT) * f64::from(output.scale));
        Self {
            inputs: [
                (inputs[0].zero_point, Factor::of(a / largest)),
                (inputs[1].zero_point, Factor::of(b / largest)),
            ],
            output: (output.zero_point, Factor::of(out)),
            bounds: bounds(activation, output),
        }
    }

    #[inline(always)]
    fn add(&self, a: i8, b: i8) -> i8 {
        let [a, b] = [(a, self.inputs[0]), (b, self.inputs[1])].map(|(value, (zero, factor))| {
            factor.times((i32::from(value) - zero) << Self::LEFT_SHIFT)
        });
        let (zero, factor) = self.output;
        (factor.times(a + b) + zero).clamp(self.bounds.0, self.bounds.1) as i8
    }
}

/// The places of a window that are inside the input: (place in the window, pixel).
fn places(
    (kernel, stride, padding): ([usize; 2], [usize; 2], Padding),
    (y, x): (usize, usize),
    input: Shape,
) -> impl Iterator<Item = (usize, usize)> {
    (0..kernel[0] * kernel[1]).filter_map(move |at| {
        let row = (y * stride[0] + at / kernel[1]).checked_sub(padding.top)?;
        let column = (x * stride[1] + at % kernel[1]).checked_sub(padding.left)?;
        let inside = row < input.height && column < input.width;
        inside.then_some((at, row * input.width + column))
    })
}

struct Layer<'a> {
    conv: &'a IntConv,
    prepared: &'a Prepared,
    input: &'a IntNode,
    node: &'a IntNode,
}

impl Layer<'_> {
    fn places(&self, pixel: usize) -> impl Iterator<Item = (usize, usize)> {
        let window = (self.conv.kernel, self.conv.stride, self.conv.padding);
        let width = self.node.shape.width;
        places(window, (pixel / width, pixel % width), self.input.shape)
    }

    #[inline(always)]
    fn result(&self, channel: usize, sum: i32, bounds: (i32, i32)) -> i8 {
        let scaled = self.prepared.factors[channel].times(sum);
        (scaled + self.node.quant.zero_point).clamp(bounds.0, bounds.1) as i8
    }

    #[inline(always)]
    fn full(&self, values: &[i8], out: &mut [i8], patches: &mut Vec<f32>) {
        let channels = self.input.shape.channels;
        let depth = self.conv.kernel[0] * self.conv.kernel[1] * channels;
        let bounds = bounds(self.conv.activation, self.node.quant);
        let out_channels = self.conv.out_channels;
        for (tile, out) in out.chunks_mut(TILE * out_channels).enumerate() {
            let count = out.len() / out_channels;
            patches.clear();
            patches.resize(depth * TILE, 0.0);
            for index in 0..count {
                for (at, place) in self.places(tile * TILE + index) {
                    let pixel = &values[place * channels..][..channels];
                    let patch = patches[at * channels * TILE..].iter_mut();
                    for (to, value) in patch.skip(index).step_by(TILE).zip(pixel) {
                        *to = self.centred(*value);
                    }
                }
            }
            for (panel, weights) in self
                .prepared
                .weights
                .chunks_exact(depth * PANEL)
                .enumerate()
            {
                let sums = exact_sums(weights, patches);
                let first = panel * PANEL;
                let last = out_channels.min(first + PANEL);
                for (out, sums) in out.chunks_exact_mut(out_channels).zip(sums) {
                    for ((channel, to), sum) in (first..last).zip(&mut out[first..last]).zip(sums) {
                        let sum = sum.wrapping_add(self.conv.bias[channel]);
                        *to = self.result(channel, sum, bounds);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn depthwise(&self, values: &[i8], out: &mut [i8]) {
        let channels = self.input.shape.channels;
        let bounds = bounds(self.conv.activation, self.node.quant);
        let mut sums = vec![0.0; channels];
        for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
            sums.fill(0.0);
            for (at, place) in self.places(pixel) {
                let values = &values[place * channels..][..channels];
                let weights = &self.prepared.weights[at * channels..][..channels];
                for ((sum, value), weight) in sums.iter_mut().zip(values).zip(weights) {
                    *sum += self.centred(*value) * weight;
                }
            }
            for (channel, (to, sum)) in out.iter_mut().zip(&sums).enumerate() {
                let sum = (*sum as i32).wrapping_add(self.conv.bias[channel]);
                *to = self.result(channel, sum, bounds);
            }
        }
    }

    /// A value less the zero point.
    #[inline(always)]
    fn centred(&self, value: i8) -> f32 {
        (i32::from(value) - self.input.quant.zero_point) as f32
    }
}

/// [`TILE`] by [`PANEL`] sums of products of integers, none of them rounded.
#[inline(always)]
fn exact_sums(weights: &[f32], patches: &[f32]) -> [[i32; PANEL]; TILE] {
    let mut sums = [[0_i32; PANEL]; TILE];
    let pieces = weights
        .chunks(EXACT * PANEL)
        .zip(patches.chunks(EXACT * TILE));
    for (weights, patches) in pieces {
        let piece = tile_sums(weights, patches);
        for (sum, piece) in sums.iter_mut().flatten().zip(piece.iter().flatten()) {
            *sum = sum.wrapping_add(*piece as i32);
        }
    }
    sums
}

fn max_pool(pool: Pool, (values, shape): (&[i8], Shape), (out, result): (&mut [i8], Shape)) {
    let window = (pool.kernel, pool.stride, pool.padding);
    for (pixel, out) in out.chunks_exact_mut(shape.channels).enumerate() {
        out.fill(i8::MIN);
        let (y, x) = (pixel / result.width, pixel % result.width);
        for (_, place) in places(window, (y, x), shape) {
            for (to, value) in out.iter_mut().zip(&values[place * shape.channels..]) {
                *to = (*to).max(*value);
            }
        }
    }
}

/// `MEAN` over rows and columns: the division is part of the factor.
fn mean(values: &[i8], out: &mut [i8], [input, output]: [Quant; 2]) {
    let channels = out.len();
    let count = values.len() / channels.max(1);
    let factor = Factor::of(f64::from(input.scale) / f64::from(output.scale));
    let bits = (usize::BITS - 1 - count.leading_zeros()) as i32;
    let bits = bits.min(32).min(31 + factor.shift);
    let divided = (i64::from(factor.multiplier) << bits) / count as i64;
    let factor = Factor {
        multiplier: i32::try_from(divided).unwrap_or(i32::MAX),
        shift: factor.shift - bits,
    };
    for (channel, to) in out.iter_mut().enumerate() {
        let column = values.iter().skip(channel).step_by(channels);
        let sum: i32 = column
            .map(|value| i32::from(*value) - input.zero_point)
            .sum();
        *to = (factor.times(sum) + output.zero_point).clamp(-128, 127) as i8;
    }
}
