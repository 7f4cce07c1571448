//! Random networks, photos and infos. Random numbers come from a counter, so that every
//! run has the same.

use std::collections::BTreeMap;

use export::{Calibration, Interpreter, ModelInfo, PhotoSource};
use graph::{Activation, Conv2d, Graph, Linear, Node, Op, Padding, Pool, Shape};
use schemas::{InputSpec, Layout};

pub const SIDE: usize = 37;
pub const NUM_CLASSES: usize = 5;

/// A source of numbers in -1..1.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub fn values(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| self.next() * scale).collect()
    }
}

fn padding(top: usize, left: usize, bottom: usize, right: usize) -> Padding {
    Padding {
        top,
        left,
        bottom,
        right,
    }
}

struct Layer {
    channels: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    groups: usize,
    activation: Activation,
}

fn conv(random: &mut Random, layer: &Layer) -> Op {
    let [from, to] = layer.channels;
    let depth = layer.kernel[0] * layer.kernel[1] * from / layer.groups;
    let scale = 1.7 / (depth as f32).sqrt();
    Op::Conv2d(Conv2d {
        weights: random.values(to * depth, scale),
        bias: random.values(to, 0.5),
        out_channels: to,
        in_channels: from,
        kernel: layer.kernel,
        stride: layer.stride,
        padding: layer.padding,
        groups: layer.groups,
        activation: layer.activation,
    })
}

fn linear(random: &mut Random, [from, to]: [usize; 2], activation: Activation) -> Op {
    Op::Linear(Linear {
        weights: random.values(from * to, 2.0 / (from as f32).sqrt()),
        bias: random.values(to, 0.5),
        out_features: to,
        in_features: from,
        activation,
    })
}

/// Every node, activation and padding there is: `SAME` and not, odd sizes, one-sided
/// zeros, wide and high windows.
pub fn network(seed: u64) -> Graph {
    let random = &mut Random(seed);
    let layer = Layer {
        channels: [3, 8],
        kernel: [3, 3],
        stride: [2, 2],
        padding: padding(1, 1, 1, 1),
        groups: 1,
        activation: Activation::Relu,
    };
    let stem = conv(random, &layer);
    let pool = Op::MaxPool(Pool {
        kernel: [3, 3],
        stride: [2, 2],
        padding: padding(1, 1, 1, 1),
    });
    let depthwise = Layer {
        channels: [8, 8],
        stride: [1, 1],
        groups: 8,
        activation: Activation::Relu6,
        ..layer
    };
    let project = Layer {
        kernel: [1, 1],
        padding: Padding::default(),
        groups: 1,
        activation: Activation::Identity,
        ..depthwise
    };
    let wide = Layer {
        channels: [8, 12],
        kernel: [2, 5],
        stride: [2, 1],
        padding: padding(0, 2, 1, 2),
        activation: Activation::Relu6,
        ..project
    };
    let down = Layer {
        channels: [12, 12],
        kernel: [3, 3],
        stride: [2, 2],
        padding: padding(1, 1, 1, 1),
        groups: 12,
        ..wide
    };
    let valid_pool = Op::MaxPool(Pool {
        kernel: [2, 1],
        stride: [1, 1],
        padding: Padding::default(),
    });
    let steps = [
        ("photo", Op::Input, vec![]),
        ("stem", stem, vec![0]),
        ("pool", pool, vec![1]),
        ("block.0", conv(random, &depthwise), vec![2]),
        ("block.1", conv(random, &project), vec![3]),
        ("block.sum", Op::Add(Activation::Identity), vec![2, 4]),
        ("branch", conv(random, &project), vec![5]),
        ("sum", Op::Add(Activation::Relu), vec![6, 5]),
        ("wide", conv(random, &wide), vec![7]),
        ("wide.pool", valid_pool, vec![8]),
        ("down", conv(random, &down), vec![9]),
        ("mean", Op::GlobalAveragePool, vec![10]),
        (
            "hidden",
            linear(random, [12, 9], Activation::Relu),
            vec![11],
        ),
        (
            "head",
            linear(random, [9, NUM_CLASSES], Activation::Identity),
            vec![12],
        ),
    ];
    Graph {
        name: "all_kinds".to_owned(),
        input: Shape {
            height: SIDE,
            width: SIDE,
            channels: 3,
        },
        nodes: steps
            .into_iter()
            .map(|(name, op, inputs)| Node {
                name: name.to_owned(),
                op,
                inputs,
            })
            .collect(),
        features: 11,
        output: 13,
    }
}

pub fn info() -> ModelInfo {
    let side = SIDE as u32;
    ModelInfo {
        name: "kinds".to_owned(),
        version: "7".to_owned(),
        description: "a random network".to_owned(),
        author: "nobody".to_owned(),
        license: "CC0".to_owned(),
        labels: ["ant", "bee", "crème brûlée", "猫", "e, e"]
            .map(str::to_owned)
            .to_vec(),
        input: InputSpec {
            size: side,
            resize: side,
            crop: side,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            layout: Layout::Nhwc,
        },
        temperature: 1.0,
        extra: BTreeMap::from([("dataset".to_owned(), "none".to_owned())]),
    }
}

/// A photo's bytes as 0..=1: a few smooth waves, and noise.
pub fn photo(seed: u64) -> Vec<f32> {
    let random = &mut Random(seed);
    let waves: Vec<[f32; 3]> = (0..3)
        .map(|_| [random.next(), random.next(), random.next()])
        .collect();
    let value = |at: usize| {
        let (y, x) = ((at / 3 / SIDE) as f32, (at / 3 % SIDE) as f32);
        let [a, b, c] = waves[at % 3];
        let wave = 0.5 + 0.4 * ((a * x + b * y) * 0.4 + c * 6.0).sin();
        ((wave + 0.1 * random.next()).clamp(0.0, 1.0) * 255.0).round() / 255.0
    };
    (0..SIDE * SIDE * 3).map(value).collect()
}

/// The photo as the network takes it.
pub fn normalised(photo: &[f32], info: &ModelInfo) -> Vec<f32> {
    let channels = info.input.mean.iter().zip(&info.input.std).cycle();
    let values = photo.iter().zip(channels);
    values
        .map(|(value, (mean, std))| (value - mean) / std)
        .collect()
}

pub fn logits(graph: &Graph, info: &ModelInfo, photo: &[f32]) -> Vec<f32> {
    let mut interpreter = Interpreter::new(graph).unwrap();
    interpreter.run(&normalised(photo, info)).to_vec()
}

pub fn calibration(graph: &Graph, info: &ModelInfo) -> Calibration {
    let photos: Vec<_> = (100..140)
        .map(|seed| normalised(&photo(seed), info))
        .collect();
    measured(graph, &photos)
}

/// A calibration on these photos.
pub fn measured(graph: &Graph, photos: &[Vec<f32>]) -> Calibration {
    let photos = PhotoSource {
        count: photos.len(),
        get: &|number| Ok(photos[number].clone()),
    };
    Calibration::measure(graph, &photos, 2).unwrap()
}

pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .fold(0.0, |max, (a, b)| max.max((a - b).abs()))
}
