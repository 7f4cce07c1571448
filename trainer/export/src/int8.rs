//! The network in TFLite's int8: per-channel symmetric weights, int32 biases, asymmetric
//! int8 activations with one scale each. `quantize` makes it from floats and measured
//! ranges, `correct` mends its biases, `run` computes it with the integer arithmetic of TFLite's reference kernels.
//! Rules: "LiteRT 8-bit quantization specification".

use graph::{Activation, NodeId, Padding, Pool, Shape};

mod arithmetic;
mod check;
mod correct;
mod quantize;
mod run;

pub(crate) use run::IntInterpreter;

/// What an int8 value `q` stands for: `scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quant {
    pub scale: f32,
    pub zero_point: i32,
}

/// A quantised network. Its photo is uint8 RGB.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IntNetwork {
    pub name: String,
    pub input: Shape,
    /// Node 0 is the photo, less the mean if there is one.
    pub nodes: Vec<IntNode>,
    pub output: NodeId,
    /// What is added to the photo, which is minus the mean of each channel.
    pub minus_mean: Option<MinusMean>,
}

/// A constant per channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MinusMean {
    pub values: [i8; 3],
    pub quant: Quant,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IntNode {
    pub name: String,
    pub op: IntOp,
    pub inputs: Vec<NodeId>,
    pub shape: Shape,
    pub quant: Quant,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum IntOp {
    Input,
    Conv(IntConv),
    Add(Activation),
    /// Its scale is its input's.
    MaxPool(Pool),
    Mean,
}

/// A convolution; fully connected layers are convolutions of one pixel, because runtimes
/// take per-channel weights there in every version.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IntConv {
    /// OHWI, within -127..=127.
    pub weights: Vec<i8>,
    /// One per output channel.
    pub scales: Vec<f32>,
    /// In units of the input's scale times the weights'.
    pub bias: Vec<i32>,
    pub out_channels: usize,
    pub in_channels: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: Padding,
    pub groups: usize,
    pub activation: Activation,
}

/// The photo's bytes: 0..=255 for 0..=1.
pub(crate) const IMAGE_U8: Quant = Quant {
    scale: 1.0 / 255.0,
    zero_point: 0,
};

/// The same as int8.
pub(crate) const IMAGE_I8: Quant = Quant {
    scale: 1.0 / 255.0,
    zero_point: -128,
};

impl IntNetwork {
    /// What a node computes, and the scale of its (first) input.
    pub fn conv(&self, id: NodeId) -> (&IntOp, Quant) {
        let node = &self.nodes[id];
        let input = node
            .inputs
            .first()
            .map_or(IMAGE_I8, |&i| self.nodes[i].quant);
        (&node.op, input)
    }
}
