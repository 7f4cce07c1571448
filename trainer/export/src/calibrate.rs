//! Photos through the float network, and for every node the range that its values are
//! quantised in. Outliers are cut where that makes the rounding error of all values
//! smaller than the error of the few that are cut. A few photos are kept, with the mean of
//! each channel of each node: what the quantised network's biases are corrected by.

use graph::{Activation, Conv2d, Graph, Linear, Op};

use crate::{ExportError, Interpreter, SourceError};

/// What the errors of this part call it.
const PURPOSE: &str = "calibration";

/// Bins of a node's histogram. More cost memory and change nothing; with fewer than some
/// hundred a cut falls between useful places.
const NUM_BINS: usize = 2048;

/// How much larger than on the calibration photos a logit may become. Beyond it two classes
/// are equal and the answer is chance: ResNet-50, calibrated on other photos than it was
/// tried on, had one of 84 in doubt without. More than some halves coarsens all logits.
const LOGIT_HEADROOM: f32 = 1.5;

/// How many values of one activation are counted, roughly; the largest and smallest are
/// looked for among all. Counting every value takes longer than computing it.
const ENOUGH_VALUES: usize = 1 << 15;

/// Photos that are kept. Each is held with the activations of a whole network while biases are
/// corrected, 7 to 11 MB; with fewer the means of the last layers, 49 places a photo, are
/// uncertain.
const NUM_KEPT: usize = 16;

/// The values that a node is expected to have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Not above 0: zero is always exact, for padding needs it.
    pub min: f32,
    /// Not below 0.
    pub max: f32,
}

/// The range of every node, in the graph's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// One per node.
    pub ranges: Vec<Range>,
    /// How many photos were run.
    pub num_photos: usize,
    /// The first of them.
    pub(crate) kept: Vec<Kept>,
}

/// A photo of the calibration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    /// As the network takes it: normalised.
    pub photo: Vec<f32>,
    /// Of each node the mean of each channel.
    pub means: Vec<Vec<f32>>,
}

impl Calibration {
    /// Runs `photos` (each normalised as the network takes it, NHWC), `num_threads` at a time,
    /// and measures. Some hundred photos are enough; more than 500 change little.
    ///
    /// # Errors
    ///
    /// No photo, a photo that cannot be had or has another size, an unusable graph.
    pub fn measure(
        graph: &Graph,
        photos: &mut dyn Iterator<Item = Result<Vec<f32>, SourceError>>,
        num_threads: usize,
    ) -> Result<Self, ExportError> {
        let worker = || {
            let histograms = vec![Histogram::default(); graph.nodes.len()];
            Ok::<_, ExportError>((Interpreter::new(graph)?, histograms))
        };
        let mut workers = (0..num_threads.max(1))
            .map(|_| worker())
            .collect::<Result<Vec<_>, _>>()?;
        let mut num_photos = 0;
        let mut kept = Vec::new();
        loop {
            let chunk = take(photos, workers.len(), graph, num_photos)?;
            if chunk.is_empty() {
                break;
            }
            num_photos += chunk.len();
            std::thread::scope(|scope| {
                for (photo, (interpreter, histograms)) in chunk.iter().zip(&mut workers) {
                    scope.spawn(|| {
                        interpreter.run(photo);
                        for (id, histogram) in histograms.iter_mut().enumerate() {
                            histogram.add(interpreter.values(id));
                        }
                    });
                }
            });
            for (photo, (interpreter, _)) in chunk.into_iter().zip(&workers) {
                if kept.len() < NUM_KEPT {
                    let means = interpreter.channel_means();
                    kept.push(Kept { photo, means });
                }
            }
        }
        if num_photos == 0 {
            return Err(ExportError::NoPhotos(PURPOSE));
        }
        let mut histograms = vec![Histogram::default(); graph.nodes.len()];
        for (_, found) in workers {
            let pairs = histograms.iter_mut().zip(found);
            pairs.for_each(|(all, found)| all.join(found));
        }
        let ranges = histograms.iter().enumerate();
        Ok(Self {
            ranges: ranges.map(|(id, h)| node_range(graph, id, h)).collect(),
            num_photos,
            kept,
        })
    }
}

