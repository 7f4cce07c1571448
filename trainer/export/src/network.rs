//! The one form that all writers start from: a checked graph whose input is a photo in
//! 0..=1 less a mean per channel, with the division by std folded into the first layer.
//!
//! The mean is not folded into the first bias, though that is tempting: the padding's
//! zeros stand for the mean, so the outermost rows and columns would change.

use graph::{Activation, Conv2d, Graph, Node, NodeId, Op, Padding, Pool, Shape};

use crate::{ExportError, ModelInfo};

/// The most values of one activation: 128 MiB of float32, an input of 3344 x 3344. Files
/// that were damaged may name any size; with a larger limit reading one could take all
/// memory.
const LARGEST_ACTIVATION: usize = 1 << 25;

/// A network that takes RGB in 0..=1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Network {
    /// What is computed on `photo - mean`.
    pub graph: Graph,
    /// The shape of each node's result.
    pub shapes: Vec<Shape>,
    /// Taken from R, G and B in 0..=1.
    pub mean: [f32; 3],
}

impl Network {
    /// Checks `graph`, whose input is normalised as `info.input` says, and moves the
    /// normalisation inside.
    ///
    /// # Errors
    ///
    /// What no format could hold, and an `info` of other classes or another size.
    pub fn new(graph: &Graph, info: &ModelInfo) -> Result<Self, ExportError> {
        let shapes = shapes(graph)?;
        let output = shapes[graph.output];
        if (output.height, output.width) != (1, 1) {
            return Err(ExportError::network(
                &graph.nodes[graph.output].name,
                "the output is no vector of logits",
            ));
        }
        if graph.input.height != graph.input.width || graph.input.channels != 3 {
            return Err(ExportError::network(
                "input",
                "not a square of three colours",
            ));
        }
        info.check(output.channels, graph.input.height)?;
        let mut graph = graph.clone();
        divide_first_layer(&mut graph, info.input.std)?;
        Ok(Self {
            graph,
            shapes,
            mean: info.input.mean,
        })
    }

    /// A network read back from a file.
    pub fn read(graph: Graph, mean: [f32; 3]) -> Result<Self, ExportError> {
        let shapes = shapes(&graph)?;
        Ok(Self {
            graph,
            shapes,
            mean,
        })
    }

    /// Whether two networks are the same but for names.
    pub fn computes_like(&self, other: &Self) -> bool {
        let (a, b) = (&self.graph, &other.graph);
        let nodes = a.nodes.iter().zip(&b.nodes);
        self.mean == other.mean
            && (a.input, a.output, a.nodes.len()) == (b.input, b.output, b.nodes.len())
            && nodes
                .into_iter()
                .all(|(a, b)| a.op == b.op && a.inputs == b.inputs)
    }

    /// Whether the mean needs a step of its own.
    pub fn has_mean(&self) -> bool {
        self.mean != [0.0; 3]
    }
}

/// `(x - mean) / std` into a convolution is `x - mean` into one with smaller weights.
fn divide_first_layer(graph: &mut Graph, std: [f32; 3]) -> Result<(), ExportError> {
    for node in graph.nodes.iter_mut().filter(|node| node.inputs == [0]) {
        let Op::Conv2d(conv) = &mut node.op else {
            return Err(ExportError::network(
                &node.name,
                "only a convolution may read the photo, for it divides by std",
            ));
        };
        let depthwise = conv.groups > 1;
        for (at, weight) in conv.weights.iter_mut().enumerate() {
            let channel = if depthwise {
                at / (conv.kernel[0] * conv.kernel[1])
            } else {
                at % conv.in_channels
            };
            *weight /= std[channel];
        }
    }
    Ok(())
}

/// The shape of each node's result.
///
/// # Errors
///
/// A node that reads what comes after it, sizes that do not fit, values that are not
/// finite, and a padded pool over values that may be below zero: the formats pad with
/// zeros.
pub(crate) fn shapes(graph: &Graph) -> Result<Vec<Shape>, ExportError> {
    let mut shapes: Vec<Shape> = Vec::with_capacity(graph.nodes.len());
    let mut names = std::collections::BTreeSet::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        let fail = |problem: String| Err(ExportError::network(&node.name, problem));
        if node.name.is_empty() || !names.insert(&node.name) {
            return fail("the name is empty or taken".to_owned());
        }
        if node.inputs.iter().any(|&input| input >= id) {
            return fail(format!("reads {:?}, which come after it", node.inputs));
        }
        let expected = match node.op {
            Op::Input => 0,
            Op::Add(_) => 2,
            _ => 1,
        };
        if node.inputs.len() != expected || (id == 0) != matches!(node.op, Op::Input) {
            return fail(format!("{} inputs at place {id}", node.inputs.len()));
        }
        let input = node.inputs.first().map_or(graph.input, |&id| shapes[id]);
        let shape = match result_shape(graph, node, input, &shapes) {
            Ok(shape) if is_small(shape) => shape,
            Ok(shape) => return fail(format!("{shape:?} is too large")),
            Err(problem) => return fail(problem),
        };
        shapes.push(shape);
    }
    if graph.output >= graph.nodes.len() || graph.features >= graph.nodes.len() {
        return Err(ExportError::network(&graph.name, "no such output node"));
    }
    Ok(shapes)
}

