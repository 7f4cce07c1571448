//! The layers of each architecture, without numbers. Goes out: layers in the order of
//! computation, each with torchvision's names; all else (the tensors expected, fresh
//! weights, the folded graph) is derived from this one list.

use super::Architecture;
use crate::graph::{Activation, Padding, Pool};

/// One layer, and which earlier ones it reads; layer 0 is the input.
pub(crate) struct Layer {
    pub name: String,
    pub kind: LayerKind,
    pub inputs: Vec<usize>,
}

pub(crate) enum LayerKind {
    Input,
    Conv(ConvSpec),
    Add(Activation),
    MaxPool(Pool),
    GlobalAveragePool,
}

/// A convolution without bias, a batch norm, an activation.
pub(crate) struct ConvSpec {
    /// The batch norm's name; the convolution's is the layer's.
    pub batch_norm: String,
    pub in_channels: usize,
    pub out_channels: usize,
    /// Both sides of the kernel; the padding is half of it.
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
    pub activation: Activation,
}

impl ConvSpec {
    pub fn weight_shape(&self) -> [usize; 4] {
        let in_group = self.in_channels / self.groups;
        [self.out_channels, in_group, self.kernel, self.kernel]
    }

    pub fn padding(&self) -> Padding {
        let half = self.kernel / 2;
        Padding {
            top: half,
            left: half,
            bottom: half,
            right: half,
        }
    }
}

impl Architecture {
    /// From the input to the pooled features.
    pub(crate) fn layers(self) -> Vec<Layer> {
        let mut layers = Layers::new();
        match self {
            Self::MobileNetV2(width) => mobilenet_v2(&mut layers, width.factor()),
            Self::ResNet18 => resnet(&mut layers, [2, 2, 2, 2], basic_block),
            Self::ResNet34 => resnet(&mut layers, [3, 4, 6, 3], basic_block),
            Self::ResNet50 => resnet(&mut layers, [3, 4, 6, 3], bottleneck),
        }
        layers.list
    }
}

/// The list while it grows. `last` is the layer that the next one reads.
struct Layers {
    list: Vec<Layer>,
    last: usize,
    channels: usize,
}

impl Layers {
    fn new() -> Self {
        let input = Layer {
            name: "input".to_owned(),
            kind: LayerKind::Input,
            inputs: Vec::new(),
        };
        Self {
            list: vec![input],
            last: 0,
            channels: 3,
        }
    }

    fn push(&mut self, name: String, kind: LayerKind, inputs: Vec<usize>) {
        self.last = self.list.len();
        self.list.push(Layer { name, kind, inputs });
    }

    /// A convolution on the last layer. `conv` and `batch_norm` are names below `prefix`.
    fn conv(&mut self, prefix: &str, [conv, batch_norm]: [&str; 2], shape: ConvShape) {
        let groups = if shape.depthwise { self.channels } else { 1 };
        let spec = ConvSpec {
            batch_norm: format!("{prefix}{batch_norm}"),
            in_channels: self.channels,
            out_channels: shape.out_channels,
            kernel: shape.kernel,
            stride: shape.stride,
            groups,
            activation: shape.activation,
        };
        self.channels = shape.out_channels;
        let inputs = vec![self.last];
        self.push(format!("{prefix}{conv}"), LayerKind::Conv(spec), inputs);
    }
}

struct ConvShape {
    out_channels: usize,
    kernel: usize,
    stride: usize,
    depthwise: bool,
    activation: Activation,
}

fn full(out_channels: usize, kernel: usize, stride: usize, activation: Activation) -> ConvShape {
    ConvShape {
        out_channels,
        kernel,
        stride,
        depthwise: false,
        activation,
    }
}

/// Sandler et al. 2018, table 2: expansion, channels, blocks, stride of the first.
const MOBILENET_V2: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

fn mobilenet_v2(layers: &mut Layers, width: f64) {
    let relu6 = Activation::Relu6;
    let stem = divisible_by_8(32.0 * width);
    layers.conv("features.0.", ["0", "1"], full(stem, 3, 2, relu6));
    let mut number = 1;
    for [expansion, channels, num_blocks, stride] in MOBILENET_V2 {
        let channels = divisible_by_8(channels as f64 * width);
        for block in 0..num_blocks {
            let stride = if block == 0 { stride } else { 1 };
            inverted_residual(layers, number, expansion, channels, stride);
            number += 1;
        }
    }
    let last = divisible_by_8(1280.0 * width.max(1.0));
    let prefix = format!("features.{number}.");
    layers.conv(&prefix, ["0", "1"], full(last, 1, 1, relu6));
    pool(layers, "pool");
}

