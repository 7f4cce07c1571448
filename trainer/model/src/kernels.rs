//! The layers, by whoever computes them fastest on the device.
//!
//! Both ways take and give the same values; only the order of the dimensions differs
//! ([`Kernels`]).

mod fused;
mod unfused;

use burn_tensor::Tensor;
use graph::Activation;

use crate::ModelError;
use crate::batch::Images;
use crate::device::{Device, Kernels};
use crate::plan::ConvShape;

/// Added to the variance, as PyTorch does by default.
pub(crate) const EPSILON: f64 = 1e-5;

/// A unit's numbers: weights OIHW, then one value per output channel in each.
pub(crate) struct UnitTensors {
    pub weight: Tensor<1>,
    pub gamma: Tensor<1>,
    pub beta: Tensor<1>,
}

/// A trained unit's result.
pub(crate) struct Trained {
    pub output: Tensor<4>,
    /// The batch's mean of each channel, before the batch norm.
    pub mean: Tensor<1>,
    /// The batch's biased variance of each channel.
    pub variance: Tensor<1>,
    /// Over how many values each.
    pub count: usize,
}

pub(crate) use fused::channels_last;

/// Photos onto the device, in the order of dimensions that its layers want.
pub(crate) fn input(images: &Images, device: &Device) -> Result<Tensor<4>, ModelError> {
    let count = images.count()?;
    Ok(match device.kernels {
        Kernels::Fused => fused::input(images, count, &device.burn),
        Kernels::Burn => unfused::input(images, count, device),
    })
}

/// Convolution, batch norm with the batch's statistics, activation.
pub(crate) fn train(
    input: Tensor<4>,
    tensors: UnitTensors,
    shape: &ConvShape,
    activation: Activation,
    device: &Device,
) -> Trained {
    match device.kernels {
        Kernels::Fused => fused::train(input, tensors, shape, activation),
        Kernels::Burn => unfused::train(input, tensors, shape, activation, device.precision),
    }
}

/// Convolution, batch norm with running statistics, activation.
pub(crate) fn evaluate(
    input: Tensor<4>,
    tensors: UnitTensors,
    [mean, variance]: [Tensor<1>; 2],
    shape: &ConvShape,
    activation: Activation,
    device: &Device,
) -> Tensor<4> {
    let scale = tensors.gamma / (variance + EPSILON).sqrt();
    let bias = tensors.beta - mean * scale.clone();
    let weight = tensors.weight.reshape([shape.out_channels as i32, -1])
        * scale.reshape([shape.out_channels, 1]);
    let weight = weight.reshape([-1]);
    match device.kernels {
        Kernels::Fused => fused::evaluate(input, weight, bias, shape, activation),
        Kernels::Burn => {
            unfused::evaluate(input, weight, bias, shape, activation, device.precision)
        }
    }
}

/// The sum of two activations, then the activation.
pub(crate) fn add(left: Tensor<4>, right: Tensor<4>, activation: Activation) -> Tensor<4> {
    unfused::activate(left + right, activation)
}

/// The largest of each 3x3 window with stride 2.
pub(crate) fn max_pool(input: Tensor<4>, device: &Device) -> Tensor<4> {
    match device.kernels {
        Kernels::Fused => fused::max_pool(input),
        Kernels::Burn => unfused::max_pool(input),
    }
}

/// The mean over height and width, in 32 bit: `[n, channels]`.
pub(crate) fn global_pool(input: Tensor<4>, device: &Device) -> Tensor<2> {
    match device.kernels {
        Kernels::Fused => fused::global_pool(input),
        Kernels::Burn => unfused::global_pool(input),
    }
}
