//! Batch norm and activation on rows of channels, forwards and backwards.

use burn_dispatch::backends::flex::FlexTensor;
use graph::Activation;
use pulp::Arch;
use rayon::prelude::*;

use super::values;
use crate::kernels::EPSILON;

/// How many values one thread takes at a time: a fixed number, so that sums do not
/// depend on the threads; large enough to be worth a thread, small enough for level 2.
const CHUNK_VALUES: usize = 1 << 16;

/// How many rows are summed in 32 bit before the sum is added in 64 bit.
const ROWS_IN_F32: usize = 32;

/// Statistics of a batch, and what follows from them: `output = scale * value + shift`.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    mean: Vec<f64>,
    variance: Vec<f64>,
    gamma: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Gradients on the way back.
pub(super) struct Back {
    /// Of the convolution's result.
    pub input: FlexTensor,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

impl Norm {
    /// The statistics of rows of as many channels as `gamma` has.
    pub(super) fn of_batch(rows: &[f32], gamma: &[f32], beta: &[f32]) -> Self {
        let channels = gamma.len();
        let count = (rows.len() / channels) as f64;
        // Sums of differences to the first row: no digits are lost when the mean is large.
        let origin = &rows[..channels];
        let [sums, squares] = deviations(rows, origin);
        let mut norm = Self {
            mean: Vec::with_capacity(channels),
            variance: Vec::with_capacity(channels),
            gamma: gamma.to_vec(),
            scale: Vec::with_capacity(channels),
            shift: Vec::with_capacity(channels),
        };
        for channel in 0..channels {
            let offset = sums[channel] / count;
            let mean = f64::from(origin[channel]) + offset;
            let variance = squares[channel] / count - offset * offset;
            // Rounding may leave less than nothing; what is no number must stay that.
            let variance = if variance < 0.0 { 0.0 } else { variance };
            let scale = f64::from(gamma[channel]) / (variance + EPSILON).sqrt();
            norm.mean.push(mean);
            norm.variance.push(variance);
            norm.scale.push(scale as f32);
            norm.shift
                .push((f64::from(beta[channel]) - mean * scale) as f32);
        }
        norm
    }

    pub(super) fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Biased.
    pub(super) fn variance(&self) -> &[f64] {
        &self.variance
    }

    /// Normalised and activated.
    pub(super) fn forward(&self, rows: &[f32], activation: Activation) -> Vec<f32> {
        let channels = self.scale.len();
        let [low, high] = bounds(activation);
        let mut output = vec![0.0; rows.len()];
        let length = chunk_length(channels);
        output
            .par_chunks_mut(length)
            .zip(rows.par_chunks(length))
            .for_each(|(output, rows)| {
                dispatch(
                    #[inline(always)]
                    || {
                        let rows = rows.chunks_exact(channels);
                        for (output, row) in output.chunks_exact_mut(channels).zip(rows) {
                            let factors = self.scale.iter().zip(&self.shift);
                            for ((output, value), (scale, shift)) in
                                output.iter_mut().zip(row).zip(factors)
                            {
                                *output = within(value * scale + shift, low, high);
                            }
                        }
                    },
                );
            });
        output
    }

    /// From the gradient of the result to that of the convolution's, which was `rows`.
    pub(super) fn backward(
        &self,
        rows: &[f32],
        mut gradient: FlexTensor,
        activation: Activation,
    ) -> Back {
        let channels = self.scale.len();
        let count = (rows.len() / channels) as f64;
        let [low, high] = bounds(activation);
        let mean: Vec<f32> = self.mean.iter().map(|mean| *mean as f32).collect();
        let length = chunk_length(channels);
        let pairs = rows
            .par_chunks(length)
            .zip(values(&gradient).par_chunks(length));
        let partial: Vec<Sums> = pairs
            .map(|(rows, gradient)| {
                let mut sums = Sums::new(channels);
                let pieces = gradient.chunks(ROWS_IN_F32 * channels);
                for (rows, gradient) in rows.chunks(ROWS_IN_F32 * channels).zip(pieces) {
                    sums.add(
                        #[inline(always)]
                        |first, second| {
                            let (first, second) = (&mut first[..channels], &mut second[..channels]);
                            let (scale, shift) = (&self.scale[..channels], &self.shift[..channels]);
                            let mean = &mean[..channels];
                            let gradient = gradient.chunks_exact(channels);
                            for (row, gradient) in rows.chunks_exact(channels).zip(gradient) {
                                for channel in 0..channels {
                                    let value = row[channel];
                                    let result = value * scale[channel] + shift[channel];
                                    let gradient = passed(gradient[channel], result, low, high);
                                    first[channel] += gradient;
                                    second[channel] += gradient * (value - mean[channel]);
                                }
                            }
                        },
                    );
                }
                sums
            })
            .collect();
        let [sums, products] = Sums::total(partial, channels);

        let (mut gamma, mut beta) = (Vec::new(), Vec::new());
        let (mut factor, mut slope, mut constant) = (Vec::new(), Vec::new(), Vec::new());
        for channel in 0..channels {
            let inverse = 1.0 / (self.variance[channel] + EPSILON).sqrt();
            let scale = f64::from(self.gamma[channel]) * inverse;
            beta.push(sums[channel] as f32);
            gamma.push((products[channel] * inverse) as f32);
            // scale * (g - mean(g) - deviation * mean(g * deviation) / variance), sorted
            // by what it is multiplied with: the gradient, the value and nothing.
            let pull = scale * products[channel] * inverse * inverse / count;
            factor.push(scale as f32);
            slope.push(-pull as f32);
            constant.push((pull * self.mean[channel] - scale * sums[channel] / count) as f32);
        }
        let pieces = gradient.storage_mut::<f32>().par_chunks_mut(length);
        pieces
            .zip(rows.par_chunks(length))
            .for_each(|(gradient, rows)| {
                dispatch(
                    #[inline(always)]
                    || {
                        let rows = rows.chunks_exact(channels);
                        for (gradient, row) in gradient.chunks_exact_mut(channels).zip(rows) {
                            let (scale, shift) = (&self.scale[..channels], &self.shift[..channels]);
                            let (factor, slope) = (&factor[..channels], &slope[..channels]);
                            let constant = &constant[..channels];
                            for channel in 0..channels {
                                let value = row[channel];
                                let result = value * scale[channel] + shift[channel];
                                let passed = passed(gradient[channel], result, low, high);
                                gradient[channel] = passed * factor[channel]
                                    + value * slope[channel]
                                    + constant[channel];
                            }
                        }
                    },
                );
            });
        Back {
            input: gradient,
            gamma,
            beta,
        }
    }
}

/// Adds a bias to each row and activates it.
pub(super) fn add_bias(rows: &mut [f32], bias: &[f32], activation: Activation) {
    let [low, high] = bounds(activation);
    rows.par_chunks_mut(chunk_length(bias.len()))
        .for_each(|rows| {
            dispatch(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact_mut(bias.len()) {
                        for (value, bias) in row.iter_mut().zip(bias) {
                            *value = within(*value + bias, low, high);
                        }
                    }
                },
            );
        });
}

