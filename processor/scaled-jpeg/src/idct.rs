//! Turns the lowest frequencies of a block into the samples of a smaller one.
//!
//! Dequantised coefficients come in; 1x1, 2x2 or 4x4 samples from 0 to 255 go
//! out. The transform of `n` points on the `n` lowest frequencies each way is a
//! low-pass and a reduction in one; the samples lie in the middle of the areas
//! that they stand for.

use crate::tables::Quantisation;

/// The lowest frequencies of a block in columns of 1, 2 or 4, dequantised.
pub(crate) type Lowest = [f32; 16];

/// By side of the output block: where in [`Lowest`] the coefficient at each
/// zigzag index goes, `side * side` for those that are not wanted; and the last
/// index that is wanted.
pub(crate) const SLOTS: [(&[u8; 64], u32); 5] = [
    (&slots(0), 0),
    (&slots(1), 0),
    (&slots(2), 4),
    (&slots(3), 12),
    (&slots(4), 24),
];

/// By entry of [`Lowest`]: what the coefficient is to be multiplied by.
pub(crate) struct Steps([f32; 16]);

impl Steps {
    pub fn new<const SIDE: usize>(quantisation: &Quantisation) -> Self {
        let mut steps = [0.0; 16];
        let (slots, last) = SLOTS[SIDE];
        for (&slot, &step) in slots.iter().zip(quantisation).take(last as usize + 1) {
            if let Some(to) = steps.get_mut(usize::from(slot)) {
                *to = f32::from(step);
            }
        }
        Self(steps)
    }

    /// Dequantises a DC coefficient and those behind it in columns.
    #[inline(always)]
    pub fn dequantise<const SIDE: usize>(&self, dc: i16, others: &[i16]) -> Lowest {
        let mut lowest = [0.0; 16];
        lowest[0] = f32::from(dc) * self.0[0];
        let dequantised = lowest.iter_mut().zip(&self.0).take(SIDE * SIDE).skip(1);
        for ((to, step), &other) in dequantised.zip(others) {
            *to = f32::from(other) * step;
        }
        lowest
    }
}

/// Column and row of each zigzag index: row * 8 + column.
const ZIGZAG: [u8; 64] = zigzag();

const fn zigzag() -> [u8; 64] {
    let mut order = [0; 64];
    let (mut row, mut column, mut index) = (0_u8, 0_u8, 0);
    while index < 64 {
        order[index] = row * 8 + column;
        let rising = (row + column) % 2 == 0;
        match (rising, row, column) {
            (true, _, 7) => row += 1,
            (true, 0, _) => column += 1,
            (true, ..) => {
                row -= 1;
                column += 1;
            }
            (false, 7, _) => column += 1,
            (false, _, 0) => row += 1,
            (false, ..) => {
                row += 1;
                column -= 1;
            }
        }
        index += 1;
    }
    order
}

const fn slots(side: u8) -> [u8; 64] {
    let mut slots = [side * side; 64];
    let mut index = 0;
    while index < 64 {
        let (row, column) = (ZIGZAG[index] / 8, ZIGZAG[index] % 8);
        if row < side && column < side {
            slots[index] = column * side + row;
        }
        index += 1;
    }
    slots
}

/// The nearest sample to a level that is 0 for a medium grey.
#[inline(always)]
fn to_sample(level: f32) -> u8 {
    // Added to this, a number up to 255 stands in the lowest bits as an integer:
    // cheaper than a conversion that minds numbers too large.
    const INTEGER: f32 = (3 << 22) as f32;
    ((level + 128.0).clamp(0.0, 255.0) + INTEGER).to_bits() as u8
}

/// Writes the `SIDE` x `SIDE` samples of a block to `samples`, whose rows are
/// `stride` apart.
#[inline(always)]
pub(crate) fn write_samples<const SIDE: usize>(lowest: &Lowest, samples: &mut [u8], stride: usize) {
    match SIDE {
        1 => write_rows([[one_sample(lowest[0])]], samples, stride),
        2 => write_rows(two_by_two(lowest), samples, stride),
        _ => write_rows(four_by_four(lowest), samples, stride),
    }
}

#[inline(always)]
fn write_rows<const N: usize>(rows: [[u8; N]; N], samples: &mut [u8], stride: usize) {
    for (y, row) in rows.iter().enumerate() {
        if let Some(to) = samples.get_mut(y * stride..y * stride + N) {
            to.copy_from_slice(row);
        }
    }
}

/// The sample of a block from its dequantised DC coefficient: a half is rounded
/// up, as libjpeg does.
#[inline(always)]
fn one_sample(dc: f32) -> u8 {
    to_sample(((dc + 4.0) / 8.0).floor())
}

