//! The golden check: does this device make of a picture what training made of it? First the
//! preprocessing, bit for bit; then the app's runtime, within what its file may differ. A
//! changed mean, a swapped channel, another resize or a runtime that computes something
//! else is told before a person is told nonsense.

use data_encoding::BASE64;
use schemas::{Golden, GoldenPhoto, InputSpec, Layout, golden_picture, input_sha256};

use super::preprocess::{InputOrder, input, to_bytes};
use crate::{TintypeError, TransportError};

/// The app's way to run a model.
#[uniffi::export(with_foreign)]
pub trait ModelRuntime: Send + Sync {
    /// The file's output for one input of little-endian float32: logits or probabilities,
    /// one for each class.
    fn run(&self, input: Vec<u8>) -> Result<Vec<f32>, TransportError>;

    /// The same all the way from an upright sRGB picture, by whatever preprocessing the app
    /// uses in earnest; nothing if it uses the SDK's.
    fn run_photo(
        &self,
        rgb: Vec<u8>,
        width: u32,
        height: u32,
    ) -> Result<Option<Vec<f32>>, TransportError>;
}

/// What the check found.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct CheckReport {
    /// Whether the model may be used on this device.
    pub is_passed: bool,
    /// What is wrong, one finding each.
    pub findings: Vec<String>,
    /// The largest difference of the runtime's outputs from the golden ones.
    pub max_difference: f32,
    /// The largest that is allowed.
    pub tolerance: f32,
}

pub(super) fn check(
    golden: &Golden,
    spec: &InputSpec,
    order: InputOrder,
    tolerance: f32,
    runtime: &dyn ModelRuntime,
) -> Result<CheckReport, TintypeError> {
    let mut findings = Vec::new();
    let mut max_difference = 0.0;
    let mut compare = |what: &str, outputs: Vec<f32>, golden: &[f32], probable: Option<&[f32]>| {
        let difference = difference(&outputs, golden, probable);
        max_difference = f32::max(max_difference, difference);
        if difference > tolerance {
            findings.push(format!(
                "{what}: outputs differ by up to {difference}, {tolerance} is allowed"
            ));
        }
    };

    let outputs = run(runtime, picture(golden, order)?)?;
    compare(
        "the runtime's answer to the golden picture",
        outputs,
        &golden.logits,
        Some(&golden.probabilities),
    );
    if let Some(photo) = &golden.photo {
        let rgb = golden_picture(photo.width, photo.height);
        let probable = softmax(&photo.logits, temperature(golden));
        let ordered = order.apply(spec);
        let (width, height) = (photo.width, photo.height);
        let outputs = run(runtime, input(&ordered, &rgb, width, height)?)?;
        compare(
            "the runtime's answer to the golden photo",
            outputs,
            &photo.logits,
            Some(&probable),
        );
        let own = runtime.run_photo(rgb.clone(), width as u32, height as u32);
        if let Some(outputs) = own.map_err(failed)? {
            compare(
                "the app's own preprocessing of the golden photo",
                outputs,
                &photo.logits,
                Some(&probable),
            );
        }
        findings.extend(preprocessing(photo, spec, &rgb)?);
    }
    Ok(CheckReport {
        is_passed: findings.is_empty(),
        findings,
        max_difference,
        tolerance,
    })
}

/// Bit for bit what the trainer's own call gave.
fn preprocessing(
    photo: &GoldenPhoto,
    spec: &InputSpec,
    rgb: &[u8],
) -> Result<Option<String>, TintypeError> {
    let spec = InputSpec {
        layout: Layout::Nhwc,
        ..spec.clone()
    };
    let values = spec.preprocess(rgb, photo.width, photo.height);
    let values = values.map_err(|error| TintypeError::model(error.to_string()))?;
    let found = input_sha256(&values);
    Ok((found != photo.input_sha256).then(|| {
        "preprocess.json is not the one that the model was trained with: it makes another input of the golden photo".into()
    }))
}

/// The golden picture as a file's input: each byte / 255.
fn picture(golden: &Golden, order: InputOrder) -> Result<Vec<u8>, TintypeError> {
    let pixels = BASE64.decode(golden.pixels.as_bytes());
    let pixels = pixels.map_err(|error| TintypeError::model(format!("golden.json: {error}")))?;
    let num_pixels = golden.width * golden.height;
    if pixels.len() != num_pixels * 3 {
        return Err(TintypeError::model(
            "golden.json: its picture is not of its size",
        ));
    }
    let values: Vec<f32> = match order {
        InputOrder::Nhwc => pixels.iter().map(|byte| f32::from(*byte) / 255.0).collect(),
        InputOrder::Nchw => (0..3)
            .flat_map(|channel| pixels.iter().skip(channel).step_by(3))
            .map(|byte| f32::from(*byte) / 255.0)
            .collect(),
    };
    Ok(to_bytes(&values))
}

fn run(runtime: &dyn ModelRuntime, input: Vec<u8>) -> Result<Vec<f32>, TintypeError> {
    runtime.run(input).map_err(failed)
}

fn failed(error: TransportError) -> TintypeError {
    TintypeError::model(format!("the app's runtime failed: {error}"))
}

/// The largest difference from the logits or, if that is nearer, from the probabilities:
/// files differ in which of the two they give.
fn difference(outputs: &[f32], logits: &[f32], probabilities: Option<&[f32]>) -> f32 {
    let largest = |golden: &[f32]| {
        if outputs.len() != golden.len() || outputs.iter().any(|value| !value.is_finite()) {
            return f32::INFINITY;
        }
        let pairs = outputs.iter().zip(golden);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    probabilities
        .map_or(f32::INFINITY, largest)
        .min(largest(logits))
}

/// By what the model divides its logits, as its own golden answer tells.
fn temperature(golden: &Golden) -> f32 {
    let pairs = golden.logits.iter().zip(&golden.probabilities);
    let mut pairs: Vec<(f32, f32)> = pairs.map(|(logit, p)| (*logit, *p)).collect();
    pairs.retain(|(_, p)| *p > 1e-6);
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    match (pairs.first(), pairs.last()) {
        (Some(low), Some(high)) if high.1 > low.1 => (high.0 - low.0) / (high.1 / low.1).ln(),
        _ => 1.0,
    }
}

fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits
        .iter()
        .map(|logit| ((logit - largest) / temperature).exp());
    let sum: f32 = powers.clone().sum();
    powers.map(|power| power / sum).collect()
}