/// Two sums for each channel: in 32 bit over some rows, in 64 bit over those sums.
struct Sums {
    short: [Vec<f32>; 2],
    long: [Vec<f64>; 2],
}

impl Sums {
    fn new(channels: usize) -> Self {
        Self {
            short: [(); 2].map(|()| vec![0.0; channels]),
            long: [(); 2].map(|()| vec![0.0; channels]),
        }
    }

    /// Adds what `add` adds to zeros.
    #[inline(always)]
    fn add(&mut self, add: impl FnOnce(&mut [f32], &mut [f32])) {
        let [first, second] = &mut self.short;
        dispatch(
            #[inline(always)]
            || add(first, second),
        );
        for (short, long) in self.short.iter_mut().zip(&mut self.long) {
            for (short, long) in short.iter_mut().zip(long) {
                *long += f64::from(*short);
                *short = 0.0;
            }
        }
    }

    /// The sums of all, in order.
    fn total(all: Vec<Self>, channels: usize) -> [Vec<f64>; 2] {
        let mut total = [(); 2].map(|()| vec![0.0; channels]);
        for sums in all {
            for (total, long) in total.iter_mut().zip(sums.long) {
                for (total, value) in total.iter_mut().zip(long) {
                    *total += value;
                }
            }
        }
        total
    }
}

/// Sums and square sums of each channel's differences to `origin`.
fn deviations(rows: &[f32], origin: &[f32]) -> [Vec<f64>; 2] {
    let channels = origin.len();
    let partial: Vec<Sums> = rows
        .par_chunks(chunk_length(channels))
        .map(|rows| {
            let mut sums = Sums::new(channels);
            for rows in rows.chunks(ROWS_IN_F32 * channels) {
                sums.add(
                    #[inline(always)]
                    |first, second| {
                        let (first, second) = (&mut first[..channels], &mut second[..channels]);
                        for row in rows.chunks_exact(channels) {
                            for channel in 0..channels {
                                let deviation = row[channel] - origin[channel];
                                first[channel] += deviation;
                                second[channel] += deviation * deviation;
                            }
                        }
                    },
                );
            }
            sums
        })
        .collect();
    Sums::total(partial, channels)
}

/// How many values of whole rows a thread takes.
fn chunk_length(channels: usize) -> usize {
    (CHUNK_VALUES / channels).max(1) * channels
}

/// Between which values an activation changes nothing.
fn bounds(activation: Activation) -> [f32; 2] {
    match activation {
        Activation::Identity => [f32::NEG_INFINITY, f32::INFINITY],
        Activation::Relu => [0.0, f32::INFINITY],
        Activation::Relu6 => [0.0, 6.0],
    }
}

/// The value within its bounds. What is no number stays that, unlike with `f32::max`: a
/// network that diverged must be seen to.
#[inline(always)]
fn within(value: f32, low: f32, high: f32) -> f32 {
    let raised = if value < low { low } else { value };
    if raised > high { high } else { raised }
}

/// The gradient that an activation lets through at this result.
#[inline(always)]
fn passed(gradient: f32, result: f32, low: f32, high: f32) -> f32 {
    if result > low && result < high {
        gradient
    } else {
        0.0
    }
}

/// Runs compiled for the widest vectors that this processor has.
#[inline(always)]
pub(super) fn dispatch<R>(run: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(run)
}

#[cfg(test)]
mod tests;
