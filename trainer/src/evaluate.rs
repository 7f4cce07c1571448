//! How good a classifier is. Logits and classes come in, split by split; out comes what
//! `evaluation.json`, the model card and the API tell.

use schemas::Split;
use serde::{Deserialize, Serialize};

use crate::head::softmax;

/// Worst mistakes that are told, of each split.
const NUM_MISTAKES: usize = 20;
/// Bins of the calibration error (Guo and others, On Calibration of Modern Neural
/// Networks, 2017).
const NUM_BINS: usize = 15;

/// Everything that is known of a model's quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Class order of every list and matrix below.
    pub labels: Vec<String>,
    /// What logits are divided by before the softmax, so that probabilities are right as
    /// often as they say; chosen on the validation photos.
    pub temperature: f32,
    /// On the photos that it learnt from.
    pub train: Option<SplitEvaluation>,
    /// On the photos that it was chosen by.
    pub validation: Option<SplitEvaluation>,
    /// On the photos that it had never met.
    pub test: Option<SplitEvaluation>,
    /// Mean test accuracy over random splits, in which near-duplicates may stand on both
    /// sides: the number that leaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_split_accuracy: Option<f32>,
}

/// One split's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitEvaluation {
    /// Photos.
    pub num_photos: u32,
    /// The part of them that is right.
    pub accuracy: f32,
    /// Mean F1 over the classes that have photos.
    pub macro_f1: f32,
    /// Mean cross entropy at the temperature.
    pub loss: f32,
    /// Expected calibration error at the temperature, and without it.
    pub calibration_error: f32,
    /// The same at temperature 1.
    pub uncalibrated_error: f32,
    /// Class by class.
    pub classes: Vec<ClassEvaluation>,
    /// Row: what the photo is; column: what the model says.
    pub confusion: Vec<Vec<u32>>,
    /// Wrong, and sure of it: the worst first.
    pub worst_mistakes: Vec<Mistake>,
}

/// One class's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassEvaluation {
    /// The class.
    pub label: String,
    /// Its photos.
    pub num_photos: u32,
    /// Of those that the model calls so, the part that is.
    pub precision: f32,
    /// Of those that are, the part that the model calls so.
    pub recall: f32,
    /// The harmonic mean of the two.
    pub f1: f32,
}

/// A photo that the model gets wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Which photo.
    pub id: String,
    /// What it is.
    pub label: String,
    /// What the model says.
    pub predicted: String,
    /// How sure it is.
    pub probability: f32,
}

/// Logits of some photos, and what they are.
pub struct Judged<'a> {
    /// One row of as many logits as there are classes for each photo.
    pub logits: &'a [f32],
    /// What each photo is.
    pub classes: &'a [u32],
    /// Which photo each is.
    pub ids: &'a [String],
}

impl Judged<'_> {
    fn rows(&self, num_classes: usize) -> impl Iterator<Item = (&[f32], u32)> {
        let classes = self.classes.iter().copied();
        self.logits.chunks_exact(num_classes).zip(classes)
    }
}

/// Judges one split; none without photos.
pub fn evaluate(
    judged: &Judged<'_>,
    labels: &[String],
    temperature: f32,
) -> Option<SplitEvaluation> {
    let num_classes = labels.len();
    let num_photos = judged.classes.len();
    if num_photos == 0 {
        return None;
    }
    let mut confusion = vec![vec![0u32; num_classes]; num_classes];
    let mut mistakes = Vec::new();
    let mut calibrated = Calibration::default();
    let mut uncalibrated = Calibration::default();
    let mut loss = 0.0f64;
    for (i, (row, class)) in judged.rows(num_classes).enumerate() {
        let class = class as usize;
        let guess = best(row);
        confusion[class][guess] += 1;
        let probabilities = probabilities(row, temperature);
        loss -= f64::from(probabilities[class].max(f32::MIN_POSITIVE).ln());
        calibrated.add(probabilities[guess], guess == class);
        uncalibrated.add(self::probabilities(row, 1.0)[guess], guess == class);
        if guess != class {
            mistakes.push(Mistake {
                id: judged.ids[i].clone(),
                label: labels[class].clone(),
                predicted: labels[guess].clone(),
                probability: probabilities[guess],
            });
        }
    }
    mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let num_right: u32 = (0..num_classes).map(|class| confusion[class][class]).sum();
    mistakes.truncate(NUM_MISTAKES);
    let classes = per_class(&confusion, labels);
    let present: Vec<f32> = classes
        .iter()
        .filter(|class| class.num_photos > 0)
        .map(|class| class.f1)
        .collect();
    Some(SplitEvaluation {
        num_photos: num_photos as u32,
        accuracy: num_right as f32 / num_photos as f32,
        macro_f1: present.iter().sum::<f32>() / present.len() as f32,
        loss: (loss / num_photos as f64) as f32,
        calibration_error: calibrated.error(),
        uncalibrated_error: uncalibrated.error(),
        classes,
        confusion,
        worst_mistakes: mistakes,
    })
}

fn per_class(confusion: &[Vec<u32>], labels: &[String]) -> Vec<ClassEvaluation> {
    let ratio = |part: u32, whole: u32| {
        if whole == 0 {
            0.0
        } else {
            part as f32 / whole as f32
        }
    };
    let of = |class: usize| {
        let right = confusion[class][class];
        let num_photos: u32 = confusion[class].iter().sum();
        let num_called: u32 = confusion.iter().map(|row| row[class]).sum();
        ClassEvaluation {
            label: labels[class].clone(),
            num_photos,
            precision: ratio(right, num_called),
            recall: ratio(right, num_photos),
            f1: ratio(2 * right, num_photos + num_called),
        }
    };
    (0..labels.len()).map(of).collect()
}

