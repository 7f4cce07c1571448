//! A `.mlmodel` of ours back into a network, from its bytes alone. It knows the layers that
//! the writer uses and refuses everything else.

use std::collections::BTreeMap;

use graph::{Activation, Conv2d, Graph, Linear, Node, NodeId, Op, Padding, Pool, Shape};
use prost::Message;

use super::proto::{
    BorderAmounts, Classifier, Clip, Convolution, EdgeSizes, InnerProduct, Layer, Model, Pooling,
    ValidPadding, WeightParams,
};
use super::{AVERAGE, IMAGE, MAX, PROBABILITIES, RGB, SPECIFICATION_VERSION};
use crate::ExportError;
use crate::network::Network;
use crate::weights::from_oihw;

type Read<T> = Result<T, String>;

/// The network that a `.mlmodel` holds.
pub(crate) fn read(bytes: &[u8]) -> Result<Network, ExportError> {
    let parsed = Model::decode(bytes).map_err(|error| error.to_string());
    let network = parsed.and_then(|model| read_model(&model));
    let (graph, mean) = network.map_err(|problem| ExportError::unreadable("Core ML", problem))?;
    Network::read(graph, mean)
}

fn read_model(model: &Model) -> Read<(Graph, [f32; 3])> {
    if model.specification_version != SPECIFICATION_VERSION {
        return Err(format!("specification {}", model.specification_version));
    }
    let classifier = model.classifier.as_ref().ok_or("no classifier")?;
    if classifier.label_probability_layer_name != PROBABILITIES {
        return Err("the probabilities have another name".to_owned());
    }
    let mut reader = Reader {
        values: BTreeMap::from([(IMAGE, 0)]),
        nodes: vec![Node {
            name: IMAGE.to_owned(),
            op: Op::Input,
            inputs: Vec::new(),
        }],
        logits: None,
    };
    for layer in &classifier.layers {
        reader
            .layer(layer)
            .map_err(|problem| format!("{}: {problem}", layer.name))?;
    }
    let output = reader.logits.ok_or("no softmax")?;
    let num_labels = classifier
        .class_labels
        .as_ref()
        .map_or(0, |l| l.vector.len());
    if logits_of(&reader.nodes[output].op) != Some(num_labels) {
        return Err(format!("{num_labels} labels for other logits"));
    }
    let pool = |node: &Node| node.op == Op::GlobalAveragePool;
    let graph = Graph {
        name: "Core ML".to_owned(),
        input: input_shape(model)?,
        features: reader.nodes.iter().position(pool).unwrap_or(output),
        nodes: reader.nodes,
        output,
    };
    Ok((graph, mean(classifier)?))
}

/// How many values a node's vector has, where that is written down.
fn logits_of(op: &Op) -> Option<usize> {
    match op {
        Op::Linear(linear) => Some(linear.out_features),
        Op::Conv2d(conv) => Some(conv.out_channels),
        _ => None,
    }
}

fn input_shape(model: &Model) -> Read<Shape> {
    let description = model.description.as_ref().ok_or("no description")?;
    let [feature] = &description.input[..] else {
        return Err("not one input".to_owned());
    };
    let image = feature.kind.as_ref().and_then(|kind| kind.image.as_ref());
    let image = image.filter(|image| image.color_space == RGB && feature.name == IMAGE);
    let image = image.ok_or("the input is no RGB picture")?;
    Ok(Shape {
        height: usize::try_from(image.height).map_err(|e| e.to_string())?,
        width: usize::try_from(image.width).map_err(|e| e.to_string())?,
        channels: 3,
    })
}

fn mean(classifier: &Classifier) -> Read<[f32; 3]> {
    let [preprocessing] = &classifier.preprocessing[..] else {
        return Err("not one preprocessing".to_owned());
    };
    let scaler = preprocessing.scaler.as_ref().ok_or("no scale")?;
    #[expect(clippy::float_cmp, reason = "the very number that is written")]
    if scaler.channel_scale != 1.0 / 255.0 {
        return Err(format!("a scale of {}", scaler.channel_scale));
    }
    Ok([scaler.red_bias, scaler.green_bias, scaler.blue_bias].map(|bias| -bias))
}

struct Reader<'a> {
    values: BTreeMap<&'a str, NodeId>,
    nodes: Vec<Node>,
    logits: Option<NodeId>,
}

