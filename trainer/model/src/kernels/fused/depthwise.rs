//! Depthwise convolutions: each channel has its own 3x3 (or other) window.
//!
//! Channels lie next to each other, so every step works on a few of them at once, with
//! the sums in registers.

use burn_dispatch::backends::flex::FlexTensor;
use rayon::prelude::*;

use super::conv::Shape;
use super::matrix;
use super::norm::dispatch;

/// Channels whose sums are in registers together: four registers of 256 bit.
const LANES: usize = 32;

/// A depthwise convolution.
pub(super) struct Depthwise {
    shape: Shape,
    /// Window position, then channel.
    weights: Vec<f32>,
}

/// One product of a sum: where a pixel's channels and the weights' begin.
type Tap = (usize, usize);

impl Depthwise {
    pub(super) fn new(shape: Shape, weights: &[f32]) -> Self {
        let area = shape.conv.kernel * shape.conv.kernel;
        let channels = shape.conv.out_channels;
        let mut sorted = vec![0.0; weights.len()];
        for (channel, window) in weights.chunks_exact(area).enumerate() {
            for (position, weight) in window.iter().enumerate() {
                sorted[position * channels + channel] = *weight;
            }
        }
        Self {
            shape,
            weights: sorted,
        }
    }

    pub(super) fn forward(&self, input: &[f32]) -> FlexTensor {
        let Shape { height, width, .. } = self.shape;
        let [out_height, out_width] = self.shape.output_sides();
        let (kernel, stride) = (self.shape.conv.kernel, self.shape.conv.stride);
        let source = move |out: usize, position: usize, side: usize| {
            (out * stride + position)
                .checked_sub(kernel / 2)
                .filter(|at| *at < side)
        };
        let output = self.gather(input, [height, width], [out_height, out_width], source);
        matrix::tensor(output, &self.shape.output())
    }

    pub(super) fn input_gradient(&self, gradient: &[f32]) -> FlexTensor {
        let Shape { height, width, .. } = self.shape;
        let (kernel, stride) = (self.shape.conv.kernel, self.shape.conv.stride);
        // Which result a value of the input went into by this position of the window.
        let source = move |input: usize, position: usize, side: usize| {
            let at = (input + kernel / 2).checked_sub(position)?;
            (at % stride == 0 && at / stride < side).then_some(at / stride)
        };
        let output = self.gather(gradient, self.shape.output_sides(), [height, width], source);
        matrix::tensor(output, &self.shape.input())
    }

    pub(super) fn weight_gradient(&self, input: &[f32], gradient: &[f32]) -> FlexTensor {
        let channels = self.shape.conv.out_channels;
        let area = self.shape.conv.kernel * self.shape.conv.kernel;
        let per_photo = |values: &[f32]| values.len() / self.shape.photos;
        let photos = input.par_chunks_exact(per_photo(input));
        let gradients = gradient.par_chunks_exact(per_photo(gradient));
        let parts: Vec<Vec<f32>> = photos
            .zip(gradients)
            .map(|(input, gradient)| {
                let mut sums = vec![0.0; area * channels];
                dispatch(
                    #[inline(always)]
                    || self.photo_weight_gradient(input, gradient, &mut sums),
                );
                sums
            })
            .collect();
        let mut total = vec![0.0; area * channels];
        for part in parts {
            for position in 0..area {
                for channel in 0..channels {
                    total[channel * area + position] += part[position * channels + channel];
                }
            }
        }
        matrix::tensor(total, &[area * channels])
    }

    /// `output[y, x] = sum of input[source(y), source(x)] * weights[position]`, by channel.
    fn gather(
        &self,
        input: &[f32],
        [in_height, in_width]: [usize; 2],
        [height, width]: [usize; 2],
        source: impl Fn(usize, usize, usize) -> Option<usize> + Sync,
    ) -> Vec<f32> {
        let channels = self.shape.conv.out_channels;
        let kernel = self.shape.conv.kernel;
        let row = width * channels;
        let mut output = vec![0.0; self.shape.photos * height * row];
        let per_task = (ROW_VALUES / row).clamp(1, height);
        output
            .par_chunks_mut(height * row)
            .enumerate()
            .for_each(|(photo, output)| {
                let photo = &input[photo * in_height * in_width * channels..]
                    [..in_height * in_width * channels];
                output
                    .par_chunks_mut(per_task * row)
                    .enumerate()
                    .for_each(|(task, output)| {
                        let mut taps: Vec<Tap> = Vec::with_capacity(kernel * kernel);
                        for (line, output) in output.chunks_exact_mut(row).enumerate() {
                            let y = task * per_task + line;
                            for (x, output) in output.chunks_exact_mut(channels).enumerate() {
                                taps.clear();
                                for down in 0..kernel {
                                    let Some(from_y) = source(y, down, in_height) else {
                                        continue;
                                    };
                                    for across in 0..kernel {
                                        let Some(from_x) = source(x, across, in_width) else {
                                            continue;
                                        };
                                        let pixel = (from_y * in_width + from_x) * channels;
                                        taps.push((pixel, (down * kernel + across) * channels));
                                    }
                                }
                                dispatch(
                                    #[inline(always)]
                                    || weighted_sum(photo, &self.weights, &taps, output),
                                );
                            }
                        }
                    });
            });
        output
    }

