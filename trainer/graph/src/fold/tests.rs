use super::*;
use crate::{Architecture, Width};

#[test]
fn batch_norm_is_folded_into_weights_and_bias_in_ohwi_order() {
    let spec = ConvSpec {
        batch_norm: "bn".to_owned(),
        in_channels: 2,
        out_channels: 2,
        kernel: 3,
        stride: 1,
        groups: 1,
        activation: Activation::Relu,
    };
    let kernel: Vec<f32> = (0..36).map(|i| i as f32).collect();
    // 1 / sqrt(3.99999 + 1e-5) = 0.5
    let norm: [&[f32]; 4] = [&[2.0, 4.0], &[1.0, -1.0], &[3.0, 0.5], &[3.99999, 3.99999]];
    let conv = folded(&spec, &kernel, norm);
    let expected = |out: usize, place: usize, channel: usize| {
        kernel[(out * 2 + channel) * 9 + place] * [1.0, 2.0][out]
    };
    for out in 0..2 {
        for place in 0..9 {
            for channel in 0..2 {
                let found = conv.weights[(out * 9 + place) * 2 + channel];
                assert!((found - expected(out, place, channel)).abs() < 1e-4);
            }
        }
    }
    assert!((conv.bias[0] - -2.0).abs() < 1e-6 && (conv.bias[1] - -2.0).abs() < 1e-6);
}

#[test]
fn every_architecture_builds_at_every_side_with_and_without_a_head() {
    for architecture in Architecture::ALL {
        let mut weights = Weights::random(architecture, 5, 3);
        for &side in architecture.sides() {
            let graph = Graph::build(architecture, &weights, side).unwrap();
            let shapes = graph.shapes().unwrap();
            assert_eq!(shapes[graph.features].channels, architecture.num_features());
            assert_eq!(shapes[graph.output].channels, 5);
            let map = shapes[graph.nodes[graph.features].inputs[0]];
            assert_eq!((map.height, map.width), (side / 32, side / 32));
        }
        weights
            .tensors
            .retain(|name, _| !name.starts_with(architecture.head_name()));
        let graph = Graph::build(architecture, &weights, architecture.sides()[0]).unwrap();
        assert_eq!(graph.features, graph.output);
    }
}

#[test]
fn a_head_is_replaced_by_one_or_two_layers_that_fit() {
    let architecture = Architecture::MobileNetV2(Width::Third);
    let weights = Weights::random(architecture, 5, 3);
    let graph = Graph::build(architecture, &weights, 96).unwrap();
    let layer = |in_features, out_features| Linear {
        weights: vec![0.0; in_features * out_features],
        bias: vec![0.0; out_features],
        out_features,
        in_features,
        activation: Activation::Identity,
    };
    let two = graph
        .clone()
        .with_head(vec![layer(1280, 64), layer(64, 3)])
        .unwrap();
    assert_eq!(two.shapes().unwrap()[two.output].channels, 3);
    let none = two.with_head(vec![]).unwrap();
    assert_eq!(none.output, none.features);
    let error = graph
        .with_head(vec![layer(1280, 64), layer(63, 3)])
        .unwrap_err();
    assert!(error.to_string().contains("node head.1"), "{error}");
}

#[test]
fn a_graph_that_breaks_its_rules_is_refused_with_the_nodes_name() {
    let architecture = Architecture::MobileNetV2(Width::Third);
    let weights = Weights::random(architecture, 5, 3);
    let mut graph = Graph::build(architecture, &weights, 96).unwrap();
    graph.nodes[3].inputs = vec![9];
    let error = graph.shapes().unwrap_err().to_string();
    assert!(
        error.contains(&graph.nodes[3].name) && error.contains("reads a later node"),
        "{error}"
    );
}
