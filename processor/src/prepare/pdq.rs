//! Step 8b: PDQ, the 256-bit perceptual hash that Meta published, written from its
//! description: luma, two box blurs each way, 64 x 64 samples, a DCT to 16 x 16,
//! each coefficient against the median. With it comes a quality from 0 to 100: how
//! much there was to hash. Under 50 a hash says little.

use std::f32::consts::PI;
use std::sync::LazyLock;

use super::Pixels;
use crate::turn::Turn;

/// Samples a side that the transform sees.
const SAMPLES: usize = 64;
/// Frequencies a side that make the hash.
const FREQUENCIES: usize = 16;

/// A hash and how much it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pdq {
    /// In the order of the published text form: its first two hex digits are the first byte.
    pub(super) hash: [u8; 32],
    /// The hashes of the picture in its seven other positions, in the order of [`Turn`].
    pub(super) turned: [[u8; 32]; Turn::OTHERS.len()],
    /// 0 to 100.
    pub(super) quality: u32,
}

/// The hash of a small upright picture.
pub(super) fn pdq(small: &Pixels) -> Pdq {
    let (width, height) = (small.width as usize, small.height as usize);
    let mut luma: Vec<f32> = luma(&small.rgb).collect();
    let mut scratch = vec![0.0; luma.len()];
    for _ in 0..2 {
        blur_rows(&luma, &mut scratch, width, window(width));
        blur_columns(&scratch, &mut luma, width, window(height));
    }
    let rows = [places(height, false), places(height, true)];
    let columns = [places(width, false), places(width, true)];
    let samples = sample(&luma, width, &rows[0], &columns[0]);
    // A mirror changes the sign of every second frequency, but also which values are
    // sampled; so it is the samples that are mirrored here, at the cost of a transform.
    let mirrored =
        columns.map(|columns| rows.map(|rows| transform(&sample(&luma, width, &rows, &columns))));
    let [[upright, _], _] = &mirrored;
    Pdq {
        hash: bits(upright),
        turned: Turn::OTHERS.map(|turn| {
            let (x, y) = (usize::from(turn.mirrored_x), usize::from(turn.mirrored_y));
            if turn.transposed {
                // Rows are mirrored before they become columns.
                bits(&transposed(&mirrored[y][x]))
            } else {
                bits(&mirrored[x][y])
            }
        }),
        quality: quality(&samples),
    }
}

fn luma(rgb: &[u8]) -> impl Iterator<Item = f32> {
    rgb.as_chunks::<3>().0.iter().map(|rgb| {
        let [r, g, b] = rgb.map(f32::from);
        0.299 * r + 0.587 * g + 0.114 * b
    })
}

/// The box is as wide as half the distance of two samples, so that two passes of it
/// leave nothing that the samples cannot carry.
fn window(side: usize) -> usize {
    side.div_ceil(2 * SAMPLES)
}

/// Each value becomes the mean of the window around it, less what lies outside the
/// row. An even window has its extra value behind. Rows know nothing of each other: eight at
/// a time do not wait for their sums.
fn blur_rows(from: &[f32], to: &mut [f32], width: usize, window: usize) {
    const ROWS: usize = 8;
    let blocks = from.chunks(ROWS * width).zip(to.chunks_mut(ROWS * width));
    for (from, to) in blocks {
        if from.len() == ROWS * width {
            blur_block::<ROWS>(from, to, width, window);
        } else {
            let rows = from.chunks_exact(width).zip(to.chunks_exact_mut(width));
            rows.for_each(|(from, to)| blur_block::<1>(from, to, width, window));
        }
    }
}

fn blur_block<const ROWS: usize>(from: &[f32], to: &mut [f32], width: usize, window: usize) {
    let ahead = window / 2;
    let behind = window - 1 - ahead;
    let from: [&[f32]; ROWS] = std::array::from_fn(|row| &from[row * width..(row + 1) * width]);
    let mut sums = from.map(|row| row[..ahead.min(width)].iter().sum::<f32>());
    let mut num = ahead.min(width);
    for x in 0..width {
        if x + ahead < width {
            (0..ROWS).for_each(|row| sums[row] += from[row][x + ahead]);
            num += 1;
        }
        if x > behind {
            (0..ROWS).for_each(|row| sums[row] -= from[row][x - behind - 1]);
            num -= 1;
        }
        let means = sums.map(|sum| sum / num as f32);
        (0..ROWS).for_each(|row| to[row * width + x] = means[row]);
    }
}

