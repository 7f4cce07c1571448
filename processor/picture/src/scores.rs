//! Step 7: CleanVision's seven quality scores, by its definitions, of the small sRGB
//! picture; 0 to 1, low is worse. And which of them are bad enough to be told.
//!
//! CleanVision measures the full-size file; the small picture gives the same numbers
//! within a few hundredths. Three scores differ in meaning:
//! - `odd_size` measures against the target size: a photo is judged alone here.
//! - `grayscale` is 0 also for colour files whose pixels are all grey.
//! - `blurry` is CleanVision's, but never more than the sharpest edges allow: at the
//!   64 pixels where it looks, most blurred photos look like any other.

use fast_image_resize::FilterType;
use schemas::{Reason, events};

use super::pixels::Pixels;
use super::resize::resize;

/// Scores a small upright picture.
pub fn scores(small: &Pixels, original: (u32, u32), target_short_side: u32) -> events::Scores {
    let pixels = small.rgb.as_chunks::<3>().0;
    let is_gray = pixels.iter().all(|[r, g, b]| r == g && g == b);
    let (dark, light) = brightness_scores(pixels);
    let (width, height) = original;
    let (short, long) = (width.min(height) as f32, width.max(height) as f32);
    events::Scores {
        dark,
        light,
        blurry: blurry_score(small, original).min(sharpness_score(small)),
        low_information: low_information_score(pixels, is_gray),
        odd_aspect_ratio: short / long,
        odd_size: (short / target_short_side as f32).min(1.0),
        grayscale: if is_gray { 0.0 } else { 1.0 },
    }
}

/// Dark: how bright the brightest hundredth is. Light: how dark the darkest twentieth.
fn brightness_scores(pixels: &[[u8; 3]]) -> (f32, f32) {
    // Thousandths of the squared brightness, as whole numbers: same order, and exact.
    let squares: Vec<u32> = pixels
        .iter()
        .map(|rgb| {
            let [r, g, b] = rgb.map(|v| u32::from(v).pow(2));
            241 * r + 691 * g + 68 * b
        })
        .collect();
    // Counted by their upper bits, so that few are left among which a rank is looked for.
    const LOWER_BITS: u32 = 14;
    let mut counts = vec![0_usize; ((1000 * 255 * 255) >> LOWER_BITS) + 1];
    for square in &squares {
        counts[(square >> LOWER_BITS) as usize] += 1;
    }
    let brightness = |square: u32| f64::from(square).sqrt() / (1000f64.sqrt() * 255.0);
    // Between two ranks the value lies between theirs, as numpy has it.
    let percentile = |percent: f64| {
        let rank = percent / 100.0 * (squares.len() - 1) as f64;
        let (num_before, bucket) = bucket_of(&counts, rank as usize);
        let (_, next) = bucket_of(&counts, (rank as usize + 1).min(squares.len() - 1));
        let mut near: Vec<u32> = squares
            .iter()
            .copied()
            .filter(|square| (bucket..=next).contains(&((square >> LOWER_BITS) as usize)))
            .collect();
        let (_, low, above) = near.select_nth_unstable(rank as usize - num_before);
        let low = brightness(*low);
        let high = above.iter().min().map_or(low, |high| brightness(*high));
        low + (high - low) * rank.fract()
    };
    (percentile(99.0) as f32, (1.0 - percentile(5.0)) as f32)
}

/// How many come before the bucket that holds the rank, and which one it is.
fn bucket_of(counts: &[usize], rank: usize) -> (usize, usize) {
    let mut num_before = 0;
    for (bucket, count) in counts.iter().enumerate() {
        if rank < num_before + count {
            return (num_before, bucket);
        }
        num_before += count;
    }
    (num_before, counts.len())
}

/// The spread of the edges of the picture at 64 pixels, where a shaken photo has
/// nothing left, and the unevenness of its histogram, which keeps flat drawings out.
fn blurry_score(small: &Pixels, original: (u32, u32)) -> f32 {
    const MAX_SIDE: f64 = 64.0;
    const NORMALIZE: f64 = 0.01;
    const MIN_HISTOGRAM_SCORE: f64 = 0.18;
    let ratio = f64::from(original.0.max(original.1)) / MAX_SIDE;
    let side = |side: u32| ((f64::from(side) / ratio).floor() as u32).max(1);
    let size = if ratio > 1.0 {
        (side(original.0), side(original.1))
    } else {
        original
    };
    let tiny = resize(small.clone(), size, FilterType::CatmullRom)
        .expect("RGB pixels can be resized to RGB pixels");
    let gray: Vec<u8> = luma(&tiny.rgb).collect();
    let edges = edges(&gray, size.0 as usize, size.1 as usize);
    let edge_score = 1.0 - (-NORMALIZE * deviation(edges.iter().map(|v| f64::from(*v)))).exp();
    let histogram = histogram(gray.iter().copied());
    let mut histogram_score =
        1.0 - (-NORMALIZE * deviation(histogram.iter().map(|n| f64::from(*n)))).exp();
    if histogram_score <= MIN_HISTOGRAM_SCORE {
        histogram_score = 0.0;
    }
    (edge_score + histogram_score).min(1.0) as f32
}

