use super::*;

#[test]
fn names_are_parsed_as_they_are_shown() {
    for architecture in Architecture::ALL {
        assert_eq!(architecture.to_string().parse(), Ok(architecture));
    }
    let error = "vgg16".parse::<Architecture>().unwrap_err().to_string();
    assert!(error.contains("mobilenet_v2_0.35, resnet18"), "{error}");
}

/// Numbers of parameters: torchvision's documentation for the first and the last
/// three; for the narrow ones the sum over
/// `torchvision.models.mobilenet_v2(width_mult=...).parameters()`.
#[test]
fn the_numbers_of_parameters_are_the_published_ones() {
    for (name, expected) in [
        ("mobilenet_v2", 3_504_872),
        ("mobilenet_v2_0.5", 1_968_680),
        ("mobilenet_v2_0.35", 1_677_128),
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
    ] {
        let architecture: Architecture = name.parse().unwrap();
        let specs = architecture.backbone_tensors();
        let found: usize = specs
            .iter()
            .chain(&architecture.head_tensors(1000))
            .filter(|spec| !spec.name.contains("running_"))
            .map(|spec| spec.shape.iter().product::<usize>())
            .sum();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn random_weights_fit_and_depend_on_the_seed_alone() {
    for architecture in Architecture::ALL {
        let weights = Weights::random(architecture, 7, 1);
        assert_eq!(architecture.check(&weights), Ok(Some(7)), "{architecture}");
    }
    let small = Architecture::MobileNetV2(Width::Third);
    let weights = Weights::random(small, 2, 1);
    assert_eq!(weights, Weights::random(small, 2, 1));
    assert_ne!(weights, Weights::random(small, 2, 2));
    let values = &weights.tensors["features.18.0.weight"].values;
    let (mean, deviation) = moments(values);
    // He: the square root of 2 over 1280 outputs.
    assert!(
        mean.abs() < 1e-3 && (deviation / 0.039_53 - 1.0).abs() < 0.02,
        "{mean} {deviation}"
    );
}

fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = values
        .iter()
        .map(|&v| (f64::from(v) - mean).powi(2))
        .sum::<f64>()
        / n;
    (mean, variance.sqrt())
}

#[test]
fn weights_that_do_not_fit_are_refused_with_tensor_expected_and_found() {
    let architecture = Architecture::ResNet18;
    let whole = Weights::random(architecture, 3, 0);

    let mut weights = whole.clone();
    weights.tensors.remove("layer2.0.bn1.running_var");
    let error = architecture.check(&weights).unwrap_err().to_string();
    assert!(
        error.contains("tensor layer2.0.bn1.running_var is missing"),
        "{error}"
    );

    let mut weights = whole.clone();
    let shape = vec![64, 3, 3, 3];
    weights
        .tensors
        .insert("conv1.weight".into(), Tensor::new(shape, vec![0.0; 1728]));
    let error = architecture.check(&weights).unwrap_err().to_string();
    assert!(
        error.contains("tensor conv1.weight has the shape [64, 3, 3, 3], expected [64, 3, 7, 7]"),
        "{error}"
    );

    let mut weights = whole.clone();
    weights.tensors.get_mut("fc.bias").unwrap().values[1] = f32::NAN;
    let error = architecture.check(&weights).unwrap_err().to_string();
    assert!(
        error.contains("fc.bias holds a value that is not finite"),
        "{error}"
    );

    let mut weights = whole;
    weights.tensors.remove("fc.weight");
    assert_eq!(architecture.check(&weights), Ok(None));
}

#[test]
fn the_input_is_torchvisions_and_scales_with_the_side() {
    let mobilenet = Architecture::MobileNetV2(Width::Full);
    let spec = mobilenet.input_spec();
    assert_eq!((spec.size, spec.resize, spec.crop), (224, 256, 224));
    let spec = mobilenet.input_spec_at(128).unwrap();
    assert_eq!((spec.size, spec.resize, spec.crop), (128, 146, 128));
    let error = mobilenet.input_spec_at(100).unwrap_err().to_string();
    assert!(error.contains("does not run at side 100"), "{error}");
}

use crate::weights::Tensor;
