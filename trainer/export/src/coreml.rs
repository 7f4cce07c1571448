//! A network as a Core ML model: a neural-network classifier of specification version 4
//! (iOS 13, macOS 10.15), with an RGB picture as input and labels inside, so that Vision
//! answers with `VNClassificationObservation`s.

use graph::{Activation, Graph, NodeId, Op, Padding, Shape};
use prost::Message;

use crate::network::Network;
use crate::weights::to_oihw;
use crate::{ExportError, ModelInfo};

mod proto;
mod read;

use proto::{
    ActivationParams, BorderAmounts, Classifier, Clip, Convolution, DictionaryType, EdgeSizes,
    Empty, Feature, FeatureType, ImageType, InnerProduct, Layer, LinearParams, Metadata, Model,
    ModelDescription, Pooling, Preprocessing, Scaler, StringVector, ValidPadding, WeightParams,
};
pub(crate) use read::read;

/// The first version with the layer `clip`, which ReLU6 is.
const SPECIFICATION_VERSION: i32 = 4;
const RGB: i32 = 20;
const MAX: i32 = 0;
const AVERAGE: i32 = 1;

const IMAGE: &str = "image";
const LABEL: &str = "classLabel";
const PROBABILITIES: &str = "classLabelProbs";

/// Writes `graph`, whose input is normalised as `info.input` says, as a `.mlmodel`.
///
/// - input `image`: an RGB picture of the network's size
/// - output `classLabel`: the most probable label; `classLabelProbs`: the probability,
///   `softmax(logits / temperature)`, of each label
/// - preprocessing: one scale of 1/255 and minus the mean of each channel as bias; the
///   division by each channel's std is in the first layer, for Core ML has one scale for
///   all channels
/// - metadata: author, licence, version, description; `info.extra` user-defined
///
/// # Errors
///
/// A graph or an info that no format could hold.
pub fn write_coreml(graph: &Graph, info: &ModelInfo) -> Result<Vec<u8>, ExportError> {
    let network = Network::new(graph, info)?;
    let layers = Writer::layers(&network, info.temperature);
    let [red, green, blue] = network.mean;
    Ok(Model {
        specification_version: SPECIFICATION_VERSION,
        description: Some(description(&network, info)),
        classifier: Some(Classifier {
            layers,
            preprocessing: vec![Preprocessing {
                feature_name: IMAGE.to_owned(),
                scaler: Some(Scaler {
                    channel_scale: 1.0 / 255.0,
                    blue_bias: -blue,
                    green_bias: -green,
                    red_bias: -red,
                }),
            }],
            class_labels: Some(StringVector {
                vector: info.labels.clone(),
            }),
            label_probability_layer_name: PROBABILITIES.to_owned(),
        }),
    }
    .encode_to_vec())
}

fn description(network: &Network, info: &ModelInfo) -> ModelDescription {
    let Shape { height, width, .. } = network.graph.input;
    let feature = |name: &str, description: &str, kind: FeatureType| Feature {
        name: name.to_owned(),
        short_description: description.to_owned(),
        kind: Some(kind),
    };
    let none = FeatureType::default();
    let image = FeatureType {
        image: Some(ImageType {
            width: width as i64,
            height: height as i64,
            color_space: RGB,
        }),
        ..none.clone()
    };
    let dictionary = FeatureType {
        dictionary: Some(DictionaryType {
            string_keys: Some(Empty {}),
        }),
        ..none.clone()
    };
    let string = FeatureType {
        string: Some(Empty {}),
        ..none
    };
    ModelDescription {
        input: vec![feature(IMAGE, "the middle square of the photo", image)],
        output: vec![
            feature(PROBABILITIES, "the probability of each label", dictionary),
            feature(LABEL, "the most probable label", string),
        ],
        predicted_feature_name: LABEL.to_owned(),
        predicted_probabilities_name: PROBABILITIES.to_owned(),
        metadata: Some(Metadata {
            short_description: format!("{}: {}", info.name, info.description),
            version: info.version.clone(),
            author: info.author.clone(),
            license: info.license.clone(),
            user_defined: info.extra.clone(),
        }),
    }
}

struct Writer<'a> {
    graph: &'a Graph,
    layers: Vec<Layer>,
}

