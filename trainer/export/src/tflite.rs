//! A network as a TFLite file, in float32, float16 or int8: one subgraph, NHWC, a batch of
//! one, one input `image` and one output `score`, which is what MediaPipe's and ML Kit's
//! image classifiers take. Metadata and `labels.txt` are packed in. Field and operator
//! numbers are those of `tensorflow/lite/schema/schema.fbs`.

use graph::Graph;

use crate::int8::IntNetwork;
use crate::network::Network;
use crate::parity::{photo_bytes, plain};
use crate::zip::append_zip;
use crate::{Calibration, ExportError, LABELS_FILE, ModelInfo};

mod metadata;
mod model;
mod read;
mod schema;
mod steps;
mod write;

pub(crate) use read::{ReadTflite, read};

/// How a TFLite file keeps its numbers.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    /// As they are.
    Float32,
    /// Weights as float16, made float32 when the file is loaded; biases and all
    /// computation in float32, as TensorFlow's converter does it.
    Float16,
    /// Weights and activations as int8, in these ranges.
    Int8(&'a Calibration),
}

/// Writes `graph`, whose input is normalised as `info.input` says, as a TFLite file.
///
/// - input `image`: `[1, H, W, 3]`, RGB; float32 in 0..=1, or for int8 the bytes as uint8,
///   for MediaPipe takes nothing else than float32 and uint8
/// - output `score`: `[1, classes]`, float32 probabilities `softmax(logits / temperature)`;
///   of int8 logits too, for 256 steps are too few for probabilities
/// - metadata: `NormalizationOptions` mean 0, std 255, which makes the input of bytes;
///   the labels as a packed file; name, version, author and licence
///
/// # Errors
///
/// A graph or an info that no format could hold, or a calibration of another graph.
pub fn write_tflite(
    graph: &Graph,
    info: &ModelInfo,
    numbers: Numbers<'_>,
) -> Result<Vec<u8>, ExportError> {
    let network = Network::new(graph, info)?;
    let int8 = match numbers {
        Numbers::Int8(calibration) => Some(int8_network(&network, info, calibration)?),
        Numbers::Float32 | Numbers::Float16 => None,
    };
    let stored = match &int8 {
        Some(int8) => write::Stored::Int8(int8),
        None if matches!(numbers, Numbers::Float16) => write::Stored::Float16,
        None => write::Stored::Float32,
    };
    let mut bytes = write::write(&network, info, stored);
    append_zip(&mut bytes, &[(LABELS_FILE, info.labels_txt().as_bytes())]);
    Ok(bytes)
}

fn int8_network(
    network: &Network,
    info: &ModelInfo,
    calibration: &Calibration,
) -> Result<IntNetwork, ExportError> {
    let kept = calibration.kept.iter();
    let photos: Vec<_> = kept
        .map(|kept| (photo_bytes(&plain(&kept.photo, info)), kept))
        .collect();
    let int8 = IntNetwork::quantize(network, calibration)?;
    Ok(int8.correct(&photos, calibration.num_threads))
}