    /// Adds one photo's part to `sums`: window position, then channel.
    #[inline(always)]
    fn photo_weight_gradient(&self, input: &[f32], gradient: &[f32], sums: &mut [f32]) {
        let channels = self.shape.conv.out_channels;
        let (kernel, stride) = (self.shape.conv.kernel, self.shape.conv.stride);
        let Shape { height, width, .. } = self.shape;
        let [_, out_width] = self.shape.output_sides();
        for (y, gradient) in gradient.chunks_exact(out_width * channels).enumerate() {
            for down in 0..kernel {
                let Some(from_y) = (y * stride + down).checked_sub(kernel / 2) else {
                    continue;
                };
                if from_y >= height {
                    continue;
                }
                let line = &input[from_y * width * channels..][..width * channels];
                for across in 0..kernel {
                    let sums = &mut sums[(down * kernel + across) * channels..][..channels];
                    // The first and one past the last result whose window is inside here.
                    let first = (kernel / 2).saturating_sub(across).div_ceil(stride);
                    let last = (width + kernel / 2 - across)
                        .div_ceil(stride)
                        .min(out_width);
                    line_products(
                        line,
                        gradient,
                        sums,
                        [first, last, stride, across, kernel / 2],
                    );
                }
            }
        }
    }
}

/// How many values of the output one thread takes at a time.
const ROW_VALUES: usize = 1 << 15;

/// `output = sum of taps`, for all channels of one pixel.
#[inline(always)]
fn weighted_sum(input: &[f32], weights: &[f32], taps: &[Tap], output: &mut [f32]) {
    let channels = output.len();
    let whole = channels / LANES * LANES;
    let (blocks, rest) = output.split_at_mut(whole);
    for (block, output) in blocks.chunks_exact_mut(LANES).enumerate() {
        let start = block * LANES;
        let mut sums = [0.0_f32; LANES];
        for (pixel, weight) in taps {
            let values = &input[pixel + start..][..LANES];
            let weights = &weights[weight + start..][..LANES];
            for lane in 0..LANES {
                sums[lane] += values[lane] * weights[lane];
            }
        }
        output.copy_from_slice(&sums);
    }
    for (pixel, weight) in taps {
        let values = &input[pixel + whole..][..rest.len()];
        let weights = &weights[weight + whole..][..rest.len()];
        for (output, (value, weight)) in rest.iter_mut().zip(values.iter().zip(weights)) {
            *output += value * weight;
        }
    }
}

/// Adds to each channel the products of a line's pixels with a line of gradients.
#[inline(always)]
fn line_products(
    line: &[f32],
    gradient: &[f32],
    sums: &mut [f32],
    [first, last, stride, across, padding]: [usize; 5],
) {
    let channels = sums.len();
    let whole = channels / LANES * LANES;
    let (blocks, rest) = sums.split_at_mut(whole);
    for (block, sums) in blocks.chunks_exact_mut(LANES).enumerate() {
        let start = block * LANES;
        let mut held = [0.0_f32; LANES];
        for x in first..last {
            let values = &line[(x * stride + across - padding) * channels + start..][..LANES];
            let gradient = &gradient[x * channels + start..][..LANES];
            for lane in 0..LANES {
                held[lane] += values[lane] * gradient[lane];
            }
        }
        for (sum, held) in sums.iter_mut().zip(held) {
            *sum += held;
        }
    }
    for x in first..last {
        let values = &line[(x * stride + across - padding) * channels + whole..][..rest.len()];
        let gradient = &gradient[x * channels + whole..][..rest.len()];
        for (sum, (value, gradient)) in rest.iter_mut().zip(values.iter().zip(gradient)) {
            *sum += value * gradient;
        }
    }
}
