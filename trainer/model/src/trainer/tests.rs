use graph::{Architecture, Weights, Width};

use crate::{Batch, Device, Images, ModelError, Network, Precision, Settings, Trainable, Trainer};

const TINY: Architecture = Architecture::MobileNetV2(Width::Third);

fn batch(photos: usize) -> Batch {
    batch_of(photos, 32)
}

fn batch_of(photos: usize, side: usize) -> Batch {
    let mut random = crate::random::Random::new(11, 0, 0);
    let values = (0..photos * 3 * side * side)
        .map(|_| random.normal() as f32)
        .collect();
    let labels = (0..photos as u32).map(|at| at % 3).collect();
    Batch {
        images: Images { values, side },
        labels,
    }
}

fn trainer(settings: Settings) -> Trainer {
    Trainer::new(
        Network::random(TINY, 3, 5, &Device::cpu()).unwrap(),
        settings,
    )
    .unwrap()
}

/// Names whose values are not the same bits in both.
fn changed(before: &Weights, after: &Weights) -> Vec<String> {
    let bits = |tensor: &graph::Tensor| {
        tensor
            .values
            .iter()
            .map(|v| v.to_bits())
            .collect::<Vec<_>>()
    };
    let pairs = before.tensors.iter().zip(&after.tensors);
    pairs
        .filter(|(a, b)| bits(a.1) != bits(b.1))
        .map(|(a, _)| a.0.clone())
        .collect()
}

#[test]
fn frozen_blocks_keep_their_weights_and_statistics() {
    for (trainable, first) in [
        (Trainable::Head, 19),
        (Trainable::LastBlocks(2), 17),
        (Trainable::FromBlock(11), 11),
        (Trainable::All, 0),
    ] {
        let mut trainer = trainer(Settings {
            trainable,
            ..Settings::default()
        });
        let before = trainer.network().to_weights().unwrap();
        trainer.step(&batch(4)).unwrap();
        let changed = changed(&before, &trainer.network().to_weights().unwrap());
        let learnt = |name: &String| match name.strip_prefix("features.") {
            Some(rest) => rest.split('.').next().unwrap().parse::<usize>().unwrap() >= first,
            None => true,
        };
        let expected: Vec<String> = before
            .tensors
            .keys()
            .filter(|name| learnt(name))
            .cloned()
            .collect();
        assert_eq!(changed, expected, "{trainable:?}");
    }
}

#[test]
fn frozen_blocks_computed_ahead_give_what_the_layers_give() {
    for (architecture, trainable) in [
        (TINY, Trainable::Head),
        (TINY, Trainable::LastBlocks(2)),
        (TINY, Trainable::FromBlock(1)),
        (Architecture::ResNet18, Trainable::FromBlock(1)),
        (Architecture::ResNet18, Trainable::FromBlock(6)),
        (Architecture::ResNet18, Trainable::Head),
    ] {
        // Large enough that a learning batch norm does not make much of a last bit.
        let batch = batch_of(8, 64);
        // On burn's own layers nothing is computed ahead.
        let devices = [Device::cpu(), Device::cpu_unfused(Precision::F32)];
        let [ours, layers] = devices.map(|device| {
            let network = Network::random(architecture, 3, 5, &device).unwrap();
            let settings = Settings {
                trainable,
                ..Settings::default()
            };
            let mut trainer = Trainer::new(network, settings).unwrap();
            let logits = trainer.network().evaluator().logits(&batch.images);
            let mut values = vec![trainer.step(&batch).unwrap().loss];
            values.extend(logits.unwrap().into_iter().map(f64::from));
            values
        });
        for (ours, layers) in ours.iter().zip(&layers) {
            let apart = (ours - layers).abs();
            assert!(
                apart < 1e-3 * layers.abs().max(1.0),
                "{architecture} {trainable:?}: {ours} {layers}"
            );
        }
    }
}

#[test]
fn a_network_learns_its_batch_by_heart() {
    let settings = Settings {
        head_rate: 0.003,
        backbone_rate: 0.003,
        ..Settings::default()
    };
    let mut trainer = trainer(settings);
    let batch = batch(6);
    let first = trainer.step(&batch).unwrap();
    let mut last = first;
    for _ in 0..30 {
        last = trainer.step(&batch).unwrap();
    }
    assert!(
        last.loss < 0.2 * first.loss,
        "{} to {}",
        first.loss,
        last.loss
    );
    assert_eq!((last.correct, last.count, last.step), (6, 6, 31));
}