/// Whether a shape may be allocated.
pub(crate) fn is_small(shape: Shape) -> bool {
    let values = shape.height.checked_mul(shape.width);
    let values = values.and_then(|pixels| pixels.checked_mul(shape.channels));
    values.is_some_and(|values| values <= LARGEST_ACTIVATION)
}

fn result_shape(
    graph: &Graph,
    node: &Node,
    input: Shape,
    shapes: &[Shape],
) -> Result<Shape, String> {
    match &node.op {
        Op::Input => Ok(input),
        Op::Conv2d(conv) => {
            check_conv(conv, input)?;
            let [height, width] = windows(input, conv.kernel, conv.stride, conv.padding)?;
            Ok(Shape {
                height,
                width,
                channels: conv.out_channels,
            })
        }
        Op::Add(_) if shapes[node.inputs[1]] == input => Ok(input),
        Op::Add(_) => Err(format!("adds {:?} to {input:?}", shapes[node.inputs[1]])),
        Op::MaxPool(pool) => {
            if pool.padding != Padding::default() && !is_positive(graph, node.inputs[0]) {
                return Err("a padded pool must follow a ReLU".to_owned());
            }
            let Pool {
                kernel,
                stride,
                padding,
            } = *pool;
            let [height, width] = windows(input, kernel, stride, padding)?;
            Ok(Shape {
                height,
                width,
                ..input
            })
        }
        Op::GlobalAveragePool => Ok(Shape {
            height: 1,
            width: 1,
            ..input
        }),
        Op::Linear(linear) => {
            let vector = Shape {
                height: 1,
                width: 1,
                channels: linear.in_features,
            };
            let num_weights = linear.in_features.checked_mul(linear.out_features);
            if input != vector
                || num_weights != Some(linear.weights.len())
                || linear.bias.len() != linear.out_features
            {
                return Err(format!("sizes do not fit an input of {input:?}"));
            }
            check_finite(&linear.weights, &linear.bias)?;
            Ok(Shape {
                channels: linear.out_features,
                ..vector
            })
        }
    }
}

fn check_conv(conv: &Conv2d, input: Shape) -> Result<(), String> {
    let depthwise = conv.groups > 1;
    if depthwise && (conv.groups != conv.in_channels || conv.in_channels != conv.out_channels) {
        return Err(format!("{} groups are neither one nor all", conv.groups));
    }
    let group_channels = if depthwise { 1 } else { conv.in_channels };
    let num_weights = [conv.kernel[0], conv.kernel[1], group_channels]
        .iter()
        .try_fold(conv.out_channels, |product, &n| product.checked_mul(n));
    if input.channels != conv.in_channels
        || conv.groups == 0
        || num_weights != Some(conv.weights.len())
        || conv.bias.len() != conv.out_channels
    {
        return Err(format!("sizes do not fit an input of {input:?}"));
    }
    check_finite(&conv.weights, &conv.bias)
}

fn check_finite(weights: &[f32], bias: &[f32]) -> Result<(), String> {
    let mut values = weights.iter().chain(bias);
    if values.all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err("weights are not finite".to_owned())
    }
}

/// How many windows fit, down and across.
pub(crate) fn windows(
    input: Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
) -> Result<[usize; 2], String> {
    let before = [padding.top, padding.left];
    let after = [padding.bottom, padding.right];
    let size = [input.height, input.width];
    let padded = [0, 1].map(|axis| {
        let padded = before[axis].saturating_add(after[axis]);
        padded.saturating_add(size[axis])
    });
    let fits = |axis: usize| {
        kernel[axis] > 0
            && stride[axis] > 0
            && before[axis] < kernel[axis]
            && after[axis] < kernel[axis]
            && padded[axis] >= kernel[axis]
    };
    if !(fits(0) && fits(1)) {
        return Err(format!(
            "a window of {kernel:?}, stride {stride:?}, {padding:?} does not fit {input:?}"
        ));
    }
    Ok([0, 1].map(|axis| (padded[axis] - kernel[axis]) / stride[axis] + 1))
}

/// Whether a node's values are never below zero.
fn is_positive(graph: &Graph, id: NodeId) -> bool {
    let node = &graph.nodes[id];
    match &node.op {
        Op::Conv2d(Conv2d { activation, .. }) | Op::Add(activation) => {
            *activation != Activation::Identity
        }
        Op::MaxPool(_) => is_positive(graph, node.inputs[0]),
        _ => false,
    }
}
