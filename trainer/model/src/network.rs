//! A network on a device: built from weights, computed, frozen in part, and read back.
//!
//! Weights come and go by torchvision's names. Frozen blocks run in evaluation mode and
//! keep their running statistics; trained blocks normalise with the batch's and update
//! the running ones.

mod build;
mod forward;

pub(crate) use forward::{Leaves, Pass, Seen};

use graph::{Architecture, Weights};

use crate::ModelError;
use crate::device::Device;
use crate::evaluator::Evaluator;
use crate::frozen::Frozen;
use crate::parameters::{Parameter, Statistic, download};
use crate::plan::{ConvShape, Shortcut};

/// A network and the device that it computes on. A clone shares the numbers until
/// either learns.
#[derive(Debug, Clone)]
pub struct Network {
    architecture: Architecture,
    num_classes: usize,
    num_features: usize,
    device: Device,
    origin: HeadOrigin,
    pub(crate) blocks: Vec<Block>,
    pub(crate) head: Head,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) statistics: Vec<Statistic>,
}

/// Where the last layer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadOrigin {
    /// From the weights.
    Kept,
    /// Fresh, because the weights had none or one for another number of classes.
    Replaced,
}

/// Which part of a network learns. Blocks count from 0, the stem: MobileNetV2 has 19,
/// torchvision's `features.0` to `features.18`; ResNet's are the stem and then each
/// residual block (9 for ResNet-18, 17 for ResNet-34 and ResNet-50).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trainable {
    /// The last layer.
    Head,
    /// The last layer and this many blocks before it.
    LastBlocks(usize),
    /// The last layer and all blocks from this one on.
    FromBlock(usize),
    /// Everything.
    #[default]
    All,
}

/// A block with the places of its numbers.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub units: Vec<Unit>,
    pub shortcut: Shortcut<Unit>,
    pub activation: graph::Activation,
    pub max_pool: bool,
}

/// A unit with the places of its numbers in [`Network::parameters`] and
/// [`Network::statistics`].
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub shape: ConvShape,
    pub activation: graph::Activation,
    pub weight: usize,
    pub gamma: usize,
    pub beta: usize,
    pub mean: usize,
    pub variance: usize,
}

/// The last layer's places.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub weight: usize,
    pub bias: usize,
}

impl Network {
    /// The network of these weights. A head of another number of classes, or none, is
    /// replaced by a fresh one from `seed` ([`Self::head_origin`] tells); other tensors
    /// in `weights` are ignored.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape; no class.
    pub fn from_weights(
        architecture: Architecture,
        weights: &Weights,
        num_classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ModelError> {
        build::network(architecture, Some(weights), num_classes, seed, device)
    }

    /// A network that knows nothing yet: torchvision's initialisation from `seed`.
    ///
    /// # Errors
    /// No class.
    pub fn random(
        architecture: Architecture,
        num_classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ModelError> {
        build::network(architecture, None, num_classes, seed, device)
    }

    /// All weights and running statistics, bit for bit, by torchvision's names (without
    /// `num_batches_tracked`, which nothing needs).
    ///
    /// # Errors
    /// The device failed.
    pub fn to_weights(&self) -> Result<Weights, ModelError> {
        let mut weights = Weights::default();
        for parameter in &self.parameters {
            let values = download(parameter.value.clone(), READING)?;
            let tensor = graph::Tensor {
                shape: parameter.shape.clone(),
                values,
            };
            weights.tensors.insert(parameter.name.clone(), tensor);
        }
        for statistic in &self.statistics {
            let values = download(statistic.value.clone(), READING)?;
            let tensor = graph::Tensor {
                shape: vec![values.len()],
                values,
            };
            weights.tensors.insert(statistic.name.clone(), tensor);
        }
        Ok(weights)
    }

    /// The network in evaluation mode: as it is, for photos that it does not learn from.
    pub fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            network: self,
            frozen: Frozen::default(),
        }
    }

    /// Which network it is.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// How many classes it tells apart.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// The length of its pooled features.
    pub fn num_features(&self) -> usize {
        self.num_features
    }

    /// How many blocks it has before the head; see [`Trainable`].
    pub fn num_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Whether the weights' head was kept.
    pub fn head_origin(&self) -> HeadOrigin {
        self.origin
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The first block that learns; the head counts as the one after the last.
    pub(crate) fn first_trained(&self, trainable: Trainable) -> usize {
        let all = self.blocks.len();
        match trainable {
            Trainable::Head => all,
            Trainable::LastBlocks(count) => all.saturating_sub(count),
            Trainable::FromBlock(first) => first.min(all),
            Trainable::All => 0,
        }
    }
}

/// What reading weights is called in errors.
const READING: &str = "reading weights";

#[cfg(test)]
mod tests;
