//! The layers on the CPU, NHWC: a convolution, its batch norm and its activation are one
//! operation on burn's tape, forwards and backwards.
//!
//! Between two units only the convolution's result is kept; what batch norm and
//! activation made of it is found again on the way back. Sums are over fixed pieces in a
//! fixed order, so that the number of threads does not change a bit.

mod columns;
mod conv;
mod depthwise;
mod matrix;
mod norm;

use burn_backend::Backend;
use burn_dispatch::backends::autodiff::checkpoint::base::Checkpointer;
use burn_dispatch::backends::autodiff::grads::Gradients;
use burn_dispatch::backends::autodiff::ops::{Backward, Ops, OpsKind};
use burn_dispatch::backends::flex::FlexTensor;
use burn_dispatch::backends::{Autodiff, Flex};
use burn_tensor::{Tensor, TensorData};
use graph::Activation;

use self::conv::{Convolution, Shape};
use self::norm::Norm;
use super::{Trained, UnitTensors, unfused};
use crate::batch::Images;
use crate::plan::ConvShape;

/// burn's tape on the CPU.
type Taped = Autodiff<Flex>;

/// Photos, channels last.
pub(super) fn input(images: &Images, count: usize, device: &burn_tensor::Device) -> Tensor<4> {
    let values = channels_last(images);
    let data = TensorData::new(values, [count, images.side, images.side, 3]);
    Tensor::from_data(data, device)
}

/// The values of photos, pixel by pixel.
pub(crate) fn channels_last(images: &Images) -> Vec<f32> {
    let area = images.side * images.side;
    let mut values = vec![0.0; images.values.len()];
    let photos = images
        .values
        .chunks_exact(3 * area)
        .zip(values.chunks_exact_mut(3 * area));
    for (planes, pixels) in photos {
        let (red, rest) = planes.split_at(area);
        let (green, blue) = rest.split_at(area);
        let planes = red.iter().zip(green).zip(blue);
        for (pixel, ((red, green), blue)) in pixels.chunks_exact_mut(3).zip(planes) {
            pixel.copy_from_slice(&[*red, *green, *blue]);
        }
    }
    values
}

/// Convolution, batch norm with the batch's statistics, activation.
pub(super) fn train(
    input: Tensor<4>,
    tensors: UnitTensors,
    shape: &ConvShape,
    activation: Activation,
) -> Trained {
    let [photos, height, width, _] = input.dims();
    let shape = Shape {
        conv: *shape,
        photos,
        height,
        width,
    };
    let taped = |tensor: Tensor<1>| primitive::<Taped, 1>(tensor.autodiff());
    let [weight, gamma, beta] = [tensors.weight, tensors.gamma, tensors.beta].map(taped);
    let input = primitive::<Taped, 4>(input.autodiff());
    let step = UnitStep { shape, activation };

    let weights = weight.primitive().clone();
    let convolution = Convolution::new(shape, &weights);
    let kept = contiguous(input.primitive());
    let convolved = convolution.forward(&kept);
    let norm = Norm::of_batch(
        values(&convolved),
        values(gamma.primitive()),
        values(beta.primitive()),
    );
    let output = norm.forward(values(&convolved), activation);
    let output = matrix::tensor(output, &shape.output());
    let statistics = [norm.mean(), norm.variance()].map(|values| {
        let length = values.len();
        let values = values.iter().map(|value| *value as f32).collect();
        matrix::tensor(values, &[length])
    });

    let nodes = [input.node(), weight.node(), gamma.node(), beta.node()];
    let output = match step
        .prepare::<DefaultStrategy>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let state = Kept {
                input: kept,
                convolved,
                weights,
                norm,
            };
            prep.finish(state, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(output),
    };
    let [mean, variance] = statistics.map(Tensor::<1>::from_primitive::<Flex>);
    let [height, width] = shape.output_sides();
    Trained {
        output: Tensor::from_primitive::<Taped>(output),
        mean,
        variance,
        count: photos * height * width,
    }
}

/// Convolution with bias, activation; nothing is kept.
pub(super) fn evaluate(
    input: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    shape: &ConvShape,
    activation: Activation,
) -> Tensor<4> {
    let [photos, height, width, _] = input.dims();
    let shape = Shape {
        conv: *shape,
        photos,
        height,
        width,
    };
    let [weight, bias] = [weight, bias].map(|tensor| primitive::<Flex, 1>(tensor.inner()));
    let input = contiguous(&primitive::<Flex, 4>(input.inner()));
    let mut output = Convolution::new(shape, &weight).forward(&input);
    norm::add_bias(output.storage_mut::<f32>(), values(&bias), activation);
    Tensor::from_primitive::<Flex>(output)
}

/// burn's pool, which wants channels first.
pub(super) fn max_pool(input: Tensor<4>) -> Tensor<4> {
    unfused::max_pool(input.permute([0, 3, 1, 2])).permute([0, 2, 3, 1])
}

/// The mean over height and width.
pub(super) fn global_pool(input: Tensor<4>) -> Tensor<2> {
    let [photos, height, width, channels] = input.dims();
    input
        .reshape([photos, height * width, channels])
        .mean_dim(1)
        .reshape([photos, channels])
}

/// A unit on the tape. Its parents are input, weights, gamma and beta.
#[derive(Debug)]
struct UnitStep {
    shape: Shape,
    activation: Activation,
}

/// What a unit keeps for the way back.
#[derive(Debug, Clone)]
struct Kept {
    input: FlexTensor,
    /// Before batch norm.
    convolved: FlexTensor,
    weights: FlexTensor,
    norm: Norm,
}

impl Backward<Flex, 4> for UnitStep {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let Kept {
            input,
            convolved,
            weights,
            norm,
        } = ops.state;
        let gradient = contiguous(&gradients.consume::<Flex>(&ops.node));
        let back = norm.backward(values(&convolved), gradient, self.activation);
        drop(convolved);
        let [input_node, weight_node, gamma_node, beta_node] = ops.parents;
        let convolution = Convolution::new(self.shape, &weights);
        if let Some(node) = weight_node {
            let gradient = convolution.weight_gradient(&input, &back.input);
            gradients.register::<Flex>(node.id, gradient);
        }
        drop(input);
        if let Some(node) = input_node {
            gradients.register::<Flex>(node.id, convolution.input_gradient(&back.input));
        }
        for (node, values) in [(gamma_node, back.gamma), (beta_node, back.beta)] {
            let Some(node) = node else { continue };
            let length = values.len();
            gradients.register::<Flex>(node.id, matrix::tensor(values, &[length]));
        }
    }
}

/// burn's choice when none is asked for: everything is kept.
type DefaultStrategy = burn_dispatch::backends::autodiff::checkpoint::strategy::NoCheckpointing;

/// A tensor's inside.
fn primitive<B, const D: usize>(tensor: Tensor<D>) -> B::FloatTensorPrimitive
where
    B: Backend,
    burn_dispatch::DispatchTensor: burn_dispatch::DispatchKindConversion<B>,
{
    tensor
        .try_into_primitive::<B>()
        .expect("fused layers are for tensors of the CPU")
}

/// The tensor with its values in order.
fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// The values of a contiguous tensor.
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice::<f32>()
        .expect("parameters and activations are contiguous")
}

#[cfg(test)]
mod tests;
