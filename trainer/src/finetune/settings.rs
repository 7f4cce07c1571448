//! A spec in the words of `model`: a phase of it becomes settings, its device a device.
//! Epochs become steps here, and nowhere else.

use model::{Device, Settings, Trainable};
use schemas::training::{Optimizer, Precision, Schedule, Trained, TrainingSpec};

use super::Run;
use crate::error::TrainerError;
use crate::head::class_weights;

/// The settings of the phase of this number, for training photos of these classes.
pub(super) fn settings(
    spec: &TrainingSpec,
    number: usize,
    classes: &[u32],
    num_classes: usize,
) -> Settings {
    let phase = &spec.phases[number];
    let steps = |epochs: f32| {
        let per_epoch = classes.len().div_ceil(spec.batch_size as usize);
        (epochs * per_epoch as f32).round() as u64
    };
    let weights = class_weights(classes, num_classes, spec.class_weights);
    Settings {
        trainable: match phase.train {
            Trained::Head => Trainable::Head,
            Trained::LastBlocks(blocks) => Trainable::LastBlocks(blocks as usize),
            Trained::All => Trainable::All,
        },
        optimizer: match phase.optimizer {
            Optimizer::Sgd { momentum } => model::Optimizer::Sgd {
                momentum: f64::from(momentum),
                nesterov: false,
            },
            Optimizer::Adamw {} => model::Optimizer::AdamW {
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
            },
            Optimizer::Rmsprop {} => model::Optimizer::RmsProp {
                alpha: 0.99,
                momentum: 0.0,
                epsilon: 1e-8,
            },
        },
        schedule: match phase.schedule {
            Schedule::Constant {} => model::Schedule::Constant,
            Schedule::Step { every, gamma } => model::Schedule::Step {
                every_steps: steps(every as f32).max(1),
                gamma: f64::from(gamma),
            },
            Schedule::Cosine { warmup_epochs } => {
                let total_steps = steps(phase.epochs as f32).max(1);
                model::Schedule::Cosine {
                    warmup_steps: steps(warmup_epochs).min(total_steps - 1),
                    total_steps,
                }
            }
        },
        head_rate: f64::from(phase.learning_rate),
        backbone_rate: f64::from(phase.learning_rate * phase.backbone_rate),
        weight_decay: f64::from(phase.weight_decay),
        clip_norm: (spec.clip_norm > 0.0).then_some(f64::from(spec.clip_norm)),
        label_smoothing: f64::from(spec.label_smoothing),
        class_weights: Some(weights),
        dropout: 0.0,
        ema_decay: (spec.ema > 0.0).then_some(f64::from(spec.ema)),
        accumulate: spec.accumulate as usize,
        seed: spec.seed ^ number as u64,
    }
}

/// The device that the spec asks for; with `auto`, the best that is there.
pub(super) fn open_device(run: &Run<'_>) -> Result<Device, TrainerError> {
    use schemas::training::Device as Asked;
    let precision = match run.spec.precision {
        Precision::F32 => model::Precision::F32,
        Precision::Bf16 => model::Precision::Bf16,
    };
    let open = |name: &str| {
        Device::open(name, precision).map_err(|fault| {
            TrainerError::refused("no_device", fault.to_string())
                .hint("leave device out to train on what there is")
        })
    };
    match run.spec.device {
        Asked::Cpu => open("cpu"),
        Asked::Cuda => open("cuda"),
        Asked::Auto if cfg!(feature = "cuda") => match Device::open("cuda", precision) {
            Ok(device) => Ok(device),
            Err(fault) => {
                run.reporter.note(format!("training on the CPU: {fault}"));
                Ok(Device::cpu())
            }
        },
        Asked::Auto => Ok(Device::cpu()),
    }
}
