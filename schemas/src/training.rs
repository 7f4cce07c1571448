//! Trainings and models: what is asked for, what becomes of it, what comes out.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::reasons::named;
use crate::{DatasetId, Label, ModelId, TrainingId};

named! {
    /// A named set of choices; any of them can be overridden.
    Preset {
        /// A head on embeddings: seconds.
        Fast = "fast",
        /// Fine-tuning of the head, then of the upper blocks: minutes to hours.
        Balanced = "balanced",
        /// Fine-tuning of everything, longer, with stronger augmentation.
        Best = "best",
        /// The older system's: SGD 0.01 with momentum 0.9, StepLR 6/0.1, 10 epochs, the
        /// last layer only.
        #[serde(rename = "classic-mobilenet")]
        ClassicMobilenet = "classic-mobilenet",
        /// The older system's: RMSprop on the head, then SGD 1e-4 from the 11th layer on,
        /// 3 + 3 epochs.
        #[serde(rename = "classic-two-phase")]
        ClassicTwoPhase = "classic-two-phase",
    }
}

named! {
    /// What is learnt.
    TrainingMode {
        /// A head on the backbone's features; the backbone stays.
        Head = "head",
        /// The network, beginning from given weights.
        Finetune = "finetune",
        /// The network, beginning from random weights.
        Scratch = "scratch",
    }
}

named! {
    /// Where a training stands.
    TrainingState {
        /// Waiting for a worker.
        Queued = "queued",
        /// A worker has it.
        Running = "running",
        /// It made a model.
        Succeeded = "succeeded",
        /// It cannot be done; the error says why.
        Failed = "failed",
        /// Somebody called it off.
        Cancelled = "cancelled",
    }
}

impl TrainingState {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

named! {
    /// What counts how much.
    ClassWeights {
        /// Every photo the same.
        None = "none",
        /// Every class the same: a photo of a rare class counts more.
        Balanced = "balanced",
    }
}

named! {
    /// Where the arithmetic is done.
    Device {
        /// CUDA if this program has it and a GPU is there, else the CPU.
        Auto = "auto",
        /// The processor.
        Cpu = "cpu",
        /// An NVIDIA GPU.
        Cuda = "cuda",
    }
}

named! {
    /// The numbers that are computed with.
    Precision {
        /// 32 bits.
        F32 = "f32",
        /// 16 bits, bfloat; on a GPU only.
        Bf16 = "bf16",
    }
}

/// Everything that a training was told, complete: saved with the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// The preset that it began as.
    pub preset: Preset,
    /// What is learnt.
    pub mode: TrainingMode,
    /// `mobilenet_v2`, `mobilenet_v2_0.5`, `mobilenet_v2_0.35`, `resnet18`, `resnet34`, `resnet50`
    pub architecture: String,
    /// `imagenet`, `none`, or the id of a model to continue from.
    pub weights: String,
    /// Side of the square input in pixels: 96 to 256, in steps of 32.
    pub input_size: u32,
    /// What `mode: head` solves.
    pub head: HeadSpec,
    /// What `finetune` and `scratch` do, one after the other.
    pub phases: Vec<Phase>,
    /// Photos per step.
    pub batch_size: u32,
    /// Steps are taken over this many batches at a time.
    pub accumulate: u32,
    /// How much of the target is spread over all classes: 0 to 0.5.
    pub label_smoothing: f32,
    /// What counts how much.
    pub class_weights: ClassWeights,
    /// What is done to training photos; `head` does nothing to them.
    pub augment: Augment,
    /// Decay of the moving average of the weights; 0: none.
    pub ema: f32,
    /// Stop after so many epochs without a better validation; 0: never.
    pub early_stop: u32,
    /// Gradients are scaled down to this norm; 0: never.
    pub clip_norm: f32,
    /// Where.
    pub device: Device,
    /// With which numbers.
    pub precision: Precision,
    /// Every random choice follows from it.
    pub seed: u64,
    /// Seconds between checkpoints: 1 to 600.
    pub checkpoint_every_s: u32,
    /// The table's version; the newest when the training begins, if absent.
    #[serde(default)]
    pub table_version: Option<i64>,
    /// Only these labels; all of the table, if empty.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub classes: Vec<Label>,
    /// Fewer accepted photos of a label than this are not learnt from: 1 to 1,000.
    #[serde(default = "default_min_photos_per_class")]
    pub min_photos_per_class: u32,
    /// What the model is called; the dataset's name, if absent.
    #[serde(default)]
    pub name: Option<String>,
}

/// With fewer, one photo decides what the evaluation says of a label, or none does.
pub const DEFAULT_MIN_PHOTOS_PER_CLASS: u32 = 5;

fn default_min_photos_per_class() -> u32 {
    DEFAULT_MIN_PHOTOS_PER_CLASS
}

