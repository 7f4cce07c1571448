//! Any convolution as a product of matrices: the windows of each photo are laid out row
//! by row (im2col; Chellapilla et al., 2006), one photo per thread.

use burn_dispatch::backends::flex::FlexTensor;
use rayon::prelude::*;

use super::conv::Shape;
use super::{matrix, values};

/// Into how many sums the photos' weight gradients are gathered: a fixed number, so that
/// the threads do not change a bit.
const NUM_SUMS: usize = 4;

/// A convolution with its weights as a matrix.
pub(super) struct Columns {
    shape: Shape,
    /// Output channel, then window position, then input channel.
    weights: FlexTensor,
}

impl Columns {
    pub(super) fn new(shape: Shape, weights: &[f32]) -> Self {
        let (area, inputs) = (
            shape.conv.kernel * shape.conv.kernel,
            shape.conv.in_channels,
        );
        let mut sorted = vec![0.0; weights.len()];
        let rows = sorted
            .chunks_exact_mut(area * inputs)
            .zip(weights.chunks_exact(area * inputs));
        for (sorted, weights) in rows {
            for (input, window) in weights.chunks_exact(area).enumerate() {
                for (position, weight) in window.iter().enumerate() {
                    sorted[position * inputs + input] = *weight;
                }
            }
        }
        Self {
            shape,
            weights: matrix::tensor(sorted, &[weights.len()]),
        }
    }

    pub(super) fn forward(&self, input: &[f32]) -> FlexTensor {
        let [pixels, window, outputs] = self.sizes();
        let mut output = vec![0.0; self.shape.photos * pixels * outputs];
        let photos = input.par_chunks_exact(input.len() / self.shape.photos);
        output
            .par_chunks_exact_mut(pixels * outputs)
            .zip(photos)
            .for_each(|(output, photo)| {
                let product = matrix::product(
                    &self.windows(photo),
                    &self.weights,
                    [pixels, window, outputs],
                    true,
                );
                output.copy_from_slice(values(&product));
            });
        matrix::tensor(output, &self.shape.output())
    }

    pub(super) fn input_gradient(&self, gradient: &[f32]) -> FlexTensor {
        let [pixels, window, outputs] = self.sizes();
        let [_, height, width, channels] = self.shape.input();
        let mut input = vec![0.0; self.shape.photos * height * width * channels];
        let photos = gradient.par_chunks_exact(pixels * outputs);
        input
            .par_chunks_exact_mut(height * width * channels)
            .zip(photos)
            .for_each(|(input, gradient)| {
                let gradient = matrix::tensor(gradient.to_vec(), &[pixels * outputs]);
                let product =
                    matrix::product(&gradient, &self.weights, [pixels, outputs, window], false);
                let product = values(&product);
                self.each_run(|column, pixel, length| {
                    let run = input[pixel..pixel + length].iter_mut();
                    for (input, value) in run.zip(&product[column..column + length]) {
                        *input += value;
                    }
                });
            });
        matrix::tensor(input, &self.shape.input())
    }

    pub(super) fn weight_gradient(&self, input: &[f32], gradient: &[f32]) -> FlexTensor {
        let [pixels, window, outputs] = self.sizes();
        let per_photo = input.len() / self.shape.photos;
        let per_sum = self.shape.photos.div_ceil(NUM_SUMS);
        let inputs = input.par_chunks(per_sum * per_photo);
        let gradients = gradient.par_chunks(per_sum * pixels * outputs);
        let sums: Vec<Vec<f32>> = inputs
            .zip(gradients)
            .map(|(input, gradient)| {
                let mut sum = vec![0.0; outputs * window];
                let photos = input.chunks_exact(per_photo);
                for (photo, gradient) in photos.zip(gradient.chunks_exact(pixels * outputs)) {
                    let gradient = matrix::tensor(gradient.to_vec(), &[pixels * outputs]);
                    let sizes = [pixels, outputs, window];
                    let product =
                        matrix::transposed_product(&gradient, &self.windows(photo), sizes);
                    for (sum, value) in sum.iter_mut().zip(values(&product)) {
                        *sum += value;
                    }
                }
                sum
            })
            .collect();
        let mut total = vec![0.0; outputs * window];
        let (area, inputs) = (
            window / self.shape.conv.in_channels,
            self.shape.conv.in_channels,
        );
        for sum in sums {
            for (total, sum) in total.chunks_exact_mut(window).zip(sum.chunks_exact(window)) {
                for (position, values) in sum.chunks_exact(inputs).enumerate() {
                    for (input, value) in values.iter().enumerate() {
                        total[input * area + position] += value;
                    }
                }
            }
        }
        matrix::tensor(total, &[outputs * window])
    }

    /// Pixels of one photo's result, values of one window, output channels.
    fn sizes(&self) -> [usize; 3] {
        let [height, width] = self.shape.output_sides();
        let conv = self.shape.conv;
        [
            height * width,
            conv.kernel * conv.kernel * conv.in_channels,
            conv.out_channels,
        ]
    }

    /// One photo's windows, a row for each pixel of the result.
    fn windows(&self, photo: &[f32]) -> FlexTensor {
        let [pixels, window, _] = self.sizes();
        let mut windows = vec![0.0; pixels * window];
        self.each_run(|column, pixel, length| {
            windows[column..column + length].copy_from_slice(&photo[pixel..pixel + length]);
        });
        matrix::tensor(windows, &[pixels * window])
    }

    /// Every run of values that lie together both in the windows and in the photo: its
    /// place in either, and its length. The padding is in none.
    fn each_run(&self, mut run: impl FnMut(usize, usize, usize)) {
        let [_, height, width, channels] = self.shape.input();
        let [out_height, out_width] = self.shape.output_sides();
        let (kernel, stride) = (self.shape.conv.kernel, self.shape.conv.stride);
        let padding = kernel / 2;
        for y in 0..out_height {
            for x in 0..out_width {
                // Columns of the window that are inside.
                let first = padding.saturating_sub(x * stride);
                let last = (width + padding - x * stride).min(kernel);
                let from_x = x * stride + first - padding;
                for down in 0..kernel {
                    let Some(from_y) = (y * stride + down).checked_sub(padding) else {
                        continue;
                    };
                    if from_y >= height {
                        continue;
                    }
                    let column = ((y * out_width + x) * kernel + down) * kernel + first;
                    let pixel = from_y * width + from_x;
                    run(
                        column * channels,
                        pixel * channels,
                        (last - first) * channels,
                    );
                }
            }
        }
    }
}
