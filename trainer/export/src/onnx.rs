//! A network as an ONNX file: opset 17, NCHW, float32, any batch size. Inputs, outputs and
//! metadata are what `onnx/docs/MetadataProps.md` and `TypeDenotation.md` ask for; the
//! file depends on nothing else and the same network gives the same bytes.

use graph::{Activation, Conv2d, Graph, Linear, NodeId, Op, Padding, Pool};
use prost::Message;
use schemas::Layout;

use crate::network::Network;
use crate::weights::to_oihw;
use crate::{ExportError, ModelInfo};

mod proto;
mod read;

use proto::{
    Attribute, Dimension, FLOAT, GraphProto, Model, NodeProto, OperatorSet, StringEntry,
    TensorProto, TensorShape, TensorType, TypeProto, ValueInfo,
};
pub(crate) use read::read;

/// The newest operators used are `Clip` with inputs (11) and `Softmax` over one axis (13);
/// 17 is what onnxruntime 1.12 and later take, and with it every runtime of this decade.
const OPSET: i64 = 17;
/// The oldest file format that opset 17 may stand in.
const IR_VERSION: i64 = 8;

const IMAGE: &str = "image";
const LOGITS: &str = "logits";
const PROBABILITIES: &str = "probabilities";
const MEAN: &str = "image.mean";
const ZERO: &str = "relu6.min";
const SIX: &str = "relu6.max";
const TEMPERATURE: &str = "inverse_temperature";

/// Writes `graph`, whose input is normalised as `info.input` says, as an ONNX file.
///
/// - input `image`: `[N, 3, H, W]`, RGB in 0..=1 (`Image.NominalPixelRange` is
///   `Normalized_0_1`); the mean and std are inside
/// - output `logits`: `[N, classes]`
/// - output `probabilities`: `softmax(logits / temperature)`
/// - metadata: the labels as JSON (`labels`) and as lines (`classes`), the input as
///   JSON (`preprocess`), name, version, author, licence and all of `info.extra`
///
/// # Errors
///
/// A graph or an info that no format could hold.
pub fn write_onnx(graph: &Graph, info: &ModelInfo) -> Result<Vec<u8>, ExportError> {
    let network = Network::new(graph, info)?;
    let mut writer = Writer::new(&network.graph);
    writer.photo(&network);
    for id in 1..network.graph.nodes.len() {
        writer.node(id);
    }
    writer.probabilities(info.temperature);
    Ok(Model {
        ir_version: IR_VERSION,
        producer_name: "tintype".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: info.description.clone(),
        graph: Some(writer.finish(&network, info)),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props: metadata(info)?,
    }
    .encode_to_vec())
}

struct Writer<'a> {
    graph: &'a Graph,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// What the value of each node is called.
    values: Vec<String>,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph) -> Self {
        let mut values: Vec<_> = graph.nodes.iter().map(|node| node.name.clone()).collect();
        values[graph.output] = LOGITS.to_owned();
        Self {
            graph,
            nodes: Vec::new(),
            initializers: Vec::new(),
            values,
        }
    }

    fn photo(&mut self, network: &Network) {
        self.values[0] = IMAGE.to_owned();
        if network.has_mean() {
            let centred = "image.centred";
            self.constant(MEAN, &[1, 3, 1, 1], &network.mean);
            self.push(centred, "Sub", &[IMAGE, MEAN], centred, Vec::new());
            self.values[0] = centred.to_owned();
        }
    }

    fn node(&mut self, id: NodeId) {
        let node = &self.graph.nodes[id];
        let name = node.name.as_str();
        let inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|&i| self.values[i].clone())
            .collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let value = self.values[id].clone();
        match &node.op {
            Op::Input => {}
            Op::Conv2d(conv) => {
                let [weight, bias] = self.conv_weights(name, conv);
                let inputs = [inputs[0], &weight, &bias];
                self.activated(id, "Conv", &inputs, conv_attributes(conv), conv.activation);
            }
            Op::Add(activation) => self.activated(id, "Add", &inputs, Vec::new(), *activation),
            Op::MaxPool(pool) => {
                let Pool {
                    kernel,
                    stride,
                    padding,
                } = *pool;
                let attributes = window_attributes(kernel, stride, padding);
                self.push(name, "MaxPool", &inputs, &value, attributes);
            }
            Op::GlobalAveragePool => {
                let pooled = format!("{name}.pool");
                self.push(&pooled, "GlobalAveragePool", &inputs, &pooled, Vec::new());
                let flatten = format!("{name}.flatten");
                let axis = vec![int("axis", 1)];
                self.push(&flatten, "Flatten", &[&pooled], &value, axis);
            }
            Op::Linear(linear) => {
                let [weight, bias] = self.linear_weights(name, linear);
                let inputs = [inputs[0], &weight, &bias];
                let transposed = vec![int("transB", 1)];
                self.activated(id, "Gemm", &inputs, transposed, linear.activation);
            }
        }
    }

    fn conv_weights(&mut self, name: &str, conv: &Conv2d) -> [String; 2] {
        let names = [format!("{name}.weight"), format!("{name}.bias")];
        let [height, width] = conv.kernel;
        let shape = [
            conv.out_channels,
            conv.in_channels / conv.groups,
            height,
            width,
        ];
        self.constant(&names[0], &shape, &to_oihw(conv));
        self.constant(&names[1], &[conv.out_channels], &conv.bias);
        names
    }

    fn linear_weights(&mut self, name: &str, linear: &Linear) -> [String; 2] {
        let names = [format!("{name}.weight"), format!("{name}.bias")];
        let shape = [linear.out_features, linear.in_features];
        self.constant(&names[0], &shape, &linear.weights);
        self.constant(&names[1], &[linear.out_features], &linear.bias);
        names
    }

    /// A step and the activation after it, which in ONNX is a step of its own.
    fn activated(
        &mut self,
        id: NodeId,
        op: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
        activation: Activation,
    ) {
        let name = self.graph.nodes[id].name.as_str();
        let value = self.values[id].clone();
        if activation == Activation::Identity {
            self.push(name, op, inputs, &value, attributes);
            return;
        }
        let before = format!("{name}.linear");
        self.push(name, op, inputs, &before, attributes);
        let step = format!("{name}.activation");
        if activation == Activation::Relu {
            self.push(&step, "Relu", &[&before], &value, Vec::new());
        } else {
            self.constant(ZERO, &[], &[0.0]);
            self.constant(SIX, &[], &[6.0]);
            self.push(&step, "Clip", &[&before, ZERO, SIX], &value, Vec::new());
        }
    }

    fn probabilities(&mut self, temperature: f32) {
        let mut input = LOGITS;
        #[expect(clippy::float_cmp, reason = "exactly 1 means that no step is needed")]
        if temperature != 1.0 {
            let scaled = "logits.scaled";
            self.constant(TEMPERATURE, &[], &[1.0 / temperature]);
            self.push(scaled, "Mul", &[LOGITS, TEMPERATURE], scaled, Vec::new());
            input = scaled;
        }
        let axis = vec![int("axis", 1)];
        self.push(PROBABILITIES, "Softmax", &[input], PROBABILITIES, axis);
    }

    fn push(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<Attribute>,
    ) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: name.to_owned(),
            op_type: op_type.to_owned(),
            attribute,
            domain: String::new(),
        });
    }

    fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        if self.initializers.iter().any(|known| known.name == name) {
            return;
        }
        self.initializers.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: FLOAT,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        });
    }

    fn finish(self, network: &Network, info: &ModelInfo) -> GraphProto {
        let input = network.graph.input;
        let batch = || param("N", "DATA_BATCH");
        let image = [
            batch(),
            size(3, "DATA_CHANNEL"),
            size(input.height, "DATA_FEATURE"),
            size(input.width, "DATA_FEATURE"),
        ];
        let classes = || [batch(), size(info.labels.len(), "")];
        GraphProto {
            node: self.nodes,
            name: self.graph.name.clone(),
            initializer: self.initializers,
            input: vec![value_info(IMAGE, "IMAGE", "RGB in 0..1", &image)],
            output: vec![
                value_info(LOGITS, "TENSOR", "one per class", &classes()),
                value_info(PROBABILITIES, "TENSOR", "they sum to 1", &classes()),
            ],
        }
    }
}

