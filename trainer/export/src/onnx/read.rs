//! An ONNX file of ours back into a network, from its bytes alone. It knows the operators
//! that the writer uses and refuses everything else, so what it accepts is what a
//! runtime will compute.

use std::collections::BTreeMap;

use graph::{Activation, Conv2d, Graph, Linear, Node, NodeId, Op, Padding, Pool, Shape};
use prost::Message;

use super::proto::{FLOAT, GraphProto, Model, NodeProto, TensorProto};
use super::{IMAGE, LOGITS, OPSET, PROBABILITIES};
use crate::ExportError;
use crate::network::Network;
use crate::weights::from_oihw;

type Read<T> = Result<T, String>;

/// The network that an ONNX file holds.
pub(crate) fn read(bytes: &[u8]) -> Result<Network, ExportError> {
    let parsed = Model::decode(bytes).map_err(|error| error.to_string());
    let network = parsed.and_then(|model| Reader::read(&model));
    let (graph, mean) = network.map_err(|problem| ExportError::unreadable("ONNX", problem))?;
    Network::read(graph, mean)
}

struct Reader<'a> {
    tensors: BTreeMap<&'a str, &'a TensorProto>,
    /// Which node's value stands under a name.
    values: BTreeMap<&'a str, NodeId>,
    nodes: Vec<Node>,
    mean: [f32; 3],
}

impl<'a> Reader<'a> {
    fn read(model: &'a Model) -> Read<(Graph, [f32; 3])> {
        let graph = model.graph.as_ref().ok_or("no graph")?;
        if !matches!(&model.opset_import[..], [set] if set.domain.is_empty() && set.version == OPSET)
        {
            return Err(format!("operator sets {:?}", model.opset_import));
        }
        let outputs: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
        if outputs != [LOGITS, PROBABILITIES] {
            return Err(format!("outputs {outputs:?}"));
        }
        let mut reader = Self {
            tensors: graph
                .initializer
                .iter()
                .map(|t| (t.name.as_str(), t))
                .collect(),
            values: BTreeMap::from([(IMAGE, 0)]),
            nodes: vec![Node {
                name: IMAGE.to_owned(),
                op: Op::Input,
                inputs: Vec::new(),
            }],
            mean: [0.0; 3],
        };
        for node in &graph.node {
            reader
                .step(node)
                .map_err(|problem| format!("{}: {problem}", node.name))?;
        }
        reader.finish(graph)
    }

    fn finish(self, graph: &GraphProto) -> Read<(Graph, [f32; 3])> {
        let output = *self.values.get(LOGITS).ok_or("no logits")?;
        if !self.values.contains_key(PROBABILITIES) {
            return Err("no probabilities".to_owned());
        }
        let pool = |node: &Node| node.op == Op::GlobalAveragePool;
        Ok((
            Graph {
                name: graph.name.clone(),
                input: input_shape(graph)?,
                features: self.nodes.iter().position(pool).unwrap_or(output),
                nodes: self.nodes,
                output,
            },
            self.mean,
        ))
    }

    fn step(&mut self, step: &'a NodeProto) -> Read<()> {
        let [output] = &step.output[..] else {
            return Err("not one output".to_owned());
        };
        let value = match step.op_type.as_str() {
            "Sub" => self.mean(step)?,
            "Conv" => self.conv(step)?,
            "Add" => {
                let inputs = vec![self.input(step, 0)?, self.input(step, 1)?];
                self.push(step, Op::Add(Activation::Identity), inputs)
            }
            "Relu" => self.activate(step, Activation::Relu)?,
            "Clip" => {
                if (self.floats(step, 1)?, self.floats(step, 2)?) != (vec![0.0], vec![6.0]) {
                    return Err("clips to other than 0 and 6".to_owned());
                }
                self.activate(step, Activation::Relu6)?
            }
            "MaxPool" => {
                let (kernel, stride, padding) = window(step)?;
                let pool = Pool {
                    kernel,
                    stride,
                    padding,
                };
                let inputs = vec![self.input(step, 0)?];
                self.push(step, Op::MaxPool(pool), inputs)
            }
            "GlobalAveragePool" => {
                let inputs = vec![self.input(step, 0)?];
                self.push(step, Op::GlobalAveragePool, inputs)
            }
            "Flatten" => {
                let id = self.input(step, 0)?;
                if self.nodes[id].op != Op::GlobalAveragePool || int(step, "axis")? != 1 {
                    return Err("flattens other than a pooled vector".to_owned());
                }
                id
            }
            "Gemm" => self.linear(step)?,
            "Mul" | "Softmax" => {
                let id = self.input(step, 0)?;
                if self.values.get(LOGITS) != Some(&id) {
                    return Err("comes before the logits".to_owned());
                }
                id
            }
            other => return Err(format!("unknown operator {other}")),
        };
        if self.values.insert(output, value).is_some() {
            return Err(format!("writes {output} again"));
        }
        Ok(())
    }

    fn mean(&mut self, step: &NodeProto) -> Read<NodeId> {
        if step.input.first().map(String::as_str) != Some(IMAGE) || self.nodes.len() != 1 {
            return Err("a mean that is not taken from the photo".to_owned());
        }
        let mean = self.floats(step, 1)?;
        self.mean = mean.try_into().map_err(|m| format!("the mean is {m:?}"))?;
        Ok(0)
    }

