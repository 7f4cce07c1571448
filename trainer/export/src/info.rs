//! What a model says about itself beside its numbers: name, labels, input. It goes into
//! every format's own fields, so that a file alone can be used.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{InputSpec, Layout};

use crate::ExportError;

/// The labels, one a line in class order: beside every model and inside a `.tflite`.
pub const LABELS_FILE: &str = "labels.txt";

/// Who made a model, of what, for which classes.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// A short name, such as `dogs`.
    pub name: String,
    /// Its version, such as the model's id.
    pub version: String,
    /// What it is and what it is for, in a sentence or two.
    pub description: String,
    /// Who made it.
    pub author: String,
    /// Under which licence it may be used.
    pub license: String,
    /// The classes in the order of the logits; one line of text each.
    pub labels: Vec<String>,
    /// What the *network* takes: its mean and std are what it was trained with. The
    /// files take plain 0..=1, see [`ModelInfo::file_input`].
    pub input: InputSpec,
    /// By what logits are divided before the softmax: 1, or what calibration found. It
    /// changes probabilities, never logits or their order.
    pub temperature: f32,
    /// Anything else, such as the dataset and its version; keys and values go into ONNX
    /// and Core ML as they are.
    pub extra: BTreeMap<String, String>,
}

impl ModelInfo {
    /// `preprocess.json`: what every exported file takes.
    ///
    /// Mean 0 and std 1: RGB in 0..=1. The network's own mean and std are *inside* each
    /// file, because MediaPipe refuses a mean per channel ("per-channel image
    /// normalization is not available"), Core ML has one scale for all channels, and
    /// ONNX's `Image.NominalPixelRange` knows no such input. One rule for all formats is
    /// also one rule less to mix up.
    #[must_use]
    pub fn file_input(&self, layout: Layout) -> InputSpec {
        InputSpec {
            mean: [0.0; 3],
            std: [1.0; 3],
            layout,
            ..self.input.clone()
        }
    }

    /// `labels.txt`: one label a line, in class order, the last line ended as well.
    #[must_use]
    pub fn labels_txt(&self) -> String {
        self.labels.iter().flat_map(|l| [l, "\n"]).collect()
    }

    /// Whether the info fits a network with this many logits and this input side.
    pub(crate) fn check(&self, num_logits: usize, side: usize) -> Result<(), ExportError> {
        let problem = |text: String| Err(ExportError::Info(text));
        if self.labels.len() != num_logits {
            return problem(format!(
                "{} labels for {num_logits} logits",
                self.labels.len()
            ));
        }
        let is_line = |label: &String| {
            !label.is_empty() && label.trim() == label && !label.contains(char::is_control)
        };
        if let Some(label) = self.labels.iter().find(|label| !is_line(label)) {
            return problem(format!("the label {label:?} is not one line of text"));
        }
        let unique: BTreeSet<&String> = self.labels.iter().collect();
        if unique.len() != self.labels.len() {
            return problem("a label stands there twice".to_owned());
        }
        if self.input.size as usize != side || self.input.crop != self.input.size {
            return problem(format!(
                "an input of {} (crop {}) for a network of {side} x {side}",
                self.input.size, self.input.crop
            ));
        }
        let usable = |mean: f32, std: f32| mean.is_finite() && std.is_finite() && std > 0.0;
        let mut channels = self.input.mean.iter().zip(&self.input.std);
        if !channels.all(|(&mean, &std)| usable(mean, std)) {
            return problem("mean and std must be finite, std above 0".to_owned());
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return problem(format!("a temperature of {}", self.temperature));
        }
        Ok(())
    }
}