#[inline(always)]
fn two_by_two(lowest: &Lowest) -> [[u8; 2]; 2] {
    let [mean, down, across, both] = [0, 1, 2, 3].map(|slot| lowest[slot] / 8.0);
    let (left, right) = (mean + across, mean - across);
    let (down_left, down_right) = (down + both, down - both);
    [
        [to_sample(left + down_left), to_sample(right + down_right)],
        [to_sample(left - down_left), to_sample(right - down_right)],
    ]
}

/// Four numbers that are added and multiplied side by side.
type Four = [f32; 4];

/// Four points from four frequencies, times 2.
#[inline(always)]
fn four_points([f0, f1, f2, f3]: [Four; 4]) -> [Four; 4] {
    // sqrt(2) * cos(pi / 8) and sqrt(2) * cos(3 pi / 8).
    const LARGE: f32 = 1.306_563;
    const SMALL: f32 = 0.541_196_1;
    let mut points = [[0.0; 4]; 4];
    for i in 0..4 {
        let (outer, inner) = (f0[i] + f2[i], f0[i] - f2[i]);
        let steep = f1[i] * LARGE + f3[i] * SMALL;
        let flat = f1[i] * SMALL - f3[i] * LARGE;
        points[0][i] = outer + steep;
        points[1][i] = inner + flat;
        points[2][i] = inner - flat;
        points[3][i] = outer - steep;
    }
    points
}

#[inline(always)]
fn four_by_four(lowest: &Lowest) -> [[u8; 4]; 4] {
    let column = |x: usize| [0, 1, 2, 3].map(|y| lowest[x * 4 + y]);
    // Along the rows, four of them side by side, then down the columns.
    let across = four_points([column(0), column(1), column(2), column(3)]);
    let row = |y: usize| [0, 1, 2, 3].map(|x: usize| across[x][y]);
    let points = four_points([row(0), row(1), row(2), row(3)]);
    points.map(|row| row.map(|point| to_sample(point / 8.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn zigzag_ends_where_it_should() {
        assert_eq!(ZIGZAG[..10], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24]);
        assert_eq!(ZIGZAG[60..], [47, 55, 62, 63]);
    }

    /// The transform by its definition, in floating point.
    fn by_definition(lowest: &Lowest, side: usize) -> Vec<f64> {
        let mut samples = Vec::new();
        for y in 0..side {
            for x in 0..side {
                let mut sum = 0.0;
                for v in 0..side {
                    for u in 0..side {
                        let weight = |f: usize, at: usize| {
                            let angle = (2 * at + 1) as f64 * f as f64 * PI / (2 * side) as f64;
                            if f == 0 {
                                1.0
                            } else {
                                2_f64.sqrt() * angle.cos()
                            }
                        };
                        sum += f64::from(lowest[u * side + v]) * weight(u, x) * weight(v, y);
                    }
                }
                samples.push((sum / 8.0 + 128.0).clamp(0.0, 255.0));
            }
        }
        samples
    }

    fn differs<const SIDE: usize>(lowest: &Lowest) -> f64 {
        let mut samples = [0; 16];
        write_samples::<SIDE>(lowest, &mut samples, SIDE);
        let exact = by_definition(lowest, SIDE);
        let pairs = exact.iter().zip(samples);
        pairs
            .map(|(exact, found)| (exact - f64::from(found)).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn samples_are_within_rounding_of_the_definition() {
        let mut seed = 1_u32;
        for _ in 0..20_000 {
            let mut lowest = [0.0; 16];
            for entry in &mut lowest {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *entry = ((seed >> 16) % 600) as f32 - 300.0;
            }
            assert!(differs::<1>(&lowest) <= 0.5 + 1e-9);
            assert!(differs::<2>(&lowest) <= 0.5 + 1e-9);
            assert!(differs::<4>(&lowest) <= 0.5 + 1e-4);
        }
    }

    #[test]
    fn extreme_coefficients_are_limited() {
        let steps = Steps::new::<4>(&[u16::MAX; 64]);
        for (dc, expected) in [(i16::MIN, 0), (i16::MAX, 255)] {
            let mut samples = [7; 16];
            write_samples::<4>(&steps.dequantise::<4>(dc, &[0; 15]), &mut samples, 4);
            assert_eq!(samples, [expected; 16]);
            write_samples::<4>(&steps.dequantise::<4>(dc, &[dc; 15]), &mut samples, 4);
            write_samples::<1>(&steps.dequantise::<1>(dc, &[]), &mut samples, 1);
            assert_eq!(samples[0], expected);
        }
    }
}
