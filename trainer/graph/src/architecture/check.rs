//! Whether a file of weights fits an architecture. Goes out: the tensors expected, and
//! for a file that does not fit, the first tensor that is missing or of another shape.

use super::{Architecture, LayerKind};
use crate::weights::{Tensor, Weights};

/// A tensor that an architecture needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// torchvision's name.
    pub name: String,
    /// Its lengths; convolutions are OIHW.
    pub shape: Vec<usize>,
}

/// What does not fit an architecture.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum ArchitectureError {
    /// A tensor is not there.
    #[error("the weights are not those of {architecture}: tensor {name} is missing")]
    Missing {
        /// What was expected.
        architecture: Architecture,
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape.
    #[error(
        "the weights are not those of {architecture}: tensor {name} has the shape {found:?}, \
         expected {expected:?}"
    )]
    Shape {
        /// What was expected.
        architecture: Architecture,
        /// The tensor.
        name: String,
        /// The architecture's shape; 0 stands for any length.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// A weight is infinite or no number, so that every result would be.
    #[error("tensor {name} holds a value that is not finite")]
    NotFinite {
        /// The tensor.
        name: String,
    },
    /// The input's side is none that the network runs at.
    #[error("{architecture} does not run at side {side}; it runs at {:?}", architecture.sides())]
    Side {
        /// The architecture.
        architecture: Architecture,
        /// The side.
        side: usize,
    },
}

impl Architecture {
    /// The tensors of everything but the head, in the order of computation. Publishers'
    /// files also have a `num_batches_tracked` for each batch norm, which nothing needs.
    pub fn backbone_tensors(self) -> Vec<TensorSpec> {
        let mut specs = Vec::new();
        for layer in self.layers() {
            let LayerKind::Conv(conv) = layer.kind else {
                continue;
            };
            specs.push(TensorSpec {
                name: format!("{}.weight", layer.name),
                shape: conv.weight_shape().to_vec(),
            });
            for part in ["weight", "bias", "running_mean", "running_var"] {
                specs.push(TensorSpec {
                    name: format!("{}.{part}", conv.batch_norm),
                    shape: vec![conv.out_channels],
                });
            }
        }
        specs
    }

    /// The two tensors of a head with so many classes.
    pub fn head_tensors(self, num_classes: usize) -> [TensorSpec; 2] {
        let spec = |part: &str, shape| TensorSpec {
            name: format!("{}.{part}", self.head_name()),
            shape,
        };
        [
            spec("weight", vec![num_classes, self.num_features()]),
            spec("bias", vec![num_classes]),
        ]
    }

    /// Checks every tensor's name, shape and values. The number of classes of the
    /// weights' head, if they have one.
    ///
    /// # Errors
    /// [`ArchitectureError`], naming the first tensor that does not fit.
    pub fn check(self, weights: &Weights) -> Result<Option<usize>, ArchitectureError> {
        for spec in self.backbone_tensors() {
            self.tensor(weights, &spec)?;
        }
        let weight = format!("{}.weight", self.head_name());
        let Some(head) = weights.tensors.get(&weight) else {
            return Ok(None);
        };
        let num_classes = head.shape.first().copied().unwrap_or(0);
        for spec in self.head_tensors(num_classes) {
            self.tensor(weights, &spec)?;
        }
        Ok(Some(num_classes))
    }

    fn tensor<'a>(
        self,
        weights: &'a Weights,
        spec: &TensorSpec,
    ) -> Result<&'a Tensor, ArchitectureError> {
        let name = || spec.name.clone();
        let tensor = weights
            .tensors
            .get(&spec.name)
            .ok_or_else(|| ArchitectureError::Missing {
                architecture: self,
                name: name(),
            })?;
        let num_values: usize = spec.shape.iter().product();
        if tensor.shape != spec.shape || tensor.values.len() != num_values {
            return Err(ArchitectureError::Shape {
                architecture: self,
                name: name(),
                expected: spec.shape.clone(),
                found: tensor.shape.clone(),
            });
        }
        if tensor.values.iter().any(|value| !value.is_finite()) {
            return Err(ArchitectureError::NotFinite { name: name() });
        }
        Ok(tensor)
    }

    pub(super) fn check_side(self, side: usize) -> Result<(), ArchitectureError> {
        if self.sides().contains(&side) {
            return Ok(());
        }
        Err(ArchitectureError::Side {
            architecture: self,
            side,
        })
    }
}
