//! A head with one hidden layer and a ReLU, by AdamW (Loshchilov and Hutter, 2019) over
//! shuffled batches. The penalty is the decay of the weights.

use graph::{Activation, Linear};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use schemas::training::TrainingSpec;

use super::matrix::{Rows, times_transposed, transposed_times};
use super::{Problem, Solved, softmax};
use crate::error::TrainerError;

/// Examples of a step.
const BATCH: usize = 256;
const RATE: f32 = 1e-3;
const BETA: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// Minimises the problem over `head.max_iterations` epochs.
pub fn solve(
    problem: &Problem<'_>,
    spec: &TrainingSpec,
    go_on: &mut impl FnMut() -> bool,
) -> Result<Solved, TrainerError> {
    let width = problem.examples.num_features;
    let hidden = spec.head.hidden as usize;
    let mut rng = StdRng::seed_from_u64(spec.seed);
    let mut first = layer(width, hidden, Activation::Relu, &mut rng);
    let mut last = layer(hidden, problem.num_classes, Activation::Identity, &mut rng);
    let mut moments: Vec<Moments> = [&first, &last]
        .iter()
        .flat_map(|layer| [Moments::of(&layer.weights), Moments::of(&layer.bias)])
        .collect();
    let mut order: Vec<usize> = (0..problem.examples.len()).collect();
    let mut step = 0;
    for _ in 0..spec.head.max_iterations {
        order.shuffle(&mut rng);
        for batch in order.chunks(BATCH) {
            if !go_on() {
                return Err(TrainerError::Stopped);
            }
            step += 1;
            let gradients = gradients(problem, batch, &first, &last);
            let decay = RATE * problem.penalty();
            let rate = Rate { step, decay };
            let mut moments = moments.iter_mut();
            let mut update = |values: &mut [f32], gradient: &[f32], decays: bool| {
                let moments = moments.next().expect("one for each tensor");
                moments.update(values, gradient, rate, decays);
            };
            update(&mut first.weights, &gradients[0], true);
            update(&mut first.bias, &gradients[1], false);
            update(&mut last.weights, &gradients[2], true);
            update(&mut last.bias, &gradients[3], false);
        }
    }
    Ok(Solved {
        layers: vec![first, last],
        iterations: spec.head.max_iterations,
    })
}

/// He's initialisation (2015).
fn layer(inputs: usize, outputs: usize, activation: Activation, rng: &mut StdRng) -> Linear {
    let bound = (6.0 / inputs as f32).sqrt();
    Linear {
        weights: (0..inputs * outputs)
            .map(|_| rng.random_range(-bound..bound))
            .collect(),
        bias: vec![0.0; outputs],
        out_features: outputs,
        in_features: inputs,
        activation,
    }
}

/// Those of both layers' weights and biases.
fn gradients(
    problem: &Problem<'_>,
    batch: &[usize],
    first: &Linear,
    last: &Linear,
) -> [Vec<f32>; 4] {
    let all = problem.examples.rows();
    let x: Vec<f32> = batch.iter().flat_map(|&i| all.row(i)).copied().collect();
    let classes: Vec<u32> = batch.iter().map(|&i| problem.examples.classes[i]).collect();
    let x = Rows::new(&x, first.in_features);
    let mut units = times_transposed(x, &first.weights);
    for row in units.chunks_exact_mut(first.out_features) {
        for (unit, bias) in row.iter_mut().zip(&first.bias) {
            *unit = (*unit + bias).max(0.0);
        }
    }
    let hidden = Rows::new(&units, first.out_features);
    let mut errors = times_transposed(hidden, &last.weights);
    for row in errors.chunks_exact_mut(last.out_features) {
        for (value, bias) in row.iter_mut().zip(&last.bias) {
            *value += bias;
        }
    }
    softmax::gradient_in_place(
        &mut errors,
        &classes,
        problem.class_weights,
        problem.label_smoothing,
    );
    let errors = Rows::new(&errors, last.out_features);
    let last_weights = transposed_times(errors, hidden);
    let last_bias = column_sums(errors, last.out_features);
    let mut back = Vec::with_capacity(units.len());
    for i in 0..errors.len() {
        for unit in 0..first.out_features {
            let mut sum = 0.0;
            if hidden.row(i)[unit] > 0.0 {
                for (k, error) in errors.row(i).iter().enumerate() {
                    sum += error * last.weights[k * first.out_features + unit];
                }
            }
            back.push(sum);
        }
    }
    let back = Rows::new(&back, first.out_features);
    let first_weights = transposed_times(back, x);
    let first_bias = column_sums(back, first.out_features);
    [first_weights, first_bias, last_weights, last_bias]
}

fn column_sums(rows: Rows<'_>, width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for i in 0..rows.len() {
        for (sum, value) in sums.iter_mut().zip(rows.row(i)) {
            *sum += value;
        }
    }
    sums
}

#[derive(Clone, Copy)]
struct Rate {
    step: i32,
    decay: f32,
}

/// Adam's running means.
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Moments {
    fn of(values: &[f32]) -> Self {
        Self {
            first: vec![0.0; values.len()],
            second: vec![0.0; values.len()],
        }
    }

    fn update(&mut self, values: &mut [f32], gradient: &[f32], rate: Rate, decays: bool) {
        let correction = (1.0 - BETA.0.powi(rate.step), 1.0 - BETA.1.powi(rate.step));
        let means = self.first.iter_mut().zip(&mut self.second);
        for ((value, slope), (first, second)) in values.iter_mut().zip(gradient).zip(means) {
            if decays {
                *value -= rate.decay * *value;
            }
            *first = BETA.0 * *first + (1.0 - BETA.0) * slope;
            *second = BETA.1 * *second + (1.0 - BETA.1) * slope * slope;
            let size = (*second / correction.1).sqrt() + EPSILON;
            *value -= RATE * (*first / correction.0) / size;
        }
    }
}
