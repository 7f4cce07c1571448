//! Photos through the float network, and for every node the range that its values are
//! quantised in. Outliers are cut where that makes the rounding error of all values
//! smaller than the error of the few that are cut. A few photos are kept, with the mean of
//! each channel of each node: what the quantised network's biases are corrected by.

use graph::{Activation, Conv2d, Graph, Linear, Observer, Op};
use pulp::Arch;

use crate::network::shapes;
use crate::{ExportError, PhotoSource};

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
/// looked for among all. Counting every value takes longer than computing it; of 200 photos these
/// are more than a million.
const ENOUGH_VALUES: usize = 1 << 13;

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
    /// How many photos were run at a time, and may be.
    pub(crate) num_threads: usize,
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
    /// and measures. Some hundred photos are enough; more than 500 change little. The number of
    /// threads changes nothing.
    ///
    /// # Errors
    ///
    /// No photo, a photo that cannot be had or has another size, an unusable graph.
    pub fn measure(
        graph: &Graph,
        photos: &PhotoSource<'_, Vec<f32>>,
        num_threads: usize,
    ) -> Result<Self, ExportError> {
        shapes(graph)?;
        let observer = Observer::new(graph)?;
        let num_nodes = graph.nodes.len();
        let num_threads = num_threads.max(1);
        let worker = |_| Worker {
            observer: observer.share(),
            histograms: vec![Histogram::default(); num_nodes],
            kept: Vec::new(),
        };
        let mut workers: Vec<Worker> = (0..num_threads).map(worker).collect();
        photos.share_out(PURPOSE, &mut workers, |worker, index, photo| {
            check(graph, index, &photo)?;
            worker.look(index, photo)
        })?;
        let mut histograms = vec![Histogram::default(); num_nodes];
        let mut kept = Vec::new();
        for worker in workers {
            let pairs = histograms.iter_mut().zip(worker.histograms);
            pairs.for_each(|(all, found)| all.join(found));
            kept.extend(worker.kept);
        }
        kept.sort_by_key(|(index, _)| *index);
        let ranges = histograms.iter().enumerate();
        Ok(Self {
            ranges: ranges.map(|(id, h)| node_range(graph, id, h)).collect(),
            num_photos: photos.count,
            kept: kept.into_iter().map(|(_, kept)| kept).collect(),
            num_threads,
        })
    }
}

/// A photo has the size that the network takes.
fn check(graph: &Graph, index: usize, photo: &[f32]) -> Result<(), ExportError> {
    let expected = graph.input.num_values();
    if photo.len() == expected {
        return Ok(());
    }
    Err(ExportError::Size {
        purpose: PURPOSE,
        index,
        what: "values",
        found: photo.len(),
        expected,
    })
}

/// What a thread works with, and what it has found.
struct Worker {
    observer: Observer,
    histograms: Vec<Histogram>,
    /// By their numbers.
    kept: Vec<(usize, Kept)>,
}

impl Worker {
    fn look(&mut self, index: usize, photo: Vec<f32>) -> Result<(), ExportError> {
        self.observer.run(&photo)?;
        for (id, histogram) in self.histograms.iter_mut().enumerate() {
            // For the vectors of the machine at hand.
            Arch::new().dispatch(
                #[inline(always)]
                || histogram.add(self.observer.values(id)),
            );
        }
        if index < NUM_KEPT {
            let nodes = 0..self.histograms.len();
            let means = nodes.map(|id| channel_means(&self.observer, id)).collect();
            self.kept.push((index, Kept { photo, means }));
        }
        Ok(())
    }
}

/// The mean of each channel of a node.
fn channel_means(observer: &Observer, id: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; observer.num_channels(id)];
    let mut num_pixels = 0.0;
    for piece in observer.values(id) {
        for pixel in piece.chunks_exact(sums.len()) {
            let pairs = sums.iter_mut().zip(pixel);
            pairs.for_each(|(sum, value)| *sum += f64::from(*value));
            num_pixels += 1.0;
        }
    }
    sums.iter().map(|sum| (sum / num_pixels) as f32).collect()
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
/// is not within it; bins are then joined in pairs. A value's bin follows from the limit alone, to
/// the bit, so that values may come in any order and in several histograms.
#[derive(Debug, Clone, Default)]
struct Histogram {
    counts: Vec<u64>,
    limit: f32,
    min: f32,
    max: f32,
}

