//! The int8 network on a photo's bytes, with the integer arithmetic of TFLite's reference
//! kernels. Products are summed up in float32, in pieces so short that no sum is rounded:
//! integers in floats are exact, and multiplying floats is what processors do best.

use std::sync::Arc;

use graph::{Activation, Padding, Pool, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::arithmetic::{Factor, Factors};
use super::{IMAGE_I8, IntConv, IntNetwork, IntNode, IntOp, Quant};

/// Products whose sum float32 holds exactly, whatever they are: one is at most 255 * 128,
/// and 2^24 is the first integer with a neighbour that is missing.
const EXACT: usize = 512;

/// Output channels of one panel of weights: a vector of AVX-512, two of AVX2.
const PANEL: usize = 16;
/// Pixels of one tile. With [`PANEL`] it makes 12 vectors of AVX2: more would not stay in 16
/// registers beside weights and pixel, with fewer each sum would wait for the one before.
const TILE: usize = 6;
/// Pixels that are gathered at a time: each panel of weights is read once for all of them.
const BLOCK: usize = 4 * TILE;

/// Runs one network, photo after photo, in memory that is taken once.
#[derive(Debug)]
pub(crate) struct IntInterpreter {
    program: Arc<Program>,
    arena: Arena,
    logits: Vec<f32>,
}

/// A network made ready: what threads share.
#[derive(Debug)]
pub(super) struct Program {
    pub network: IntNetwork,
    /// Per node.
    prepared: Vec<Prepared>,
}

/// The values of one photo.
#[derive(Debug)]
pub(super) struct Arena {
    /// Per node.
    pub values: Vec<Vec<i8>>,
    /// Pixels with what is under their windows, a row each, less the zero point.
    rows: Vec<f32>,
}

/// Weights in the order in which they are read, and factors by panels.
#[derive(Debug, Default)]
struct Prepared {
    weights: Vec<f32>,
    factors: Vec<Factors<PANEL>>,
}

impl IntInterpreter {
    pub fn new(network: IntNetwork) -> Self {
        Self::of(Arc::new(Program::new(network)))
    }

    fn of(program: Arc<Program>) -> Self {
        Self {
            arena: program.arena(),
            program,
            logits: Vec::new(),
        }
    }

    /// Another one for another thread, with the same weights.
    pub fn share(&self) -> Self {
        Self::of(Arc::clone(&self.program))
    }

    /// What one photo is.
    pub fn input(&self) -> Shape {
        self.program.network.input
    }

    /// The logits of a photo of RGB bytes.
    pub fn run(&mut self, photo: &[u8]) -> &[f32] {
        let Program { network, .. } = &*self.program;
        self.program.photo(&mut self.arena, photo);
        for id in 1..network.nodes.len() {
            self.program.step(&mut self.arena, id);
        }
        let quant = network.nodes[network.output].quant;
        let real = |&q: &i8| quant.scale * (i32::from(q) - quant.zero_point) as f32;
        self.logits.clear();
        let logits = &self.arena.values[network.output];
        self.logits.extend(logits.iter().map(real));
        &self.logits
    }
}

impl Program {
    pub fn new(network: IntNetwork) -> Self {
        let nodes = network.nodes.iter();
        Self {
            prepared: nodes.map(|node| prepare(&network, node)).collect(),
            network,
        }
    }

    /// Memory for one photo.
    pub fn arena(&self) -> Arena {
        let nodes = self.network.nodes.iter();
        Arena {
            values: nodes.map(|node| vec![0; node.shape.num_values()]).collect(),
            rows: Vec::new(),
        }
    }

    /// Takes a photo in.
    pub fn photo(&self, arena: &mut Arena, photo: &[u8]) {
        let values = arena.values[0].iter_mut().zip(photo);
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

    /// Computes one node, for the vectors of the machine at hand.
    pub fn step(&self, arena: &mut Arena, id: usize) {
        Arch::new().dispatch(Step {
            program: self,
            arena,
            id,
        });
    }

    #[inline(always)]
    fn compute(&self, arena: &mut Arena, id: usize) {
        let (before, after) = arena.values.split_at_mut(id);
        let node = &self.network.nodes[id];
        let Some(input) = node.inputs.first().map(|&i| &self.network.nodes[i]) else {
            return;
        };
        let values = &before[node.inputs[0]][..];
        let out = &mut after[0][..];
        match &node.op {
            IntOp::Input => {}
            IntOp::Conv(conv) => {
                let layer = Layer {
                    conv,
                    prepared: &self.prepared[id],
                    input,
                    node,
                    bounds: bounds(conv.activation, node.quant),
                };
                if conv.groups > 1 {
                    layer.depthwise(values, out);
                } else {
                    layer.full(values, out, &mut arena.rows);
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

/// One node's work, which is compiled for each kind of vectors.
struct Step<'a> {
    program: &'a Program,
    arena: &'a mut Arena,
    id: usize,
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.program.compute(self.arena, self.id);
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
    let factors: Vec<Factor> = conv.scales.iter().map(factor).collect();
    Prepared {
        weights: if conv.groups > 1 {
            crate::weights::to_hwo(&weights, conv.out_channels)
        } else {
            panels(&weights, conv.out_channels)
        },
        factors: factors.chunks(PANEL).map(Factors::of).collect(),
    }
}

/// Rows of `out` outputs into panels: per panel, per input, its outputs beside each other;
/// the last panel is filled up with zeros.
fn panels(weights: &[f32], out: usize) -> Vec<f32> {
    let depth = weights.len() / out.max(1);
    let mut packed = vec![0.0; out.next_multiple_of(PANEL) * depth];
    for (channel, row) in weights.chunks_exact(depth.max(1)).enumerate() {
        let panel = &mut packed[channel / PANEL * PANEL * depth..];
        let places = panel.iter_mut().skip(channel % PANEL).step_by(PANEL);
        places.zip(row).for_each(|(to, weight)| *to = *weight);
    }
    packed
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
    bounds: (i32, i32),
}

impl Layer<'_> {
    fn places(&self, pixel: usize) -> impl Iterator<Item = (usize, usize)> {
        let window = (self.conv.kernel, self.conv.stride, self.conv.padding);
        let width = self.node.shape.width;
        places(window, (pixel / width, pixel % width), self.input.shape)
    }

    #[inline(always)]
    fn full(&self, values: &[i8], out: &mut [i8], rows: &mut Vec<f32>) {
        let depth = self.conv.kernel[0] * self.conv.kernel[1] * self.input.shape.channels;
        let out_channels = self.conv.out_channels;
        rows.resize(depth * BLOCK, 0.0);
        for (block, out) in out.chunks_mut(BLOCK * out_channels).enumerate() {
            let count = out.len() / out_channels;
            self.gather(values, rows, block * BLOCK..block * BLOCK + count);
            let panels = self.prepared.weights.chunks_exact(depth * PANEL);
            for (panel, weights) in panels.enumerate() {
                let (weights, _) = weights.as_chunks::<PANEL>();
                let channels = panel * PANEL..out_channels.min((panel + 1) * PANEL);
                let tiles = out.chunks_mut(TILE * out_channels);
                for (out, rows) in tiles.zip(rows.chunks_exact(TILE * depth)) {
                    let mut sums = [[0_i32; PANEL]; TILE];
                    exact_sums(weights, rows, &mut sums);
                    for (out, sums) in out.chunks_exact_mut(out_channels).zip(&sums) {
                        self.finish(panel, sums, &mut out[channels.clone()]);
                    }
                }
            }
        }
    }

    /// A row for each of the `pixels`; places outside the picture are 0.
    #[inline(always)]
    fn gather(&self, values: &[i8], rows: &mut [f32], pixels: std::ops::Range<usize>) {
        let channels = self.input.shape.channels;
        let depth = self.conv.kernel[0] * self.conv.kernel[1] * channels;
        for (pixel, row) in pixels.zip(rows.chunks_exact_mut(depth)) {
            if self.conv.padding != Padding::default() {
                row.fill(0.0);
            }
            for (at, place) in self.places(pixel) {
                let from = &values[place * channels..][..channels];
                let to = &mut row[at * channels..][..channels];
                for (to, value) in to.iter_mut().zip(from) {
                    *to = self.centred(*value);
                }
            }
        }
    }

    #[inline(always)]
    fn depthwise(&self, values: &[i8], out: &mut [i8]) {
        let channels = self.input.shape.channels;
        let mut under = Vec::with_capacity(self.conv.kernel[0] * self.conv.kernel[1]);
        for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
            under.clear();
            under.extend(self.places(pixel));
            for (panel, out) in out.chunks_mut(PANEL).enumerate() {
                let (first, count) = (panel * PANEL, out.len());
                let mut sums = [0.0; PANEL];
                let (mut input, mut weights) = ([0_i8; PANEL], [0.0; PANEL]);
                for (at, place) in &under {
                    fill(&mut input, &values[place * channels + first..][..count]);
                    let row = &self.prepared.weights[at * channels + first..];
                    fill(&mut weights, &row[..count]);
                    for ((sum, value), weight) in sums.iter_mut().zip(&input).zip(&weights) {
                        *sum += self.centred(*value) * *weight;
                    }
                }
                let mut whole = [0_i32; PANEL];
                for (whole, sum) in whole.iter_mut().zip(&sums) {
                    *whole = *sum as i32;
                }
                self.finish(panel, &whole, out);
            }
        }
    }

    /// From a panel's sums of products to its values.
    #[inline(always)]
    fn finish(&self, panel: usize, sums: &[i32; PANEL], out: &mut [i8]) {
        let bias = &self.conv.bias[panel * PANEL..];
        let mut scaled = [0_i32; PANEL];
        fill(&mut scaled, &bias[..PANEL.min(bias.len())]);
        for (bias, sum) in scaled.iter_mut().zip(sums) {
            *bias = sum.wrapping_add(*bias);
        }
        self.prepared.factors[panel].scale(&mut scaled);
        let zero = self.node.quant.zero_point;
        let (low, high) = self.bounds;
        let mut results = [0_i8; PANEL];
        for (result, value) in results.iter_mut().zip(&scaled) {
            *result = (value + zero).clamp(low, high) as i8;
        }
        match out.as_mut_array::<PANEL>() {
            Some(out) => *out = results,
            None => out.copy_from_slice(&results[..out.len()]),
        }
    }

    /// A value less the zero point.
    #[inline(always)]
    fn centred(&self, value: i8) -> f32 {
        (i32::from(value) - self.input.quant.zero_point) as f32
    }
}

/// Copies a panel's values; the last panel may have fewer.
#[inline(always)]
fn fill<T: Copy>(panel: &mut [T; PANEL], values: &[T]) {
    match values.as_array::<PANEL>() {
        Some(values) => *panel = *values,
        None => panel[..values.len()].copy_from_slice(values),
    }
}

/// [`TILE`] by [`PANEL`] sums of products of integers, none of them rounded.
#[inline(always)]
fn exact_sums(weights: &[[f32; PANEL]], rows: &[f32], sums: &mut [[i32; PANEL]; TILE]) {
    let depth = weights.len();
    for (piece, weights) in weights.chunks(EXACT).enumerate() {
        let rows: [&[f32]; TILE] =
            std::array::from_fn(|at| &rows[at * depth + piece * EXACT..][..weights.len()]);
        let mut found = [[0.0; PANEL]; TILE];
        tile_sums(weights, &rows, &mut found);
        for (sums, found) in sums.iter_mut().zip(&found) {
            for (sum, found) in sums.iter_mut().zip(found) {
                *sum = sum.wrapping_add(*found as i32);
            }
        }
    }
}

#[inline(always)]
fn tile_sums(weights: &[[f32; PANEL]], rows: &[&[f32]; TILE], sums: &mut [[f32; PANEL]; TILE]) {
    let mut local = *sums;
    for (at, weights) in weights.iter().enumerate() {
        for (sums, row) in local.iter_mut().zip(rows) {
            let value = row[at];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += value * weight;
            }
        }
    }
    *sums = local;
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
