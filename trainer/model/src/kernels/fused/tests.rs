use burn_tensor::{Tensor, TensorData};
use graph::Activation;

use super::{evaluate, train};
use crate::device::Precision;
use crate::kernels::{UnitTensors, unfused};
use crate::parameters::upload;
use crate::plan::ConvShape;
use crate::random::Random;

/// A unit applied to photos, in the plainest way, in 64 bit: channels first.
struct Case {
    conv: ConvShape,
    activation: Activation,
    photos: usize,
    height: usize,
    width: usize,
}

/// What a unit gives: the weighted sum of its output, and the gradients of that sum.
struct Found {
    output: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    input: Vec<f32>,
    weight: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let conv = |in_channels, out_channels, kernel, stride, depthwise| ConvShape {
        in_channels,
        out_channels,
        kernel,
        stride,
        depthwise,
    };
    let activations = [Activation::Identity, Activation::Relu, Activation::Relu6];
    for (number, conv) in [
        conv(5, 7, 1, 1, false),
        conv(64, 24, 1, 1, false),
        conv(3, 8, 3, 2, false),
        conv(3, 6, 7, 2, false),
        conv(6, 9, 3, 1, false),
        conv(5, 6, 1, 2, false),
        conv(40, 40, 3, 1, true),
        conv(67, 67, 3, 2, true),
        conv(4, 4, 3, 1, true),
        conv(32, 32, 5, 2, true),
    ]
    .into_iter()
    .enumerate()
    {
        for (photos, height, width) in [(1, 9, 9), (5, 8, 11), (4, 4, 3)] {
            let activation = activations[(number + photos) % 3];
            cases.push(Case {
                conv,
                activation,
                photos,
                height,
                width,
            });
        }
    }
    cases
}

fn draw(count: usize, seed: u64, scale: f64, offset: f64) -> Vec<f32> {
    let mut random = Random::new(seed, 0, 0);
    (0..count)
        .map(|_| (random.normal() * scale + offset) as f32)
        .collect()
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().try_into_vec_as::<f32>().unwrap()
}

/// By these kernels, or by burn's.
fn run(case: &Case, fused: bool) -> Found {
    let device = burn_tensor::Device::flex();
    let Case {
        conv,
        activation,
        photos,
        height,
        width,
    } = *case;
    let shape = [photos, conv.in_channels, height, width];
    let pixels = draw(shape.iter().product(), 1, 1.0, 0.3);
    let input = Tensor::<4>::from_data(TensorData::new(pixels, shape), &device);
    let input = input.autodiff().require_grad();
    let num_weights = conv.weight_shape().iter().product();
    let leaf = |values| upload(values, &device).autodiff().require_grad();
    let weight = leaf(draw(num_weights, 2, 0.4, 0.0));
    let gamma = leaf(draw(conv.out_channels, 3, 0.5, 2.0));
    let beta = leaf(draw(conv.out_channels, 4, 0.5, 1.0));
    let tensors = UnitTensors {
        weight: weight.clone(),
        gamma: gamma.clone(),
        beta: beta.clone(),
    };
    let trained = match fused {
        true => train(
            input.clone().permute([0, 2, 3, 1]),
            tensors,
            &conv,
            activation,
        ),
        false => unfused::train(input.clone(), tensors, &conv, activation, Precision::F32),
    };
    let output = if fused {
        trained.output.permute([0, 3, 1, 2])
    } else {
        trained.output
    };
    let factors = draw(output.dims().iter().product(), 5, 1.0, 0.1);
    let factors = Tensor::<4>::from_data(TensorData::new(factors, output.dims()), &device);
    let mut gradients = (output.clone() * factors).sum().backward();
    Found {
        output: read(output),
        mean: read(trained.mean),
        variance: read(trained.variance),
        input: read(input.grad_remove(&mut gradients).unwrap()),
        weight: read(weight.grad_remove(&mut gradients).unwrap()),
        gamma: read(gamma.grad_remove(&mut gradients).unwrap()),
        beta: read(beta.grad_remove(&mut gradients).unwrap()),
    }
}

fn near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected
        .iter()
        .fold(1.0_f32, |size, value| size.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 2e-5 * size,
            "{what}: {found} not {expected}"
        );
    }
}

#[test]
fn units_and_their_gradients_are_burns() {
    let cases = cases();
    assert_eq!(cases.len(), 30);
    for case in cases {
        let (fused, unfused) = (run(&case, true), run(&case, false));
        let Case {
            conv,
            photos,
            height,
            width,
            activation,
        } = case;
        let name = format!("{photos} x {height} x {width}, {conv:?}, {activation:?}");
        near(&fused.output, &unfused.output, &format!("{name}: output"));
        near(&fused.mean, &unfused.mean, &format!("{name}: mean"));
        near(
            &fused.variance,
            &unfused.variance,
            &format!("{name}: variance"),
        );
        near(
            &fused.input,
            &unfused.input,
            &format!("{name}: input's gradient"),
        );
        near(
            &fused.weight,
            &unfused.weight,
            &format!("{name}: weights' gradient"),
        );
        near(
            &fused.gamma,
            &unfused.gamma,
            &format!("{name}: gamma's gradient"),
        );
        near(
            &fused.beta,
            &unfused.beta,
            &format!("{name}: beta's gradient"),
        );
    }
}

#[test]
fn evaluation_is_burns() {
    let device = burn_tensor::Device::flex();
    for case in cases() {
        let Case {
            conv,
            photos,
            height,
            width,
            activation,
        } = case;
        let shape = [photos, conv.in_channels, height, width];
        let pixels = draw(shape.iter().product(), 1, 1.0, 0.3);
        let input = Tensor::<4>::from_data(TensorData::new(pixels, shape), &device);
        let weight = upload(
            draw(conv.weight_shape().iter().product(), 2, 0.4, 0.0),
            &device,
        );
        let bias = upload(draw(conv.out_channels, 3, 0.5, 0.2), &device);
        let channels_last = input.clone().permute([0, 2, 3, 1]);
        let fused = evaluate(
            channels_last,
            weight.clone(),
            bias.clone(),
            &conv,
            activation,
        );
        let unfused = unfused::evaluate(input, weight, bias, &conv, activation, Precision::F32);
        let name = format!("{photos} x {height} x {width}, {conv:?}, {activation:?}");
        near(&read(fused.permute([0, 3, 1, 2])), &read(unfused), &name);
    }
}
