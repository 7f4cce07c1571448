//! From weights to the folded graph. Comes in: an architecture, checked weights, the
//! input's side. Goes out: a [`Graph`] whose convolutions hold their batch norm, with
//! the head that the weights have. Folding is done in float64, rounded once.

use crate::architecture::{Architecture, ArchitectureError, ConvSpec, LayerKind};
use crate::graph::{Activation, Conv2d, Graph, Linear, Node, Op, Shape};
use crate::weights::Weights;

/// Added to the variance by every batch norm here.
const BATCH_NORM_EPSILON: f64 = 1e-5;

impl Graph {
    /// The network of an architecture with these weights, for square inputs of `side`
    /// pixels. Without a head among the weights its output is the features.
    ///
    /// # Errors
    /// [`ArchitectureError`] if a tensor is missing, has another shape or is not finite,
    /// or if the network does not run at this side.
    pub fn build(
        architecture: Architecture,
        weights: &Weights,
        side: usize,
    ) -> Result<Self, ArchitectureError> {
        architecture.input_spec_at(side)?;
        let num_classes = architecture.check(weights)?;
        let values = |name: String| weights.tensors[&name].values.as_slice();
        let nodes: Vec<Node> = architecture
            .layers()
            .into_iter()
            .map(|layer| Node {
                op: match layer.kind {
                    LayerKind::Input => Op::Input,
                    LayerKind::Conv(spec) => {
                        let kernel = values(format!("{}.weight", layer.name));
                        let part = |part| values(format!("{}.{part}", spec.batch_norm));
                        let norm = ["weight", "bias", "running_mean", "running_var"].map(part);
                        Op::Conv2d(folded(&spec, kernel, norm))
                    }
                    LayerKind::Add(activation) => Op::Add(activation),
                    LayerKind::MaxPool(window) => Op::MaxPool(window),
                    LayerKind::GlobalAveragePool => Op::GlobalAveragePool,
                },
                name: layer.name,
                inputs: layer.inputs,
            })
            .collect();
        let features = nodes.len() - 1;
        let mut graph = Self {
            name: architecture.name().to_owned(),
            input: Shape {
                height: side,
                width: side,
                channels: 3,
            },
            nodes,
            features,
            output: features,
        };
        if let Some(num_classes) = num_classes {
            let name = architecture.head_name();
            graph.push_linear(
                name.to_owned(),
                Linear {
                    weights: values(format!("{name}.weight")).to_vec(),
                    bias: values(format!("{name}.bias")).to_vec(),
                    out_features: num_classes,
                    in_features: architecture.num_features(),
                    activation: Activation::Identity,
                },
            );
        }
        Ok(graph)
    }
}

/// `norm`: the batch norm's scale, shift, mean and variance.
fn folded(spec: &ConvSpec, kernel: &[f32], norm: [&[f32]; 4]) -> Conv2d {
    let [out_channels, in_group, height, width] = spec.weight_shape();
    let area = height * width;
    let mut weights = Vec::with_capacity(kernel.len());
    let mut bias = Vec::with_capacity(out_channels);
    for (out, kernel) in kernel.chunks_exact(in_group * area).enumerate() {
        let [scale, shift, mean, variance] = norm.map(|values| f64::from(values[out]));
        let scale = scale / (variance + BATCH_NORM_EPSILON).sqrt();
        bias.push((shift - mean * scale) as f32);
        for place in 0..area {
            weights.extend(
                (0..in_group)
                    .map(|channel| (f64::from(kernel[channel * area + place]) * scale) as f32),
            );
        }
    }
    Conv2d {
        weights,
        bias,
        out_channels,
        in_channels: spec.in_channels,
        kernel: [height, width],
        stride: [spec.stride; 2],
        padding: spec.padding(),
        groups: spec.groups,
        activation: spec.activation,
    }
}

#[cfg(test)]
mod tests;
