//! From a network to the steps of a TFLite file, one node after the other; floats and
//! int8 differ in their tensors and in the ends of the graph.

use graph::{Activation, Conv2d, Linear, NodeId, Op, Padding, Pool, Shape};

use super::metadata;
use super::model::ModelBuilder;
use super::schema::{SAME, VALID, kind, operator, options, slot};
use crate::ModelInfo;
use crate::flatbuffer::{Field, Table};
use crate::int8::{IMAGE_I8, IMAGE_U8, IntNetwork, IntOp, MinusMean};
use crate::network::Network;
use crate::weights::to_hwo;

mod tensors;

/// What the numbers are.
#[derive(Clone, Copy)]
pub(super) enum Stored<'a> {
    Float32,
    Float16,
    Int8(&'a IntNetwork),
}

/// The file without its packed labels.
pub(super) fn write(network: &Network, info: &ModelInfo, stored: Stored<'_>) -> Vec<u8> {
    let mut writer = Writer {
        network,
        stored,
        builder: ModelBuilder::new(),
        values: Vec::new(),
    };
    let image = writer.image();
    for id in 1..network.graph.nodes.len() {
        let value = writer.node(id);
        writer.values.push(value);
    }
    let score = writer.score(info.temperature);
    let side = network.graph.input.height as u32;
    let metadata = metadata::metadata(info, side);
    writer.builder.metadata(metadata::BUFFER, metadata);
    let description = format!("{} by Tintype", network.graph.name);
    writer
        .builder
        .finish(&description, ("image", image), ("score", score))
}

struct Writer<'a> {
    network: &'a Network,
    stored: Stored<'a>,
    builder: ModelBuilder,
    /// The tensor of each node.
    values: Vec<i32>,
}

