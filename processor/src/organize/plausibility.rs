//! How well a photo fits its label. In: embeddings of accepted photos with their labels,
//! then a photo to judge; out: a score, and the label that it looks like most.
//!
//! Three witnesses are heard, all about the angle between embeddings: the twenty nearest
//! photos, each with a vote that fades with its distance; the mean of each label; and a
//! regression, which knows what sets the labels apart (`plausibility/ridge.rs`). What they say
//! is added up as logarithms of likelihoods, with weights that make the labels of half of the
//! measured photos likeliest when a tenth of them is wrong (logarithmic pooling: Genest and
//! Zidek 1986). By Bayes' rule that becomes the probability that the label is right.
//! `benches/embedding/flips.py` tells what is found so.
//!
//! What is kept is a function of the set of photos seen, not of their order: embeddings are
//! rounded to whole numbers, whose sums are exact, and of each label those photos are kept
//! as neighbours whose ids have the smallest hashes. So an index that is read back from a
//! table judges as the one did that was there before.

use std::collections::{BTreeMap, HashMap};

use schemas::CaptureId;

use super::direction::{Direction, hash};
use super::snapshot::{self, Frame};

mod ridge;

/// Photos of a label below which nothing is said about it: neither that a photo fits it
/// badly, nor that another photo looks like it. Fewer, and a label's first photos are
/// judged by each other's backgrounds; more only waits longer.
const MIN_PHOTOS: u32 = 10;

/// Neighbours kept in all, 1.3 KB each with 1,280 features. More would take the stage longer
/// than its millisecond a photo, and memory from the index.
const MAX_KEPT: usize = 8_192;
/// Neighbours kept of a label, ...
const MAX_KEPT_PER_LABEL: usize = 64;
/// ... and what a label keeps among a thousand others. Labels beyond those for which there
/// is room (1,024) are not judged.
const MIN_KEPT_PER_LABEL: usize = 8;

/// Who votes. A tenth or half of it lost some of the wrong labels on the measured sets.
const NUM_NEIGHBOURS: usize = 20;
/// The difference of cosines over which a vote falls to a third.
const FADE: f32 = 0.1;
/// A label without votes may have had bad luck: what is added to its part.
const MIN_VOTES: f32 = 0.02;
/// What the witnesses count: votes, means, regression.
const WEIGHTS: (f32, f32, f32) = (0.68, 6.5, 4.6);
/// How many labels are wrong, before anything is seen. It moves the scores, not their order.
const SHARE_OF_WRONG: f32 = 0.1;

/// What the photos of one dataset look like, label by label.
#[derive(Debug, Default)]
pub struct Looks {
    /// By what computed the embeddings: those of two models cannot be compared.
    models: HashMap<String, Model>,
}

#[derive(Debug, Default)]
struct Model {
    /// By the hash of the label: the smallest stay when there are too many.
    labels: BTreeMap<u64, Look>,
}

#[derive(Debug)]
struct Look {
    label: String,
    num_photos: u32,
    /// Of all its photos' embeddings.
    sum: Vec<i64>,
    /// By the hash of the photo's id: the smallest stay.
    kept: BTreeMap<u64, Direction>,
}

/// How well a photo fits its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The probability that the label is right, 0 to 1.
    pub score: f32,
    /// The other label that the photo looks like most.
    pub looks_like: String,
}

impl Looks {
    /// Embeddings that it holds, for those who bound its memory.
    pub fn num_kept(&self) -> usize {
        let looks = self.models.values().flat_map(|model| model.labels.values());
        // A sum takes as much as some eight of them.
        looks.map(|look| look.kept.len() + 8).sum()
    }

    /// Remembers an accepted photo.
    pub fn add(&mut self, model: &str, id: CaptureId, label: &str, embedding: &[f32]) {
        let Some(direction) = Direction::of(embedding) else {
            return;
        };
        if !self.models.contains_key(model) {
            self.models.insert(model.to_owned(), Model::default());
        }
        if let Some(known) = self.models.get_mut(model) {
            known.add(id, label, direction);
        }
    }

    /// Hands out everything as frames of a snapshot, as long as `put` takes them; whether it
    /// took all.
    pub fn save(&self, put: &mut impl FnMut(Frame) -> bool) -> bool {
        let mut looks = self
            .models
            .iter()
            .flat_map(|(model, known)| known.labels.values().map(move |look| look.save(model)));
        // A look takes up to 100 KB.
        looks.all(|look| {
            put(Frame {
                looks: vec![look],
                ..Frame::default()
            })
        })
    }

    /// Takes in what [`Self::save`] handed out; none if it is no such thing.
    pub fn restore(&mut self, looks: Vec<snapshot::Look>) -> Option<()> {
        for saved in looks {
            let known = self.models.entry(saved.model.clone()).or_default();
            let key = hash(saved.label.as_bytes());
            known.labels.insert(key, Look::restore(saved)?);
        }
        Some(())
    }

    /// How well a photo fits its label; none while too little is known of the label, or of
    /// every other one.
    pub fn fit(&self, model: &str, label: &str, embedding: &[f32]) -> Option<Fit> {
        let known = self.models.get(model)?;
        let own = known.labels.get(&hash(label.as_bytes()))?;
        if own.label != label || own.num_photos < MIN_PHOTOS {
            return None;
        }
        let looks: Vec<&Look> = known
            .labels
            .values()
            .filter(|look| look.num_photos >= MIN_PHOTOS)
            .collect();
        let place = looks.iter().position(|look| look.label == label)?;
        let photo = Direction::of(embedding)?;
        let likelihoods = likelihoods(&photo, &looks);
        let best = (0..looks.len())
            .filter(|at| *at != place)
            .max_by(|a, b| likelihoods[*a].total_cmp(&likelihoods[*b]))?;
        // A wrong label is any of the others.
        let right = (1.0 - SHARE_OF_WRONG) * likelihoods[place];
        let wrong = SHARE_OF_WRONG * (1.0 - likelihoods[place]) / (looks.len() - 1) as f32;
        Some(Fit {
            score: right / (right + wrong),
            looks_like: looks[best].label.clone(),
        })
    }
}

