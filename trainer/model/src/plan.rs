//! What a network consists of: blocks of convolutions with torchvision's names.
//!
//! In comes an architecture, out goes the list of blocks from photo to pooled features.
//! Sources: torchvision `models/mobilenetv2.py` and `models/resnet.py` (v1.5).

use graph::{Activation, Architecture, Width};

/// A whole network without its head.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// From the photo on.
    pub blocks: Vec<BlockPlan>,
    /// Length of the pooled features.
    pub num_features: usize,
    /// Name of the last layer's tensors, without `.weight` and `.bias`.
    pub head: &'static str,
}

/// What is frozen or trained as a whole.
#[derive(Debug, Clone)]
pub(crate) struct BlockPlan {
    /// One after the other.
    pub units: Vec<UnitPlan>,
    /// What is added to the last unit's result.
    pub shortcut: Shortcut<UnitPlan>,
    /// After the sum.
    pub activation: Activation,
    /// A 3x3 max pool of stride 2 at the end.
    pub max_pool: bool,
}

/// What is added at the end of a block.
#[derive(Debug, Clone)]
pub(crate) enum Shortcut<U> {
    /// Nothing.
    None,
    /// The block's input.
    Identity,
    /// The block's input, converted to the result's shape.
    Unit(U),
}

/// A convolution without bias, batch norm and an activation.
#[derive(Debug, Clone)]
pub(crate) struct UnitPlan {
    /// The convolution's name, without `.weight`.
    pub conv: String,
    /// The batch norm's name.
    pub norm: String,
    /// The convolution.
    pub shape: ConvShape,
    /// At the end.
    pub activation: Activation,
}

/// A square convolution that pads `kernel / 2` on every side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub in_channels: usize,
    pub out_channels: usize,
    pub kernel: usize,
    pub stride: usize,
    /// One input channel for each output channel.
    pub depthwise: bool,
}

impl ConvShape {
    /// As PyTorch holds the weights: OIHW.
    pub(crate) fn weight_shape(&self) -> [usize; 4] {
        let inputs = if self.depthwise { 1 } else { self.in_channels };
        [self.out_channels, inputs, self.kernel, self.kernel]
    }

    /// The length of a side afterwards.
    pub(crate) fn out_side(&self, side: usize) -> usize {
        (side + 2 * (self.kernel / 2) - self.kernel) / self.stride + 1
    }
}

impl Plan {
    pub(crate) fn new(architecture: Architecture) -> Self {
        match architecture {
            Architecture::MobileNetV2(width) => mobilenet_v2(match width {
                Width::Full => 1.0,
                Width::Half => 0.5,
                Width::Third => 0.35,
            }),
            Architecture::ResNet18 => resnet(&[2, 2, 2, 2], false),
            Architecture::ResNet34 => resnet(&[3, 4, 6, 3], false),
            Architecture::ResNet50 => resnet(&[3, 4, 6, 3], true),
        }
    }

    /// Every unit.
    #[cfg(test)]
    pub(crate) fn units(&self) -> impl Iterator<Item = &UnitPlan> {
        self.blocks.iter().flat_map(|block| {
            let extra = match &block.shortcut {
                Shortcut::Unit(unit) => Some(unit),
                _ => None,
            };
            block.units.iter().chain(extra)
        })
    }
}

fn mobilenet_v2(width: f64) -> Plan {
    let channels = |full: usize| divisible_by_8(full as f64 * width);
    let unit = |name: String, index: [&str; 2], shape, activation| UnitPlan {
        conv: format!("{name}{}", index[0]),
        norm: format!("{name}{}", index[1]),
        shape,
        activation,
    };
    let conv = |in_channels, out_channels, kernel, stride, depthwise| ConvShape {
        in_channels,
        out_channels,
        kernel,
        stride,
        depthwise,
    };
    let alone = |units, shortcut| BlockPlan {
        units,
        shortcut,
        activation: Activation::Identity,
        max_pool: false,
    };
    let mut inputs = channels(32);
    let stem = unit(
        "features.0".into(),
        [".0", ".1"],
        conv(3, inputs, 3, 2, false),
        Activation::Relu6,
    );
    let mut blocks = vec![alone(vec![stem], Shortcut::None)];
    // expansion, channels, repeats, stride: table 2 of Sandler et al., 2018
    let settings = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    for (expansion, full, repeats, first_stride) in settings {
        let outputs = channels(full);
        for repeat in 0..repeats {
            let stride = if repeat == 0 { first_stride } else { 1 };
            let hidden = inputs * expansion;
            let name = format!("features.{}.conv.", blocks.len());
            let mut units = Vec::new();
            let mut at = 0;
            if expansion != 1 {
                let shape = conv(inputs, hidden, 1, 1, false);
                units.push(unit(name.clone(), ["0.0", "0.1"], shape, Activation::Relu6));
                at = 1;
            }
            let shape = conv(hidden, hidden, 3, stride, true);
            let index = [["0.0", "0.1"], ["1.0", "1.1"]][at];
            units.push(unit(name.clone(), index, shape, Activation::Relu6));
            let shape = conv(hidden, outputs, 1, 1, false);
            let index = [["1", "2"], ["2", "3"]][at];
            units.push(unit(name, index, shape, Activation::Identity));
            let same = stride == 1 && inputs == outputs;
            blocks.push(alone(
                units,
                if same {
                    Shortcut::Identity
                } else {
                    Shortcut::None
                },
            ));
            inputs = outputs;
        }
    }
    // Widths below 1 keep the full last layer.
    let num_features = divisible_by_8(1280.0 * width.max(1.0));
    let name = format!("features.{}", blocks.len());
    let last = unit(
        name,
        [".0", ".1"],
        conv(inputs, num_features, 1, 1, false),
        Activation::Relu6,
    );
    blocks.push(alone(vec![last], Shortcut::None));
    Plan {
        blocks,
        num_features,
        head: "classifier.1",
    }
}