/// The head of `mode: head`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// Units of the hidden layer; 0: a linear head.
    pub hidden: u32,
    /// Inverse strengths of the L2 penalty, as scikit-learn's `C`; each is tried, and the
    /// one with the lowest validation loss stays.
    pub regularisation: Vec<f32>,
    /// Iterations of the solver.
    pub max_iterations: u32,
}

/// A part of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// How long.
    pub epochs: u32,
    /// Which part of the network learns.
    pub train: Trained,
    /// How.
    pub optimizer: Optimizer,
    /// Of the head.
    pub learning_rate: f32,
    /// Of everything below the head, as a part of `learning_rate`.
    pub backbone_rate: f32,
    /// L2 decay.
    pub weight_decay: f32,
    /// How the rate changes.
    pub schedule: Schedule,
}

/// Which part of the network learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trained {
    /// The head.
    Head,
    /// The head and so many of the last blocks.
    LastBlocks(u32),
    /// Everything.
    All,
}

/// How weights follow gradients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd {
        /// 0 to below 1.
        momentum: f32,
    },
    /// Adam with decoupled weight decay.
    Adamw {},
    /// RMSprop.
    Rmsprop {},
}

/// How the learning rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Schedule {
    /// It does not.
    Constant {},
    /// Every so many epochs it is multiplied by `gamma`.
    Step {
        /// Epochs.
        every: u32,
        /// The factor.
        gamma: f32,
    },
    /// Up over the warm-up, then down to 0 along a cosine.
    Cosine {
        /// Epochs of warm-up.
        warmup_epochs: f32,
    },
}

/// What is done to training photos, by chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// The smallest part of the photo's area that a crop takes; 1: the centre crop.
    pub min_crop: f32,
    /// Mirror half of them.
    pub flip: bool,
    /// Brightness, contrast and saturation change by up to this part.
    pub jitter: f32,
    /// Rotated by up to so many degrees.
    pub rotation_degrees: f32,
    /// How many of them lose a rectangle: 0 to 1.
    pub erasing: f32,
}

/// How far a training is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrainingProgress {
    /// What it does now, such as `reading`, `training`, `exporting`.
    pub stage: String,
    /// Epochs done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Epochs in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// Steps, or photos, of the stage that are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Of how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Photos that are learnt from in a second, over this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_per_s: Option<f32>,
    /// Seconds until the stage is done, or all epochs, as fast as it goes now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f32>,
    /// The latest training loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f32>,
    /// The latest accuracy on validation photos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f32>,
    /// What a person should know, such as that no pretrained weights were to be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Seconds that each stage took in this attempt; the one that runs is not in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seconds: BTreeMap<String, f32>,
}

/// Why a training failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrainingFault {
    /// A stable word for programs.
    pub code: String,
    /// What was wrong.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Training {
    /// Its id.
    pub id: TrainingId,
    /// On whose photos.
    pub dataset: DatasetId,
    /// Where it stands.
    pub state: TrainingState,
    /// Everything it was told.
    pub spec: TrainingSpec,
    /// How many trainings come before it, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_before: Option<u32>,
    /// How far it is.
    pub progress: TrainingProgress,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TrainingFault>,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<ModelId>,
    /// How often a worker began, or went on with, it.
    pub attempts: u32,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When a worker first took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
}

/// Answer to `GET /v1/trainings`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrainingList {
    /// The newest first.
    pub trainings: Vec<Training>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelFile {
    /// Such as `model.tflite`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its hash, 64 hex digits.
    pub sha256: String,
}

/// A trained classifier, with its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Its id.
    pub id: ModelId,
    /// What it is called.
    pub name: String,
    /// On whose photos it was trained.
    pub dataset: DatasetId,
    /// By which training.
    pub training: TrainingId,
    /// The model that it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ModelId>,
    /// The network.
    pub architecture: String,
    /// The table's version that it has seen.
    pub table_version: i64,
    /// Class order.
    pub labels: Vec<String>,
    /// Accuracy on the test photos, or on the validation photos if there are no others.
    pub accuracy: Option<f32>,
    /// The whole evaluation, as `evaluation.json` has it.
    #[schema(value_type = Object)]
    pub evaluation: serde_json::Value,
    /// What can be fetched.
    pub files: Vec<ModelFile>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Answer to `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelList {
    /// The newest first.
    pub models: Vec<Model>,
}

/// A label that a photo may have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Guess {
    /// The label.
    pub label: String,
    /// How sure the model is, calibrated: 0 to 1.
    pub probability: f32,
}

/// Answer to `POST /v1/models/{model}/predict`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Prediction {
    /// The model that said so.
    pub model_id: ModelId,
    /// The most probable labels, the best first.
    pub predictions: Vec<Guess>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_has_one_name_in_json_and_in_text() {
        for preset in Preset::ALL {
            let json = serde_json::to_string(preset).unwrap();
            assert_eq!(json, format!("{:?}", preset.as_str()));
        }
    }
}
