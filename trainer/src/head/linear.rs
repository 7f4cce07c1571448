//! Multinomial logistic regression by L-BFGS (Nocedal and Wright, Numerical
//! Optimization, algorithm 7.5), with a backtracking line search: the objective is
//! convex, so the minimum is the one that scikit-learn finds.

use std::collections::VecDeque;

use graph::{Activation, Linear};

use super::matrix::{Rows, times_transposed, transposed_times};
use super::{Problem, Solved, softmax};
use crate::error::TrainerError;

/// Pairs of steps and gradient changes that are remembered: scikit-learn's number.
const HISTORY: usize = 10;
/// The largest entry of the gradient at which it is done: scikit-learn's tolerance.
const TOLERANCE: f32 = 1e-4;
/// Halvings of a step before giving up: the objective is flat to the last bit.
const MAX_HALVINGS: u32 = 30;

/// Minimises the problem, from `start` or from zero.
pub fn solve(
    problem: &Problem<'_>,
    start: Option<Linear>,
    max_iterations: u32,
    go_on: &mut impl FnMut() -> bool,
) -> Result<Solved, TrainerError> {
    let (num_classes, width) = (problem.num_classes, problem.examples.num_features);
    let num_weights = num_classes * width;
    // The weights, then the biases.
    let mut at = match start {
        Some(start) => [start.weights, start.bias].concat(),
        None => vec![0.0; num_weights + num_classes],
    };
    let (mut loss, mut gradient) = evaluate(problem, &at);
    let mut history: VecDeque<(Vec<f32>, Vec<f32>, f64)> = VecDeque::new();
    let mut iterations = 0;
    while iterations < max_iterations && largest(&gradient) > TOLERANCE {
        if !go_on() {
            return Err(TrainerError::Stopped);
        }
        iterations += 1;
        let direction = descent(&gradient, &history);
        let slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            // Rounding has spoilt the curvature: begin anew along the gradient.
            if history.is_empty() {
                break;
            }
            history.clear();
            continue;
        }
        // Without curvature the step's length is unknown: about one unit.
        let mut step = if history.is_empty() {
            (1.0 / dot(&gradient, &gradient).sqrt()).min(1.0) as f32
        } else {
            1.0
        };
        let mut moved = None;
        for _ in 0..MAX_HALVINGS {
            let next: Vec<f32> = at
                .iter()
                .zip(&direction)
                .map(|(a, d)| a + step * d)
                .collect();
            let (next_loss, next_gradient) = evaluate(problem, &next);
            if next_loss <= loss + 1e-4 * f64::from(step) * slope {
                moved = Some((next, next_loss, next_gradient));
                break;
            }
            step *= 0.5;
        }
        let Some((next, next_loss, next_gradient)) = moved else {
            break;
        };
        let change: Vec<f32> = next.iter().zip(&at).map(|(a, b)| a - b).collect();
        let turn: Vec<f32> = next_gradient
            .iter()
            .zip(&gradient)
            .map(|(a, b)| a - b)
            .collect();
        let curvature = dot(&change, &turn);
        if curvature > 1e-10 {
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back((change, turn, curvature));
        }
        (at, loss, gradient) = (next, next_loss, next_gradient);
    }
    let bias = at.split_off(num_weights);
    let layer = Linear {
        weights: at,
        bias,
        out_features: num_classes,
        in_features: width,
        activation: Activation::Identity,
    };
    Ok(Solved {
        layers: vec![layer],
        iterations,
    })
}

/// The objective and its gradient.
fn evaluate(problem: &Problem<'_>, at: &[f32]) -> (f64, Vec<f32>) {
    let (num_classes, width) = (problem.num_classes, problem.examples.num_features);
    let (weights, bias) = at.split_at(num_classes * width);
    let x = problem.examples.rows();
    let mut logits = times_transposed(x, weights);
    for row in logits.chunks_exact_mut(num_classes) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
    }
    let mut loss = softmax::gradient_in_place(
        &mut logits,
        problem.examples.classes,
        problem.class_weights,
        problem.label_smoothing,
    );
    let penalty = problem.penalty();
    loss += 0.5 * f64::from(penalty) * dot(weights, weights);
    let errors = Rows::new(&logits, num_classes);
    let mut gradient = transposed_times(errors, x);
    for (slope, weight) in gradient.iter_mut().zip(weights) {
        *slope += penalty * weight;
    }
    let mut bias_gradient = vec![0.0f32; num_classes];
    for i in 0..errors.len() {
        for (sum, error) in bias_gradient.iter_mut().zip(errors.row(i)) {
            *sum += error;
        }
    }
    gradient.extend(bias_gradient);
    (loss, gradient)
}

/// The two-loop recursion: minus the inverse curvature times the gradient.
fn descent(gradient: &[f32], history: &VecDeque<(Vec<f32>, Vec<f32>, f64)>) -> Vec<f32> {
    let mut direction: Vec<f32> = gradient.iter().map(|g| -g).collect();
    let mut factors = Vec::with_capacity(history.len());
    for (change, turn, curvature) in history.iter().rev() {
        let factor = dot(change, &direction) / curvature;
        add(&mut direction, turn, -factor);
        factors.push(factor);
    }
    if let Some((_, turn, curvature)) = history.back() {
        let scale = (curvature / dot(turn, turn)) as f32;
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((change, turn, curvature), factor) in history.iter().zip(factors.iter().rev()) {
        let back = dot(turn, &direction) / curvature;
        add(&mut direction, change, factor - back);
    }
    direction
}

fn add(to: &mut [f32], what: &[f32], factor: f64) {
    let factor = factor as f32;
    for (to, what) in to.iter_mut().zip(what) {
        *to += factor * what;
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |top, value| top.max(value.abs()))
}
