//! Floats and measured ranges in, the int8 network out.

use graph::{Conv2d, Linear, Op, Padding};

use super::{IMAGE_I8, IMAGE_U8, IntConv, IntNetwork, IntNode, IntOp, MinusMean, Quant};
use crate::ExportError;
use crate::calibrate::{Calibration, Range};
use crate::network::Network;

/// Room for a bias in an int32 sum: with more, the sum of the products on top of it could
/// overflow.
pub(super) const LARGEST_BIAS: f32 = (1_u32 << 30) as f32;

impl IntNetwork {
    /// Quantises `network` in the ranges of `calibration`, which was measured on the graph
    /// that the network was made of.
    ///
    /// # Errors
    ///
    /// A calibration of another graph.
    pub fn quantize(network: &Network, calibration: &Calibration) -> Result<Self, ExportError> {
        let graph = &network.graph;
        if calibration.ranges.len() != graph.nodes.len() {
            return Err(ExportError::network(
                &graph.name,
                format!(
                    "{} calibrated ranges for {} nodes",
                    calibration.ranges.len(),
                    graph.nodes.len()
                ),
            ));
        }
        let mut nodes: Vec<IntNode> = Vec::with_capacity(graph.nodes.len());
        for (id, node) in graph.nodes.iter().enumerate() {
            let input = node.inputs.first().map(|&input| nodes[input].quant);
            let quant = match (&node.op, input) {
                (Op::Input, _) | (_, None) => centred(network),
                (Op::MaxPool(_), Some(input)) => input,
                _ => Quant::asymmetric(calibration.ranges[id]),
            };
            let op = match (&node.op, input) {
                (Op::Input, _) | (_, None) => IntOp::Input,
                (Op::Conv2d(conv), Some(input)) => IntOp::Conv(IntConv::conv(conv, input)),
                (Op::Linear(linear), Some(input)) => IntOp::Conv(IntConv::linear(linear, input)),
                (Op::Add(activation), _) => IntOp::Add(*activation),
                (Op::MaxPool(pool), _) => IntOp::MaxPool(*pool),
                (Op::GlobalAveragePool, _) => IntOp::Mean,
            };
            nodes.push(IntNode {
                name: node.name.clone(),
                op,
                inputs: node.inputs.clone(),
                shape: network.shapes[id],
                quant,
            });
        }
        Ok(Self {
            name: graph.name.clone(),
            input: graph.input,
            nodes,
            output: graph.output,
            minus_mean: network.has_mean().then(|| minus_mean(network.mean)),
        })
    }
}

impl Quant {
    /// The int8 scale of a range that contains 0.
    pub fn asymmetric(range: Range) -> Self {
        let (min, max) = (range.min.min(0.0), range.max.max(0.0));
        let scale = (max - min) / 255.0;
        if !(scale.is_normal() && scale.is_finite()) {
            // A node that is always 0.
            return IMAGE_U8;
        }
        let zero_point = (-128.0 - min / scale).round();
        Self {
            scale,
            zero_point: (zero_point as i32).clamp(-128, 127),
        }
    }

    /// The nearest int8 value.
    pub fn quantize(self, value: f32) -> i8 {
        let q = (value / self.scale).round() as i32 + self.zero_point;
        q.clamp(-128, 127) as i8
    }
}

/// The scale of the photo as the first layer sees it.
fn centred(network: &Network) -> Quant {
    if !network.has_mean() {
        return IMAGE_I8;
    }
    let mean = network.mean;
    let (low, high) = mean.iter().fold((0.0_f32, 0.0_f32), |(low, high), &mean| {
        (low.min(-mean), high.max(1.0 - mean))
    });
    Quant::asymmetric(Range {
        min: low,
        max: high,
    })
}

fn minus_mean(mean: [f32; 3]) -> MinusMean {
    let values = mean.map(|value| -value);
    let quant = Quant::asymmetric(Range {
        min: values.into_iter().fold(0.0, f32::min),
        max: values.into_iter().fold(0.0, f32::max),
    });
    MinusMean {
        values: values.map(|value| quant.quantize(value)),
        quant,
    }
}

impl IntConv {
    fn conv(conv: &Conv2d, input: Quant) -> Self {
        let (weights, scales, bias) = per_channel(&conv.weights, &conv.bias, input);
        Self {
            weights,
            scales,
            bias,
            out_channels: conv.out_channels,
            in_channels: conv.in_channels,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            groups: conv.groups,
            activation: conv.activation,
        }
    }

    fn linear(linear: &Linear, input: Quant) -> Self {
        let (weights, scales, bias) = per_channel(&linear.weights, &linear.bias, input);
        Self {
            weights,
            scales,
            bias,
            out_channels: linear.out_features,
            in_channels: linear.in_features,
            kernel: [1, 1],
            stride: [1, 1],
            padding: Padding::default(),
            groups: 1,
            activation: linear.activation,
        }
    }
}

/// Each output channel's weights by their own largest value, and the biases to match.
fn per_channel(weights: &[f32], bias: &[f32], input: Quant) -> (Vec<i8>, Vec<f32>, Vec<i32>) {
    let depth = weights.len() / bias.len().max(1);
    let mut quantized = Vec::with_capacity(weights.len());
    let mut scales = Vec::with_capacity(bias.len());
    let mut biases = Vec::with_capacity(bias.len());
    for (channel, &bias) in weights.chunks_exact(depth.max(1)).zip(bias) {
        let largest = channel
            .iter()
            .fold(0.0_f32, |max, value| max.max(value.abs()));
        let for_bias = bias.abs() / (input.scale * LARGEST_BIAS);
        let mut scale = (largest / 127.0).max(for_bias);
        if !scale.is_normal() {
            // A channel without weights.
            scale = 1.0;
        }
        let round = |value: &f32| (value / scale).round().clamp(-127.0, 127.0) as i8;
        quantized.extend(channel.iter().map(round));
        biases.push((f64::from(bias) / (f64::from(input.scale) * f64::from(scale))).round() as i32);
        scales.push(scale);
    }
    (quantized, scales, biases)
}
