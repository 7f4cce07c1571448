//! The networks that Tintype knows. Comes in: a name such as `mobilenet_v2_0.5`. Goes
//! out: what a file of weights must hold for it, what input it takes, and fresh weights
//! to begin from. Names and shapes are torchvision's, so its files fit as they are.

use std::fmt;
use std::str::FromStr;

use schemas::{InputSpec, Layout};

use crate::weights::Weights;

mod check;
pub use check::{ArchitectureError, TensorSpec};

mod random;

mod topology;
pub(crate) use topology::{ConvSpec, LayerKind};

/// A network's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// MobileNetV2 of a width.
    MobileNetV2(Width),
    /// ResNet with 18 layers.
    ResNet18,
    /// ResNet with 34 layers.
    ResNet34,
    /// ResNet with 50 layers (v1.5: the stride is in the 3x3 convolution).
    ResNet50,
}

/// How many channels a MobileNetV2 has, as a part of the full one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// 1.0
    Full,
    /// 0.5
    Half,
    /// 0.35
    Third,
}

impl Width {
    /// The factor of all channel counts.
    pub fn factor(self) -> f64 {
        match self {
            Self::Full => 1.0,
            Self::Half => 0.5,
            Self::Third => 0.35,
        }
    }
}

/// A name that is no architecture.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("there is no architecture {name:?}; known are {}", known())]
pub struct UnknownArchitecture {
    /// The name.
    pub name: String,
}

fn known() -> String {
    Architecture::ALL.map(Architecture::name).join(", ")
}

/// Mean and standard deviation of ImageNet's training photos, which all published
/// weights were trained with. Other values shift every activation.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 6] = [
        Self::MobileNetV2(Width::Full),
        Self::MobileNetV2(Width::Half),
        Self::MobileNetV2(Width::Third),
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
    ];

    /// Its name, as in specs, rows and manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::MobileNetV2(Width::Full) => "mobilenet_v2",
            Self::MobileNetV2(Width::Half) => "mobilenet_v2_0.5",
            Self::MobileNetV2(Width::Third) => "mobilenet_v2_0.35",
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::ResNet50 => "resnet50",
        }
    }

    /// Length of the pooled features.
    pub fn num_features(self) -> usize {
        match self {
            // Never less than the full network's, as the paper has it.
            Self::MobileNetV2(_) => 1280,
            Self::ResNet18 | Self::ResNet34 => 512,
            Self::ResNet50 => 2048,
        }
    }

    /// The name of the last layer in a file of weights.
    pub fn head_name(self) -> &'static str {
        match self {
            Self::MobileNetV2(_) => "classifier.1",
            Self::ResNet18 | Self::ResNet34 | Self::ResNet50 => "fc",
        }
    }

    /// The sides of the input that it may run at; the first is what weights are
    /// published for. Fewer pixels cost accuracy and save time in proportion.
    pub fn sides(self) -> &'static [usize] {
        match self {
            Self::MobileNetV2(_) => &[224, 192, 160, 128, 96],
            Self::ResNet18 | Self::ResNet34 | Self::ResNet50 => &[224],
        }
    }

    /// The input at side 224: short side to 256, the middle 224, ImageNet's mean and
    /// standard deviation.
    pub fn input_spec(self) -> InputSpec {
        input_spec(self.sides()[0])
    }

    /// The input at one of [`Self::sides`]; the resize keeps the proportion 256 to 224.
    ///
    /// # Errors
    /// [`ArchitectureError::Side`]
    pub fn input_spec_at(self, side: usize) -> Result<InputSpec, ArchitectureError> {
        self.check_side(side)?;
        Ok(input_spec(side))
    }

    /// Fresh weights: He's normal initialisation (fan out) of the convolutions, batch
    /// norm as the identity, and a head of `num_classes` with deviation 0.01, as
    /// torchvision does. The same seed gives the same bits on every machine.
    pub fn random_weights(self, num_classes: usize, seed: u64) -> Weights {
        random::weights(self, num_classes, seed)
    }
}

fn input_spec(side: usize) -> InputSpec {
    let size = u32::try_from(side).expect("sides are small");
    InputSpec {
        size,
        resize: (size * 256 + 112) / 224,
        crop: size,
        mean: IMAGENET_MEAN,
        std: IMAGENET_STD,
        layout: Layout::Nhwc,
    }
}

impl Weights {
    /// [`Architecture::random_weights`]
    pub fn random(architecture: Architecture, num_classes: usize, seed: u64) -> Self {
        architecture.random_weights(num_classes, seed)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = UnknownArchitecture;

    fn from_str(name: &str) -> Result<Self, UnknownArchitecture> {
        Self::ALL
            .into_iter()
            .find(|known| known.name() == name)
            .ok_or_else(|| UnknownArchitecture {
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests;
