//! One pass from photos to features and logits, with a tape where something learns.

use burn_tensor::Tensor;

use super::{Block, Network, Unit};
use crate::ModelError;
use crate::batch::Images;
use crate::frozen::Frozen;
use crate::kernels::{self, UnitTensors};
use crate::plan::Shortcut;

/// The learning parameters of one pass, on the tape; `None` for the frozen ones.
pub(crate) struct Leaves(pub Vec<Option<Tensor<1>>>);

/// What a trained batch norm saw.
pub(crate) struct Seen {
    /// The running mean's place.
    pub mean_at: usize,
    /// The running variance's place.
    pub variance_at: usize,
    pub mean: Tensor<1>,
    /// Unbiased, as PyTorch's running variance is.
    pub variance: Tensor<1>,
}

/// One pass through a network.
pub(crate) struct Pass<'a> {
    network: &'a Network,
    first_trained: usize,
    leaves: Option<Leaves>,
    /// Statistics of the trained batch norms, in the order of computation.
    pub seen: Vec<Seen>,
}

impl Leaves {
    /// The parameters of the blocks from `first_trained` on.
    fn new(network: &Network, first_trained: usize) -> Self {
        let leaf = |parameter: &crate::parameters::Parameter| {
            (parameter.block >= first_trained)
                .then(|| parameter.value.clone().autodiff().require_grad())
        };
        Self(network.parameters.iter().map(leaf).collect())
    }
}

impl<'a> Pass<'a> {
    /// A pass in which nothing learns.
    pub(crate) fn evaluate(network: &'a Network) -> Self {
        Self {
            network,
            first_trained: usize::MAX,
            leaves: None,
            seen: Vec::new(),
        }
    }

    /// A pass in which the blocks from `first_trained` on learn.
    pub(crate) fn train(network: &'a Network, first_trained: usize) -> Self {
        let leaves = Some(Leaves::new(network, first_trained));
        Self {
            network,
            first_trained,
            leaves,
            seen: Vec::new(),
        }
    }

    /// The leaves to read gradients by.
    pub(crate) fn into_leaves(self) -> Leaves {
        self.leaves.unwrap_or(Leaves(Vec::new()))
    }

    /// Pooled features: `[n, num_features]`. What does not learn comes from `frozen`, where
    /// that can compute it.
    pub(crate) fn features(
        &mut self,
        images: &Images,
        frozen: &mut Frozen,
    ) -> Result<Tensor<2>, ModelError> {
        let network = self.network;
        let ahead = frozen.run(network, self.first_trained, images)?;
        let (mut activations, first) = match ahead {
            Some(activations) => (activations, self.first_trained.min(network.blocks.len())),
            None => (kernels::input(images, &network.device)?, 0),
        };
        for (number, block) in network.blocks.iter().enumerate().skip(first) {
            let learns = number >= self.first_trained;
            if learns {
                activations = activations.autodiff();
            }
            activations = self.block(block, activations, learns);
        }
        Ok(kernels::global_pool(activations, &network.device))
    }

    /// Logits of features: `[n, num_classes]`.
    pub(crate) fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        let network = self.network;
        let [_, length] = features.dims();
        let weight = self
            .value(network.head.weight)
            .reshape([network.num_classes, length]);
        let bias = self
            .value(network.head.bias)
            .reshape([1, network.num_classes]);
        features.matmul(weight.transpose()) + bias
    }

    fn block(&mut self, block: &Block, input: Tensor<4>, learns: bool) -> Tensor<4> {
        let mut output = input.clone();
        for unit in &block.units {
            output = self.unit(unit, output, learns);
        }
        let device = &self.network.device;
        output = match &block.shortcut {
            Shortcut::None => output,
            Shortcut::Identity => kernels::add(output, input, block.activation),
            Shortcut::Unit(unit) => {
                let input = self.unit(unit, input, learns);
                kernels::add(output, input, block.activation)
            }
        };
        if block.max_pool {
            kernels::max_pool(output, device)
        } else {
            output
        }
    }

    fn unit(&mut self, unit: &Unit, input: Tensor<4>, learns: bool) -> Tensor<4> {
        let device = &self.network.device;
        let tensors = UnitTensors {
            weight: self.value(unit.weight),
            gamma: self.value(unit.gamma),
            beta: self.value(unit.beta),
        };
        if !learns {
            let running =
                [unit.mean, unit.variance].map(|at| self.network.statistics[at].value.clone());
            return kernels::evaluate(
                input,
                tensors,
                running,
                &unit.shape,
                unit.activation,
                device,
            );
        }
        let trained = kernels::train(input, tensors, &unit.shape, unit.activation, device);
        let count = trained.count as f64;
        self.seen.push(Seen {
            mean_at: unit.mean,
            variance_at: unit.variance,
            mean: trained.mean.inner(),
            variance: trained.variance.inner() * (count / (count - 1.0).max(1.0)),
        });
        trained.output
    }

    /// A parameter, on the tape if it learns.
    fn value(&self, at: usize) -> Tensor<1> {
        let leaf = self.leaves.as_ref().and_then(|leaves| leaves.0[at].clone());
        leaf.unwrap_or_else(|| self.network.parameters[at].value.clone())
    }
}

impl Network {
    /// Logits in evaluation mode.
    pub(crate) fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        Pass::evaluate(self).logits(features)
    }
}