/// Values that are looked at together for the smallest and the largest.
const LANES: usize = 16;

/// Smaller than this is as good as 0.
const SMALLEST_LIMIT: f32 = 1.0 / (1_u128 << 100) as f32;

impl Histogram {
    #[inline(always)]
    fn add<'a>(&mut self, pieces: impl Iterator<Item = &'a [f32]> + Clone) {
        let mut num_values = 0;
        for piece in pieces.clone() {
            let (min, max) = ends(piece);
            self.min = self.min.min(min);
            self.max = self.max.max(max);
            num_values += piece.len();
        }
        let largest = self.max.max(-self.min);
        if largest == 0.0 {
            return;
        }
        self.widen(|limit| limit > largest);
        // A power of two as well: the product is exact, and so is its floor.
        let scale = NUM_BINS as f32 / (2.0 * self.limit);
        // Odd, so that all channels take part.
        let step = (num_values / ENOUGH_VALUES) | 1;
        let mut next = 0;
        for piece in pieces {
            while let Some(value) = piece.get(next) {
                if value.is_finite() {
                    let scaled = value * scale;
                    let whole = scaled as i32;
                    let floor = whole - i32::from(scaled < whole as f32);
                    let bin = (floor + NUM_BINS as i32 / 2) as usize;
                    self.counts[bin.min(NUM_BINS - 1)] += 1;
                }
                next += step;
            }
            next -= piece.len();
        }
    }

    fn widen(&mut self, is_enough: impl Fn(f32) -> bool) {
        if self.counts.is_empty() {
            self.limit = SMALLEST_LIMIT;
            while !is_enough(self.limit) {
                self.limit *= 2.0;
            }
            self.counts = vec![0; NUM_BINS];
        }
        while !is_enough(self.limit) {
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
        if other.counts.is_empty() {
            return;
        }
        let limit = self.limit.max(other.limit);
        self.widen(|wide| wide >= limit);
        other.widen(|wide| wide >= limit);
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

/// The smallest and the largest of 0 and the values that are numbers.
#[inline(always)]
fn ends(values: &[f32]) -> (f32, f32) {
    let (mut min, mut max) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut look = |values: &[f32; LANES]| {
        for ((min, max), value) in min.iter_mut().zip(&mut max).zip(values) {
            let value = if value.abs() < f32::INFINITY {
                *value
            } else {
                0.0
            };
            *min = if value < *min { value } else { *min };
            *max = if value > *max { value } else { *max };
        }
    };
    whole.iter().for_each(&mut look);
    let mut last = [0.0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    look(&last);
    (
        min.into_iter().fold(0.0, f32::min),
        max.into_iter().fold(0.0, f32::max),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_the_same_in_any_order_and_in_parts() {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let unit = (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5;
            unit * ((state >> 8) as f32 % 40.0 - 30.0).exp2()
        };
        let mut values: Vec<Vec<f32>> =
            (0..9).map(|_| (0..777).map(|_| next()).collect()).collect();
        // On the limits and just beside them, and what is no number.
        values.push(vec![
            1.0,
            -1.0,
            2.0,
            -2.0,
            1.0 - f32::EPSILON,
            -0.0,
            f32::MIN_POSITIVE,
        ]);
        values.push(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.25]);
        let of = |order: &[usize]| {
            let mut found = Histogram::default();
            for at in order {
                found.add(values[*at].chunks(100));
            }
            found
        };
        let (mut parts, other) = (of(&[8, 0, 9]), of(&[10, 7, 5, 3, 1, 2, 4, 6]));
        parts.join(other);
        for found in [parts, of(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])] {
            let expected = of(&[10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
            assert_eq!(found.limit, expected.limit);
            assert_eq!((found.min, found.max), (expected.min, expected.max));
            assert_eq!(found.counts, expected.counts);
        }
        let counted: u64 = of(&[9, 10]).counts.iter().sum();
        assert_eq!(counted, 8);
    }
}
