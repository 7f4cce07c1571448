//! A `.tflite` of ours back into a network that can be run, from its bytes alone. It knows
//! the operators that the writer uses, in the order in which it uses them, and refuses
//! everything else.

use std::collections::BTreeMap;

use graph::{Activation, NodeId, Op, Padding, Pool, Shape};
use half::f16;

use super::metadata;
use super::schema::{SAME, kind, operator, slot};
use super::steps::{ModelView, StepView, TensorView};
use crate::ExportError;
use crate::flatbuffer::TableRef;
use crate::int8::{IntNetwork, IntOp};
use crate::network::Network;

mod float;
mod int8;

type Read<T> = Result<T, String>;

/// What a `.tflite` computes.
pub(crate) enum ReadTflite {
    /// In float32, whatever its weights are kept as.
    Float(Network),
    /// In int8.
    Int8(IntNetwork),
}

/// The network that a `.tflite` holds. Its labels and metadata must be there as well.
pub(crate) fn read(bytes: &[u8]) -> Result<ReadTflite, ExportError> {
    let unreadable = |problem| ExportError::unreadable("TFLite", problem);
    let model = ModelView::read(bytes).map_err(unreadable)?;
    check_metadata(&model, bytes).map_err(unreadable)?;
    if model.tensors[model.input].kind == kind::UINT8 {
        let network = Reader::<IntOp>::read(&model).and_then(Reader::int8);
        let network = network.and_then(|network| network.check().map(|()| network));
        return network.map(ReadTflite::Int8).map_err(unreadable);
    }
    let parts = Reader::<Op>::read(&model).and_then(Reader::float);
    let (graph, mean) = parts.map_err(unreadable)?;
    Network::read(graph, mean).map(ReadTflite::Float)
}

/// The labels are as many as the scores, and the metadata is metadata.
fn check_metadata(model: &ModelView<'_>, bytes: &[u8]) -> Read<()> {
    let entry = model
        .metadata
        .iter()
        .find(|(name, _)| *name == metadata::BUFFER);
    let (_, buffer) = entry.ok_or("no metadata")?;
    TableRef::root(buffer, metadata::IDENTIFIER)?;
    let labels = crate::zip::read_zip(bytes, crate::LABELS_FILE)?;
    let num_labels = labels.iter().filter(|&&byte| byte == b'\n').count();
    if model.tensors[model.output].shape != [1, num_labels] {
        return Err(format!("{num_labels} labels for other scores"));
    }
    Ok(())
}

/// Steps that become nodes. `O` is the kind of node: [`Op`] or [`IntOp`].
struct Reader<'m, 'a, O> {
    model: &'m ModelView<'a>,
    nodes: Vec<ReadNode<O>>,
    /// The node whose value a tensor is.
    values: BTreeMap<usize, NodeId>,
    /// Tensors that are a padded value.
    padded: BTreeMap<usize, (NodeId, Padding)>,
    /// Tensors that are a constant made wide.
    widened: BTreeMap<usize, Vec<f32>>,
    minus_mean: Option<usize>,
    logits: Option<NodeId>,
}

struct ReadNode<O> {
    op: O,
    inputs: Vec<NodeId>,
    tensor: usize,
}

/// The two kinds of node.
trait ReadOp: Sized {
    const INPUT: Self;
    const MEAN: Self;
    fn add(activation: Activation) -> Self;
    fn max_pool(pool: Pool) -> Self;
    fn conv<'m>(reader: &Reader<'m, '_, Self>, layer: Layer) -> Read<Self>;
    fn linear<'m>(reader: &Reader<'m, '_, Self>, layer: Layer) -> Read<Self>;
}

/// A convolution's or a matrix's numbers but for the weights themselves.
struct Layer {
    weights: usize,
    bias: usize,
    input: NodeId,
    stride: [usize; 2],
    padding: Padding,
    depthwise: bool,
    activation: Activation,
}

impl<'m, 'a, O: ReadOp> Reader<'m, 'a, O> {
    fn read(model: &'m ModelView<'a>) -> Read<Self> {
        let mut reader = Self {
            model,
            nodes: vec![ReadNode {
                op: O::INPUT,
                inputs: Vec::new(),
                tensor: model.input,
            }],
            values: BTreeMap::from([(model.input, 0)]),
            padded: BTreeMap::new(),
            widened: BTreeMap::new(),
            minus_mean: None,
            logits: None,
        };
        for step in &model.steps {
            let name = model.tensors[step.output].name;
            reader
                .step(step)
                .map_err(|problem| format!("{name}: {problem}"))?;
        }
        if reader.logits.is_none() || !reader.values.contains_key(&model.output) {
            return Err("the output is no softmax".to_owned());
        }
        Ok(reader)
    }