/// How steep the sharpest edges are, for the contrast that the picture has: the
/// Laplacian that one pixel in 200 exceeds, over the range of its luma. Flat parts
/// do not count against a photo, so a bottle on a white table is as sharp as a forest.
fn sharpness_score(small: &Pixels) -> f32 {
    // Over 1,293 real photos the quotient is 0.27 in the middle and 0.03 at the least.
    // Blurred by one hundredth of their long side they have 0.01 and at most 0.03.
    // Times six, the two meet at 0.15, and no ordinary photo's score is lowered.
    const SCALE: f32 = 6.0;
    let (width, height) = (small.width as usize, small.height as usize);
    let gray: Vec<u8> = luma(&small.rgb).collect();
    let range = histogram(gray.iter().copied());
    let range = rank(&range, 0.99) - rank(&range, 0.01);
    let mut steps = vec![0; 8 * 255 + 1];
    for y in 1..height.saturating_sub(1) {
        laplacian(&gray, width, y, |_, step| {
            steps[step.unsigned_abs() as usize] += 1
        });
    }
    if range == 0 {
        return 1.0; // one colour: that is another score's finding
    }
    let edge = rank(&steps, 0.995) as f32 / 8.0;
    (SCALE * edge / range as f32).min(1.0)
}

/// The value that this share of the counted values does not exceed.
fn rank(counts: &[u32], share: f64) -> usize {
    let total: u32 = counts.iter().sum();
    let mut left = (f64::from(total) * share).ceil() as u32;
    let value = counts.iter().position(|count| {
        left = left.saturating_sub(*count);
        left == 0
    });
    value.unwrap_or(0)
}

/// Luma as PIL has it, in 16-bit fixed point.
fn luma(rgb: &[u8]) -> impl Iterator<Item = u8> {
    rgb.as_chunks::<3>().0.iter().map(|rgb| {
        let [r, g, b] = rgb.map(u32::from);
        ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
    })
}

/// PIL's `FIND_EDGES`: the Laplacian cut to a byte; the outermost pixels stay as they are.
fn edges(gray: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut edges = gray.to_vec();
    for y in 1..height.saturating_sub(1) {
        laplacian(gray, width, y, |x, step| {
            edges[y * width + x] = step.clamp(0, 255) as u8;
        });
    }
    edges
}

/// Eight times a pixel less its eight neighbours, for the inner pixels of a row.
fn laplacian(gray: &[u8], width: usize, y: usize, mut take: impl FnMut(usize, i16)) {
    let row = |y: usize| &gray[y * width..(y + 1) * width];
    let (above, own, below) = (row(y - 1), row(y), row(y + 1));
    let columns: Vec<i16> = above
        .iter()
        .zip(own)
        .zip(below)
        .map(|((a, b), c)| i16::from(*a) + i16::from(*b) + i16::from(*c))
        .collect();
    let around = columns
        .windows(3)
        .map(|three| three[0] + three[1] + three[2]);
    for (x, (pixel, around)) in own.iter().skip(1).zip(around).enumerate() {
        take(x + 1, 9 * i16::from(*pixel) - around);
    }
}

fn histogram(values: impl Iterator<Item = u8>) -> [u32; 256] {
    let mut counts = [0; 256];
    values.for_each(|v| counts[usize::from(v)] += 1);
    counts
}

/// Standard deviation of the whole population.
fn deviation(values: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let num = values.len() as f64;
    let mean = values.clone().sum::<f64>() / num;
    (values.map(|v| (v - mean).powi(2)).sum::<f64>() / num).sqrt()
}

/// A tenth of the entropy, in bits, of all channels' values taken together.
fn low_information_score(pixels: &[[u8; 3]], is_gray: bool) -> f32 {
    // A picture without colour has one channel, whatever the file says.
    let channels = if is_gray { 1 } else { 3 };
    let mut entropy = 0.0;
    let total = (pixels.len() * channels) as f64;
    let mut counts = [[0_u32; 256]; 3];
    for pixel in pixels {
        for (counts, value) in counts.iter_mut().zip(pixel) {
            counts[usize::from(*value)] += 1;
        }
    }
    for count in counts.iter().take(channels).flatten() {
        if *count > 0 {
            let share = f64::from(*count) / total;
            entropy -= share * share.log2();
        }
    }
    (0.1 * entropy).min(1.0) as f32
}

/// What a person would surely say of a photo with these scores, and why; the worst
/// finding, if there is one.
pub fn quality_findings(scores: &events::Scores) -> Option<(Reason, String)> {
    // CleanVision flags dark under 0.32, light under 0.05, low information under 0.3
    // and blurry under 0.29, and leaves the rest to a person. Here a finding may take
    // a photo out of training, so the limits are lower: 1,373 real photos have at
    // least 0.50 dark, 0.26 light and 0.18 blurry. Night, snow and plain walls are honest.
    const MIN_DARK: f32 = 0.2;
    const MIN_LIGHT: f32 = 0.04;
    const MIN_BLURRY: f32 = 0.12;
    // A picture of one colour has 0.16 if it has colour, and nothing if it has none.
    // Line drawings in black and white have 0.05 and more.
    const MIN_LOW_INFORMATION: f32 = 0.2;
    const MIN_LOW_INFORMATION_GRAY: f32 = 0.04;
    let min_low_information = if scores.grayscale == 0.0 {
        MIN_LOW_INFORMATION_GRAY
    } else {
        MIN_LOW_INFORMATION
    };
    let finding = |reason, score: f32, limit: f32, words: &str| {
        (score < limit).then(|| {
            (
                reason,
                format!("{words} (score {score:.2}, limit {limit:.2})"),
            )
        })
    };
    let (dark, light) = (scores.dark, scores.light);
    finding(Reason::Dark, dark, MIN_DARK, "too dark to see much")
        .or_else(|| finding(Reason::Light, light, MIN_LIGHT, "washed out to white"))
        .or_else(|| {
            let score = scores.low_information;
            let words = "next to nothing in the picture";
            finding(Reason::LowInformation, score, min_low_information, words)
        })
        .or_else(|| {
            let words = "out of focus or shaken";
            finding(Reason::Blurry, scores.blurry, MIN_BLURRY, words)
        })
}

#[cfg(test)]
mod tests;