/// The same down the columns, a whole row of sums at a time.
fn blur_columns(from: &[f32], to: &mut [f32], width: usize, window: usize) {
    let ahead = window / 2;
    let behind = window - 1 - ahead;
    let rows: Vec<&[f32]> = from.chunks_exact(width).collect();
    let mut sums = vec![0.0; width];
    let mut num = 0;
    let add = |sums: &mut [f32], row: &[f32], sign: f32| {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, v)| *sum += sign * v);
    };
    for row in rows.iter().take(ahead) {
        add(&mut sums, row, 1.0);
        num += 1;
    }
    for (y, to) in to.chunks_exact_mut(width).enumerate() {
        if let Some(row) = rows.get(y + ahead) {
            add(&mut sums, row, 1.0);
            num += 1;
        }
        if y > behind {
            add(&mut sums, rows[y - behind - 1], -1.0);
            num -= 1;
        }
        to.iter_mut()
            .zip(&sums)
            .for_each(|(to, sum)| *to = sum / num as f32);
    }
}

type Samples = [[f32; SAMPLES]; SAMPLES];

/// Which rows or columns are sampled; mirrored: which ones would be, were the picture
/// mirrored before it was blurred.
fn places(side: usize, mirrored: bool) -> [usize; SAMPLES] {
    // Two passes of an even window move everything by one.
    let moved = 1 - window(side) % 2;
    std::array::from_fn(|i| {
        let place = (2 * i + 1) * side / (2 * SAMPLES);
        if mirrored {
            (side - 1 - place).saturating_sub(2 * moved)
        } else {
            place
        }
    })
}

fn sample(
    luma: &[f32],
    width: usize,
    rows: &[usize; SAMPLES],
    columns: &[usize; SAMPLES],
) -> Samples {
    rows.map(|y| {
        let row = &luma[y * width..];
        columns.map(|x| row[x])
    })
}

/// The sum of steps between neighbours, in whole percent of the range each, so that
/// many small steps of noise count for nothing.
fn quality(samples: &Samples) -> u32 {
    const STEPS_FOR_ONE: u32 = 90;
    let step = |a: f32, b: f32| (((a - b) * 100.0) / 255.0).trunc().abs() as u32;
    let mut steps = 0;
    for i in 0..SAMPLES {
        for j in 0..SAMPLES {
            if i + 1 < SAMPLES {
                steps += step(samples[i][j], samples[i + 1][j]);
            }
            if j + 1 < SAMPLES {
                steps += step(samples[i][j], samples[i][j + 1]);
            }
        }
    }
    (steps / STEPS_FOR_ONE).min(100)
}

/// The lowest frequencies' cosines, the constant one left out.
static COSINES: LazyLock<[[f32; SAMPLES]; FREQUENCIES]> = LazyLock::new(|| {
    let scale = (2.0 / SAMPLES as f32).sqrt();
    std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let angle = PI / 2.0 / SAMPLES as f32 * (i + 1) as f32 * (2 * j + 1) as f32;
            scale * angle.cos()
        })
    })
});

/// The same, all frequencies of one place side by side.
static COSINES_ACROSS: LazyLock<[[f32; FREQUENCIES]; SAMPLES]> =
    LazyLock::new(|| std::array::from_fn(|j| std::array::from_fn(|i| COSINES[i][j])));

type Frequencies = [[f32; FREQUENCIES]; FREQUENCIES];

fn transform(samples: &Samples) -> Frequencies {
    let cosines = &*COSINES;
    let mut columns = [[0.0; SAMPLES]; FREQUENCIES];
    for (column, cosine) in columns.iter_mut().zip(cosines) {
        for (factor, row) in cosine.iter().zip(samples) {
            column
                .iter_mut()
                .zip(row)
                .for_each(|(sum, v)| *sum += factor * v);
        }
    }
    let across = &*COSINES_ACROSS;
    columns.map(|column| {
        let mut sums = [0.0; FREQUENCIES];
        for (factor, cosines) in column.iter().zip(across) {
            sums.iter_mut()
                .zip(cosines)
                .for_each(|(sum, cosine)| *sum += factor * cosine);
        }
        sums
    })
}

fn transposed(frequencies: &Frequencies) -> Frequencies {
    std::array::from_fn(|i| std::array::from_fn(|j| frequencies[j][i]))
}

/// One bit for each coefficient over the median. The published text form begins
/// with the highest bit.
fn bits(frequencies: &Frequencies) -> [u8; 32] {
    let values = frequencies.as_flattened();
    let mut sorted = values.to_vec();
    // Of an even number the lower middle counts, as in the published code.
    let middle = (values.len() - 1) / 2;
    let (_, median, _) = sorted.select_nth_unstable_by(middle, f32::total_cmp);
    let mut hash = [0; 32];
    for (k, value) in values.iter().enumerate() {
        if *value > *median {
            hash[31 - k / 8] |= 1 << (k % 8);
        }
    }
    hash
}

#[cfg(test)]
mod tests;
