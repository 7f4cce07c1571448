//! Weights by name, as publishers' files hold them.

use std::collections::BTreeMap;

/// An array of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Lengths, outermost first.
    pub shape: Vec<usize>,
    /// The values, row-major; as many as the product of `shape`.
    pub values: Vec<f32>,
}

/// Weights by name, with torchvision's names (`features.0.0.weight`, ...).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights {
    /// The tensors.
    pub tensors: BTreeMap<String, Tensor>,
}
