use graph::{Architecture, Width};

use crate::{
    Batch, Device, Images, ModelError, Network, Optimizer, Schedule, Settings, Trainable, Trainer,
    TrainerState,
};

const TINY: Architecture = Architecture::MobileNetV2(Width::Third);

fn batch(step: u64) -> Batch {
    let mut random = crate::random::Random::new(7, step, 0);
    let values = (0..5 * 3 * 32 * 32)
        .map(|_| random.normal() as f32)
        .collect();
    Batch {
        images: Images { values, side: 32 },
        labels: (0..5).map(|at| (at + step as u32) % 3).collect(),
    }
}

fn settings(optimizer: Optimizer) -> Settings {
    Settings {
        trainable: Trainable::LastBlocks(6),
        optimizer,
        schedule: Schedule::Cosine {
            warmup_steps: 2,
            total_steps: 12,
        },
        weight_decay: 0.01,
        clip_norm: Some(1.0),
        label_smoothing: 0.1,
        class_weights: Some(vec![1.0, 0.3, 2.1]),
        dropout: 0.2,
        ema_decay: Some(0.99),
        accumulate: 2,
        seed: 3,
        ..Settings::default()
    }
}

fn trainer(settings: Settings) -> Trainer {
    let network = Network::random(TINY, 3, 5, &Device::cpu()).unwrap();
    Trainer::new(network, settings).unwrap()
}

/// `PartialEq` of floats calls -0 and 0 equal.
fn bits(state: &TrainerState) -> Vec<(String, Vec<u32>)> {
    let tensors = state.tensors.tensors.iter();
    tensors
        .map(|(name, tensor)| {
            (
                name.clone(),
                tensor.values.iter().map(|value| value.to_bits()).collect(),
            )
        })
        .collect()
}

fn optimizers() -> [Optimizer; 3] {
    [
        Optimizer::Sgd {
            momentum: 0.9,
            nesterov: true,
        },
        Optimizer::AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        },
        Optimizer::RmsProp {
            alpha: 0.99,
            momentum: 0.3,
            epsilon: 1e-8,
        },
    ]
}

#[test]
fn a_resumed_run_ends_in_the_same_bits_wherever_it_was_cut() {
    const STEPS: u64 = 6;
    for optimizer in optimizers() {
        let mut whole = trainer(settings(optimizer));
        let mut states = vec![whole.save_state().unwrap()];
        let mut reports = Vec::new();
        for step in 0..STEPS {
            reports.push(whole.step(&batch(step)).unwrap());
            states.push(whole.save_state().unwrap());
        }
        let end = bits(&states[STEPS as usize]);
        for cut in 0..STEPS {
            let mut resumed = trainer(settings(optimizer));
            // Another network's remains must not shine through.
            resumed.step(&batch(99)).unwrap();
            resumed.load_state(&states[cut as usize]).unwrap();
            assert_eq!(resumed.steps_done(), cut);
            for step in cut..STEPS {
                let report = resumed.step(&batch(step)).unwrap();
                assert_eq!(
                    report, reports[step as usize],
                    "{optimizer:?} cut at {cut}, step {step}"
                );
            }
            let state = resumed.save_state().unwrap();
            assert!(bits(&state) == end, "{optimizer:?} cut at {cut}");
            assert_eq!(state.json, states[STEPS as usize].json);
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut trainer = trainer(Settings {
                trainable: Trainable::All,
                ..settings(Optimizer::default())
            });
            for step in 0..3 {
                trainer.step(&batch(step)).unwrap();
            }
            bits(&trainer.save_state().unwrap())
        })
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut trainer = trainer(settings(Optimizer::default()));
    trainer.step(&batch(0)).unwrap();
    let state = trainer.save_state().unwrap();
    trainer.step(&batch(1)).unwrap();
    let before = trainer.save_state().unwrap();

    let first = state.tensors.tensors.keys().next().unwrap().clone();
    let mut cases = Vec::new();
    let mut case = state.clone();
    case.tensors.tensors.remove(&first);
    cases.push((case, "is missing"));
    let mut case = state.clone();
    case.tensors.tensors.get_mut(&first).unwrap().values.pop();
    cases.push((case, "values, not"));
    let mut case = state.clone();
    let tensor = case.tensors.tensors[&first].clone();
    case.tensors
        .tensors
        .insert("network/another".to_owned(), tensor);
    cases.push((case, "of no use"));
    for (from, to) in [
        ("\"seed\":3", "\"seed\":4"),
        ("\"num_classes\":3", "\"num_classes\":4"),
        ("\"format\":1", "\"format\":2"),
        ("0.01", "0.02"),
    ] {
        assert!(state.json.contains(from), "{}", state.json);
        cases.push((
            TrainerState {
                json: state.json.replacen(from, to, 1),
                ..state.clone()
            },
            "settings",
        ));
    }
    let cut = state.json[..state.json.len() - 1].to_owned();
    cases.push((
        TrainerState {
            json: cut,
            ..state.clone()
        },
        "JSON",
    ));

    for (case, expected) in cases {
        let Err(ModelError::State { reason }) = trainer.load_state(&case) else {
            panic!("accepted: {expected}");
        };
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(bits(&trainer.save_state().unwrap()), bits(&before));
        assert_eq!(trainer.steps_done(), 2);
    }
    trainer.load_state(&state).unwrap();
    assert_eq!(trainer.steps_done(), 1);
}

#[test]
fn a_state_brings_its_own_frozen_blocks() {
    let [optimizer, ..] = optimizers();
    let network = Network::random(TINY, 3, 6, &Device::cpu()).unwrap();
    let mut other = Trainer::new(network, settings(optimizer)).unwrap();
    let state = other.save_state().unwrap();
    let mut trainer = trainer(settings(optimizer));
    // From here on it has its own frozen blocks folded.
    trainer.step(&batch(0)).unwrap();
    trainer.load_state(&state).unwrap();
    let [found, expected] = [&mut trainer, &mut other].map(|t| t.step(&batch(0)).unwrap().loss);
    assert_eq!(found.to_bits(), expected.to_bits());
}
