//! The folded network: nodes in the order in which they are computed.
//!
//! Activations are NHWC, one photo at a time as far as shapes go; the batch is the
//! executor's and the writers' affair.

/// A place in [`Graph::nodes`].
pub type NodeId = usize;

/// Height, width and channels of one photo's activation. After the global pool and
/// for vectors, height and width are 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

/// A folded network.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// What it is called, such as `mobilenet_v2`.
    pub name: String,
    /// The shape of its input: normalised RGB (`schemas::InputSpec` says how).
    pub input: Shape,
    /// Node 0 is [`Op::Input`]; every other node comes after those it reads.
    pub nodes: Vec<Node>,
    /// The pooled features: what an embedding is.
    pub features: NodeId,
    /// The result: logits, or the features where there is no head. Softmax is no node;
    /// writers whose format wants probabilities add it.
    pub output: NodeId,
}

/// Why a graph cannot be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("node {node} of the graph {graph}: {fault}")]
pub struct GraphError {
    /// The graph's name.
    pub graph: String,
    /// The node's name.
    pub node: String,
    /// What is wrong.
    pub fault: String,
}

/// One step of the computation.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// A unique name, such as `features.1.conv.0`.
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// From which nodes: one, or two for [`Op::Add`], none for [`Op::Input`].
    pub inputs: Vec<NodeId>,
}

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The photo.
    Input,
    /// A convolution with bias, then the activation.
    Conv2d(Conv2d),
    /// The sum of two activations of one shape, then the activation.
    Add(Activation),
    /// The largest value of each window; padding never wins.
    MaxPool(Pool),
    /// The mean over height and width.
    GlobalAveragePool,
    /// A matrix and a bias on a vector, then the activation.
    Linear(Linear),
}

/// What is done to each value at the end of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
}

/// Zeros added around the input. PyTorch's padding is symmetric, so formats that only
/// know `SAME` and `VALID` need an explicit pad before a convolution with a stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns before.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns after.
    pub right: usize,
}

/// A convolution, full or depthwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2d {
    /// Output channels, kernel height, kernel width, input channels of one group
    /// (OHWI): `out * height * width * in` values.
    pub weights: Vec<f32>,
    /// One value per output channel.
    pub bias: Vec<f32>,
    /// Output channels.
    pub out_channels: usize,
    /// Input channels, of all groups.
    pub in_channels: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Stride down and across.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Padding,
    /// 1 for a full convolution, `in_channels == out_channels` for a depthwise one;
    /// nothing else occurs.
    pub groups: usize,
    /// What follows.
    pub activation: Activation,
}

/// A pool's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Stride down and across.
    pub stride: [usize; 2],
    /// Values around the input that count as minus infinity.
    pub padding: Padding,
}

/// A fully connected layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// `out_features * in_features` values, row by row.
    pub weights: Vec<f32>,
    /// One value per output.
    pub bias: Vec<f32>,
    /// Length of the result.
    pub out_features: usize,
    /// Length of the input.
    pub in_features: usize,
    /// What follows.
    pub activation: Activation,
}

mod shapes;
