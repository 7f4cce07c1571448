//! The steps of an int8 file as a quantised network, with the scales that its tensors
//! have.

use graph::{Activation, Pool, Shape};

use super::{Layer, Read, ReadOp, Reader, conv_shape, repeated};
use crate::int8::{IMAGE_I8, IMAGE_U8, IntConv, IntNetwork, IntNode, IntOp, MinusMean, Quant};
use crate::tflite::schema::kind;
use crate::weights::from_hwo;

impl Reader<'_, '_, IntOp> {
    pub(super) fn int8(self) -> Read<IntNetwork> {
        if self.quant(self.model.input)? != IMAGE_U8 {
            return Err("the photo's bytes have another scale".to_owned());
        }
        let mut minus_mean = None;
        if let Some(tensor) = self.minus_mean {
            minus_mean = Some(MinusMean {
                values: repeated(&self.bytes(tensor)?)?,
                quant: self.quant(tensor)?,
            });
        } else if self.quant(self.nodes[0].tensor)? != IMAGE_I8 {
            return Err("the photo has another scale".to_owned());
        }
        let nodes = self.nodes.iter().map(|node| {
            let view = self.tensor(node.tensor);
            let [1, height, width, channels] = view.shape[..] else {
                return Err(format!("{} has the shape {:?}", view.name, view.shape));
            };
            Ok(IntNode {
                name: view.name.to_owned(),
                op: node.op.clone(),
                inputs: node.inputs.clone(),
                shape: Shape {
                    height,
                    width,
                    channels,
                },
                quant: self.quant(node.tensor)?,
            })
        });
        Ok(IntNetwork {
            name: self.model.description.to_owned(),
            input: self.input_shape()?,
            nodes: nodes.collect::<Read<_>>()?,
            output: self.output(),
            minus_mean,
        })
    }

    fn quant(&self, tensor: usize) -> Read<Quant> {
        let view = self.tensor(tensor);
        match (&view.scales[..], &view.zero_points[..]) {
            (&[scale], &[zero_point]) if scale > 0.0 => Ok(Quant {
                scale,
                zero_point: i32::try_from(zero_point).map_err(|e| e.to_string())?,
            }),
            _ => Err(format!("{} has no scale", view.name)),
        }
    }
}

impl ReadOp for IntOp {
    const INPUT: Self = Self::Input;
    const MEAN: Self = Self::Mean;

    fn add(activation: Activation) -> Self {
        Self::Add(activation)
    }

    fn max_pool(pool: Pool) -> Self {
        Self::MaxPool(pool)
    }

    fn conv<'m>(reader: &Reader<'m, '_, Self>, layer: Layer) -> Read<Self> {
        let shape = conv_shape(reader, &layer)?;
        let weights = reader.bytes(layer.weights)?;
        let view = reader.tensor(layer.weights);
        let bias_view = reader.tensor(layer.bias);
        let bias = bias_view.content(kind::INT32)?;
        let axis = if layer.depthwise { 3 } else { 0 };
        let per_channel = |len: usize| len == shape.out_channels;
        if !per_channel(view.scales.len())
            || !per_channel(bias.len())
            || view.dimension != axis
            || view.zero_points.iter().any(|&zero| zero != 0)
        {
            return Err("weights are not symmetric by channel".to_owned());
        }
        let input = reader.quant(reader.nodes[layer.input].tensor)?;
        let expected = view.scales.iter().map(|scale| scale * input.scale);
        if expected.ne(bias_view.scales.iter().copied()) {
            return Err("the bias has other scales than the products".to_owned());
        }
        Ok(Self::Conv(IntConv {
            weights: if layer.depthwise {
                from_hwo(&weights, shape.out_channels)
            } else {
                weights
            },
            scales: view.scales.clone(),
            bias: bias.iter().map(|&bias| i32::from_le_bytes(bias)).collect(),
            out_channels: shape.out_channels,
            in_channels: shape.in_channels,
            kernel: shape.kernel,
            stride: layer.stride,
            padding: layer.padding,
            groups: shape.groups,
            activation: layer.activation,
        }))
    }

    fn linear<'m>(_: &Reader<'m, '_, Self>, _: Layer) -> Read<Self> {
        Err("a matrix in int8, which is written as a convolution".to_owned())
    }
}
