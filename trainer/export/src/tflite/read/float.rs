//! The steps of a float file as a graph: weights in float32, or in float16 made wide.

use graph::{Activation, Conv2d, Graph, Linear, Node, Op, Pool};

use super::{Layer, Read, ReadNode, ReadOp, Reader, conv_shape, repeated};
use crate::weights::from_hwo;

impl Reader<'_, '_, Op> {
    pub(super) fn float(self) -> Read<(Graph, [f32; 3])> {
        let mut mean = [0.0; 3];
        if let Some(minus_mean) = self.minus_mean {
            let row = self.floats(minus_mean)?;
            mean = repeated(&row)?.map(|value| -value);
        }
        let pool = |node: &ReadNode<Op>| node.op == Op::GlobalAveragePool;
        let features = self.nodes.iter().position(pool);
        Ok((
            Graph {
                name: self.model.description.to_owned(),
                input: self.input_shape()?,
                features: features.unwrap_or(self.output()),
                output: self.output(),
                nodes: self
                    .nodes
                    .iter()
                    .map(|node| Node {
                        name: self.tensor(node.tensor).name.to_owned(),
                        op: node.op.clone(),
                        inputs: node.inputs.clone(),
                    })
                    .collect(),
            },
            mean,
        ))
    }
}

impl ReadOp for Op {
    const INPUT: Self = Self::Input;
    const MEAN: Self = Self::GlobalAveragePool;

    fn add(activation: Activation) -> Self {
        Self::Add(activation)
    }

    fn max_pool(pool: Pool) -> Self {
        Self::MaxPool(pool)
    }

    fn conv<'m>(reader: &Reader<'m, '_, Self>, layer: Layer) -> Read<Self> {
        let shape = conv_shape(reader, &layer)?;
        let weights = reader.floats(layer.weights)?;
        Ok(Self::Conv2d(Conv2d {
            weights: if layer.depthwise {
                from_hwo(&weights, shape.out_channels)
            } else {
                weights
            },
            bias: reader.floats(layer.bias)?,
            out_channels: shape.out_channels,
            in_channels: shape.in_channels,
            kernel: shape.kernel,
            stride: layer.stride,
            padding: layer.padding,
            groups: shape.groups,
            activation: layer.activation,
        }))
    }

    fn linear<'m>(reader: &Reader<'m, '_, Self>, layer: Layer) -> Read<Self> {
        let [out_features, in_features] = reader.tensor(layer.weights).shape[..] else {
            return Err("weights without two axes".to_owned());
        };
        Ok(Self::Linear(Linear {
            weights: reader.floats(layer.weights)?,
            bias: reader.floats(layer.bias)?,
            out_features,
            in_features,
            activation: layer.activation,
        }))
    }
}
