//! The training loop's core: one batch, one step.
//!
//! In comes a network with settings, then batch after batch; the network learns in
//! place. A step that fails changes nothing. Nothing here knows epochs: the order of the
//! photos and when to stop is the caller's affair.

mod average;

use burn_tensor::{Tensor, TensorData};

use self::average::Average;
use crate::frozen::Frozen;
use crate::loss::Weighing;
use crate::network::{Leaves, Pass, Seen};
use crate::optimizer::Update;
use crate::parameters::download;
use crate::random::Random;
use crate::{Batch, ModelError, Network, Settings};

/// A network being trained.
pub struct Trainer {
    pub(crate) network: Network,
    pub(crate) settings: Settings,
    pub(crate) first_trained: usize,
    /// Steps done.
    pub(crate) step: u64,
    /// Per parameter, [`crate::Optimizer::slots`]; empty for the frozen ones.
    pub(crate) slots: Vec<Vec<Tensor<1>>>,
    pub(crate) average: Option<Average>,
    /// The blocks before `first_trained`, which stay as they are.
    pub(crate) frozen: Frozen,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: u64,
    /// The batch's loss before the step.
    pub loss: f64,
    /// Photos whose class had the highest logit.
    pub correct: usize,
    /// Photos in the batch.
    pub count: usize,
    /// The last layer's learning rate in this step.
    pub head_rate: f64,
    /// The blocks' learning rate in this step.
    pub backbone_rate: f64,
}

/// Gradients and statistics of a whole batch.
struct Learnt {
    gradients: Vec<Option<Tensor<1>>>,
    seen: Vec<Seen>,
    loss: f64,
    correct: usize,
}

impl Trainer {
    /// A trainer at step 0.
    ///
    /// # Errors
    /// [`ModelError::Settings`] for settings without meaning.
    pub fn new(network: Network, settings: Settings) -> Result<Self, ModelError> {
        settings.check(network.num_classes())?;
        let first_trained = network.first_trained(settings.trainable);
        let mut slots = Vec::with_capacity(network.parameters.len());
        for parameter in &network.parameters {
            let count = match parameter.block >= first_trained {
                true => settings.optimizer.slots().len(),
                false => 0,
            };
            slots.push(vec![parameter.value.zeros_like(); count]);
        }
        let average = settings
            .ema_decay
            .map(|decay| Average::new(&network, first_trained, decay));
        Ok(Self {
            network,
            settings,
            first_trained,
            step: 0,
            slots,
            average,
            frozen: Frozen::default(),
        })
    }

    /// Learns from one batch.
    ///
    /// # Errors
    /// A batch that does not fit the network, a loss that is no number, or the device
    /// failed; the network and the state are then as before.
    pub fn step(&mut self, batch: &Batch) -> Result<StepReport, ModelError> {
        let count = batch.check(self.network.num_classes())?;
        let mut learnt = self.learn(batch, count)?;
        if !learnt.loss.is_finite() {
            return Err(ModelError::Diverged {
                step: self.step,
                loss: learnt.loss,
            });
        }
        if let Some(longest) = self.settings.clip_norm {
            clip(&mut learnt.gradients, longest);
        }
        let factor = self.settings.schedule.factor(self.step);
        let head_rate = self.settings.head_rate * factor;
        let backbone_rate = self.settings.backbone_rate * factor;
        let head = self.network.blocks.len();
        for (at, gradient) in learnt.gradients.into_iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            let parameter = &mut self.network.parameters[at];
            let update = Update {
                value: parameter.value.clone(),
                gradient,
                rate: if parameter.block == head {
                    head_rate
                } else {
                    backbone_rate
                },
                decay: if parameter.decays() {
                    self.settings.weight_decay
                } else {
                    0.0
                },
                done: self.step,
            };
            parameter.value = self.settings.optimizer.apply(update, &mut self.slots[at]);
        }
        for seen in learnt.seen {
            self.remember(seen);
        }
        if let Some(average) = &mut self.average {
            average.follow(&self.network, self.step);
        }
        self.step += 1;
        Ok(StepReport {
            step: self.step,
            loss: learnt.loss,
            correct: learnt.correct,
            count,
            head_rate,
            backbone_rate,
        })
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network with averaged weights, if [`Settings::ema_decay`] is set.
    pub fn averaged(&self) -> Option<Network> {
        self.average
            .as_ref()
            .map(|average| average.network(&self.network))
    }