impl<'a> Reader<'a> {
    fn layer(&mut self, layer: &'a Layer) -> Read<()> {
        let [output] = &layer.output[..] else {
            return Err("not one output".to_owned());
        };
        let inputs: Vec<NodeId> = layer
            .input
            .iter()
            .map(|name| self.values.get(name.as_str()).copied())
            .collect::<Option<_>>()
            .ok_or("reads what is not there yet")?;
        let first = *inputs.first().ok_or("reads nothing")?;
        let value = match layer {
            Layer {
                convolution: Some(params),
                ..
            } => self.push(layer, Op::Conv2d(conv(params)?), inputs),
            Layer {
                pooling: Some(params),
                ..
            } => self.push(layer, pool(params)?, inputs),
            Layer {
                inner_product: Some(params),
                ..
            } => self.push(layer, Op::Linear(linear(params)?), inputs),
            Layer { add: Some(_), .. } => self.push(layer, Op::Add(Activation::Identity), inputs),
            Layer {
                clip: Some(Clip { min: 0.0, max: 6.0 }),
                ..
            } => self.activate(first, Activation::Relu6)?,
            Layer {
                activation: Some(params),
                ..
            } => match (params.relu.is_some(), &params.linear) {
                (true, None) => self.activate(first, Activation::Relu)?,
                // The temperature, which changes no logit.
                (false, Some(linear)) if linear.alpha > 0.0 && linear.beta == 0.0 => first,
                _ => return Err("an unknown activation".to_owned()),
            },
            Layer {
                softmax: Some(_), ..
            } if output == PROBABILITIES => {
                self.logits = Some(first);
                first
            }
            _ => return Err("an unknown layer".to_owned()),
        };
        if self.values.insert(output, value).is_some() {
            return Err(format!("writes {output} again"));
        }
        Ok(())
    }

    fn push(&mut self, layer: &Layer, op: Op, inputs: Vec<NodeId>) -> NodeId {
        self.nodes.push(Node {
            name: layer.name.clone(),
            op,
            inputs,
        });
        self.nodes.len() - 1
    }

    /// Joins an activation to the layer before it.
    fn activate(&mut self, id: NodeId, activation: Activation) -> Read<NodeId> {
        let read_before = self.nodes.iter().any(|node| node.inputs.contains(&id));
        let place = match &mut self.nodes[id].op {
            Op::Conv2d(conv) => &mut conv.activation,
            Op::Add(activation) => activation,
            Op::Linear(linear) => &mut linear.activation,
            _ => return Err("nothing to activate".to_owned()),
        };
        if read_before || *place != Activation::Identity {
            return Err("what is activated is also read without".to_owned());
        }
        *place = activation;
        Ok(id)
    }
}

fn conv(params: &Convolution) -> Read<Conv2d> {
    let [groups, kernel_channels, out_channels] = [
        params.groups,
        params.kernel_channels,
        params.output_channels,
    ]
    .map(|n| n as usize);
    if params.dilation != [1, 1] || !params.has_bias {
        return Err("a convolution with gaps or without bias".to_owned());
    }
    let mut conv = Conv2d {
        weights: Vec::new(),
        bias: floats(params.bias.as_ref())?.to_vec(),
        out_channels,
        in_channels: kernel_channels.saturating_mul(groups),
        kernel: pair(&params.kernel_size)?,
        stride: pair(&params.stride)?,
        padding: padding(params.valid.as_ref())?,
        groups,
        activation: Activation::Identity,
    };
    conv.weights = from_oihw(&conv, floats(params.weights.as_ref())?);
    Ok(conv)
}

fn pool(params: &Pooling) -> Read<Op> {
    match (params.kind, params.global) {
        (AVERAGE, true) => Ok(Op::GlobalAveragePool),
        (MAX, false) => Ok(Op::MaxPool(Pool {
            kernel: pair(&params.kernel_size)?,
            stride: pair(&params.stride)?,
            padding: padding(params.valid.as_ref())?,
        })),
        other => Err(format!("a pool of kind {other:?}")),
    }
}

fn linear(params: &InnerProduct) -> Read<Linear> {
    Ok(Linear {
        weights: floats(params.weights.as_ref())?.to_vec(),
        bias: floats(params.bias.as_ref())?.to_vec(),
        out_features: params.output_channels as usize,
        in_features: params.input_channels as usize,
        activation: Activation::Identity,
    })
}

fn floats(params: Option<&WeightParams>) -> Read<&[f32]> {
    params
        .map(|params| &params.floats[..])
        .ok_or_else(|| "no weights".to_owned())
}

fn pair(sizes: &[u64]) -> Read<[usize; 2]> {
    match sizes {
        &[height, width] => Ok([height as usize, width as usize]),
        other => Err(format!("{other:?} are not two sizes")),
    }
}

fn padding(valid: Option<&ValidPadding>) -> Read<Padding> {
    let amounts = valid.and_then(|valid| valid.amounts.as_ref());
    let amounts = amounts.map(|BorderAmounts { amounts }| &amounts[..]);
    let Some(&[rows, columns]) = amounts else {
        return Err("no padding of rows and columns".to_owned());
    };
    let edges = |EdgeSizes { start, end }| [start as usize, end as usize];
    let ([top, bottom], [left, right]) = (edges(rows), edges(columns));
    Ok(Padding {
        top,
        left,
        bottom,
        right,
    })
}
