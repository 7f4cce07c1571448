use graph::{Architecture, Width};

use crate::{Device, HeadOrigin, Images, ModelError, Network};

const TINY: Architecture = Architecture::MobileNetV2(Width::Third);

fn images(photos: usize) -> Images {
    let mut random = crate::random::Random::new(1, 0, 0);
    Images {
        values: (0..photos * 3 * 32 * 32)
            .map(|_| random.normal() as f32)
            .collect(),
        side: 32,
    }
}

#[test]
fn weights_come_back_bit_for_bit() {
    let network = Network::random(TINY, 4, 9, &Device::cpu()).unwrap();
    let weights = network.to_weights().unwrap();
    let again = Network::from_weights(TINY, &weights, 4, 0, &Device::cpu()).unwrap();
    assert_eq!(again.head_origin(), HeadOrigin::Kept);
    assert_eq!(again.to_weights().unwrap(), weights);
    assert_eq!(network.head_origin(), HeadOrigin::Replaced);
    let other = Network::random(TINY, 4, 10, &Device::cpu())
        .unwrap()
        .to_weights()
        .unwrap();
    assert_ne!(other, weights);
}

#[test]
fn a_head_for_other_classes_is_replaced_and_the_rest_kept() {
    let weights = Network::random(TINY, 4, 9, &Device::cpu())
        .unwrap()
        .to_weights()
        .unwrap();
    let network = Network::from_weights(TINY, &weights, 7, 3, &Device::cpu()).unwrap();
    assert_eq!(
        (network.head_origin(), network.num_classes()),
        (HeadOrigin::Replaced, 7)
    );
    let replaced = network.to_weights().unwrap();
    assert_eq!(replaced.tensors["classifier.1.weight"].shape, [7, 1280]);
    for (name, tensor) in &replaced.tensors {
        if !name.starts_with("classifier") {
            assert_eq!(tensor, &weights.tensors[name], "{name}");
        }
    }
    let again = Network::from_weights(TINY, &weights, 7, 3, &Device::cpu()).unwrap();
    assert_eq!(again.to_weights().unwrap(), replaced);
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let weights = Network::random(TINY, 4, 9, &Device::cpu())
        .unwrap()
        .to_weights()
        .unwrap();
    let name = "features.3.conv.1.0.weight";
    let mut case = weights.clone();
    case.tensors.remove(name);
    let error = Network::from_weights(TINY, &case, 4, 0, &Device::cpu()).unwrap_err();
    assert!(matches!(error, ModelError::MissingTensor { name: ref found, .. } if found == name));
    let mut case = weights.clone();
    case.tensors.get_mut(name).unwrap().shape.reverse();
    let error = Network::from_weights(TINY, &case, 4, 0, &Device::cpu()).unwrap_err();
    assert!(matches!(error, ModelError::TensorShape { name: ref found, .. } if found == name));
    let mut case = weights.clone();
    case.tensors.get_mut(name).unwrap().values.pop();
    assert!(Network::from_weights(TINY, &case, 4, 0, &Device::cpu()).is_err());
    let other = Architecture::ResNet18;
    assert!(Network::from_weights(other, &weights, 4, 0, &Device::cpu()).is_err());
    let none = Network::random(TINY, 0, 0, &Device::cpu());
    assert!(matches!(none, Err(ModelError::NoClasses)));
}

#[test]
fn logits_are_the_head_of_the_features_and_do_not_depend_on_the_batch() {
    let network = Network::random(TINY, 4, 9, &Device::cpu()).unwrap();
    let weights = network.to_weights().unwrap();
    let (matrix, bias) = (
        &weights.tensors["classifier.1.weight"],
        &weights.tensors["classifier.1.bias"],
    );
    let images = images(3);
    let mut evaluator = network.evaluator();
    let features = evaluator.features(&images).unwrap();
    let logits = evaluator.logits(&images).unwrap();
    assert_eq!(
        (features.len(), logits.len()),
        (3 * network.num_features(), 3 * 4)
    );
    for (features, logits) in features.chunks(1280).zip(logits.chunks(4)) {
        for ((row, bias), logit) in matrix.values.chunks(1280).zip(&bias.values).zip(logits) {
            let sum: f32 = row.iter().zip(features).map(|(a, b)| a * b).sum();
            assert!((sum + bias - logit).abs() < 1e-4);
        }
    }
    let of_side = |values: &[f32], side| Images {
        values: values.to_vec(),
        side,
    };
    for (values, together) in images.values.chunks(3 * 32 * 32).zip(logits.chunks(4)) {
        let alone = evaluator.logits(&of_side(values, 32)).unwrap();
        for (alone, together) in alone.iter().zip(together) {
            assert!((alone - together).abs() < 1e-5);
        }
    }
    // Photos of another size in between.
    let larger = vec![0.5; 3 * 48 * 48];
    assert_eq!(
        evaluator.features(&of_side(&larger, 48)).unwrap().len(),
        1280
    );
    assert_eq!(evaluator.features(&images).unwrap(), features);
    assert!(evaluator.features(&of_side(&[0.0; 5], 32)).is_err());
    assert!(evaluator.logits(&of_side(&[], 32)).unwrap().is_empty());
    // Weights that are no numbers.
    let mut broken = weights.clone();
    let tensor = broken.tensors.get_mut("features.0.0.weight").unwrap();
    tensor.values[5] = f32::NAN;
    let network = Network::from_weights(TINY, &broken, 4, 0, &Device::cpu()).unwrap();
    let fault = network.evaluator().logits(&images);
    assert!(matches!(fault, Err(ModelError::Frozen { .. })), "{fault:?}");
}