#[test]
fn a_batch_in_parts_gives_the_same_gradient_where_no_batch_norm_learns() {
    let run = |accumulate| {
        let settings = Settings {
            trainable: Trainable::Head,
            accumulate,
            label_smoothing: 0.1,
            class_weights: Some(vec![1.0, 2.0, 0.5]),
            ..Settings::default()
        };
        let mut trainer = trainer(settings);
        let report = trainer.step(&batch(7)).unwrap();
        (
            report.loss,
            trainer.network().to_weights().unwrap().tensors["classifier.1.weight"].clone(),
        )
    };
    let whole = run(1);
    for parts in [2, 3, 7, 100] {
        let part = run(parts);
        assert!((part.0 - whole.0).abs() < 1e-6, "{parts} parts");
        for (found, expected) in part.1.values.iter().zip(&whole.1.values) {
            assert!((found - expected).abs() < 1e-6, "{parts} parts");
        }
    }
}

#[test]
fn the_average_follows_as_its_decay_says() {
    let mut trainer = trainer(Settings {
        ema_decay: Some(0.9),
        ..Settings::default()
    });
    let name = "classifier.1.weight";
    let old = trainer.network().to_weights().unwrap().tensors[name]
        .values
        .clone();
    trainer.step(&batch(4)).unwrap();
    let new = trainer.network().to_weights().unwrap().tensors[name]
        .values
        .clone();
    let average = trainer.averaged().unwrap().to_weights().unwrap().tensors[name]
        .values
        .clone();
    for ((old, new), average) in old.iter().zip(&new).zip(&average) {
        // (1 + 0) / (10 + 0) of the old is kept after the first step.
        assert!((average - (0.1 * old + 0.9 * new)).abs() < 1e-6);
    }
    assert!(self::trainer(Settings::default()).averaged().is_none());
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let mut trainer = trainer(Settings {
        ema_decay: Some(0.9),
        ..Settings::default()
    });
    trainer.step(&batch(4)).unwrap();
    let before = trainer.save_state().unwrap();
    let mut broken = batch(4);
    broken.images.values[5] = f32::NAN;
    assert!(matches!(
        trainer.step(&broken),
        Err(ModelError::Diverged { step: 1, .. })
    ));
    let mut cases = vec![Batch::default()];
    let mut case = batch(4);
    case.labels[2] = 3;
    cases.push(case);
    let mut case = batch(4);
    case.labels.pop();
    cases.push(case);
    let mut case = batch(4);
    case.images.values.pop();
    cases.push(case);
    for case in cases {
        let error = trainer.step(&case).unwrap_err();
        assert!(
            matches!(
                error,
                ModelError::Batch { .. } | ModelError::ImageSize { .. }
            ),
            "{error}"
        );
    }
    assert!(trainer.save_state().unwrap() == before);
}

#[test]
fn settings_without_meaning_are_refused() {
    let base = Settings::default;
    for settings in [
        Settings {
            head_rate: f64::NAN,
            ..base()
        },
        Settings {
            backbone_rate: -1.0,
            ..base()
        },
        Settings {
            weight_decay: f64::INFINITY,
            ..base()
        },
        Settings {
            label_smoothing: 1.0,
            ..base()
        },
        Settings {
            dropout: 1.0,
            ..base()
        },
        Settings {
            ema_decay: Some(1.0),
            ..base()
        },
        Settings {
            clip_norm: Some(0.0),
            ..base()
        },
        Settings {
            accumulate: 0,
            ..base()
        },
        Settings {
            class_weights: Some(vec![1.0; 2]),
            ..base()
        },
        Settings {
            class_weights: Some(vec![1.0, 0.0, 1.0]),
            ..base()
        },
    ] {
        let network = Network::random(TINY, 3, 5, &Device::cpu()).unwrap();
        let Err(ModelError::Settings { reason }) = Trainer::new(network, settings.clone()) else {
            panic!("accepted: {settings:?}");
        };
        assert!(!reason.is_empty());
    }
}

#[test]
fn a_photo_alone_and_half_precision_work() {
    let device = Device::cpu_unfused(crate::Precision::Bf16);
    let network = Network::random(TINY, 3, 5, &device).unwrap();
    let settings = Settings {
        trainable: Trainable::LastBlocks(3),
        ..Settings::default()
    };
    let mut half = Trainer::new(network, settings.clone()).unwrap();
    let half = half.step(&batch(4)).unwrap();
    let full = trainer(settings.clone()).step(&batch(4)).unwrap();
    assert!(
        (half.loss - full.loss).abs() < 0.05,
        "{} {}",
        half.loss,
        full.loss
    );
    assert!(trainer(settings).step(&batch(1)).unwrap().loss.is_finite());
}
