use super::*;
use crate::graph::{Activation, Conv2d, Linear, Node, Op, Padding, Pool};
use crate::{Architecture, Weights, Width};

/// Values that look random and are the same everywhere.
fn values(seed: u32, length: usize, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / 8_388_608.0 - 1.0) * scale
    };
    (0..length).map(|_| next()).collect()
}

/// Each node as its definition says, in float64, without a trick.
fn reference(graph: &Graph, photo: &[f32]) -> Vec<Vec<f64>> {
    let shapes = graph.shapes().unwrap();
    let mut results: Vec<Vec<f64>> = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<&Vec<f64>> = node.inputs.iter().map(|&i| &results[i]).collect();
        let from = node.inputs.first().map(|&i| shapes[i]);
        let to = shapes[id];
        let result = match &node.op {
            Op::Input => photo.iter().map(|&v| f64::from(v)).collect(),
            Op::Conv2d(conv) => conv_reference(conv, inputs[0], from.unwrap(), to),
            Op::Add(activation) => inputs[0]
                .iter()
                .zip(inputs[1])
                .map(|(a, b)| limited(a + b, *activation))
                .collect(),
            Op::MaxPool(pool) => max_pool_reference(*pool, inputs[0], from.unwrap(), to),
            Op::GlobalAveragePool => (0..to.channels)
                .map(|c| {
                    let channel = inputs[0].iter().skip(c).step_by(to.channels);
                    channel.sum::<f64>() * to.channels as f64 / inputs[0].len() as f64
                })
                .collect(),
            Op::Linear(linear) => linear
                .weights
                .chunks(linear.in_features)
                .zip(&linear.bias)
                .map(|(row, &bias)| {
                    let products = row.iter().zip(inputs[0]).map(|(&w, x)| f64::from(w) * x);
                    limited(products.sum::<f64>() + f64::from(bias), linear.activation)
                })
                .collect(),
        };
        results.push(result);
    }
    results
}

fn limited(value: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Identity => value,
        Activation::Relu => value.max(0.0),
        Activation::Relu6 => value.clamp(0.0, 6.0),
    }
}

/// The places of the input under a window, without those in the padding.
fn under(
    y: usize,
    x: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    from: Shape,
) -> Vec<[usize; 4]> {
    let mut places = Vec::new();
    for ky in 0..kernel[0] {
        for kx in 0..kernel[1] {
            let row = (y * stride[0] + ky).wrapping_sub(padding.top);
            let column = (x * stride[1] + kx).wrapping_sub(padding.left);
            if row < from.height && column < from.width {
                places.push([ky, kx, row, column]);
            }
        }
    }
    places
}

fn conv_reference(conv: &Conv2d, input: &[f64], from: Shape, to: Shape) -> Vec<f64> {
    let mut result = Vec::new();
    let in_group = conv.in_channels / conv.groups;
    for y in 0..to.height {
        for x in 0..to.width {
            let places = under(y, x, conv.kernel, conv.stride, conv.padding, from);
            for out in 0..conv.out_channels {
                let mut sum = f64::from(conv.bias[out]);
                for &[ky, kx, row, column] in &places {
                    for channel in 0..in_group {
                        let weight = ((out * conv.kernel[0] + ky) * conv.kernel[1] + kx) * in_group
                            + channel;
                        let source = if conv.groups > 1 { out } else { channel };
                        sum += f64::from(conv.weights[weight])
                            * input[(row * from.width + column) * from.channels + source];
                    }
                }
                result.push(limited(sum, conv.activation));
            }
        }
    }
    result
}

fn max_pool_reference(pool: Pool, input: &[f64], from: Shape, to: Shape) -> Vec<f64> {
    let mut result = Vec::new();
    for y in 0..to.height {
        for x in 0..to.width {
            let places = under(y, x, pool.kernel, pool.stride, pool.padding, from);
            for channel in 0..to.channels {
                let values = places.iter().map(|&[_, _, row, column]| {
                    input[(row * from.width + column) * from.channels + channel]
                });
                result.push(values.fold(f64::NEG_INFINITY, f64::max));
            }
        }
    }
    result
}

fn same(size: usize) -> Padding {
    Padding {
        top: size,
        left: size,
        bottom: size,
        right: size,
    }
}

fn conv(
    seed: u32,
    [inner, outer]: [usize; 2],
    kernel: usize,
    stride: usize,
    depthwise: bool,
) -> Conv2d {
    let groups = if depthwise { inner } else { 1 };
    let fan_in = kernel * kernel * inner / groups;
    Conv2d {
        weights: values(seed, outer * fan_in, 2.0 / (fan_in as f32).sqrt()),
        bias: values(seed + 1, outer, 0.5),
        out_channels: outer,
        in_channels: inner,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: same(kernel / 2),
        groups,
        activation: [Activation::Relu6, Activation::Relu, Activation::Identity][seed as usize % 3],
    }
}

