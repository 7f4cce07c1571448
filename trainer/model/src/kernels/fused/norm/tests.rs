use graph::Activation;

use super::Norm;
use crate::kernels::EPSILON;
use crate::kernels::fused::matrix;
use crate::random::Random;

const CHANNELS: usize = 37;
const ROWS: usize = 9001;

/// Rows whose mean is far larger than their deviation.
fn rows() -> Vec<f32> {
    let mut random = Random::new(1, 0, 0);
    (0..ROWS * CHANNELS)
        .map(|at| (1000.0 + (at % CHANNELS) as f64 + 0.5 * random.normal()) as f32)
        .collect()
}

#[test]
fn statistics_lose_no_digits_to_a_large_mean() {
    let rows = rows();
    let norm = Norm::of_batch(&rows, &[1.0; CHANNELS], &[0.0; CHANNELS]);
    for channel in 0..CHANNELS {
        let values = || {
            rows.iter()
                .skip(channel)
                .step_by(CHANNELS)
                .map(|value| f64::from(*value))
        };
        let mean = values().sum::<f64>() / ROWS as f64;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / ROWS as f64;
        assert!(
            (norm.mean()[channel] - mean).abs() < 1e-4 * 0.5,
            "{channel}"
        );
        assert!(
            (norm.variance()[channel] / variance - 1.0).abs() < 1e-4,
            "{channel}"
        );
    }
}

/// The loss is a weighted sum of the results; its slope is measured in 64 bit.
#[test]
fn gradients_are_the_slopes_of_finite_differences() {
    const CHANNELS: usize = 3;
    const ROWS: usize = 7;
    for activation in [Activation::Identity, Activation::Relu, Activation::Relu6] {
        let mut random = Random::new(2, 0, 0);
        let mut draw = |count: usize| -> Vec<f64> {
            (0..count)
                .map(|_| f64::from((2.0 * random.normal()) as f32))
                .collect()
        };
        let (rows, factors) = (draw(ROWS * CHANNELS), draw(ROWS * CHANNELS));
        let (gamma, beta) = (draw(CHANNELS), draw(CHANNELS));
        let [low, high] = super::bounds(activation).map(f64::from);
        let loss = |rows: &[f64], gamma: &[f64], beta: &[f64]| {
            let mut loss = 0.0;
            for channel in 0..CHANNELS {
                let values = || rows.iter().skip(channel).step_by(CHANNELS);
                let mean = values().sum::<f64>() / ROWS as f64;
                let square = values().map(|value| (value - mean).powi(2)).sum::<f64>();
                let deviation = (square / ROWS as f64 + EPSILON).sqrt();
                let factors = factors.iter().skip(channel).step_by(CHANNELS);
                for (value, factor) in values().zip(factors) {
                    let result = (value - mean) / deviation * gamma[channel] + beta[channel];
                    loss += result.max(low).min(high) * factor;
                }
            }
            loss
        };
        let single =
            |values: &[f64]| -> Vec<f32> { values.iter().map(|value| *value as f32).collect() };
        let norm = Norm::of_batch(&single(&rows), &single(&gamma), &single(&beta));
        let gradient = matrix::tensor(single(&factors), &[ROWS, CHANNELS]);
        let back = norm.backward(&single(&rows), gradient, activation);

        let slope = |which: usize, at: usize| {
            let moved = |by: f64| {
                let mut all = [rows.clone(), gamma.clone(), beta.clone()];
                all[which][at] += by;
                loss(&all[0], &all[1], &all[2])
            };
            (moved(1e-6) - moved(-1e-6)) / 2e-6
        };
        let found = [super::values(&back.input).to_vec(), back.gamma, back.beta];
        for (which, found) in found.iter().enumerate() {
            for (at, found) in found.iter().enumerate() {
                let slope = slope(which, at);
                let off = (f64::from(*found) - slope).abs();
                assert!(
                    off < 1e-3 * slope.abs().max(1.0),
                    "{activation:?} {which} {at}: {found} {slope}"
                );
            }
        }
    }
}
