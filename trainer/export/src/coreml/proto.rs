//! The part of Core ML's specification that is written here, with the official field
//! numbers (apple/coremltools, `mlmodel/format/*.proto`). What is a `oneof` there is a
//! set of optional fields here, of which one is set; the bytes are the same.

use std::collections::BTreeMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int32, tag = "1")]
    pub specification_version: i32,
    #[prost(message, optional, tag = "2")]
    pub description: Option<ModelDescription>,
    #[prost(message, optional, tag = "403")]
    pub classifier: Option<Classifier>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ModelDescription {
    #[prost(message, repeated, tag = "1")]
    pub input: Vec<Feature>,
    #[prost(message, repeated, tag = "10")]
    pub output: Vec<Feature>,
    #[prost(string, tag = "11")]
    pub predicted_feature_name: String,
    #[prost(string, tag = "12")]
    pub predicted_probabilities_name: String,
    #[prost(message, optional, tag = "100")]
    pub metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    #[prost(string, tag = "1")]
    pub short_description: String,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(string, tag = "3")]
    pub author: String,
    #[prost(string, tag = "4")]
    pub license: String,
    #[prost(btree_map = "string, string", tag = "100")]
    pub user_defined: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Feature {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub short_description: String,
    #[prost(message, optional, tag = "3")]
    pub kind: Option<FeatureType>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FeatureType {
    #[prost(message, optional, tag = "3")]
    pub string: Option<Empty>,
    #[prost(message, optional, tag = "4")]
    pub image: Option<ImageType>,
    #[prost(message, optional, tag = "6")]
    pub dictionary: Option<DictionaryType>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub struct ImageType {
    #[prost(int64, tag = "1")]
    pub width: i64,
    #[prost(int64, tag = "2")]
    pub height: i64,
    /// 20 is RGB.
    #[prost(int32, tag = "3")]
    pub color_space: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct DictionaryType {
    #[prost(message, optional, tag = "2")]
    pub string_keys: Option<Empty>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Classifier {
    #[prost(message, repeated, tag = "1")]
    pub layers: Vec<Layer>,
    #[prost(message, repeated, tag = "2")]
    pub preprocessing: Vec<Preprocessing>,
    #[prost(message, optional, tag = "100")]
    pub class_labels: Option<StringVector>,
    #[prost(string, tag = "200")]
    pub label_probability_layer_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct StringVector {
    #[prost(string, repeated, tag = "1")]
    pub vector: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Preprocessing {
    #[prost(string, tag = "1")]
    pub feature_name: String,
    #[prost(message, optional, tag = "10")]
    pub scaler: Option<Scaler>,
}

/// `pixel * channel_scale + bias`
#[derive(Clone, PartialEq, Message)]
pub struct Scaler {
    #[prost(float, tag = "10")]
    pub channel_scale: f32,
    #[prost(float, tag = "20")]
    pub blue_bias: f32,
    #[prost(float, tag = "21")]
    pub green_bias: f32,
    #[prost(float, tag = "22")]
    pub red_bias: f32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Layer {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "2")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub output: Vec<String>,
    #[prost(message, optional, tag = "100")]
    pub convolution: Option<Convolution>,
    #[prost(message, optional, tag = "120")]
    pub pooling: Option<Pooling>,
    #[prost(message, optional, tag = "130")]
    pub activation: Option<ActivationParams>,
    #[prost(message, optional, tag = "140")]
    pub inner_product: Option<InnerProduct>,
    #[prost(message, optional, tag = "175")]
    pub softmax: Option<Empty>,
    #[prost(message, optional, tag = "230")]
    pub add: Option<Empty>,
    #[prost(message, optional, tag = "660")]
    pub clip: Option<Clip>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Convolution {
    #[prost(uint64, tag = "1")]
    pub output_channels: u64,
    #[prost(uint64, tag = "2")]
    pub kernel_channels: u64,
    #[prost(uint64, tag = "10")]
    pub groups: u64,
    #[prost(uint64, repeated, tag = "20")]
    pub kernel_size: Vec<u64>,
    #[prost(uint64, repeated, tag = "30")]
    pub stride: Vec<u64>,
    #[prost(uint64, repeated, tag = "40")]
    pub dilation: Vec<u64>,
    #[prost(message, optional, tag = "50")]
    pub valid: Option<ValidPadding>,
    #[prost(bool, tag = "70")]
    pub has_bias: bool,
    #[prost(message, optional, tag = "90")]
    pub weights: Option<WeightParams>,
    #[prost(message, optional, tag = "91")]
    pub bias: Option<WeightParams>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValidPadding {
    #[prost(message, optional, tag = "1")]
    pub amounts: Option<BorderAmounts>,
}

/// Of rows, then of columns.
#[derive(Clone, PartialEq, Message)]
pub struct BorderAmounts {
    #[prost(message, repeated, tag = "10")]
    pub amounts: Vec<EdgeSizes>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct EdgeSizes {
    #[prost(uint64, tag = "1")]
    pub start: u64,
    #[prost(uint64, tag = "2")]
    pub end: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct WeightParams {
    #[prost(float, repeated, tag = "1")]
    pub floats: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Pooling {
    /// 0 is the largest value, 1 the mean.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(uint64, repeated, tag = "10")]
    pub kernel_size: Vec<u64>,
    #[prost(uint64, repeated, tag = "20")]
    pub stride: Vec<u64>,
    #[prost(message, optional, tag = "30")]
    pub valid: Option<ValidPadding>,
    #[prost(bool, tag = "60")]
    pub global: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct ActivationParams {
    #[prost(message, optional, tag = "5")]
    pub linear: Option<LinearParams>,
    #[prost(message, optional, tag = "10")]
    pub relu: Option<Empty>,
}

/// `alpha * x + beta`
#[derive(Clone, Copy, PartialEq, Message)]
pub struct LinearParams {
    #[prost(float, tag = "1")]
    pub alpha: f32,
    #[prost(float, tag = "2")]
    pub beta: f32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Clip {
    #[prost(float, tag = "1")]
    pub min: f32,
    #[prost(float, tag = "2")]
    pub max: f32,
}

#[derive(Clone, PartialEq, Message)]
pub struct InnerProduct {
    #[prost(uint64, tag = "1")]
    pub input_channels: u64,
    #[prost(uint64, tag = "2")]
    pub output_channels: u64,
    #[prost(bool, tag = "10")]
    pub has_bias: bool,
    #[prost(message, optional, tag = "20")]
    pub weights: Option<WeightParams>,
    #[prost(message, optional, tag = "21")]
    pub bias: Option<WeightParams>,
}