fn graph(height: usize, width: usize, ops: Vec<(Op, Vec<usize>)>) -> Graph {
    let mut nodes = vec![(Op::Input, vec![])];
    nodes.extend(ops);
    nodes.push((Op::GlobalAveragePool, vec![nodes.len() - 1]));
    let features = nodes.len() - 1;
    Graph {
        name: "test".to_owned(),
        input: Shape {
            height,
            width,
            channels: 3,
        },
        nodes: nodes
            .into_iter()
            .enumerate()
            .map(|(id, (op, inputs))| Node {
                name: format!("n{id}"),
                op,
                inputs,
            })
            .collect(),
        features,
        output: features,
    }
}

/// Runs on the machine's own instruction set and on none, and compares with float64.
fn check(graph: &Graph, what: &str) {
    let photo = values(99, graph.input.num_values(), 1.0);
    let results = reference(graph, &photo);
    for arch in [Arch::new(), Arch::Scalar] {
        let mut executor = Executor::of(Arc::new(Plan::new(graph, arch).unwrap()));
        // Twice: slots that held something else must not matter.
        for _ in 0..2 {
            let found = executor.run(&photo).unwrap();
            for (found, expected) in [
                (found.features, &results[graph.features]),
                (found.logits, &results[graph.output]),
            ] {
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(
                        error < 2e-5 * expected.abs().max(1.0),
                        "{what} {arch:?}: {found} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_observer_shows_every_value_of_every_node() {
    let architecture = Architecture::MobileNetV2(Width::Third);
    let weights = Weights::random(architecture, 4, 11);
    let mut graph = Graph::build(architecture, &weights, 224).unwrap();
    graph.input = Shape {
        height: 64,
        width: 80,
        channels: 3,
    };
    let photo = values(99, graph.input.num_values(), 1.0);
    let results = reference(&graph, &photo);
    let mut observer = Observer::new(&graph).unwrap().share();
    observer.run(&photo).unwrap();
    for (id, expected) in results.iter().enumerate() {
        let found: Vec<f32> = observer.values(id).flatten().copied().collect();
        assert_eq!(found.len(), expected.len(), "{}", graph.nodes[id].name);
        let channels = observer.num_channels(id);
        assert!(observer.values(id).all(|piece| piece.len() % channels == 0));
        for (found, expected) in found.iter().zip(expected) {
            let error = (f64::from(*found) - expected).abs();
            assert!(error < 2e-5 * expected.abs().max(1.0), "{found} {expected}");
        }
    }
    assert!(observer.run(&photo[1..]).is_err());
}

#[test]
fn convolutions_of_every_kind_equal_their_definition() {
    let mut num_cases = 0;
    for (height, width) in [(1, 1), (5, 7), (13, 9), (16, 16)] {
        for kernel in [1, 3, 5, 7] {
            for stride in [1, 2] {
                for channels in [1, 8, 24, 40] {
                    let seed = (num_cases * 7) as u32;
                    let stem = conv(seed, [3, channels], kernel, stride, false);
                    let depthwise = conv(seed + 1, [channels, channels], kernel, stride, true);
                    let full = conv(seed + 2, [channels, 17], kernel, stride, false);
                    let ops = vec![
                        (Op::Conv2d(stem), vec![0]),
                        (Op::Conv2d(depthwise), vec![1]),
                        (Op::Conv2d(full), vec![2]),
                    ];
                    let what = format!(
                        "{height} x {width}, kernel {kernel}, stride {stride}, {channels} channels"
                    );
                    check(&graph(height, width, ops), &what);
                    num_cases += 1;
                }
            }
        }
    }
    assert_eq!(num_cases, 128);
}

#[test]
fn sums_pools_heads_and_unequal_windows_equal_their_definition() {
    let lopsided = Conv2d {
        kernel: [3, 1],
        stride: [2, 1],
        padding: Padding {
            top: 0,
            left: 2,
            bottom: 1,
            right: 0,
        },
        weights: values(5, 20 * 3 * 20, 0.2),
        ..conv(2, [20, 20], 1, 1, false)
    };
    let pool = Pool {
        kernel: [3, 3],
        stride: [2, 2],
        padding: same(1),
    };
    let plain = |seed| Conv2d {
        activation: Activation::Identity,
        ..conv(seed, [20, 20], 3, 1, false)
    };
    let ops = vec![
        (Op::Conv2d(conv(0, [3, 20], 3, 1, false)), vec![0]),
        (Op::MaxPool(pool), vec![1]),
        (Op::Conv2d(plain(1)), vec![2]),
        (Op::Add(Activation::Relu), vec![3, 2]), // done by node 3
        (Op::Conv2d(plain(2)), vec![4]),
        (Op::Add(Activation::Relu6), vec![4, 5]), // done by node 5, the other way round
        (Op::Add(Activation::Identity), vec![6, 5]), // by itself: node 5 has two readers
        (Op::Conv2d(lopsided), vec![7]),
        (Op::Conv2d(conv(4, [20, 20], 3, 2, true)), vec![8]),
    ];
    let linear = |seed, in_features, out_features| Linear {
        weights: values(seed, in_features * out_features, 0.3),
        bias: values(seed + 1, out_features, 0.3),
        out_features,
        in_features,
        activation: Activation::Relu,
    };
    let graph = graph(21, 14, ops);
    check(&graph, "no head");
    let graph = graph
        .with_head(vec![linear(1, 20, 33), linear(3, 33, 5)])
        .unwrap();
    check(&graph, "two layers");
}

#[test]
fn a_depthwise_convolution_and_a_sum_may_read_the_photo_itself() {
    let depthwise = conv(2, [3, 3], 3, 1, true);
    let ops = vec![
        (Op::Conv2d(depthwise), vec![0]),
        (Op::Add(Activation::Identity), vec![1, 0]),
    ];
    check(&graph(9, 9, ops), "on the photo");
}

#[test]
fn what_is_computed_in_bands_equals_its_definition() {
    for (height, width) in [(61, 47), (150, 40), (33, 200)] {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 3), (1, 1)] {
            let project = Conv2d {
                activation: Activation::Identity,
                ..conv(3, [56, 40], 1, 1, false)
            };
            let ops = vec![
                (Op::Conv2d(conv(0, [3, 40], 3, 1, false)), vec![0]),
                (Op::Conv2d(conv(1, [40, 56], 1, 1, false)), vec![1]),
                (Op::Conv2d(conv(2, [56, 56], kernel, stride, true)), vec![2]),
                (Op::Conv2d(project), vec![3]),
                (Op::Conv2d(conv(5, [40, 72], 3, 1, false)), vec![4]),
                (Op::Conv2d(conv(6, [72, 72], 3, 1, true)), vec![5]),
                (Op::Conv2d(conv(8, [72, 40], 1, 1, false)), vec![6]),
                (Op::Add(Activation::Relu), vec![7, 4]),
            ];
            let graph = graph(height, width, ops);
            let plan = Plan::new(&graph, Arch::Scalar).unwrap();
            assert!(plan.num_bands() > 0);
            check(
                &graph,
                &format!("{height} x {width}, kernel {kernel}, stride {stride}"),
            );
        }
    }
}

#[test]
fn whole_networks_equal_their_definition() {
    let mobilenet = Architecture::MobileNetV2(Width::Third);
    for (architecture, height, width) in [(mobilenet, 224, 224), (Architecture::ResNet18, 64, 50)] {
        let weights = Weights::random(architecture, 4, 11);
        let mut graph = Graph::build(architecture, &weights, 224).unwrap();
        // Both run at any side; a smaller one keeps the slow definition bearable.
        graph.input = Shape {
            height,
            width,
            channels: 3,
        };
        check(&graph, architecture.name());
    }
}

#[test]
fn the_part_up_to_any_node_equals_its_definition() {
    let mobilenet = Architecture::MobileNetV2(Width::Third);
    for (architecture, side) in [(mobilenet, 64), (Architecture::ResNet18, 40)] {
        let weights = Weights::random(architecture, 4, 11);
        let mut graph = Graph::build(architecture, &weights, 224).unwrap();
        graph.input = Shape {
            height: side,
            width: side + 7,
            channels: 3,
        };
        let photo = values(5, graph.input.num_values(), 1.0);
        let results = reference(&graph, &photo);
        for (id, expected) in results.iter().enumerate() {
            let part = graph.clone().up_to(id).unwrap();
            let mut executor = Executor::new(&part).unwrap();
            assert_eq!(executor.output(), part.shapes().unwrap()[id]);
            let found = executor.run(&photo).unwrap();
            assert_eq!(found.features, found.logits);
            assert_eq!(found.logits.len(), expected.len());
            for (found, expected) in found.logits.iter().zip(expected) {
                let error = (f64::from(*found) - expected).abs();
                let name = &graph.nodes[id].name;
                assert!(
                    error < 2e-5 * expected.abs().max(1.0),
                    "{name}: {found} {expected}"
                );
            }
        }
        let beyond = graph.nodes.len();
        assert!(graph.up_to(beyond).is_err());
    }
}

#[test]
fn a_photo_gives_the_same_bits_alone_in_a_batch_shared_and_on_threads() {
    let architecture = Architecture::MobileNetV2(Width::Third);
    let weights = Weights::random(architecture, 4, 11);
    let graph = Graph::build(architecture, &weights, 96).unwrap();
    let length = graph.input.num_values();
    let photos = values(7, 5 * length, 2.0);
    let mut one = Executor::new(&graph).unwrap();
    let mut features = Vec::new();
    let mut logits = Vec::new();
    for photo in photos.chunks(length) {
        let found = one.run(photo).unwrap();
        features.extend_from_slice(found.features);
        logits.extend_from_slice(found.logits);
    }
    let shared = one.share();
    assert!(Arc::ptr_eq(&one.plan, &shared.plan));
    for num_threads in [1, 2, 3, 8] {
        let mut executor = shared.share().with_threads(num_threads.try_into().unwrap());
        let found = executor.run(&photos).unwrap();
        assert!(
            found.features == features && found.logits == logits,
            "{num_threads} threads"
        );
    }
    assert_eq!(one.run(&[]).unwrap().features, [0.0; 0]);
    let error = one.run(&photos[1..]).unwrap_err().to_string();
    assert!(
        error.contains("no whole number of photos of 96 x 96 x 3"),
        "{error}"
    );
}
