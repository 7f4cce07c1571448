//! Both heads on problems whose answer is known.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use schemas::training::Preset;

use super::*;
use crate::spec::preset_spec;

/// Three clouds in the plane, none of them at the origin.
fn clouds(num: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let centres = [[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]];
    let mut features = Vec::new();
    let mut classes = Vec::new();
    for i in 0..num {
        let class = i % 3;
        for value in centres[class] {
            features.push(value + rng.random_range(-0.8..0.8f32));
        }
        classes.push(class as u32);
    }
    (features, classes)
}

fn accuracy(layers: &[Linear], features: &[f32], classes: &[u32]) -> f32 {
    let logits = logits(layers, features, 2);
    let right = logits.chunks_exact(3).zip(classes).filter(|(row, class)| {
        let best = (0..3).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        best == Some(**class as usize)
    });
    right.count() as f32 / classes.len() as f32
}

#[test]
fn both_heads_tell_clouds_apart() {
    let (features, classes) = clouds(300, 1);
    let (held_out, held_out_classes) = clouds(90, 2);
    for hidden in [0, 16] {
        let mut spec = preset_spec(Preset::Fast);
        spec.head.hidden = hidden;
        spec.head.max_iterations = 100;
        let examples = |features, classes| Examples {
            features,
            num_features: 2,
            classes,
        };
        let train = examples(&features, &classes);
        let validation = examples(&held_out, &held_out_classes);
        let fitted = fit(train, validation, 3, &spec, || true).unwrap();
        let right = accuracy(&fitted.layers, &held_out, &held_out_classes);
        assert!(right > 0.98, "hidden {hidden}: {right}");
        assert!(fitted.validation_loss < 0.2, "{}", fitted.validation_loss);
        assert!(spec.head.regularisation.contains(&fitted.regularisation));
    }
}

/// The minimum itself: at it, the gradient that finite differences give is zero in every
/// direction. Reference values are scikit-learn's for this very problem.
#[test]
fn the_linear_head_is_the_minimum_that_scikit_learn_finds() {
    // LogisticRegression(C=1.0, tol=1e-8, max_iter=10000).fit(X, y) of scikit-learn 1.7:
    // see benches/reference/head.py.
    let features = [0.0, 1.0, 1.0, 0.5, 2.0, 2.0, 3.0, 1.0, -1.0, 0.0, 0.5, -1.0];
    let classes = [0, 1, 2, 1, 0, 2];
    let mut spec = preset_spec(Preset::Fast);
    spec.head.regularisation = vec![1.0];
    let train = Examples {
        features: &features,
        num_features: 2,
        classes: &classes,
    };
    let fitted = fit(train, train, 3, &spec, || true).unwrap();
    let expected = include!("tests/scikit_learn.in");
    let weights = &fitted.layers[0].weights;
    for (found, expected) in weights.iter().zip(expected) {
        assert!((found - expected).abs() < 2e-3, "{weights:?}");
    }
}

#[test]
fn balanced_classes_weigh_the_same() {
    let weights = class_weights(&[0, 0, 0, 1], 2, ClassWeights::Balanced);
    assert_eq!(weights, [2.0 / 3.0, 2.0]);
    let weights = class_weights(&[0, 0, 0, 1], 2, ClassWeights::None);
    assert_eq!(weights, [1.0, 1.0]);
}

#[test]
fn a_stopped_fit_stops() {
    let (features, classes) = clouds(30, 1);
    let train = Examples {
        features: &features,
        num_features: 2,
        classes: &classes,
    };
    let stopped = fit(train, train, 3, &preset_spec(Preset::Fast), || false);
    assert!(matches!(stopped, Err(TrainerError::Stopped)));
}