impl Model {
    fn add(&mut self, id: CaptureId, label: &str, photo: Direction) {
        const MAX_LABELS: usize = MAX_KEPT / MIN_KEPT_PER_LABEL;
        let num_features = photo.values().len();
        let key = hash(label.as_bytes());
        let is_full = self.labels.len() >= MAX_LABELS;
        if is_full
            && self
                .labels
                .last_key_value()
                .is_some_and(|(last, _)| key > *last)
        {
            return;
        }
        let num_before = self.labels.len();
        let look = self.labels.entry(key).or_insert_with(|| Look {
            label: label.to_owned(),
            num_photos: 0,
            sum: vec![0; num_features],
            kept: BTreeMap::new(),
        });
        // Two labels with one hash, or a model that changed its mind: the first stays.
        if look.label != label || look.sum.len() != num_features {
            return;
        }
        look.num_photos = look.num_photos.saturating_add(1);
        for (sum, value) in look.sum.iter_mut().zip(photo.values()) {
            *sum += i64::from(*value);
        }
        look.kept.insert(hash(id.to_string().as_bytes()), photo);
        if self.labels.len() > MAX_LABELS {
            self.labels.pop_last();
        }
        let room = (MAX_KEPT / self.labels.len()).clamp(MIN_KEPT_PER_LABEL, MAX_KEPT_PER_LABEL);
        if self.labels.len() == num_before {
            if let Some(look) = self.labels.get_mut(&key) {
                look.keep(room);
            }
        } else {
            self.labels.values_mut().for_each(|look| look.keep(room));
        }
    }
}

impl Look {
    fn save(&self, model: &str) -> snapshot::Look {
        let kept = self.kept.iter().map(|(key, photo)| snapshot::KeptPhoto {
            key: *key,
            direction: photo.to_bytes(),
            ..snapshot::KeptPhoto::default()
        });
        snapshot::Look {
            model: model.to_owned(),
            label: self.label.clone(),
            num_photos: self.num_photos,
            sum: self.sum.clone(),
            kept: kept.collect(),
        }
    }

    fn restore(saved: snapshot::Look) -> Option<Self> {
        let kept = saved
            .kept
            .into_iter()
            .map(|photo| Some((photo.key, Direction::from_bytes(&photo.direction)?)));
        Some(Self {
            label: saved.label,
            num_photos: saved.num_photos,
            sum: saved.sum,
            kept: kept.collect::<Option<_>>()?,
        })
    }

    /// Of the angle between a photo and the mean of all photos.
    fn cosine(&self, photo: &Direction) -> f32 {
        let pairs = self.sum.iter().zip(photo.values());
        let dot: i64 = pairs.map(|(sum, value)| sum * i64::from(*value)).sum();
        let squares = self
            .sum
            .iter()
            .map(|sum| i128::from(*sum) * i128::from(*sum));
        let length = (squares.sum::<i128>() as f64).sqrt() * photo.length();
        (dot as f64 / length.max(1.0)) as f32
    }

    fn keep(&mut self, room: usize) {
        while self.kept.len() > room {
            self.kept.pop_last();
        }
    }
}

/// How likely each label is by what all witnesses say, in sum 1.
fn likelihoods(photo: &Direction, looks: &[&Look]) -> Vec<f32> {
    let (by_votes, by_mean, by_ridge) = WEIGHTS;
    let kept: Vec<_> = looks.iter().map(|look| look.kept.values()).collect();
    let shares = ridge::shares(photo, &kept);
    let votes = votes(photo, looks);
    let sums: Vec<f32> = looks
        .iter()
        .zip(votes.iter().zip(shares))
        .map(|(look, (votes, share))| {
            by_votes * (votes + MIN_VOTES).ln() + by_mean * look.cosine(photo) + by_ridge * share
        })
        .collect();
    let most = sums.iter().copied().fold(f32::MIN, f32::max);
    parts(sums.into_iter().map(|sum| (sum - most).exp()).collect())
}

/// What the nearest photos say: each label's part of their votes.
fn votes(photo: &Direction, looks: &[&Look]) -> Vec<f32> {
    let mut near: Vec<(f32, usize)> = Vec::new();
    for (at, look) in looks.iter().enumerate() {
        let cosines = look.kept.values().map(|kept| (photo.cosine(kept), at));
        near.extend(cosines);
    }
    let num = NUM_NEIGHBOURS.min(near.len());
    if num == 0 {
        return vec![0.0; looks.len()];
    }
    // Equal cosines are ordered by label, so that any order of arrival gives the same.
    near.select_nth_unstable_by(num - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    near.truncate(num);
    near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut weights = vec![0.0; looks.len()];
    for (cosine, at) in &near {
        weights[*at] += ((cosine - near[0].0) / FADE).exp();
    }
    parts(weights)
}

fn parts(mut weights: Vec<f32>) -> Vec<f32> {
    let sum: f32 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

#[cfg(test)]
mod tests;