fn inverted_residual(
    layers: &mut Layers,
    number: usize,
    expansion: usize,
    channels: usize,
    stride: usize,
) {
    let (before, in_channels) = (layers.last, layers.channels);
    let prefix = format!("features.{number}.conv.");
    let hidden = in_channels * expansion;
    let depthwise = ConvShape {
        depthwise: true,
        ..full(hidden, 3, stride, Activation::Relu6)
    };
    let project = full(channels, 1, 1, Activation::Identity);
    if expansion == 1 {
        layers.conv(&prefix, ["0.0", "0.1"], depthwise);
        layers.conv(&prefix, ["1", "2"], project);
    } else {
        let expand = full(hidden, 1, 1, Activation::Relu6);
        layers.conv(&prefix, ["0.0", "0.1"], expand);
        layers.conv(&prefix, ["1.0", "1.1"], depthwise);
        layers.conv(&prefix, ["2", "3"], project);
    }
    if stride == 1 && in_channels == channels {
        add(
            layers,
            format!("features.{number}.add"),
            before,
            Activation::Identity,
        );
    }
}

/// torchvision's `_make_divisible(channels, 8)`: to the nearest multiple, but never
/// more than a tenth down.
fn divisible_by_8(channels: f64) -> usize {
    let nearest = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * channels {
        nearest + 8
    } else {
        nearest
    }
}

type Block = fn(&mut Layers, &str, usize, usize);

fn resnet(layers: &mut Layers, num_blocks: [usize; 4], block: Block) {
    layers.conv("", ["conv1", "bn1"], full(64, 7, 2, Activation::Relu));
    let window = Pool {
        kernel: [3, 3],
        stride: [2, 2],
        padding: Padding {
            top: 1,
            left: 1,
            bottom: 1,
            right: 1,
        },
    };
    let inputs = vec![layers.last];
    layers.push("maxpool".to_owned(), LayerKind::MaxPool(window), inputs);
    for (stage, num_blocks) in num_blocks.into_iter().enumerate() {
        for number in 0..num_blocks {
            let stride = if stage > 0 && number == 0 { 2 } else { 1 };
            let prefix = format!("layer{}.{number}.", stage + 1);
            block(layers, &prefix, 64 << stage, stride);
        }
    }
    pool(layers, "avgpool");
}

fn basic_block(layers: &mut Layers, prefix: &str, channels: usize, stride: usize) {
    let shortcut = shortcut(layers, prefix, channels, stride);
    let relu = Activation::Relu;
    layers.conv(prefix, ["conv1", "bn1"], full(channels, 3, stride, relu));
    let last = full(channels, 3, 1, Activation::Identity);
    layers.conv(prefix, ["conv2", "bn2"], last);
    add(layers, format!("{prefix}add"), shortcut, relu);
}

fn bottleneck(layers: &mut Layers, prefix: &str, channels: usize, stride: usize) {
    let shortcut = shortcut(layers, prefix, 4 * channels, stride);
    let relu = Activation::Relu;
    layers.conv(prefix, ["conv1", "bn1"], full(channels, 1, 1, relu));
    layers.conv(prefix, ["conv2", "bn2"], full(channels, 3, stride, relu));
    let last = full(4 * channels, 1, 1, Activation::Identity);
    layers.conv(prefix, ["conv3", "bn3"], last);
    add(layers, format!("{prefix}add"), shortcut, relu);
}

/// What a block's result is added to: its input, through a convolution if the shape
/// changes. The block itself still reads its input.
fn shortcut(layers: &mut Layers, prefix: &str, channels: usize, stride: usize) -> usize {
    let (before, in_channels) = (layers.last, layers.channels);
    if stride == 1 && in_channels == channels {
        return before;
    }
    let shape = full(channels, 1, stride, Activation::Identity);
    layers.conv(prefix, ["downsample.0", "downsample.1"], shape);
    let shortcut = layers.last;
    (layers.last, layers.channels) = (before, in_channels);
    shortcut
}

fn add(layers: &mut Layers, name: String, other: usize, activation: Activation) {
    let inputs = vec![layers.last, other];
    layers.push(name, LayerKind::Add(activation), inputs);
}

fn pool(layers: &mut Layers, name: &str) {
    let inputs = vec![layers.last];
    layers.push(name.to_owned(), LayerKind::GlobalAveragePool, inputs);
}