fn conv_attributes(conv: &Conv2d) -> Vec<Attribute> {
    let mut attributes = window_attributes(conv.kernel, conv.stride, conv.padding);
    attributes.push(int("group", conv.groups as i64));
    attributes
}

fn window_attributes(kernel: [usize; 2], stride: [usize; 2], pad: Padding) -> Vec<Attribute> {
    vec![
        ints("kernel_shape", &kernel),
        ints("strides", &stride),
        ints("pads", &[pad.top, pad.left, pad.bottom, pad.right]),
    ]
}

fn int(name: &str, value: i64) -> Attribute {
    Attribute {
        name: name.to_owned(),
        i: Some(value),
        ints: Vec::new(),
        kind: 2,
    }
}

fn ints(name: &str, values: &[usize]) -> Attribute {
    Attribute {
        name: name.to_owned(),
        i: None,
        ints: values.iter().map(|&value| value as i64).collect(),
        kind: 7,
    }
}

fn value_info(name: &str, denotation: &str, doc: &str, dims: &[Dimension]) -> ValueInfo {
    ValueInfo {
        name: name.to_owned(),
        kind: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type: FLOAT,
                shape: Some(TensorShape { dim: dims.to_vec() }),
            }),
            denotation: denotation.to_owned(),
        }),
        doc_string: doc.to_owned(),
    }
}

fn size(value: usize, denotation: &str) -> Dimension {
    Dimension {
        dim_value: Some(value as i64),
        dim_param: None,
        denotation: denotation.to_owned(),
    }
}

fn param(name: &str, denotation: &str) -> Dimension {
    Dimension {
        dim_value: None,
        dim_param: Some(name.to_owned()),
        denotation: denotation.to_owned(),
    }
}

fn metadata(info: &ModelInfo) -> Result<Vec<StringEntry>, ExportError> {
    let json = |source| ExportError::Json {
        name: "the metadata of ONNX",
        source,
    };
    let labels = serde_json::to_string(&info.labels).map_err(json)?;
    let preprocess = serde_json::to_string(&info.file_input(Layout::Nchw)).map_err(json)?;
    let fields = [
        ("Image.BitmapPixelFormat", "Rgb8"),
        ("Image.ColorSpaceGamma", "SRGB"),
        ("Image.NominalPixelRange", "Normalized_0_1"),
        ("name", &info.name),
        ("version", &info.version),
        ("description", &info.description),
        ("author", &info.author),
        ("license", &info.license),
        ("labels", &labels),
        ("classes", &info.labels.join("\n")),
        ("preprocess", &preprocess),
        ("temperature", &info.temperature.to_string()),
    ];
    let fixed = fields.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let extra = info.extra.clone().into_iter();
    let extra = extra.filter(|(key, _)| fixed.iter().all(|(known, _)| known != key));
    Ok(fixed
        .clone()
        .into_iter()
        .chain(extra)
        .map(|(key, value)| StringEntry { key, value })
        .collect())
}
