//! The layers by burn's own operations, NCHW, for every device that burn knows.

use burn_tensor::ops::{ConvOptions, MaxPoolOptions};
use burn_tensor::{DType, Tensor, TensorData, activation, module};
use graph::Activation;

use super::{EPSILON, Trained, UnitTensors};
use crate::batch::Images;
use crate::device::{Device, Precision};
use crate::plan::ConvShape;

pub(super) fn input(images: &Images, count: usize, device: &Device) -> Tensor<4> {
    let data = TensorData::new(images.values.clone(), [count, 3, images.side, images.side]);
    lower(Tensor::from_data(data, &device.burn), device.precision)
}

pub(super) fn train(
    input: Tensor<4>,
    tensors: UnitTensors,
    shape: &ConvShape,
    activation: Activation,
    precision: Precision,
) -> Trained {
    let weight = lower(tensors.weight.reshape(shape.weight_shape()), precision);
    let convolved = module::conv2d(input, weight, None, options(shape));
    let [photos, channels, height, width] = convolved.dims();
    let convolved = raise(convolved, precision);
    debug_assert_eq!(channels, shape.out_channels);
    let normed = module::batch_norm_train(convolved, tensors.gamma, tensors.beta, EPSILON);
    Trained {
        output: lower(activate(normed.output, activation), precision),
        mean: normed.mean,
        variance: normed.variance,
        count: photos * height * width,
    }
}

pub(super) fn evaluate(
    input: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    shape: &ConvShape,
    activation: Activation,
    precision: Precision,
) -> Tensor<4> {
    let weight = lower(weight.reshape(shape.weight_shape()), precision);
    let bias = lower(bias, precision);
    activate(
        module::conv2d(input, weight, Some(bias), options(shape)),
        activation,
    )
}

pub(super) fn activate(input: Tensor<4>, kind: Activation) -> Tensor<4> {
    match kind {
        Activation::Identity => input,
        Activation::Relu => activation::relu(input),
        Activation::Relu6 => activation::relu6(input),
    }
}

pub(super) fn max_pool(input: Tensor<4>) -> Tensor<4> {
    let options = MaxPoolOptions {
        stride: [2, 2],
        padding: [(1, 1); 2],
        ..MaxPoolOptions::new([3, 3])
    };
    module::max_pool2d(input, options)
}

pub(super) fn global_pool(input: Tensor<4>) -> Tensor<2> {
    let [photos, channels, height, width] = input.dims();
    let rows = input
        .cast(DType::F32)
        .reshape([photos, channels, height * width]);
    rows.mean_dim(2).reshape([photos, channels])
}

fn options(shape: &ConvShape) -> ConvOptions<2> {
    let groups = if shape.depthwise {
        shape.in_channels
    } else {
        1
    };
    ConvOptions::new([shape.stride; 2], [shape.kernel / 2; 2], [1, 1], groups)
}

/// To what activations are held in.
fn lower<const D: usize>(tensor: Tensor<D>, precision: Precision) -> Tensor<D> {
    match precision {
        Precision::F32 => tensor,
        Precision::Bf16 => tensor.cast(DType::BF16),
    }
}

/// To 32 bit.
fn raise<const D: usize>(tensor: Tensor<D>, precision: Precision) -> Tensor<D> {
    match precision {
        Precision::F32 => tensor,
        Precision::Bf16 => tensor.cast(DType::F32),
    }
}
