//! The head of `mode: head`: a classifier on the backbone's features.
//!
//! Features and classes come in; out come one linear layer, or two with a ReLU between,
//! as they go into the graph. Both solvers give the same numbers for the same input and
//! seed, on any number of threads.

use graph::{Activation, Linear};
use schemas::training::{ClassWeights, TrainingSpec};

use crate::error::TrainerError;

mod matrix;
use matrix::Rows;

mod linear;

mod hidden;

pub(crate) mod softmax;

/// Features and what they stand for.
#[derive(Clone, Copy)]
pub struct Examples<'a> {
    /// `num_features` values for each photo, one photo behind the other.
    pub features: &'a [f32],
    /// Length of one photo's features.
    pub num_features: usize,
    /// One class for each photo.
    pub classes: &'a [u32],
}

impl Examples<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(self.features, self.num_features)
    }
}

/// What a head was fitted to, and how it came out.
pub struct Fitted {
    /// The layers, the first one on the features.
    pub layers: Vec<Linear>,
    /// The strength that was chosen, as scikit-learn's `C`.
    pub regularisation: f32,
    /// Mean cross entropy on the validation photos, or on the training photos if there
    /// are no others.
    pub validation_loss: f32,
    /// Iterations or epochs of the chosen one.
    pub iterations: u32,
}

/// Fits a head once for each of the spec's strengths and keeps the one with the lowest
/// validation loss. `go_on` is asked now and then.
///
/// # Errors
/// `go_on` says no.
pub fn fit(
    train: Examples<'_>,
    validation: Examples<'_>,
    num_classes: usize,
    spec: &TrainingSpec,
    mut go_on: impl FnMut() -> bool,
) -> Result<Fitted, TrainerError> {
    let weights = class_weights(train.classes, num_classes, spec.class_weights);
    let judged = if validation.is_empty() {
        train
    } else {
        validation
    };
    let mut strengths = spec.head.regularisation.clone();
    strengths.sort_by(f32::total_cmp);
    let mut best: Option<Fitted> = None;
    let mut start = None;
    for strength in strengths {
        let problem = Problem {
            examples: train,
            num_classes,
            class_weights: &weights,
            label_smoothing: spec.label_smoothing,
            strength,
        };
        let solved = if spec.head.hidden == 0 {
            let solved =
                linear::solve(&problem, start.take(), spec.head.max_iterations, &mut go_on)?;
            // The next, weaker, penalty is near: it begins where this one ended.
            start = Some(solved.layers[0].clone());
            solved
        } else {
            hidden::solve(&problem, spec, &mut go_on)?
        };
        let logits = logits(&solved.layers, judged.features, judged.num_features);
        let loss = softmax::mean_cross_entropy(&logits, judged.classes, num_classes);
        if best.as_ref().is_none_or(|best| loss < best.validation_loss) {
            best = Some(Fitted {
                layers: solved.layers,
                regularisation: strength,
                validation_loss: loss,
                iterations: solved.iterations,
            });
        }
    }
    best.ok_or_else(|| TrainerError::refused("invalid_spec", "head.regularisation is empty"))
}

/// What the layers make of features: as many logits for each photo as the last has outputs.
pub fn logits(layers: &[Linear], features: &[f32], num_features: usize) -> Vec<f32> {
    let mut values = features.to_vec();
    let mut width = num_features;
    for layer in layers {
        values = matrix::times_transposed(Rows::new(&values, width), &layer.weights);
        width = layer.out_features;
        for row in values.chunks_exact_mut(width) {
            for (value, bias) in row.iter_mut().zip(&layer.bias) {
                *value += bias;
                if layer.activation == Activation::Relu {
                    *value = value.max(0.0);
                }
            }
        }
    }
    values
}

/// One weight for each class, of mean 1 over the photos.
pub fn class_weights(classes: &[u32], num_classes: usize, weights: ClassWeights) -> Vec<f32> {
    let mut counts = vec![0u32; num_classes];
    for &class in classes {
        counts[class as usize] += 1;
    }
    let present = counts.iter().filter(|count| **count > 0).count().max(1);
    let weight = |count: &u32| match weights {
        ClassWeights::None => 1.0,
        ClassWeights::Balanced if *count == 0 => 0.0,
        ClassWeights::Balanced => classes.len() as f32 / (present as f32 * *count as f32),
    };
    counts.iter().map(weight).collect()
}

/// What a solver is to minimise: the weighted mean cross entropy, and the squares of the
/// weights over `2 C n`; biases are free. That is scikit-learn's objective over `C n`.
struct Problem<'a> {
    examples: Examples<'a>,
    num_classes: usize,
    class_weights: &'a [f32],
    label_smoothing: f32,
    strength: f32,
}

impl Problem<'_> {
    /// The factor of half the squares of the weights.
    fn penalty(&self) -> f32 {
        1.0 / (self.strength * self.examples.len().max(1) as f32)
    }
}

struct Solved {
    layers: Vec<Linear>,
    iterations: u32,
}

#[cfg(test)]
mod tests;
