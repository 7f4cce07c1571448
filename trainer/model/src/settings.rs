//! How to train: everything that decides the numbers besides network and batches.

use serde::{Deserialize, Serialize};

use crate::{ModelError, Optimizer, Schedule, Trainable};

/// How to train. It is stored with the state, and a state of other settings is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What learns.
    pub trainable: Trainable,
    /// How gradients change weights.
    pub optimizer: Optimizer,
    /// How the rates go over the steps.
    pub schedule: Schedule,
    /// The highest learning rate of the last layer.
    pub head_rate: f64,
    /// The highest learning rate of the blocks before it.
    pub backbone_rate: f64,
    /// Of matrices and convolutions; biases and batch norm have none.
    pub weight_decay: f64,
    /// Gradients longer than this, all together, are shortened to it.
    pub clip_norm: Option<f64>,
    /// This share of each target is spread over all classes.
    pub label_smoothing: f64,
    /// How much a photo of each class counts; all the same without.
    pub class_weights: Option<Vec<f32>>,
    /// Which part of the features is dropped before the last layer; torchvision's
    /// MobileNetV2 has 0.2.
    pub dropout: f64,
    /// Keeps a running average of the weights, with this decay per step; it begins
    /// lower, as `(1 + step) / (10 + step)`.
    pub ema_decay: Option<f64>,
    /// Computes each batch in so many parts, to need less memory. Batch norm then sees
    /// the parts.
    pub accumulate: usize,
    /// Decides all randomness, which is dropout alone.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trainable: Trainable::All,
            optimizer: Optimizer::default(),
            schedule: Schedule::Constant,
            head_rate: 0.01,
            backbone_rate: 0.01,
            weight_decay: 0.0,
            clip_norm: None,
            label_smoothing: 0.0,
            class_weights: None,
            dropout: 0.0,
            ema_decay: None,
            accumulate: 1,
            seed: 0,
        }
    }
}

impl Settings {
    /// Refuses settings without meaning, for a network of so many classes.
    pub(crate) fn check(&self, num_classes: usize) -> Result<(), ModelError> {
        self.optimizer.check()?;
        self.schedule.check()?;
        let below_one = 0.0..1.0;
        let size = |value: f64| value >= 0.0 && value.is_finite();
        let faults = [
            (!size(self.head_rate), "the head's rate is no size"),
            (!size(self.backbone_rate), "the backbone's rate is no size"),
            (!size(self.weight_decay), "the weight decay is no size"),
            (
                !below_one.contains(&self.label_smoothing),
                "label smoothing is not in [0, 1)",
            ),
            (
                !below_one.contains(&self.dropout),
                "dropout is not in [0, 1)",
            ),
            (
                self.ema_decay
                    .is_some_and(|decay| !below_one.contains(&decay)),
                "the average's decay is not in [0, 1)",
            ),
            (
                self.clip_norm
                    .is_some_and(|norm| !(size(norm) && norm > 0.0)),
                "the longest gradient is not above 0",
            ),
            (self.accumulate == 0, "a batch in 0 parts"),
        ];
        if let Some((_, reason)) = faults.iter().find(|(fault, _)| *fault) {
            return Err(ModelError::Settings {
                reason: (*reason).to_owned(),
            });
        }
        let Some(weights) = &self.class_weights else {
            return Ok(());
        };
        if weights.len() != num_classes {
            let reason = format!("{} class weights for {num_classes} classes", weights.len());
            return Err(ModelError::Settings { reason });
        }
        if weights
            .iter()
            .any(|weight| !(weight.is_finite() && *weight > 0.0))
        {
            let reason = "a class weight is not above 0".to_owned();
            return Err(ModelError::Settings { reason });
        }
        Ok(())
    }
}