/// The nearest multiple of 8 that is not more than a tenth below.
fn divisible_by_8(channels: f64) -> usize {
    let rounded = (((channels + 4.0) / 8.0).floor() as usize * 8).max(8);
    if (rounded as f64) < 0.9 * channels {
        rounded + 8
    } else {
        rounded
    }
}

fn resnet(repeats: &[usize; 4], bottleneck: bool) -> Plan {
    let unit = |prefix: &str, number: usize, shape, activation| UnitPlan {
        conv: format!("{prefix}conv{number}"),
        norm: format!("{prefix}bn{number}"),
        shape,
        activation,
    };
    let conv = |in_channels, out_channels, kernel, stride| ConvShape {
        in_channels,
        out_channels,
        kernel,
        stride,
        depthwise: false,
    };
    let mut blocks = vec![BlockPlan {
        units: vec![unit("", 1, conv(3, 64, 7, 2), Activation::Relu)],
        shortcut: Shortcut::None,
        activation: Activation::Identity,
        max_pool: true,
    }];
    let mut inputs = 64;
    for (layer, repeats) in repeats.iter().enumerate() {
        let middle = 64 << layer;
        let outputs = if bottleneck { 4 * middle } else { middle };
        for repeat in 0..*repeats {
            let stride = if repeat == 0 && layer > 0 { 2 } else { 1 };
            let name = format!("layer{}.{repeat}.", layer + 1);
            let units = if bottleneck {
                vec![
                    unit(&name, 1, conv(inputs, middle, 1, 1), Activation::Relu),
                    unit(&name, 2, conv(middle, middle, 3, stride), Activation::Relu),
                    unit(&name, 3, conv(middle, outputs, 1, 1), Activation::Identity),
                ]
            } else {
                vec![
                    unit(&name, 1, conv(inputs, middle, 3, stride), Activation::Relu),
                    unit(&name, 2, conv(middle, outputs, 3, 1), Activation::Identity),
                ]
            };
            let shortcut = if stride == 1 && inputs == outputs {
                Shortcut::Identity
            } else {
                Shortcut::Unit(UnitPlan {
                    conv: format!("{name}downsample.0"),
                    norm: format!("{name}downsample.1"),
                    shape: conv(inputs, outputs, 1, stride),
                    activation: Activation::Identity,
                })
            };
            blocks.push(BlockPlan {
                units,
                shortcut,
                activation: Activation::Relu,
                max_pool: false,
            });
            inputs = outputs;
        }
    }
    Plan {
        blocks,
        num_features: inputs,
        head: "fc",
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;
    use graph::{Architecture, Width};

    /// Parameters of torchvision's networks with 1000 classes, by `sum(p.numel())`.
    #[test]
    fn parameter_counts_are_torchvisions() {
        let cases = [
            (Architecture::MobileNetV2(Width::Full), 3_504_872, 19),
            (Architecture::MobileNetV2(Width::Half), 1_968_680, 19),
            (Architecture::MobileNetV2(Width::Third), 1_677_128, 19),
            (Architecture::ResNet18, 11_689_512, 9),
            (Architecture::ResNet34, 21_797_672, 17),
            (Architecture::ResNet50, 25_557_032, 17),
        ];
        for (architecture, expected, num_blocks) in cases {
            let plan = Plan::new(architecture);
            let units: usize = plan
                .units()
                .map(|unit| {
                    unit.shape.weight_shape().iter().product::<usize>()
                        + 2 * unit.shape.out_channels
                })
                .sum();
            assert_eq!(
                units + 1000 * (plan.num_features + 1),
                expected,
                "{architecture:?}"
            );
            assert_eq!(plan.blocks.len(), num_blocks, "{architecture:?}");
        }
    }
}
