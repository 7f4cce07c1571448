//! From gradients to new weights: SGD, AdamW and RMSprop as PyTorch computes them.
//!
//! The state is a few tensors of the parameter's length each, which can be stored bit
//! for bit; nothing else is remembered.

use burn_tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// How gradients change weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent; weight decay is added to the gradient.
    Sgd {
        /// How much of the last step goes on; 0.9 is usual.
        momentum: f64,
        /// Looks ahead along the momentum.
        nesterov: bool,
    },
    /// Adam with decay of the weights themselves (Loshchilov and Hutter, 2019).
    AdamW {
        /// Forgetting of the gradient's mean; 0.9 is usual.
        beta1: f64,
        /// Forgetting of its square's mean; 0.999 is usual.
        beta2: f64,
        /// Keeps the division finite; 1e-8 is usual.
        epsilon: f64,
    },
    /// Division by the gradient's mean size; weight decay is added to the gradient.
    #[serde(rename = "rmsprop")]
    RmsProp {
        /// Forgetting of the square's mean; 0.99 is usual.
        alpha: f64,
        /// How much of the last step goes on; 0 for none.
        momentum: f64,
        /// Keeps the division finite; 1e-8 is usual.
        epsilon: f64,
    },
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Sgd {
            momentum: 0.9,
            nesterov: false,
        }
    }
}

/// One parameter's update.
pub(crate) struct Update {
    pub value: Tensor<1>,
    pub gradient: Tensor<1>,
    pub rate: f64,
    /// Weight decay, 0 for parameters that have none.
    pub decay: f64,
    /// Steps done before this one.
    pub done: u64,
}

impl Optimizer {
    /// What each of a parameter's state tensors is called.
    pub(crate) fn slots(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { .. } => &["momentum"],
            Self::AdamW { .. } => &["mean", "square"],
            Self::RmsProp { .. } => &["square", "momentum"],
        }
    }

    /// The new weights; `state` holds [`Self::slots`], zeros at first.
    pub(crate) fn apply(&self, update: Update, state: &mut [Tensor<1>]) -> Tensor<1> {
        let Update {
            value,
            gradient,
            rate,
            decay,
            done,
        } = update;
        match *self {
            Self::Sgd { momentum, nesterov } => {
                let gradient = decayed(gradient, &value, decay);
                if momentum == 0.0 {
                    return value - gradient * rate;
                }
                state[0] = state[0].clone() * momentum + gradient.clone();
                let step = match nesterov {
                    true => gradient + state[0].clone() * momentum,
                    false => state[0].clone(),
                };
                value - step * rate
            }
            Self::AdamW {
                beta1,
                beta2,
                epsilon,
            } => {
                let value = if decay == 0.0 {
                    value
                } else {
                    value * (1.0 - rate * decay)
                };
                let square = gradient.clone() * gradient.clone();
                state[0] = state[0].clone() * beta1 + gradient * (1.0 - beta1);
                state[1] = state[1].clone() * beta2 + square * (1.0 - beta2);
                let step = (done + 1) as f64;
                let (bias1, bias2) = (1.0 - beta1.powf(step), 1.0 - beta2.powf(step));
                let size = state[1].clone().sqrt() / bias2.sqrt() + epsilon;
                value - state[0].clone() / size * (rate / bias1)
            }
            Self::RmsProp {
                alpha,
                momentum,
                epsilon,
            } => {
                let gradient = decayed(gradient, &value, decay);
                let square = gradient.clone() * gradient.clone();
                state[0] = state[0].clone() * alpha + square * (1.0 - alpha);
                let step = gradient / (state[0].clone().sqrt() + epsilon);
                if momentum == 0.0 {
                    return value - step * rate;
                }
                state[1] = state[1].clone() * momentum + step;
                value - state[1].clone() * rate
            }
        }
    }

    /// Refuses what has no meaning.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let (parts, epsilon) = match *self {
            Self::Sgd { momentum, .. } => (vec![("momentum", momentum)], 1.0),
            Self::AdamW {
                beta1,
                beta2,
                epsilon,
            } => (vec![("beta1", beta1), ("beta2", beta2)], epsilon),
            Self::RmsProp {
                alpha,
                momentum,
                epsilon,
            } => (vec![("alpha", alpha), ("momentum", momentum)], epsilon),
        };
        for (name, value) in parts {
            if !(0.0..1.0).contains(&value) {
                let reason = format!("the optimiser's {name} is {value}, which is not in [0, 1)");
                return Err(ModelError::Settings { reason });
            }
        }
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            let reason = format!("the optimiser's epsilon is {epsilon}");
            return Err(ModelError::Settings { reason });
        }
        Ok(())
    }
}

/// The gradient that pulls towards zero, too.
fn decayed(gradient: Tensor<1>, value: &Tensor<1>, decay: f64) -> Tensor<1> {
    if decay == 0.0 {
        gradient
    } else {
        gradient + value.clone() * decay
    }
}

#[cfg(test)]
mod tests;
