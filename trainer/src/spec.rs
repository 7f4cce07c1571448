//! What a training is told. A preset and the fields that override it come in, as JSON;
//! a complete spec comes out, or the first thing that is wrong with it.

use graph::EMBEDDING_BACKBONE;
use schemas::training::{
    Augment, ClassWeights, DEFAULT_MIN_PHOTOS_PER_CLASS, Device, HeadSpec, Optimizer, Phase,
    Precision, Preset, Schedule, Trained, TrainingMode, TrainingSpec,
};
use schemas::{Label, ModelId};
use serde_json::{Map, Value};

/// Epochs of a phase. More is a slip of the finger.
const MAX_EPOCHS: u32 = 10_000;
/// Photos of a step. More only takes memory: gradients do not get better.
const MAX_BATCH: u32 = 4_096;
/// Classes of a model: more than any phone tells apart.
pub const MAX_CLASSES: usize = 10_000;

/// A spec that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {fault}")]
pub struct InvalidSpec {
    /// Where, such as `phases[0].epochs`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub fault: String,
}

impl InvalidSpec {
    fn new(field: impl Into<String>, fault: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            fault: fault.into(),
        }
    }
}

/// The spec that a request makes: its preset, `balanced` if it names none, with every field
/// that it gives put in place of the preset's. `epochs` is a short form for those of the
/// last phase.
///
/// # Errors
/// A field is unknown, out of range, or contradicts another.
pub fn resolve(request: &Map<String, Value>) -> Result<TrainingSpec, InvalidSpec> {
    let preset = match request.get("preset") {
        None => Preset::Balanced,
        Some(name) => name.as_str().and_then(Preset::from_name).ok_or_else(|| {
            let names: Vec<_> = Preset::ALL.iter().map(|preset| preset.as_str()).collect();
            let fault = format!("{name} is none; there are {}", names.join(", "));
            InvalidSpec::new("preset", fault)
        })?,
    };
    let Ok(Value::Object(mut fields)) = serde_json::to_value(preset_spec(preset)) else {
        unreachable!("a spec is an object");
    };
    for (name, value) in request {
        if name == "epochs" {
            set_epochs(&mut fields, value)?;
        } else {
            overlay(&mut fields, name, value)?;
        }
    }
    let spec = serde_path(Value::Object(fields))?;
    check(&spec)?;
    Ok(spec)
}

fn serde_path(fields: Value) -> Result<TrainingSpec, InvalidSpec> {
    serde_json::from_value(fields).map_err(|fault| InvalidSpec::new("spec", fault.to_string()))
}

fn set_epochs(fields: &mut Map<String, Value>, value: &Value) -> Result<(), InvalidSpec> {
    let last = fields
        .get_mut("phases")
        .and_then(Value::as_array_mut)
        .and_then(|phases| phases.last_mut())
        .and_then(Value::as_object_mut);
    let Some(last) = last else {
        return Err(InvalidSpec::new(
            "epochs",
            "this preset has no phases; `head.max_iterations` bounds its solver",
        ));
    };
    last.insert("epochs".into(), value.clone());
    Ok(())
}

/// Puts a field in place. Groups (`head`, `augment`) may be given in part; lists and
/// choices (`phases`, `optimizer`) are replaced whole.
fn overlay(fields: &mut Map<String, Value>, name: &str, value: &Value) -> Result<(), InvalidSpec> {
    let Some(old) = fields.get_mut(name) else {
        let known: Vec<&str> = fields.keys().map(String::as_str).collect();
        let near = catalog::nearest(name, known.iter().copied());
        let fault = match near.as_slice() {
            [] => format!("there is no such field; there are {}", known.join(", ")),
            near => format!(
                "there is no such field; did you mean {}?",
                near.join(" or ")
            ),
        };
        return Err(InvalidSpec::new(name, fault));
    };
    match (old, value) {
        (Value::Object(old), Value::Object(new)) => {
            for (inner, value) in new {
                if !old.contains_key(inner) {
                    let known: Vec<&str> = old.keys().map(String::as_str).collect();
                    let fault = format!("there is no such field; there are {}", known.join(", "));
                    return Err(InvalidSpec::new(format!("{name}.{inner}"), fault));
                }
                old.insert(inner.clone(), value.clone());
            }
        }
        (old, value) => *old = value.clone(),
    }
    Ok(())
}