impl Writer<'_> {
    /// The input tensor and what is done before the first node.
    fn image(&mut self) -> i32 {
        let input = self.network.graph.input;
        let shape = [1, input.height, input.width, 3];
        let Stored::Int8(int8) = self.stored else {
            let image = self.plain("image", &shape, kind::FLOAT32, None);
            let mut value = image;
            if self.network.has_mean() {
                let minus = self.network.mean.map(|mean| -mean);
                let row = minus.repeat(input.width);
                let minus_mean = self.floats("image.minus_mean", &[1, 1, input.width, 3], &row);
                value = self.plain("image.centred", &shape, kind::FLOAT32, None);
                self.add([image, minus_mean], value, Activation::Identity);
            }
            self.values.push(value);
            return image;
        };
        let image = self.quantized("image", &shape, kind::UINT8, IMAGE_U8, None);
        let mut value = self.quantized("image.int8", &shape, kind::INT8, IMAGE_I8, None);
        let none = (options::QUANTIZE, Table::new());
        self.builder
            .operator((operator::QUANTIZE, 1), &[image], value, none);
        if let Some(MinusMean { values, quant }) = &int8.minus_mean {
            let row = values
                .repeat(input.width)
                .iter()
                .map(|v| *v as u8)
                .collect();
            let shape_of_row = [1, 1, input.width, 3];
            let name = "image.minus_mean";
            let minus_mean = self.quantized(name, &shape_of_row, kind::INT8, *quant, Some(row));
            let centred = int8.nodes[0].quant;
            let sum = self.quantized("image.centred", &shape, kind::INT8, centred, None);
            self.add([value, minus_mean], sum, Activation::Identity);
            value = sum;
        }
        self.values.push(value);
        image
    }

    fn node(&mut self, id: NodeId) -> i32 {
        let node = &self.network.graph.nodes[id];
        let name = node.name.as_str();
        let input = node.inputs[0];
        let output = self.activation(id, name);
        match &node.op {
            Op::Input => {}
            Op::Conv2d(conv) => self.conv(id, conv, output),
            Op::Add(activation) => {
                let pair = [self.values[input], self.values[node.inputs[1]]];
                self.add(pair, output, *activation);
            }
            Op::MaxPool(pool) => self.pool(id, *pool, output),
            Op::GlobalAveragePool => {
                let axes = [1_i32, 2].iter().flat_map(|axis| axis.to_le_bytes());
                let axes = Some(axes.collect());
                let axes = self.plain(&format!("{name}.axes"), &[2], kind::INT32, axes);
                let keep = Field::Bool(self.is_int8());
                let table = Table::new().with(slot::ONLY, keep);
                let version = self.version(1, 2);
                let inputs = [self.values[input], axes];
                self.builder.operator(
                    (operator::MEAN, version),
                    &inputs,
                    output,
                    (options::REDUCER, table),
                );
            }
            Op::Linear(linear) => self.linear(id, linear, output),
        }
        output
    }

    fn conv(&mut self, id: NodeId, conv: &Conv2d, output: i32) {
        let node = &self.network.graph.nodes[id];
        let depthwise = conv.groups > 1;
        let [height, width] = conv.kernel;
        let shape = if depthwise {
            [1, height, width, conv.out_channels]
        } else {
            [conv.out_channels, height, width, conv.in_channels]
        };
        let [weights, bias] = if let Stored::Int8(int8) = self.stored {
            let (IntOp::Conv(conv), input) = int8.conv(id) else {
                return;
            };
            self.int_weights(&node.name, conv, shape, input)
        } else if depthwise {
            let ordered = to_hwo(&conv.weights, conv.out_channels);
            self.float_weights(&node.name, &shape, &ordered, &conv.bias)
        } else {
            self.float_weights(&node.name, &shape, &conv.weights, &conv.bias)
        };
        let window = (conv.kernel, conv.stride, conv.padding);
        let (input, padding) = self.padded(id, window);
        let table = window_options(padding, conv.stride);
        let activation = Field::I8(activation_code(conv.activation));
        let inputs = [input, weights, bias];
        let version = self.version(1, 3);
        if depthwise {
            let table = table
                .with(slot::window::DEPTHWISE_MULTIPLIER, Field::I32(1))
                .with(slot::window::DEPTHWISE_ACTIVATION, activation);
            let code = (operator::DEPTHWISE_CONV_2D, version);
            self.builder
                .operator(code, &inputs, output, (options::DEPTHWISE_CONV_2D, table));
        } else {
            let table = table.with(slot::window::CONV_ACTIVATION, activation);
            let code = (operator::CONV_2D, version);
            self.builder
                .operator(code, &inputs, output, (options::CONV_2D, table));
        }
    }

    fn pool(&mut self, id: NodeId, pool: Pool, output: i32) {
        let (input, padding) = self.padded(id, (pool.kernel, pool.stride, pool.padding));
        let table = window_options(padding, pool.stride)
            .with(slot::window::POOL_W, Field::I32(pool.kernel[1] as i32))
            .with(slot::window::POOL_H, Field::I32(pool.kernel[0] as i32));
        let code = (operator::MAX_POOL_2D, self.version(1, 2));
        self.builder
            .operator(code, &[input], output, (options::POOL_2D, table));
    }

    fn linear(&mut self, id: NodeId, linear: &Linear, output: i32) {
        let node = &self.network.graph.nodes[id];
        let input = self.values[node.inputs[0]];
        let activation = Field::I8(activation_code(linear.activation));
        if let Stored::Int8(int8) = self.stored {
            let (IntOp::Conv(conv), quant) = int8.conv(id) else {
                return;
            };
            let shape = [linear.out_features, 1, 1, linear.in_features];
            let [weights, bias] = self.int_weights(&node.name, conv, shape, quant);
            let table =
                window_options(VALID, [1, 1]).with(slot::window::CONV_ACTIVATION, activation);
            let inputs = [input, weights, bias];
            self.builder.operator(
                (operator::CONV_2D, 3),
                &inputs,
                output,
                (options::CONV_2D, table),
            );
            return;
        }
        let shape = [linear.out_features, linear.in_features];
        let [weights, bias] = self.float_weights(&node.name, &shape, &linear.weights, &linear.bias);
        let table = Table::new().with(slot::ONLY, activation);
        let code = (operator::FULLY_CONNECTED, 1);
        let inputs = [input, weights, bias];
        self.builder
            .operator(code, &inputs, output, (options::FULLY_CONNECTED, table));
    }

    /// From the logits to the output tensor.
    fn score(&mut self, temperature: f32) -> i32 {
        let network = self.network;
        let mut logits = self.values[network.graph.output];
        let shape = [1, network.shapes[network.graph.output].channels];
        if let Stored::Int8(int8) = self.stored {
            let quant = int8.nodes[int8.output].quant;
            let flat = self.quantized("logits.int8", &shape, kind::INT8, quant, None);
            let new_shape: Vec<i32> = shape.iter().map(|&size| size as i32).collect();
            let bytes = new_shape
                .iter()
                .flat_map(|size| size.to_le_bytes())
                .collect();
            let sizes = self.plain("logits.shape", &[2], kind::INT32, Some(bytes));
            let table = Table::new().with(slot::ONLY, Field::I32s(new_shape));
            let code = (operator::RESHAPE, 1);
            self.builder
                .operator(code, &[logits, sizes], flat, (options::RESHAPE, table));
            logits = self.plain("logits", &shape, kind::FLOAT32, None);
            self.dequantize(flat, logits, 2);
        }
        let score = self.plain("score", &shape, kind::FLOAT32, None);
        let table = Table::new().with(slot::ONLY, Field::F32(1.0 / temperature));
        let code = (operator::SOFTMAX, 1);
        self.builder
            .operator(code, &[logits], score, (options::SOFTMAX, table));
        score
    }

    /// The input of a windowed node with its zeros around it, and the padding that the
    /// operator shall add itself.
    fn padded(&mut self, id: NodeId, window: Window) -> (i32, i8) {
        let node = &self.network.graph.nodes[id];
        let input = self.values[node.inputs[0]];
        let from = self.network.shapes[node.inputs[0]];
        let padding = window.2;
        if padding == Padding::default() {
            return (input, VALID);
        }
        if is_same(window, from, self.network.shapes[id]) {
            return (input, SAME);
        }
        let shape = [
            1,
            from.height + padding.top + padding.bottom,
            from.width + padding.left + padding.right,
            from.channels,
        ];
        let zeros = [
            [0, 0],
            [padding.top, padding.bottom],
            [padding.left, padding.right],
            [0, 0],
        ];
        let zeros = zeros
            .iter()
            .flatten()
            .flat_map(|&n| (n as i32).to_le_bytes());
        let zeros = Some(zeros.collect());
        let zeros = self.plain(
            &format!("{}.padding", node.name),
            &[4, 2],
            kind::INT32,
            zeros,
        );
        let name = format!("{}.padded", node.name);
        let padded = match self.stored {
            Stored::Int8(int8) => {
                let quant = int8.nodes[node.inputs[0]].quant;
                self.quantized(&name, &shape, kind::INT8, quant, None)
            }
            Stored::Float32 | Stored::Float16 => self.plain(&name, &shape, kind::FLOAT32, None),
        };
        let code = (operator::PAD, self.version(1, 2));
        self.builder
            .operator(code, &[input, zeros], padded, (options::PAD, Table::new()));
        (padded, VALID)
    }

    fn add(&mut self, inputs: [i32; 2], output: i32, activation: Activation) {
        let code = (operator::ADD, self.version(1, 2));
        let table = Table::new().with(slot::ONLY, Field::I8(activation_code(activation)));
        self.builder
            .operator(code, &inputs, output, (options::ADD, table));
    }

    fn dequantize(&mut self, from: i32, to: i32, version: i32) {
        let none = (options::DEQUANTIZE, Table::new());
        self.builder
            .operator((operator::DEQUANTIZE, version), &[from], to, none);
    }

    fn is_int8(&self) -> bool {
        matches!(self.stored, Stored::Int8(_))
    }

    /// The version of an operator that knows these numbers.
    fn version(&self, float: i32, int8: i32) -> i32 {
        if self.is_int8() { int8 } else { float }
    }
}

/// Kernel, stride and zeros.
type Window = ([usize; 2], [usize; 2], Padding);

/// Whether TFLite's `SAME` pads just like this: as little as gives `ceil(size / stride)`
/// windows, the odd row at the end.
fn is_same((kernel, stride, padding): Window, from: Shape, to: Shape) -> bool {
    let axis = |axis: usize, from: usize, to: usize, before: usize| {
        let total = ((to - 1) * stride[axis] + kernel[axis]).saturating_sub(from);
        to == from.div_ceil(stride[axis]) && before == total / 2
    };
    axis(0, from.height, to.height, padding.top) && axis(1, from.width, to.width, padding.left)
}

fn window_options(padding: i8, stride: [usize; 2]) -> Table {
    Table::new()
        .with(slot::window::PADDING, Field::I8(padding))
        .with(slot::window::STRIDE_W, Field::I32(stride[1] as i32))
        .with(slot::window::STRIDE_H, Field::I32(stride[0] as i32))
}

/// `ActivationFunctionType`
fn activation_code(activation: Activation) -> i8 {
    match activation {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::Relu6 => 3,
    }
}
