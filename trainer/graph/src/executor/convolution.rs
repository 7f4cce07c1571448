//! Full convolutions and linear layers as a matrix product. The weights are packed into
//! panels of a few SIMD vectors of output channels; a tile of pixels times a panel is
//! held in registers while it is summed. A window's kernel row is one piece of the
//! input, so nothing is copied for 3x3 and 7x7 kernels either. Bias, sum and activation
//! are done as the tile is written.

#![allow(
    clippy::needless_range_loop,
    reason = "one index runs over several arrays of registers"
)]

use std::array::from_fn;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::layout::Layout;
use crate::graph::{Activation, Conv2d, Padding};

/// Vectors in a panel; with [`TILE`] pixels it fills the registers of AVX-512.
const PANEL: usize = 2;
/// Pixels in a tile.
const TILE: usize = 12;
/// The input of a block of pixels stays in the L2 cache while all panels pass over it.
const BLOCK_VALUES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Convolution {
    /// Panel by panel: kernel row by kernel row, input value by input value, the
    /// weights of the panel's output channels.
    packed: Vec<f32>,
    /// Filled up with zeros to whole vectors.
    bias: Vec<f32>,
    num_vectors: usize,
    kernel_rows: usize,
    /// Values of the input under one kernel row.
    row_values: usize,
    stride: [usize; 2],
    padding: Padding,
    limits: [f32; 2],
    other: Option<Layout>,
}

/// The smallest and largest value that an activation lets through.
pub(super) fn limits(activation: Activation) -> [f32; 2] {
    match activation {
        Activation::Identity => [f32::NEG_INFINITY, f32::INFINITY],
        Activation::Relu => [0.0, f32::INFINITY],
        Activation::Relu6 => [0.0, 6.0],
    }
}

impl Convolution {
    pub fn new(conv: &Conv2d, input: Layout, lanes: usize) -> Self {
        let [kernel_rows, kernel_columns] = conv.kernel;
        let row_values = (kernel_columns - 1) * input.pitch + conv.in_channels;
        let num_vectors = conv.out_channels.div_ceil(lanes);
        let mut bias = conv.bias.clone();
        bias.resize(num_vectors * lanes, 0.0);

        let mut packed = vec![0.0; num_vectors * lanes * kernel_rows * row_values];
        for (out, kernel) in conv
            .weights
            .chunks_exact(conv.in_channels * kernel_rows * kernel_columns)
            .enumerate()
        {
            let first = out / lanes / PANEL * PANEL;
            let width = PANEL.min(num_vectors - first) * lanes;
            let panel = &mut packed[first * lanes * kernel_rows * row_values..];
            for (place, weights) in kernel.chunks_exact(conv.in_channels).enumerate() {
                let (y, x) = (place / kernel_columns, place % kernel_columns);
                for (channel, weight) in weights.iter().enumerate() {
                    let value = y * row_values + x * input.pitch + channel;
                    panel[value * width + out - first * lanes] = *weight;
                }
            }
        }
        Self {
            packed,
            bias,
            num_vectors,
            kernel_rows,
            row_values,
            stride: conv.stride,
            padding: conv.padding,
            limits: limits(conv.activation),
            other: None,
        }
    }

    /// Another activation is added before the result is limited.
    pub fn add(&mut self, other: Layout, activation: Activation) {
        self.other = Some(other);
        self.limits = limits(activation);
    }

    /// Computes some rows of the result. `slots` holds what is added.
    pub fn run(&self, arch: Arch, slots: &[Vec<f32>], from: Source, to: Target) {
        let other = self.other.map(|other| (&slots[other.slot][..], other));
        arch.dispatch(Run {
            conv: self,
            input: from.values,
            input_layout: from.layout,
            output: to.layout,
            out: to.values,
            rows: to.rows,
            other,
        });
    }
}

/// What a step reads.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub values: &'a [f32],
    pub layout: Layout,
}

/// What a step writes: some rows of an activation.
pub(super) struct Target<'a> {
    pub values: &'a mut [f32],
    pub layout: Layout,
    pub rows: Range<usize>,
}