/// What a preset stands for.
pub fn preset_spec(preset: Preset) -> TrainingSpec {
    let base = TrainingSpec {
        preset,
        mode: TrainingMode::Finetune,
        architecture: "mobilenet_v2".into(),
        weights: "imagenet".into(),
        input_size: 224,
        head: HeadSpec {
            hidden: 0,
            regularisation: vec![0.1, 1.0, 10.0],
            max_iterations: 200,
        },
        phases: Vec::new(),
        batch_size: 32,
        accumulate: 1,
        label_smoothing: 0.0,
        class_weights: ClassWeights::None,
        augment: Augment {
            min_crop: 1.0,
            flip: false,
            jitter: 0.0,
            rotation_degrees: 0.0,
            erasing: 0.0,
        },
        ema: 0.0,
        early_stop: 0,
        clip_norm: 0.0,
        device: Device::Auto,
        precision: Precision::F32,
        seed: 1,
        checkpoint_every_s: 60,
        table_version: None,
        min_photos_per_class: DEFAULT_MIN_PHOTOS_PER_CLASS,
        classes: Vec::new(),
        name: None,
    };
    let head = |epochs| Phase {
        epochs,
        train: Trained::Head,
        optimizer: Optimizer::Adamw {},
        learning_rate: 1e-3,
        backbone_rate: 0.0,
        weight_decay: 1e-2,
        schedule: Schedule::Constant {},
    };
    match preset {
        Preset::Fast => TrainingSpec {
            mode: TrainingMode::Head,
            // What the table holds the features of.
            architecture: EMBEDDING_BACKBONE.architecture.to_string(),
            input_size: EMBEDDING_BACKBONE.side as u32,
            ..base
        },
        Preset::Balanced => TrainingSpec {
            phases: vec![
                head(2),
                Phase {
                    epochs: 8,
                    train: Trained::LastBlocks(6),
                    optimizer: Optimizer::Adamw {},
                    learning_rate: 1e-3,
                    backbone_rate: 0.1,
                    weight_decay: 1e-2,
                    schedule: Schedule::Cosine { warmup_epochs: 0.5 },
                },
            ],
            label_smoothing: 0.1,
            augment: Augment {
                min_crop: 0.5,
                flip: true,
                jitter: 0.2,
                rotation_degrees: 10.0,
                erasing: 0.0,
            },
            early_stop: 4,
            clip_norm: 1.0,
            ..base
        },
        Preset::Best => TrainingSpec {
            phases: vec![
                head(3),
                Phase {
                    epochs: 30,
                    train: Trained::All,
                    optimizer: Optimizer::Adamw {},
                    learning_rate: 1e-3,
                    backbone_rate: 0.2,
                    weight_decay: 2e-2,
                    schedule: Schedule::Cosine { warmup_epochs: 2.0 },
                },
            ],
            label_smoothing: 0.1,
            augment: Augment {
                min_crop: 0.35,
                flip: true,
                jitter: 0.3,
                rotation_degrees: 15.0,
                erasing: 0.25,
            },
            ema: 0.998,
            early_stop: 10,
            clip_norm: 1.0,
            ..base
        },
        Preset::ClassicMobilenet => TrainingSpec {
            phases: vec![Phase {
                epochs: 10,
                train: Trained::Head,
                optimizer: Optimizer::Sgd { momentum: 0.9 },
                learning_rate: 0.01,
                backbone_rate: 0.0,
                weight_decay: 0.0,
                schedule: Schedule::Step {
                    every: 6,
                    gamma: 0.1,
                },
            }],
            ..base
        },
        Preset::ClassicTwoPhase => TrainingSpec {
            phases: vec![
                Phase {
                    epochs: 3,
                    train: Trained::Head,
                    optimizer: Optimizer::Rmsprop {},
                    learning_rate: 1e-3,
                    backbone_rate: 0.0,
                    weight_decay: 0.0,
                    schedule: Schedule::Constant {},
                },
                // MobileNetV2 has 19 blocks: from the 11th on, nine of them learn.
                Phase {
                    epochs: 3,
                    train: Trained::LastBlocks(9),
                    optimizer: Optimizer::Sgd { momentum: 0.9 },
                    learning_rate: 1e-4,
                    backbone_rate: 1.0,
                    weight_decay: 0.0,
                    schedule: Schedule::Constant {},
                },
            ],
            ..base
        },
    }
}

