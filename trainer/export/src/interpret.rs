//! A graph and a photo in, every node's values out: plain float32, one photo at a time,
//! nothing skipped or fused. It shares no code with `graph`'s executor, and computes the golden
//! answers that phones compare theirs with. Convolutions go by panels of eight output channels and
//! eight pixels, which the compiler turns into code for the vectors of the machine at hand.

use graph::{Activation, Conv2d, Graph, Linear, Op, Padding, Pool, Shape};

use pulp::Arch;

use crate::ExportError;
use crate::network::shapes;

/// Pixels of one tile. With [`PANEL`] it makes 8 vectors of eight sums: more would not
/// stay in 16 registers, with fewer each sum would wait for the one before.
const TILE: usize = 8;
/// Output channels of one panel of weights.
const PANEL: usize = 8;

/// Runs one graph, photo after photo, in memory that is taken once.
#[derive(Debug, Clone)]
pub struct Interpreter {
    graph: Graph,
    shapes: Vec<Shape>,
    /// Weights in the order in which they are read, per node.
    packed: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
    patches: Vec<f32>,
}

impl Interpreter {
    /// Prepares `graph`.
    ///
    /// # Errors
    ///
    /// A graph whose sizes do not fit together.
    pub fn new(graph: &Graph) -> Result<Self, ExportError> {
        let shapes = shapes(graph)?;
        let num_values = |shape: &Shape| shape.height * shape.width * shape.channels;
        let pack = |op: &Op| match op {
            Op::Conv2d(conv) if conv.groups > 1 => {
                crate::weights::to_hwo(&conv.weights, conv.out_channels)
            }
            Op::Conv2d(conv) => panels(&conv.weights, conv.out_channels),
            Op::Linear(linear) => panels(&linear.weights, linear.out_features),
            _ => Vec::new(),
        };
        Ok(Self {
            packed: graph.nodes.iter().map(|node| pack(&node.op)).collect(),
            values: shapes.iter().map(|s| vec![0.0; num_values(s)]).collect(),
            patches: Vec::new(),
            graph: graph.clone(),
            shapes,
        })
    }

    /// The graph that is run.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs one photo (`height * width * channels` values, as the graph takes them) and
    /// returns the logits. What is missing of a shorter photo counts as zero.
    pub fn run(&mut self, photo: &[f32]) -> &[f32] {
        let photo = photo.iter().copied().chain(std::iter::repeat(0.0));
        self.values[0]
            .iter_mut()
            .zip(photo)
            .for_each(|(to, from)| *to = from);
        let arch = Arch::new();
        for id in 1..self.graph.nodes.len() {
            arch.dispatch(
                #[inline(always)]
                || self.step(id),
            );
        }
        &self.values[self.graph.output]
    }

    /// The values of a node from the last run, rows by columns by channels.
    #[must_use]
    pub fn values(&self, id: usize) -> &[f32] {
        &self.values[id]
    }

    #[inline(always)]
    fn step(&mut self, id: usize) {
        let (before, after) = self.values.split_at_mut(id);
        let node = &self.graph.nodes[id];
        let inputs: Vec<&[f32]> = node.inputs.iter().map(|&i| &before[i][..]).collect();
        let out = &mut after[0][..];
        let shape = node
            .inputs
            .first()
            .map_or(self.graph.input, |&i| self.shapes[i]);
        let result = self.shapes[id];
        let packed = &self.packed[id];
        match &node.op {
            Op::Input => {}
            Op::Conv2d(conv) if conv.groups > 1 => {
                depthwise(conv, packed, (inputs[0], shape), (out, result));
            }
            Op::Conv2d(conv) => {
                let patches = Patches {
                    values: &mut self.patches,
                    window: Window::of(conv),
                };
                convolve(conv, packed, patches, (inputs[0], shape), (out, result));
            }
            Op::Add(activation) => {
                for ((to, a), b) in out.iter_mut().zip(inputs[0]).zip(inputs[1]) {
                    *to = activate(a + b, *activation);
                }
            }
            Op::MaxPool(pool) => max_pool(*pool, (inputs[0], shape), (out, result)),
            Op::GlobalAveragePool => average(inputs[0], out),
            Op::Linear(linear) => matrix(linear, packed, inputs[0], out),
        }
    }
}

/// Rows of `out` outputs into panels: per panel, per input, eight outputs beside each
/// other; the last panel is filled up with zeros.
fn panels(weights: &[f32], out: usize) -> Vec<f32> {
    let depth = weights.len() / out.max(1);
    let mut packed = Vec::with_capacity(out.next_multiple_of(PANEL) * depth);
    for first in (0..out).step_by(PANEL) {
        for k in 0..depth {
            let row = |o: usize| weights.get(o * depth + k).copied().unwrap_or(0.0);
            packed.extend((first..first + PANEL).map(row));
        }
    }
    packed
}

#[inline(always)]
fn activate(value: f32, activation: Activation) -> f32 {
    match activation {
        Activation::Identity => value,
        Activation::Relu => value.max(0.0),
        Activation::Relu6 => value.clamp(0.0, 6.0),
    }
}

/// Where windows stand.
#[derive(Clone, Copy)]
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
}

impl Window {
    fn of(conv: &Conv2d) -> Self {
        Self {
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
        }
    }

    /// For output place `(y, x)`: each place of the window that is inside the input, as
    /// (place in the window, place in the input).
    fn places(self, y: usize, x: usize, input: Shape) -> impl Iterator<Item = (usize, usize)> {
        let [height, width] = self.kernel;
        (0..height * width).filter_map(move |at| {
            let row = (y * self.stride[0] + at / width).checked_sub(self.padding.top)?;
            let column = (x * self.stride[1] + at % width).checked_sub(self.padding.left)?;
            let inside = row < input.height && column < input.width;
            inside.then_some((at, row * input.width + column))
        })
    }
}