    fn step(&mut self, step: &StepView<'a>) -> Read<()> {
        let input = step.input(0)?;
        match step.operator {
            operator::PAD => {
                let padding = self.zeros(step)?;
                self.padded
                    .insert(step.output, (self.value(input)?, padding));
            }
            operator::DEQUANTIZE if self.tensor(input).kind == kind::FLOAT16 => {
                let values = self.tensor(input).content(kind::FLOAT16)?;
                let wide = values
                    .iter()
                    .map(|&v| f16::from_le_bytes(v).to_f32())
                    .collect();
                self.widened.insert(step.output, wide);
            }
            operator::ADD if !self.tensor(step.input(1)?).data.is_empty() => {
                if self.nodes.len() != 1 || self.minus_mean.is_some() {
                    return Err("adds a constant to other than the photo".to_owned());
                }
                self.minus_mean = Some(step.input(1)?);
                self.same(step)?;
            }
            // What changes no value: the photo's type, the logits' shape and type.
            operator::QUANTIZE | operator::RESHAPE | operator::DEQUANTIZE => self.same(step)?,
            operator::SOFTMAX => {
                self.logits = Some(self.value(input)?);
                self.same(step)?;
            }
            _ => self.node(step)?,
        }
        Ok(())
    }

    /// A step that changes the tensor and not the value.
    fn same(&mut self, step: &StepView<'a>) -> Read<()> {
        let id = self.value(step.input(0)?)?;
        if id == 0 {
            self.nodes[0].tensor = step.output;
        }
        self.values.insert(step.output, id);
        Ok(())
    }

    fn node(&mut self, step: &StepView<'a>) -> Read<()> {
        let (input, padding) = match self.padded.get(&step.input(0)?) {
            Some(padded) => *padded,
            None => (self.value(step.input(0)?)?, Padding::default()),
        };
        let mut inputs = vec![input];
        let op = match step.operator {
            operator::CONV_2D | operator::DEPTHWISE_CONV_2D => {
                O::conv(self, self.conv(step, input, padding)?)?
            }
            operator::FULLY_CONNECTED => O::linear(self, self.linear(step, input)?)?,
            operator::ADD => {
                inputs.push(self.value(step.input(1)?)?);
                O::add(activation(step, slot::ONLY)?)
            }
            operator::MAX_POOL_2D => {
                let width = positive(step, slot::window::POOL_W)?;
                let kernel = [positive(step, slot::window::POOL_H)?, width];
                let stride = strides(step)?;
                let padding = self.padding(step, (kernel, stride), padding)?;
                O::max_pool(Pool {
                    kernel,
                    stride,
                    padding,
                })
            }
            operator::MEAN => {
                let axes = self.tensor(step.input(1)?).content(kind::INT32)?;
                if axes.iter().map(|&axis| i32::from_le_bytes(axis)).ne([1, 2]) {
                    return Err("a mean of other than rows and columns".to_owned());
                }
                O::MEAN
            }
            other => return Err(format!("unknown operator {other}")),
        };
        self.nodes.push(ReadNode {
            op,
            inputs,
            tensor: step.output,
        });
        self.values.insert(step.output, self.nodes.len() - 1);
        Ok(())
    }

    fn conv(&self, step: &StepView<'a>, input: NodeId, padding: Padding) -> Read<Layer> {
        let weights = step.input(1)?;
        let [_, height, width, _] = self.tensor(weights).shape[..] else {
            return Err("weights without four axes".to_owned());
        };
        let depthwise = step.operator == operator::DEPTHWISE_CONV_2D;
        let activation_slot = if depthwise {
            slot::window::DEPTHWISE_ACTIVATION
        } else {
            slot::window::CONV_ACTIVATION
        };
        let stride = strides(step)?;
        Ok(Layer {
            weights,
            bias: step.input(2)?,
            input,
            stride,
            padding: self.padding(step, ([height, width], stride), padding)?,
            depthwise,
            activation: activation(step, activation_slot)?,
        })
    }

    fn linear(&self, step: &StepView<'a>, input: NodeId) -> Read<Layer> {
        Ok(Layer {
            weights: step.input(1)?,
            bias: step.input(2)?,
            input,
            stride: [1, 1],
            padding: Padding::default(),
            depthwise: false,
            activation: activation(step, slot::ONLY)?,
        })
    }