fn check(spec: &TrainingSpec) -> Result<(), InvalidSpec> {
    if let Err(fault) = spec.architecture.parse::<graph::Architecture>() {
        return Err(InvalidSpec::new("architecture", fault.to_string()));
    }
    if !matches!(spec.weights.as_str(), "imagenet" | "none")
        && spec.weights.parse::<ModelId>().is_err()
    {
        let fault = format!(
            "{:?} is neither `imagenet`, `none` nor the id of a model",
            spec.weights
        );
        return Err(InvalidSpec::new("weights", fault));
    }
    let whole = |field: &str, value: u32, from: u32, to: u32| {
        if (from..=to).contains(&value) {
            return Ok(());
        }
        let fault = format!("{value} is not within {from} to {to}");
        Err(InvalidSpec::new(field, fault))
    };
    let part = |field: &str, value: f32, from: f32, to: f32| {
        if value.is_finite() && value >= from && value <= to {
            return Ok(());
        }
        let fault = format!("{value} is not within {from} to {to}");
        Err(InvalidSpec::new(field, fault))
    };
    whole("input_size", spec.input_size, 96, 256)?;
    if !spec.input_size.is_multiple_of(32) {
        let fault = format!("{} is no multiple of 32", spec.input_size);
        return Err(InvalidSpec::new("input_size", fault));
    }
    whole("batch_size", spec.batch_size, 1, MAX_BATCH)?;
    whole("accumulate", spec.accumulate, 1, 1_024)?;
    whole("checkpoint_every_s", spec.checkpoint_every_s, 1, 600)?;
    whole("head.hidden", spec.head.hidden, 0, 4_096)?;
    whole("head.max_iterations", spec.head.max_iterations, 1, 10_000)?;
    whole(
        "head.regularisation",
        spec.head
            .regularisation
            .len()
            .try_into()
            .unwrap_or(u32::MAX),
        1,
        16,
    )?;
    for value in &spec.head.regularisation {
        part("head.regularisation", *value, 1e-6, 1e6)?;
    }
    part("label_smoothing", spec.label_smoothing, 0.0, 0.5)?;
    part("ema", spec.ema, 0.0, 0.999_99)?;
    part("clip_norm", spec.clip_norm, 0.0, 1e6)?;
    part("augment.min_crop", spec.augment.min_crop, 0.05, 1.0)?;
    part("augment.jitter", spec.augment.jitter, 0.0, 1.0)?;
    part("augment.erasing", spec.augment.erasing, 0.0, 1.0)?;
    part(
        "augment.rotation_degrees",
        spec.augment.rotation_degrees,
        0.0,
        180.0,
    )?;
    check_phases(spec, whole, part)?;
    whole("min_photos_per_class", spec.min_photos_per_class, 1, 1_000)?;
    if spec.table_version.is_some_and(|version| version < 0) {
        return Err(InvalidSpec::new("table_version", "versions begin with 0"));
    }
    check_classes(&spec.classes)?;
    if let Some(name) = &spec.name
        && (name.is_empty() || name.len() > 100 || name.chars().any(char::is_control))
    {
        let fault = "1 to 100 bytes without control characters are needed";
        return Err(InvalidSpec::new("name", fault));
    }
    if spec.mode == TrainingMode::Scratch && spec.weights != "none" && spec.weights != "imagenet" {
        let fault = "`scratch` begins from random weights; use `finetune` to continue a model";
        return Err(InvalidSpec::new("weights", fault));
    }
    Ok(())
}

fn check_phases(
    spec: &TrainingSpec,
    whole: impl Fn(&str, u32, u32, u32) -> Result<(), InvalidSpec>,
    part: impl Fn(&str, f32, f32, f32) -> Result<(), InvalidSpec>,
) -> Result<(), InvalidSpec> {
    let num_phases = spec.phases.len();
    if spec.mode == TrainingMode::Head {
        return Ok(());
    }
    if !(1..=16).contains(&num_phases) {
        let fault = format!("`{}` needs 1 to 16 phases, not {num_phases}", spec.mode);
        return Err(InvalidSpec::new("phases", fault));
    }
    for (i, phase) in spec.phases.iter().enumerate() {
        let at = |field: &str| format!("phases[{i}].{field}");
        whole(&at("epochs"), phase.epochs, 1, MAX_EPOCHS)?;
        part(&at("learning_rate"), phase.learning_rate, 1e-8, 10.0)?;
        part(&at("backbone_rate"), phase.backbone_rate, 0.0, 10.0)?;
        part(&at("weight_decay"), phase.weight_decay, 0.0, 1.0)?;
        match phase.schedule {
            Schedule::Constant {} => {}
            Schedule::Step { every, gamma } => {
                whole(&at("schedule.every"), every, 1, MAX_EPOCHS)?;
                part(&at("schedule.gamma"), gamma, 0.0, 1.0)?;
            }
            Schedule::Cosine { warmup_epochs } => {
                part(&at("schedule.warmup_epochs"), warmup_epochs, 0.0, 1_000.0)?;
            }
        }
        if let Optimizer::Sgd { momentum } = phase.optimizer {
            part(&at("optimizer.momentum"), momentum, 0.0, 0.999)?;
        }
        if let Trained::LastBlocks(blocks) = phase.train {
            whole(&at("train.last_blocks"), blocks, 1, 100)?;
        }
    }
    Ok(())
}

fn check_classes(classes: &[Label]) -> Result<(), InvalidSpec> {
    if classes.len() == 1 {
        return Err(InvalidSpec::new("classes", "at least two are needed"));
    }
    if classes.len() > MAX_CLASSES {
        let fault = format!("{} are too many; {MAX_CLASSES} is the most", classes.len());
        return Err(InvalidSpec::new("classes", fault));
    }
    let mut sorted: Vec<_> = classes.iter().collect();
    sorted.sort();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let fault = format!("{:?} stands there twice", twice[0].as_str());
        return Err(InvalidSpec::new("classes", fault));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
