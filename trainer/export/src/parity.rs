//! The proof that a file computes what the trained network computes: both on the same
//! photos, logit by logit. The file is run as it was read back from its bytes, by an
//! interpreter of this crate; `benches/export` does the same with the real runtimes.

use serde::{Deserialize, Serialize};

use crate::files::ReadModel;
use crate::{ExportError, ModelInfo, PhotoSource};

/// What the errors of this part call it.
const PURPOSE: &str = "the parity proof";

/// A photo and what the trained network says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The photo as the *network* takes it: normalised with its mean and std, rows by
    /// columns by channels, as `InputSpec::preprocess` gives it in NHWC.
    pub input: Vec<f32>,
    /// The trained network's logits, from wherever it was trained.
    pub logits: Vec<f32>,
    /// The place of its true class among the labels, if known.
    pub class: Option<usize>,
}

/// How far a file is from the trained network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// On how many photos.
    pub num_photos: usize,
    /// The largest difference of any logit of any photo.
    pub max_logit_difference: f32,
    /// The share of photos, 0..=1, whose most probable class is the same.
    pub top1_agreement: f32,
    /// By how many points of 100 fewer photos get their true class; below 0 if more. Only
    /// where every photo's class is known.
    pub top1_loss: Option<f32>,
}

/// Runs each of `models` on all of `samples` and certifies each, in the same order.
pub(crate) fn certify(
    models: &[ReadModel],
    info: &ModelInfo,
    num_values: usize,
    samples: &PhotoSource<'_, Sample>,
    num_threads: usize,
) -> Result<Vec<Certificate>, ExportError> {
    let num_models = models.len();
    let worker = |_| {
        let models: Vec<ReadModel> = models.iter().map(ReadModel::share).collect();
        (models, vec![Tally::default(); num_models])
    };
    let mut workers: Vec<_> = (0..num_threads.max(1)).map(worker).collect();
    samples.share_out(PURPOSE, &mut workers, |(models, tallies), index, sample| {
        check(&sample, index, num_values, info.labels.len())?;
        compare(&sample, info, models, tallies)
    })?;
    let total = |model: usize| {
        let tallies = workers.iter().map(|(_, tallies)| &tallies[model]);
        tallies.fold(Tally::default(), Tally::join).certificate()
    };
    Ok((0..models.len()).map(total).collect())
}

fn check(
    sample: &Sample,
    index: usize,
    num_values: usize,
    num_logits: usize,
) -> Result<(), ExportError> {
    let sizes = [
        ("values", sample.input.len(), num_values),
        ("logits", sample.logits.len(), num_logits),
    ];
    for (what, found, expected) in sizes {
        if found != expected {
            return Err(ExportError::Size {
                purpose: PURPOSE,
                index,
                what,
                found,
                expected,
            });
        }
    }
    Ok(())
}

fn compare(
    sample: &Sample,
    info: &ModelInfo,
    models: &mut [ReadModel],
    tallies: &mut [Tally],
) -> Result<(), ExportError> {
    let photo = plain(&sample.input, info);
    for (model, tally) in models.iter_mut().zip(tallies) {
        tally.add(sample, model.logits(&photo)?);
    }
    Ok(())
}

/// A normalised photo as RGB in 0..=1.
pub(crate) fn plain(input: &[f32], info: &ModelInfo) -> Vec<f32> {
    let channels = info.input.mean.iter().zip(&info.input.std).cycle();
    let values = input.iter().zip(channels);
    values
        .map(|(value, (mean, std))| value * std + mean)
        .collect()
}

/// A photo in 0..=1 as the int8 file takes it.
pub(crate) fn photo_bytes(photo: &[f32]) -> Vec<u8> {
    let byte = |value: &f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
    photo.iter().map(byte).collect()
}

#[derive(Debug, Clone, Copy)]
struct Tally {
    num_photos: usize,
    max_difference: f32,
    num_same: usize,
    num_known: usize,
    num_right: usize,
    num_right_before: usize,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            num_photos: 0,
            max_difference: 0.0,
            num_same: 0,
            num_known: 0,
            num_right: 0,
            num_right_before: 0,
        }
    }
}

impl Tally {
    fn add(&mut self, sample: &Sample, logits: &[f32]) {
        let pairs = logits.iter().zip(&sample.logits);
        let differences = pairs.map(|(a, b)| (a - b).abs());
        // A difference that is no number is worse than any.
        let worse = |max: f32, d: f32| {
            if d.is_nan() {
                f32::INFINITY
            } else {
                max.max(d)
            }
        };
        self.max_difference = differences.fold(self.max_difference, worse);
        let (now, before) = (best(logits), best(&sample.logits));
        self.num_photos += 1;
        self.num_same += usize::from(now == before);
        if let Some(class) = sample.class {
            self.num_known += 1;
            self.num_right += usize::from(now == Some(class));
            self.num_right_before += usize::from(before == Some(class));
        }
    }

    fn join(self, other: &Self) -> Self {
        Self {
            num_photos: self.num_photos + other.num_photos,
            max_difference: self.max_difference.max(other.max_difference),
            num_same: self.num_same + other.num_same,
            num_known: self.num_known + other.num_known,
            num_right: self.num_right + other.num_right,
            num_right_before: self.num_right_before + other.num_right_before,
        }
    }

    fn certificate(self) -> Certificate {
        let num_photos = self.num_photos as f32;
        let loss = self.num_right_before as f32 - self.num_right as f32;
        let all_known = self.num_known == self.num_photos;
        Certificate {
            num_photos: self.num_photos,
            max_logit_difference: self.max_difference,
            top1_agreement: self.num_same as f32 / num_photos,
            top1_loss: all_known.then_some(100.0 * loss / num_photos),
        }
    }
}

/// The place of the largest value, the first of equals, as runtimes' argmax.
fn best(logits: &[f32]) -> Option<usize> {
    let ranked = logits.iter().enumerate().rev();
    ranked
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(at, _)| at)
}