/// Windows of the input, [`TILE`] of them interleaved.
struct Patches<'a> {
    values: &'a mut Vec<f32>,
    window: Window,
}

impl Patches<'_> {
    /// Gathers the windows of `count` output pixels from `first` on.
    fn gather(
        &mut self,
        first: usize,
        count: usize,
        width: usize,
        (input, shape): (&[f32], Shape),
    ) {
        let [rows, columns] = self.window.kernel;
        let depth = rows * columns * shape.channels;
        self.values.clear();
        self.values.resize(depth * TILE, 0.0);
        for tile in 0..count {
            let (y, x) = ((first + tile) / width, (first + tile) % width);
            for (at, place) in self.window.places(y, x, shape) {
                let pixel = &input[place * shape.channels..][..shape.channels];
                let to = &mut self.values[at * shape.channels * TILE..];
                for (value, to) in pixel.iter().zip(to.iter_mut().skip(tile).step_by(TILE)) {
                    *to = *value;
                }
            }
        }
    }
}

#[inline(always)]
fn convolve(
    conv: &Conv2d,
    packed: &[f32],
    mut patches: Patches<'_>,
    input: (&[f32], Shape),
    (out, result): (&mut [f32], Shape),
) {
    let num_pixels = result.height * result.width;
    let depth = packed.len() / conv.out_channels.next_multiple_of(PANEL);
    for first in (0..num_pixels).step_by(TILE) {
        let count = TILE.min(num_pixels - first);
        patches.gather(first, count, result.width, input);
        for (panel, weights) in packed.chunks_exact(depth * PANEL).enumerate() {
            let sums = tile_sums(weights, patches.values);
            let channels = panel * PANEL..conv.out_channels.min((panel + 1) * PANEL);
            for (tile, sums) in sums[..count].iter().enumerate() {
                let row = &mut out[(first + tile) * conv.out_channels..][..conv.out_channels];
                let bias = &conv.bias[channels.clone()];
                for ((to, sum), bias) in row[channels.clone()].iter_mut().zip(sums).zip(bias) {
                    *to = activate(sum + bias, conv.activation);
                }
            }
        }
    }
}

/// [`TILE`] by [`PANEL`] sums of products. For the vectors of the machine it must be inlined
/// into what is dispatched.
#[inline(always)]
fn tile_sums(weights: &[f32], patches: &[f32]) -> [[f32; PANEL]; TILE] {
    let mut sums = [[0.0; PANEL]; TILE];
    let (weights, _) = weights.as_chunks::<PANEL>();
    let (patches, _) = patches.as_chunks::<TILE>();
    for (weights, values) in weights.iter().zip(patches) {
        for (sums, value) in sums.iter_mut().zip(values) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += value * weight;
            }
        }
    }
    sums
}

#[inline(always)]
fn depthwise(
    conv: &Conv2d,
    packed: &[f32],
    (input, shape): (&[f32], Shape),
    (out, result): (&mut [f32], Shape),
) {
    let channels = shape.channels;
    let window = Window::of(conv);
    for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
        out.copy_from_slice(&conv.bias);
        let (y, x) = (pixel / result.width, pixel % result.width);
        for (at, place) in window.places(y, x, shape) {
            let values = &input[place * channels..][..channels];
            let weights = &packed[at * channels..][..channels];
            for ((sum, value), weight) in out.iter_mut().zip(values).zip(weights) {
                *sum += value * weight;
            }
        }
        for value in out {
            *value = activate(*value, conv.activation);
        }
    }
}

#[inline(always)]
fn max_pool(pool: Pool, (input, shape): (&[f32], Shape), (out, result): (&mut [f32], Shape)) {
    let window = Window {
        kernel: pool.kernel,
        stride: pool.stride,
        padding: pool.padding,
    };
    for (pixel, out) in out.chunks_exact_mut(shape.channels).enumerate() {
        out.fill(f32::NEG_INFINITY);
        let (y, x) = (pixel / result.width, pixel % result.width);
        for (_, place) in window.places(y, x, shape) {
            let values = &input[place * shape.channels..];
            for (to, value) in out.iter_mut().zip(values) {
                *to = to.max(*value);
            }
        }
    }
}

#[inline(always)]
fn average(input: &[f32], out: &mut [f32]) {
    let num_pixels = (input.len() / out.len().max(1)) as f32;
    out.fill(0.0);
    for pixel in input.chunks_exact(out.len().max(1)) {
        for (sum, value) in out.iter_mut().zip(pixel) {
            *sum += value;
        }
    }
    for sum in out {
        *sum /= num_pixels;
    }
}

#[inline(always)]
fn matrix(linear: &Linear, packed: &[f32], input: &[f32], out: &mut [f32]) {
    for (panel, weights) in packed.chunks_exact(linear.in_features * PANEL).enumerate() {
        let mut sums = [0.0; PANEL];
        let (weights, _) = weights.as_chunks::<PANEL>();
        for (weights, value) in weights.iter().zip(input) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += value * weight;
            }
        }
        let channels = panel * PANEL..linear.out_features.min((panel + 1) * PANEL);
        let bias = &linear.bias[channels.clone()];
        for ((to, sum), bias) in out[channels].iter_mut().zip(sums).zip(bias) {
            *to = activate(sum + bias, linear.activation);
        }
    }
}
