//! Whether a quantised network that was read from a file holds together: the shapes of its
//! tensors are those that its steps give, so that running it stays within them.

use graph::{Activation, Shape};

use super::{IntConv, IntNetwork, IntNode, IntOp};
use crate::network::{is_small, windows};

impl IntNetwork {
    /// Says which node does not fit what it reads, and why.
    pub fn check(&self) -> Result<(), String> {
        if self.nodes[0].shape != self.input {
            return Err("the photo has two shapes".to_owned());
        }
        for node in &self.nodes {
            let inputs: Vec<&IntNode> = node.inputs.iter().map(|&i| &self.nodes[i]).collect();
            let expected = result_shape(node, &inputs);
            let expected = expected.map_err(|problem| format!("{}: {problem}", node.name))?;
            if node.shape != expected || !is_small(expected) {
                return Err(format!(
                    "{} is {:?}, not {expected:?}",
                    node.name, node.shape
                ));
            }
            if !(node.quant.scale.is_normal() && (-128..=127).contains(&node.quant.zero_point)) {
                return Err(format!("{} has an odd scale: {:?}", node.name, node.quant));
            }
        }
        Ok(())
    }
}

fn result_shape(node: &IntNode, inputs: &[&IntNode]) -> Result<Shape, String> {
    let Some(input) = inputs.first() else {
        return Ok(node.shape);
    };
    let from = input.shape;
    let with = |[height, width]: [usize; 2], channels: usize| Shape {
        height,
        width,
        channels,
    };
    match &node.op {
        IntOp::Input => Ok(node.shape),
        IntOp::Conv(conv) => {
            check_conv(conv, from)?;
            let size = windows(from, conv.kernel, conv.stride, conv.padding)?;
            Ok(with(size, conv.out_channels))
        }
        IntOp::Add(Activation::Identity | Activation::Relu | Activation::Relu6) => {
            match inputs.get(1) {
                Some(other) if other.shape == from => Ok(from),
                _ => Err("adds what has another shape".to_owned()),
            }
        }
        IntOp::MaxPool(_) if node.quant != input.quant => {
            Err("a pool changes the scale".to_owned())
        }
        IntOp::MaxPool(pool) => {
            let size = windows(from, pool.kernel, pool.stride, pool.padding)?;
            Ok(with(size, from.channels))
        }
        IntOp::Mean if from.height * from.width == 0 => Err("a mean of nothing".to_owned()),
        IntOp::Mean => Ok(with([1, 1], from.channels)),
    }
}

fn check_conv(conv: &IntConv, from: Shape) -> Result<(), String> {
    let depthwise = conv.groups > 1;
    let channels_fit = if depthwise {
        conv.groups == conv.in_channels && conv.in_channels == conv.out_channels
    } else {
        conv.groups == 1
    };
    let group_channels = if depthwise { 1 } else { conv.in_channels };
    let num_weights = [conv.kernel[0], conv.kernel[1], group_channels]
        .iter()
        .try_fold(conv.out_channels, |product, &n| product.checked_mul(n));
    let fits = channels_fit
        && from.channels == conv.in_channels
        && num_weights == Some(conv.weights.len())
        && conv.bias.len() == conv.out_channels
        && conv.scales.len() == conv.out_channels;
    if fits {
        Ok(())
    } else {
        Err(format!("sizes do not fit an input of {from:?}"))
    }
}