/// The next photos, each of the size that the network takes.
fn take(
    photos: &mut dyn Iterator<Item = Result<Vec<f32>, SourceError>>,
    count: usize,
    graph: &Graph,
    num_before: usize,
) -> Result<Vec<Vec<f32>>, ExportError> {
    let expected = graph.input.height * graph.input.width * graph.input.channels;
    let checked = photos.take(count).enumerate().map(|(at, photo)| {
        let photo = photo.map_err(|source| ExportError::Photos {
            purpose: PURPOSE,
            source,
        })?;
        if photo.len() == expected {
            return Ok(photo);
        }
        Err(ExportError::Size {
            purpose: PURPOSE,
            index: num_before + at,
            what: "values",
            found: photo.len(),
            expected,
        })
    });
    checked.collect()
}

/// The logits keep their whole range and more: their largest values are what matters.
fn node_range(graph: &Graph, id: usize, histogram: &Histogram) -> Range {
    if id == graph.output {
        let Range { min, max } = histogram.whole();
        let max = max * LOGIT_HEADROOM;
        return Range { min, max };
    }
    let range = histogram.best();
    match graph.nodes[id].op {
        Op::Conv2d(Conv2d { activation, .. })
        | Op::Linear(Linear { activation, .. })
        | Op::Add(activation)
            if activation != Activation::Identity =>
        {
            Range { min: 0.0, ..range }
        }
        _ => range,
    }
}

/// Counts of values between `-limit` and `limit`, a power of two that doubles when a value
/// is beyond it; bins are then joined in pairs.
#[derive(Debug, Clone, Default)]
struct Histogram {
    counts: Vec<u64>,
    limit: f32,
    min: f32,
    max: f32,
}

impl Histogram {
    fn add(&mut self, values: &[f32]) {
        let finite = values.iter().copied().filter(|value| value.is_finite());
        let (min, max) = finite
            .clone()
            .fold((0.0_f32, 0.0_f32), |(min, max), value| {
                (min.min(value), max.max(value))
            });
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        self.widen(max.max(-min));
        if self.limit == 0.0 {
            return;
        }
        let scale = NUM_BINS as f32 / (2.0 * self.limit);
        // Odd, so that all channels take part.
        let step = (values.len() / ENOUGH_VALUES) | 1;
        for value in finite.step_by(step) {
            let bin = ((value + self.limit) * scale) as usize;
            self.counts[bin.min(NUM_BINS - 1)] += 1;
        }
    }

    fn widen(&mut self, largest: f32) {
        if self.limit == 0.0 && largest > 0.0 {
            // Smaller than this is as good as 0.
            self.limit = largest.max(1e-30).log2().ceil().exp2();
            self.counts = vec![0; NUM_BINS];
        }
        while self.limit < largest {
            let mut wide = vec![0; NUM_BINS];
            for (bin, count) in self.counts.iter().enumerate() {
                wide[NUM_BINS / 4 + bin / 2] += count;
            }
            self.counts = wide;
            self.limit *= 2.0;
        }
    }

    fn join(&mut self, mut other: Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.widen(other.limit);
        other.widen(self.limit);
        let pairs = self.counts.iter_mut().zip(other.counts);
        pairs.for_each(|(count, more)| *count += more);
    }

    fn whole(&self) -> Range {
        Range {
            min: self.min,
            max: self.max,
        }
    }

    /// Of the whole range and smaller shares of it, that with the least expected squared
    /// error: rounding inside, cutting outside.
    fn best(&self) -> Range {
        let shares = (50..=100).rev().map(|percent| percent as f32 / 100.0);
        let ranges = shares.map(|share| Range {
            min: self.min * share,
            max: self.max * share,
        });
        let errors = ranges.map(|range| (self.error(range), range));
        errors
            .min_by(|(a, _), (b, _)| a.total_cmp(b))
            .map_or(self.whole(), |(_, range)| range)
    }

    fn error(&self, range: Range) -> f64 {
        let step = f64::from(range.max - range.min) / 255.0;
        let rounding = step * step / 12.0;
        let width = 2.0 * f64::from(self.limit) / NUM_BINS as f64;
        let bins = self.counts.iter().enumerate();
        let errors = bins.filter(|(_, count)| **count > 0).map(|(bin, &count)| {
            let value = (bin as f64 + 0.5) * width - f64::from(self.limit);
            let cut = (value - f64::from(range.max)).max(f64::from(range.min) - value);
            let cut = cut.max(0.0);
            count as f64 * if cut > 0.0 { cut * cut } else { rounding }
        });
        errors.sum()
    }
}