/// The part of rows whose largest logit is that of their class.
pub fn accuracy(logits: &[f32], classes: &[u32], num_classes: usize) -> Option<f32> {
    let rows = logits.chunks_exact(num_classes).zip(classes);
    let right = rows.filter(|(row, class)| best(row) == **class as usize);
    (!classes.is_empty()).then(|| right.count() as f32 / classes.len() as f32)
}

/// The place of the largest; the first of equal ones.
pub fn best(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = i;
        }
    }
    best
}

/// The softmax of logits over a temperature.
pub fn probabilities(logits: &[f32], temperature: f32) -> Vec<f32> {
    let mut row: Vec<f32> = logits.iter().map(|logit| logit / temperature).collect();
    softmax::softmax(&mut row);
    row
}

/// The temperature with the lowest cross entropy on these photos, from 0.05 to 20: a
/// golden-section search over its logarithm, in which the loss has one valley. With few
/// photos, or with all of them right, the valley has no floor, and 1 is kept as an edge.
pub fn fit_temperature(logits: &[f32], classes: &[u32], num_classes: usize) -> f32 {
    /// Fewer photos than this say nothing about probabilities.
    const FEW: usize = 20;
    let all_right = accuracy(logits, classes, num_classes) == Some(1.0);
    if classes.len() < FEW {
        return 1.0;
    }
    let loss = |log: f64| {
        let scale = (-log).exp() as f32;
        let scaled: Vec<f32> = logits.iter().map(|logit| logit * scale).collect();
        softmax::mean_cross_entropy(&scaled, classes, num_classes)
    };
    let golden = (5.0f64.sqrt() - 1.0) / 2.0;
    let from = if all_right { 0.0 } else { 0.05f64.ln() };
    let (mut low, mut high) = (from, 20.0f64.ln());
    for _ in 0..40 {
        let left = high - golden * (high - low);
        let right = low + golden * (high - low);
        if loss(left) < loss(right) {
            high = right;
        } else {
            low = left;
        }
    }
    ((low + high) / 2.0).exp() as f32
}

/// Sums for the expected calibration error.
#[derive(Default)]
struct Calibration {
    bins: [(f64, f64); NUM_BINS],
    num: u32,
}

impl Calibration {
    fn add(&mut self, probability: f32, is_right: bool) {
        let bin = ((probability * NUM_BINS as f32) as usize).min(NUM_BINS - 1);
        self.bins[bin].0 += f64::from(probability);
        self.bins[bin].1 += f64::from(u8::from(is_right));
        self.num += 1;
    }

    /// The mean distance between how sure and how right, over photos.
    fn error(&self) -> f32 {
        let sum: f64 = self
            .bins
            .iter()
            .map(|(sure, right)| (sure - right).abs())
            .sum();
        (sum / f64::from(self.num.max(1))) as f32
    }
}

impl Evaluation {
    /// The split that the headline number comes from: the one nearest to photos that the
    /// model has never met.
    pub fn headline(&self) -> Option<(Split, &SplitEvaluation)> {
        let of = |split, part: &'_ Option<SplitEvaluation>| part.is_some().then_some(split);
        let split = of(Split::Test, &self.test)
            .or_else(|| of(Split::Validation, &self.validation))
            .or_else(|| of(Split::Train, &self.train))?;
        let part = match split {
            Split::Test => self.test.as_ref(),
            Split::Validation => self.validation.as_ref(),
            Split::Train => self.train.as_ref(),
        };
        part.map(|part| (split, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    #[test]
    fn counts_and_ratios_are_those_of_a_sum_done_by_hand() {
        // a a b b c; one a is called b.
        let logits = [
            3.0, 0.0, 0.0, //
            0.0, 4.0, 0.0, //
            0.0, 2.0, 0.0, //
            0.0, 2.0, 0.0, //
            0.0, 0.0, 1.0,
        ];
        let ids: Vec<String> = (0..5).map(|i| i.to_string()).collect();
        let judged = Judged {
            logits: &logits,
            classes: &[0, 0, 1, 1, 2],
            ids: &ids,
        };
        let of = evaluate(&judged, &labels(), 1.0).unwrap();
        assert_eq!(of.accuracy, 0.8);
        assert_eq!(of.confusion, [[1, 1, 0], [0, 2, 0], [0, 0, 1]]);
        let b = &of.classes[1];
        assert_eq!((b.precision, b.recall), (2.0 / 3.0, 1.0));
        assert!((b.f1 - 0.8).abs() < 1e-6);
        assert_eq!(of.worst_mistakes.len(), 1);
        assert_eq!(of.worst_mistakes[0].id, "1");
        assert_eq!(of.worst_mistakes[0].predicted, "b");
        assert!(
            evaluate(
                &Judged {
                    logits: &[],
                    classes: &[],
                    ids: &[]
                },
                &labels(),
                1.0
            )
            .is_none()
        );
    }

    #[test]
    fn a_model_that_is_too_sure_gets_a_temperature_that_makes_it_honest() {
        // Right three times in four, and sure to 0.99.
        let mut logits = Vec::new();
        let mut classes = Vec::new();
        for i in 0..400u32 {
            logits.extend([5.0f32, 0.0]);
            classes.push(u32::from(i % 4 == 0));
        }
        let temperature = fit_temperature(&logits, &classes, 2);
        let sure = probabilities(&[5.0, 0.0], temperature)[0];
        assert!((sure - 0.75).abs() < 0.01, "{temperature}: {sure}");
        assert_eq!(fit_temperature(&logits[..8], &classes[..4], 2), 1.0);
    }
}