    fn conv(&mut self, step: &NodeProto) -> Read<NodeId> {
        let (kernel, stride, padding) = window(step)?;
        let groups = usize::try_from(int(step, "group")?).map_err(|e| e.to_string())?;
        let [out_channels, group_channels, height, width] = self.shape(step, 1)?;
        if [height, width] != kernel {
            return Err("kernel_shape is not that of the weights".to_owned());
        }
        let mut conv = Conv2d {
            weights: Vec::new(),
            bias: self.floats(step, 2)?,
            out_channels,
            in_channels: group_channels * groups,
            kernel,
            stride,
            padding,
            groups,
            activation: Activation::Identity,
        };
        conv.weights = from_oihw(&conv, &self.floats(step, 1)?);
        let inputs = vec![self.input(step, 0)?];
        Ok(self.push(step, Op::Conv2d(conv), inputs))
    }

    fn linear(&mut self, step: &NodeProto) -> Read<NodeId> {
        if int(step, "transB")? != 1 {
            return Err("weights are not out x in".to_owned());
        }
        let [out_features, in_features] = self.shape(step, 1)?;
        let linear = Linear {
            weights: self.floats(step, 1)?,
            bias: self.floats(step, 2)?,
            out_features,
            in_features,
            activation: Activation::Identity,
        };
        let inputs = vec![self.input(step, 0)?];
        Ok(self.push(step, Op::Linear(linear), inputs))
    }

    /// Joins an activation to the step before it.
    fn activate(&mut self, step: &NodeProto, activation: Activation) -> Read<NodeId> {
        let id = self.input(step, 0)?;
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

    fn push(&mut self, step: &NodeProto, op: Op, inputs: Vec<NodeId>) -> NodeId {
        self.nodes.push(Node {
            name: step.name.clone(),
            op,
            inputs,
        });
        self.nodes.len() - 1
    }

    fn input(&self, step: &NodeProto, at: usize) -> Read<NodeId> {
        let name = step.input.get(at).ok_or("too few inputs")?;
        let value = self.values.get(name.as_str());
        value.copied().ok_or_else(|| format!("no value {name}"))
    }

    fn tensor(&self, step: &NodeProto, at: usize) -> Read<&'a TensorProto> {
        let name = step.input.get(at).ok_or("too few inputs")?;
        let tensor = self.tensors.get(name.as_str());
        tensor.copied().ok_or_else(|| format!("no tensor {name}"))
    }

    fn floats(&self, step: &NodeProto, at: usize) -> Read<Vec<f32>> {
        let tensor = self.tensor(step, at)?;
        let (values, rest) = tensor.raw_data.as_chunks::<4>();
        let num_values = tensor.dims.iter().product::<i64>();
        if tensor.data_type != FLOAT || !rest.is_empty() || values.len() as i64 != num_values {
            return Err(format!("{} is no tensor of its shape", tensor.name));
        }
        Ok(values
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect())
    }

    fn shape<const N: usize>(&self, step: &NodeProto, at: usize) -> Read<[usize; N]> {
        let tensor = self.tensor(step, at)?;
        sizes(&tensor.dims)
    }
}

fn input_shape(graph: &GraphProto) -> Read<Shape> {
    let input = match &graph.input[..] {
        [input] if input.name == IMAGE => input,
        _ => return Err("not one input named image".to_owned()),
    };
    let tensor = input.kind.as_ref().and_then(|k| k.tensor_type.as_ref());
    let dims = tensor.and_then(|t| t.shape.as_ref()).map(|s| &s.dim[..]);
    let Some([batch, rest @ ..]) = dims else {
        return Err("the input has no shape".to_owned());
    };
    let rest: Vec<i64> = rest.iter().map(|dim| dim.dim_value.unwrap_or(0)).collect();
    let [channels, height, width] = sizes(&rest)?;
    if batch.dim_param.is_none() {
        return Err("the batch is fixed".to_owned());
    }
    Ok(Shape {
        height,
        width,
        channels,
    })
}

fn window(step: &NodeProto) -> Read<([usize; 2], [usize; 2], Padding)> {
    let [top, left, bottom, right] = ints(step, "pads")?;
    let padding = Padding {
        top,
        left,
        bottom,
        right,
    };
    Ok((ints(step, "kernel_shape")?, ints(step, "strides")?, padding))
}

fn int(step: &NodeProto, name: &str) -> Read<i64> {
    let attribute = step.attribute.iter().find(|a| a.name == name);
    attribute
        .and_then(|a| a.i)
        .ok_or_else(|| format!("no attribute {name}"))
}

fn ints<const N: usize>(step: &NodeProto, name: &str) -> Read<[usize; N]> {
    let attribute = step.attribute.iter().find(|a| a.name == name);
    sizes(attribute.map_or(&[][..], |a| &a.ints))
}

fn sizes<const N: usize>(dims: &[i64]) -> Read<[usize; N]> {
    let sizes: Result<Vec<usize>, _> = dims.iter().map(|&d| usize::try_from(d)).collect();
    let sizes = sizes.map_err(|_| format!("sizes {dims:?}"))?;
    sizes
        .try_into()
        .map_err(|_| format!("{dims:?} are not {N} sizes"))
}
