//! A network's numbers, on its device: what is learnt, and the running statistics.
//!
//! Each is a flat tensor; the layers give it its shape. So the optimiser, averages and
//! states need not know what they hold.

use burn_tensor::{Tensor, TensorData};

use crate::ModelError;

/// Something learnt.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    /// In which block; the head counts as the one after the last.
    pub block: usize,
    pub value: Tensor<1>,
}

/// A running mean or variance of a batch norm.
#[derive(Debug, Clone)]
pub(crate) struct Statistic {
    pub name: String,
    /// In which block.
    pub block: usize,
    pub value: Tensor<1>,
}

impl Parameter {
    /// Whether weight decay pulls it towards zero: matrices and convolutions, but no
    /// biases and no batch norm.
    pub(crate) fn decays(&self) -> bool {
        self.shape.len() > 1
    }
}

/// Numbers onto a device.
pub(crate) fn upload(values: Vec<f32>, device: &burn_tensor::Device) -> Tensor<1> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}

/// Numbers from a device, bit for bit.
pub(crate) fn download<const D: usize>(
    tensor: Tensor<D>,
    doing: &'static str,
) -> Result<Vec<f32>, ModelError> {
    tensor
        .try_into_vec_as::<f32>()
        .map_err(|error| ModelError::Device {
            doing,
            reason: error.to_string(),
        })
}