impl<'a> Writer<'a> {
    fn layers(network: &'a Network, temperature: f32) -> Vec<Layer> {
        let mut writer = Self {
            graph: &network.graph,
            layers: Vec::new(),
        };
        for id in 1..network.graph.nodes.len() {
            writer.node(id);
        }
        let mut logits = writer.value(network.graph.output);
        #[expect(clippy::float_cmp, reason = "exactly 1 means that no layer is needed")]
        if temperature != 1.0 {
            let linear = LinearParams {
                alpha: 1.0 / temperature,
                beta: 0.0,
            };
            let scaled = writer.push("logits.scaled", vec![logits], "logits.scaled");
            scaled.activation = Some(ActivationParams {
                linear: Some(linear),
                relu: None,
            });
            logits = "logits.scaled".to_owned();
        }
        writer.push("softmax", vec![logits], PROBABILITIES).softmax = Some(Empty {});
        writer.layers
    }

    /// What the value of a node is called.
    fn value(&self, id: NodeId) -> String {
        match id {
            0 => IMAGE.to_owned(),
            id => self.graph.nodes[id].name.clone(),
        }
    }

    fn node(&mut self, id: NodeId) {
        let node = &self.graph.nodes[id];
        let (before, activation) = match &node.op {
            Op::Conv2d(conv) => (self.before(id, conv.activation), conv.activation),
            Op::Linear(linear) => (self.before(id, linear.activation), linear.activation),
            Op::Add(activation) => (self.before(id, *activation), *activation),
            _ => (self.value(id), Activation::Identity),
        };
        let inputs = node.inputs.iter().map(|&input| self.value(input)).collect();
        let layer = self.push(&node.name, inputs, &before);
        match &node.op {
            Op::Input => {}
            Op::Conv2d(conv) => {
                layer.convolution = Some(Convolution {
                    output_channels: conv.out_channels as u64,
                    kernel_channels: (conv.in_channels / conv.groups) as u64,
                    groups: conv.groups as u64,
                    kernel_size: pair(conv.kernel),
                    stride: pair(conv.stride),
                    dilation: pair([1, 1]),
                    valid: Some(padding(conv.padding)),
                    has_bias: true,
                    weights: Some(WeightParams {
                        floats: to_oihw(conv),
                    }),
                    bias: Some(WeightParams {
                        floats: conv.bias.clone(),
                    }),
                });
            }
            Op::Add(_) => layer.add = Some(Empty {}),
            Op::MaxPool(pool) => {
                layer.pooling = Some(Pooling {
                    kind: MAX,
                    kernel_size: pair(pool.kernel),
                    stride: pair(pool.stride),
                    valid: Some(padding(pool.padding)),
                    global: false,
                });
            }
            Op::GlobalAveragePool => {
                layer.pooling = Some(Pooling {
                    kind: AVERAGE,
                    kernel_size: Vec::new(),
                    stride: Vec::new(),
                    valid: Some(ValidPadding::default()),
                    global: true,
                });
            }
            Op::Linear(linear) => {
                layer.inner_product = Some(InnerProduct {
                    input_channels: linear.in_features as u64,
                    output_channels: linear.out_features as u64,
                    has_bias: true,
                    weights: Some(WeightParams {
                        floats: linear.weights.clone(),
                    }),
                    bias: Some(WeightParams {
                        floats: linear.bias.clone(),
                    }),
                });
            }
        }
        self.activate(id, before, activation);
    }

    /// The name of a value before its activation, which is a layer of its own.
    fn before(&self, id: NodeId, activation: Activation) -> String {
        let value = self.value(id);
        match activation {
            Activation::Identity => value,
            Activation::Relu | Activation::Relu6 => format!("{value}.linear"),
        }
    }

    fn activate(&mut self, id: NodeId, before: String, activation: Activation) {
        let value = self.value(id);
        let name = format!("{value}.activation");
        match activation {
            Activation::Identity => {}
            Activation::Relu => {
                self.push(&name, vec![before], &value).activation = Some(ActivationParams {
                    linear: None,
                    relu: Some(Empty {}),
                });
            }
            Activation::Relu6 => {
                self.push(&name, vec![before], &value).clip = Some(Clip { min: 0.0, max: 6.0 });
            }
        }
    }

    fn push(&mut self, name: &str, input: Vec<String>, output: &str) -> &mut Layer {
        self.layers.push(Layer {
            name: name.to_owned(),
            input,
            output: vec![output.to_owned()],
            ..Layer::default()
        });
        let last = self.layers.len() - 1;
        &mut self.layers[last]
    }
}

fn pair([height, width]: [usize; 2]) -> Vec<u64> {
    vec![height as u64, width as u64]
}

fn padding(padding: Padding) -> ValidPadding {
    let edges = |start: usize, end: usize| EdgeSizes {
        start: start as u64,
        end: end as u64,
    };
    ValidPadding {
        amounts: Some(BorderAmounts {
            amounts: vec![
                edges(padding.top, padding.bottom),
                edges(padding.left, padding.right),
            ],
        }),
    }
}
