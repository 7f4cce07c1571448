//! Depthwise convolutions: every channel by itself, a SIMD vector of channels at a
//! time. 3x3 kernels compute several pixels of a row together, so that an input vector
//! is loaded once for all of them.

#![allow(
    clippy::needless_range_loop,
    reason = "one index runs over several arrays of registers"
)]

use std::array::from_fn;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::convolution::{Source, Target, limits};
use super::layout::Layout;
use crate::graph::{Conv2d, Padding};

#[derive(Debug)]
pub(super) struct Depthwise {
    /// For each vector of channels: its weights, kernel place by kernel place, and its
    /// bias.
    packed: Vec<f32>,
    kernel: [usize; 2],
    pub stride: [usize; 2],
    padding: Padding,
    limits: [f32; 2],
}

impl Depthwise {
    pub fn new(conv: &Conv2d, input: Layout, lanes: usize) -> Self {
        let area = conv.kernel[0] * conv.kernel[1];
        let mut packed = vec![0.0; input.pitch * (area + 1)];
        for channel in 0..conv.out_channels {
            let start = channel / lanes * (area + 1) * lanes + channel % lanes;
            for place in 0..area {
                packed[start + place * lanes] = conv.weights[channel * area + place];
            }
            packed[start + area * lanes] = conv.bias[channel];
        }
        Self {
            packed,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            limits: limits(conv.activation),
        }
    }

    /// How many rows of the input lie under so many rows of the result.
    pub fn rows_under(&self, num_rows: usize) -> usize {
        (num_rows - 1) * self.stride[0] + self.kernel[0]
    }

    /// Computes some rows of the result.
    pub fn run(&self, arch: Arch, from: Source, to: Target) {
        arch.dispatch(Run {
            conv: self,
            input: from.values,
            from: from.layout,
            to: to.layout,
            rows: to.rows,
            out: to.values,
        });
    }
}

struct Run<'a> {
    conv: &'a Depthwise,
    input: &'a [f32],
    from: Layout,
    to: Layout,
    rows: Range<usize>,
    out: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for y in self.rows.clone() {
            let mut x = 0;
            match (self.conv.kernel, self.conv.stride) {
                ([3, 3], [1, 1]) => x = self.tiles::<S, 1, 4, 6>(simd, y),
                ([3, 3], [2, 2]) => x = self.tiles::<S, 2, 2, 5>(simd, y),
                _ => {}
            }
            while x < self.to.shape.width {
                self.pixel(simd, y, x);
                x += 1;
            }
        }
    }
}

impl Run<'_> {
    /// Where the window over an output pixel begins in the input.
    #[inline(always)]
    fn window(&self, y: usize, x: usize) -> usize {
        let [down, across] = self.conv.stride;
        self.from.window(y * down, x * across, self.conv.padding)
    }

    /// `WIDTH` pixels at a time from the `COLUMNS` under them; returns the first pixel
    /// that is left over.
    #[inline(always)]
    fn tiles<S: Simd, const STRIDE: usize, const WIDTH: usize, const COLUMNS: usize>(
        &mut self,
        simd: S,
        y: usize,
    ) -> usize {
        let pitch = self.from.pitch;
        let num_vectors = pitch / S::F32_LANES;
        let (packed, _) = S::as_simd_f32s(&self.conv.packed);
        let packed = &packed.as_chunks::<10>().0[..num_vectors];
        let [low, high] = self.conv.limits.map(|limit| simd.splat_f32s(limit));
        let row = self.from.row();
        let mut x = 0;
        while x + WIDTH <= self.to.shape.width {
            let start = self.window(y, x);
            let columns: [[&[S::f32s]; COLUMNS]; 3] = from_fn(|ky| {
                from_fn(|column| {
                    let place = start + ky * row + column * pitch;
                    &S::as_simd_f32s(&self.input[place..place + pitch]).0[..num_vectors]
                })
            });
            let place = self.to.place(y, x);
            let (out, _) = S::as_mut_simd_f32s(&mut self.out[place..place + WIDTH * pitch]);
            let mut pixels = out.chunks_exact_mut(num_vectors);
            let pixels: [&mut [S::f32s]; WIDTH] =
                from_fn(|_| pixels.next().expect("as many pixels as were cut"));
            for (vector, weights) in packed.iter().enumerate() {
                let mut sums = [weights[9]; WIDTH];
                for ky in 0..3 {
                    for column in 0..COLUMNS {
                        let value = columns[ky][column][vector];
                        for i in 0..WIDTH {
                            let kx = column.wrapping_sub(i * STRIDE);
                            if kx < 3 {
                                sums[i] = simd.mul_add_e_f32s(value, weights[ky * 3 + kx], sums[i]);
                            }
                        }
                    }
                }
                for i in 0..WIDTH {
                    pixels[i][vector] = simd.min_f32s(simd.max_f32s(sums[i], low), high);
                }
            }
            x += WIDTH;
        }
        x
    }

    /// One pixel of a kernel of any size.
    #[inline(always)]
    fn pixel<S: Simd>(&mut self, simd: S, y: usize, x: usize) {
        let pitch = self.from.pitch;
        let [height, width] = self.conv.kernel;
        let (packed, _) = S::as_simd_f32s(&self.conv.packed);
        let [low, high] = self.conv.limits.map(|limit| simd.splat_f32s(limit));
        let start = self.window(y, x);
        let place = self.to.place(y, x);
        let (out, _) = S::as_mut_simd_f32s(&mut self.out[place..place + pitch]);
        let weights = packed.chunks_exact(height * width + 1);
        for (vector, (out, weights)) in out.iter_mut().zip(weights).enumerate() {
            let mut sum = weights[height * width];
            for ky in 0..height {
                for kx in 0..width {
                    let place = start + ky * self.from.row() + kx * pitch + vector * S::F32_LANES;
                    let (value, _) = S::as_simd_f32s(&self.input[place..][..S::F32_LANES]);
                    sum = simd.mul_add_e_f32s(value[0], weights[ky * width + kx], sum);
                }
            }
            *out = simd.min_f32s(simd.max_f32s(sum, low), high);
        }
    }
}