struct Run<'a> {
    conv: &'a Convolution,
    input: &'a [f32],
    input_layout: Layout,
    output: Layout,
    out: &'a mut [f32],
    rows: Range<usize>,
    other: Option<(&'a [f32], Layout)>,
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let width = self.output.shape.width;
        let pixels = self.rows.start * width..self.rows.end * width;
        let row = self.conv.row_values;
        let values_per_pixel = row * self.conv.stride[0] * self.conv.stride[1];
        let block = (BLOCK_VALUES / values_per_pixel / TILE).max(1) * TILE;
        let panel_values = self.conv.kernel_rows * row * S::F32_LANES;
        for start in pixels.clone().step_by(block) {
            let end = (start + block).min(pixels.end);
            for first in (0..self.conv.num_vectors).step_by(PANEL) {
                let panel = &self.conv.packed[first * panel_values..];
                if self.conv.num_vectors - first >= PANEL {
                    self.tiles::<S, PANEL>(simd, start..end, first, &panel[..PANEL * panel_values]);
                } else {
                    self.tiles::<S, 1>(simd, start..end, first, &panel[..panel_values]);
                }
            }
        }
    }
}

impl Run<'_> {
    /// Some pixels times one panel.
    #[inline(always)]
    fn tiles<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        pixels: Range<usize>,
        first: usize,
        panel: &[f32],
    ) {
        let mut pixel = pixels.start;
        while pixel + TILE <= pixels.end {
            self.tile::<S, TILE, N>(simd, pixel, first, panel);
            pixel += TILE;
        }
        if pixel + 8 <= pixels.end {
            self.tile::<S, 8, N>(simd, pixel, first, panel);
            pixel += 8;
        }
        if pixel + 4 <= pixels.end {
            self.tile::<S, 4, N>(simd, pixel, first, panel);
            pixel += 4;
        }
        while pixel < pixels.end {
            self.tile::<S, 1, N>(simd, pixel, first, panel);
            pixel += 1;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        pixel: usize,
        first: usize,
        panel: &[f32],
    ) {
        let conv = self.conv;
        let width = self.output.shape.width;
        let mut next = (pixel / width, pixel % width);
        let at: [(usize, usize); M] = from_fn(|_| {
            let this = next;
            next = if this.1 + 1 < width {
                (this.0, this.1 + 1)
            } else {
                (this.0 + 1, 0)
            };
            this
        });
        let input_row = self.input_layout.row();
        let [down, across] = conv.stride;
        let starts = at.map(|(y, x)| self.input_layout.window(y * down, x * across, conv.padding));
        let (weights, _) = S::as_simd_f32s(panel);
        let (weights, _) = weights.as_chunks::<N>();
        let (bias, _) = S::as_simd_f32s(&conv.bias);
        let bias: [S::f32s; N] = from_fn(|j| bias[first + j]);
        let mut sums: [[S::f32s; N]; M] = [bias; M];
        for (y, weights) in weights.chunks_exact(conv.row_values).enumerate() {
            let rows: [&[f32]; M] =
                from_fn(|i| &self.input[starts[i] + y * input_row..][..conv.row_values]);
            accumulate(simd, rows, weights, &mut sums);
        }
        let offset = first * S::F32_LANES;
        if let Some((other, layout)) = self.other {
            for i in 0..M {
                let start = layout.place(at[i].0, at[i].1) + offset;
                let (other, _) = S::as_simd_f32s(&other[start..][..N * S::F32_LANES]);
                for j in 0..N {
                    sums[i][j] = simd.add_f32s(sums[i][j], other[j]);
                }
            }
        }
        let [low, high] = conv.limits.map(|limit| simd.splat_f32s(limit));
        for i in 0..M {
            let start = self.output.place(at[i].0, at[i].1) + offset;
            let (out, _) = S::as_mut_simd_f32s(&mut self.out[start..][..N * S::F32_LANES]);
            for j in 0..N {
                out[j] = simd.min_f32s(simd.max_f32s(sums[i][j], low), high);
            }
        }
    }
}

/// The inner loop: each input value of the tile's pixels times a row of the panel.
#[inline(always)]
fn accumulate<S: Simd, const M: usize, const N: usize>(
    simd: S,
    rows: [&[f32]; M],
    weights: &[[S::f32s; N]],
    sums: &mut [[S::f32s; N]; M],
) {
    let length = weights.len();
    let rows = rows.map(|row| &row[..length]);
    let mut local = *sums;
    for k in 0..length {
        let panel = weights[k];
        for i in 0..M {
            let value = simd.splat_f32s(rows[i][k]);
            for j in 0..N {
                local[i][j] = simd.mul_add_e_f32s(value, panel[j], local[i][j]);
            }
        }
    }
    *sums = local;
}