    /// The zeros that a `PAD` adds.
    fn zeros(&self, step: &StepView<'a>) -> Read<Padding> {
        let amounts = self.tensor(step.input(1)?).content(kind::INT32)?;
        let amounts: Vec<i32> = amounts.iter().map(|&n| i32::from_le_bytes(n)).collect();
        let amounts: Result<Vec<usize>, _> = amounts.into_iter().map(usize::try_from).collect();
        match amounts.as_deref() {
            Ok(&[0, 0, top, bottom, left, right, 0, 0]) => Ok(Padding {
                top,
                left,
                bottom,
                right,
            }),
            _ => Err("pads other than rows and columns".to_owned()),
        }
    }

    /// The zeros around a window: those of a `PAD` before, or those that `SAME` means.
    fn padding(
        &self,
        step: &StepView<'a>,
        (kernel, stride): ([usize; 2], [usize; 2]),
        before: Padding,
    ) -> Read<Padding> {
        if step.options.i8(slot::window::PADDING, 0)? != SAME {
            return Ok(before);
        }
        let from = self.tensor(step.input(0)?).shape.get(1..3);
        let to = self.tensor(step.output).shape.get(1..3);
        let (Some(from), Some(to)) = (from, to) else {
            return Err("a window over no picture".to_owned());
        };
        let total = [0, 1].map(|axis| {
            let covered = to[axis].saturating_sub(1) * stride[axis] + kernel[axis];
            covered.saturating_sub(from[axis])
        });
        Ok(Padding {
            top: total[0] / 2,
            left: total[1] / 2,
            bottom: total[0].div_ceil(2),
            right: total[1].div_ceil(2),
        })
    }

    fn floats(&self, tensor: usize) -> Read<Vec<f32>> {
        if let Some(wide) = self.widened.get(&tensor) {
            return Ok(wide.clone());
        }
        let values = self.tensor(tensor).content(kind::FLOAT32)?;
        Ok(values
            .iter()
            .map(|&value| f32::from_le_bytes(value))
            .collect())
    }

    fn bytes(&self, tensor: usize) -> Read<Vec<i8>> {
        let values = self.tensor(tensor).content(kind::INT8)?;
        Ok(values.iter().map(|&[byte]| byte as i8).collect())
    }

    fn tensor(&self, index: usize) -> &'m TensorView<'a> {
        &self.model.tensors[index]
    }

    fn value(&self, tensor: usize) -> Read<NodeId> {
        let value = self.values.get(&tensor).copied();
        value.ok_or_else(|| format!("reads {} too early", self.tensor(tensor).name))
    }

    fn input_shape(&self) -> Read<Shape> {
        match self.tensor(self.model.input).shape[..] {
            [1, height, width, 3] => Ok(Shape {
                height,
                width,
                channels: 3,
            }),
            ref other => Err(format!("an input of {other:?}")),
        }
    }

    fn output(&self) -> NodeId {
        self.logits.unwrap_or_default()
    }
}

struct ConvShape {
    out_channels: usize,
    in_channels: usize,
    kernel: [usize; 2],
    groups: usize,
}

fn conv_shape<O: ReadOp>(reader: &Reader<'_, '_, O>, layer: &Layer) -> Read<ConvShape> {
    let [first, height, width, last] = reader.tensor(layer.weights).shape[..] else {
        return Err("weights without four axes".to_owned());
    };
    Ok(ConvShape {
        out_channels: if layer.depthwise { last } else { first },
        in_channels: last,
        kernel: [height, width],
        groups: if layer.depthwise { last } else { 1 },
    })
}

/// A value per channel out of a row that repeats them.
fn repeated<T: Copy + PartialEq>(row: &[T]) -> Read<[T; 3]> {
    let (pixels, rest) = row.as_chunks::<3>();
    match pixels.split_first() {
        Some((first, others)) if rest.is_empty() && others.iter().all(|p| p == first) => Ok(*first),
        _ => Err("the mean changes along the row".to_owned()),
    }
}

fn strides(step: &StepView<'_>) -> Read<[usize; 2]> {
    let across = positive(step, slot::window::STRIDE_W)?;
    Ok([positive(step, slot::window::STRIDE_H)?, across])
}

fn positive(step: &StepView<'_>, slot: u16) -> Read<usize> {
    let value = step.options.i32(slot, 0)?;
    let value = usize::try_from(value).ok().filter(|&value| value > 0);
    value.ok_or_else(|| "a window or stride of 0".to_owned())
}

fn activation(step: &StepView<'_>, slot: u16) -> Read<Activation> {
    match step.options.i8(slot, 0)? {
        0 => Ok(Activation::Identity),
        1 => Ok(Activation::Relu),
        3 => Ok(Activation::Relu6),
        other => Err(format!("unknown activation {other}")),
    }
}