    /// The network, for another phase.
    pub fn into_network(self) -> Network {
        self.network
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Computes batches in so many parts from now on, when memory does not suffice.
    ///
    /// # Errors
    /// [`ModelError::Settings`] for 0.
    pub fn set_accumulate(&mut self, parts: usize) -> Result<(), ModelError> {
        let settings = Settings {
            accumulate: parts,
            ..self.settings.clone()
        };
        settings.check(self.network.num_classes())?;
        self.settings = settings;
        Ok(())
    }

    /// The gradients of the whole batch, part by part.
    fn learn(&mut self, batch: &Batch, count: usize) -> Result<Learnt, ModelError> {
        let total = self.weighing().total(&batch.labels);
        let parts = self.settings.accumulate.min(count);
        let mut whole = Learnt {
            gradients: Vec::new(),
            seen: Vec::new(),
            loss: 0.0,
            correct: 0,
        };
        for part in 0..parts {
            let (from, to) = (part * count / parts, (part + 1) * count / parts);
            let cut;
            let piece = match parts {
                1 => batch,
                _ => {
                    cut = batch.part(from, to);
                    &cut
                }
            };
            self.learn_part(piece, part, total, &mut whole)?;
        }
        Ok(whole)
    }

    fn weighing(&self) -> Weighing<'_> {
        Weighing {
            class_weights: self.settings.class_weights.as_deref(),
            smoothing: self.settings.label_smoothing,
            num_classes: self.network.num_classes(),
        }
    }

    fn learn_part(
        &mut self,
        batch: &Batch,
        part: usize,
        total: f64,
        whole: &mut Learnt,
    ) -> Result<(), ModelError> {
        let mut pass = Pass::train(&self.network, self.first_trained);
        let features = pass.features(&batch.images, &mut self.frozen)?;
        let logits = pass.logits(self.drop_out(features, part));
        let device = self.network.device();
        let targets = self.weighing().targets(&batch.labels, total);
        let loss = targets.loss(logits.clone(), &device.burn);
        let mut tape = loss.backward();
        whole.seen.append(&mut pass.seen);
        let Leaves(leaves) = pass.into_leaves();
        let gradients = leaves.into_iter().map(|leaf| leaf?.grad_remove(&mut tape));
        whole.gradients = match whole.gradients.is_empty() {
            true => gradients.collect(),
            false => whole
                .gradients
                .drain(..)
                .zip(gradients)
                .map(|(sum, next)| Some(sum? + next?))
                .collect(),
        };
        let logits = download(logits.inner(), "computing a training step")?;
        let (loss, correct) = targets.judge(&logits, &batch.labels);
        whole.loss += loss;
        whole.correct += correct;
        Ok(())
    }

    /// Zeroes a random part of the features and enlarges the rest.
    fn drop_out(&self, features: Tensor<2>, part: usize) -> Tensor<2> {
        let rate = self.settings.dropout;
        if rate == 0.0 {
            return features;
        }
        let [photos, length] = features.dims();
        let mut random = Random::new(self.settings.seed, self.step, DROPOUT + part as u64);
        let kept = (1.0 / (1.0 - rate)) as f32;
        let mask: Vec<f32> = (0..photos * length)
            .map(|_| if random.uniform() < rate { 0.0 } else { kept })
            .collect();
        let mask = TensorData::new(mask, [photos, length]);
        features * Tensor::<2>::from_data(mask, &self.network.device().burn)
    }

    /// Moves the running statistics by a tenth, PyTorch's momentum.
    fn remember(&mut self, seen: Seen) {
        for (at, value) in [(seen.mean_at, seen.mean), (seen.variance_at, seen.variance)] {
            let running = &mut self.network.statistics[at].value;
            *running = running.clone() * (1.0 - MOMENTUM) + value * MOMENTUM;
        }
    }
}

/// How much of a batch's statistics goes into the running ones.
const MOMENTUM: f64 = 0.1;

/// What dropout's random numbers are for; the part of the batch is added.
const DROPOUT: u64 = 1 << 32;

/// Shortens all gradients by one factor, so that together they are no longer than
/// `longest` (PyTorch's `clip_grad_norm_`).
fn clip(gradients: &mut [Option<Tensor<1>>], longest: f64) {
    let squares = gradients
        .iter()
        .flatten()
        .map(|gradient| (gradient.clone() * gradient.clone()).sum());
    let Some(total) = squares.reduce(|sum, next| sum + next) else {
        return;
    };
    let factor = (total.sqrt() + 1e-6)
        .recip()
        .mul_scalar(longest)
        .clamp_max(1.0);
    for gradient in gradients.iter_mut().flatten() {
        *gradient = gradient.clone() * factor.clone();
    }
}

#[cfg(test)]
mod tests;
