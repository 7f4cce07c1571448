//! Against PyTorch: logits, losses and what a network has become after four steps, from
//! weights and photos that both sides make by one formula. `golden.json` comes from
//! `benches/training/golden.py`.

#![allow(clippy::unwrap_used)]

use graph::{Architecture, Weights, Width};
use model::{Batch, Device, Images, Network, Optimizer, Precision, Settings, Trainer};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    forward: Vec<Forward>,
    training: Vec<Training>,
}

#[derive(Deserialize)]
struct Forward {
    network: String,
    logits: Vec<f32>,
}

#[derive(Deserialize)]
struct Training {
    network: String,
    optimizer: String,
    head_rate: f64,
    backbone_rate: f64,
    side: usize,
    #[serde(default)]
    weight_decay: f64,
    #[serde(default)]
    smoothing: f64,
    class_weights: Option<Vec<f32>>,
    clip: Option<f64>,
    losses: Vec<f64>,
    logits_after: Vec<f32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

/// `numbers` of the script.
fn numbers(count: usize, stream: u32) -> Vec<f64> {
    let mut state = stream.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 23) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// `fill` of the script.
fn weights(architecture: Architecture, classes: usize) -> Weights {
    let network = Network::random(architecture, classes, 0, &Device::cpu()).unwrap();
    let mut weights = network.to_weights().unwrap();
    for (stream, (name, tensor)) in weights.tensors.iter_mut().enumerate() {
        let inputs: usize = tensor.shape[1..].iter().product();
        let change = |value: f64| {
            if name.ends_with("running_var") {
                1.0 + 0.5 * value
            } else if name.ends_with("running_mean") || name.ends_with("bias") {
                0.1 * value
            } else if tensor.shape.len() == 1 {
                1.0 + 0.2 * value
            } else {
                value * (3.0 / inputs as f64).sqrt()
            }
        };
        let values = numbers(tensor.values.len(), stream as u32);
        tensor.values = values
            .into_iter()
            .map(|value| change(value) as f32)
            .collect();
    }
    weights
}

fn images(count: usize, side: usize, stream: u32) -> Images {
    let values = numbers(count * 3 * side * side, stream);
    Images {
        values: values.into_iter().map(|value| value as f32).collect(),
        side,
    }
}

fn architecture(name: &str) -> Architecture {
    match name {
        "mobilenet_v2" => Architecture::MobileNetV2(Width::Full),
        "mobilenet_v2_0.5" => Architecture::MobileNetV2(Width::Half),
        "mobilenet_v2_0.35" => Architecture::MobileNetV2(Width::Third),
        "resnet18" => Architecture::ResNet18,
        "resnet34" => Architecture::ResNet34,
        "resnet50" => Architecture::ResNet50,
        _ => panic!("{name}"),
    }
}

fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// The CPU both ways; and a GPU in a build with `cuda`, where `TINTYPE_TEST_CUDA` names it.
fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu(), Device::cpu_unfused(Precision::F32)];
    match std::env::var("TINTYPE_TEST_CUDA") {
        Ok(name) => devices.push(Device::open(&name, Precision::F32).unwrap()),
        Err(_) => {
            println!("TINTYPE_TEST_CUDA names no GPU, such as `cuda`: the CPU alone is tested")
        }
    }
    devices
}

/// A GPU may multiply with 10 bits after the point (TF32) where the CPU has 23.
fn logit_tolerance(device: &Device) -> f32 {
    if device.is_deterministic() {
        1e-4
    } else {
        1e-2
    }
}

#[test]
fn logits_are_pytorchs() {
    let golden = golden();
    assert_eq!(golden.forward.len(), 6);
    for case in golden.forward {
        let architecture = architecture(&case.network);
        let weights = weights(architecture, 5);
        for device in devices() {
            let network = Network::from_weights(architecture, &weights, 5, 0, &device).unwrap();
            let logits = network.evaluator().logits(&images(2, 64, 1000)).unwrap();
            let worst = difference(&logits, &case.logits);
            println!("{} {device:?}: {worst:.2e}", case.network);
            assert!(
                worst < logit_tolerance(&device),
                "{}: {worst}",
                case.network
            );
        }
    }
}

#[test]
fn four_steps_of_training_are_pytorchs() {
    let golden = golden();
    assert_eq!(golden.training.len(), 5);
    for case in golden.training {
        for device in devices() {
            trains_like(&case, &device);
        }
    }
}

fn trains_like(case: &Training, device: &Device) {
    let architecture = architecture(&case.network);
    let weights = weights(architecture, 4);
    let network = Network::from_weights(architecture, &weights, 4, 0, device).unwrap();
    let settings = Settings {
        optimizer: match case.optimizer.as_str() {
            "sgd" => Optimizer::Sgd {
                momentum: 0.9,
                nesterov: false,
            },
            "nesterov" => Optimizer::Sgd {
                momentum: 0.9,
                nesterov: true,
            },
            "adamw" => Optimizer::AdamW {
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-3,
            },
            "rmsprop" => Optimizer::RmsProp {
                alpha: 0.9,
                momentum: 0.5,
                epsilon: 1e-3,
            },
            other => panic!("{other}"),
        },
        head_rate: case.head_rate,
        backbone_rate: case.backbone_rate,
        weight_decay: case.weight_decay,
        label_smoothing: case.smoothing,
        class_weights: case.class_weights.clone(),
        clip_norm: case.clip,
        ..Settings::default()
    };
    let mut trainer = Trainer::new(network, settings).unwrap();
    let name = format!("{} {} {device:?}", case.network, case.optimizer);
    for (step, expected) in case.losses.iter().enumerate() {
        let batch = Batch {
            images: images(6, case.side, 2000 + step as u32),
            labels: (0..6).map(|at| (step as u32 + at) % 4).collect(),
        };
        let report = trainer.step(&batch).unwrap();
        let off = (report.loss - expected).abs();
        println!("{name}: step {step} loss {} off by {off:.2e}", report.loss);
        assert!(
            off < LOSS_TOLERANCE[step],
            "{name}: step {step}: {} not {expected}",
            report.loss
        );
    }
    let logits = trainer
        .network()
        .evaluator()
        .logits(&images(2, case.side, 3000))
        .unwrap();
    let worst = difference(&logits, &case.logits_after);
    println!("{name}: logits afterwards off by {worst:.2e}");
    assert!(worst < 2e-2, "{name}: logits afterwards: {worst}");
}

/// Rounding differs, and each step of a network with batch norm over few values enlarges
/// the difference; a wrong formula is off by more than 0.01 in the second step.
const LOSS_TOLERANCE: [f64; 4] = [1e-5, 1e-3, 3e-3, 1e-2];
