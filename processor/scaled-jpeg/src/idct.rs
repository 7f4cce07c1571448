//! Turns the lowest frequencies of a block into the samples of a smaller one.
//!
//! Dequantised coefficients come in; 1x1, 2x2 or 4x4 samples from 0 to 255 go
//! out. The transform of `n` points on the `n` lowest frequencies each way is a
//! low-pass and a reduction in one; the samples lie in the middle of the areas
//! that they stand for.

use crate::tables::Quantisation;

/// By side of the output block: where among the lowest frequencies, in
/// columns, the coefficient at each zigzag index is kept, `side * side` for those
/// that are not; and the last index that is kept.
pub(crate) const SLOTS: [(&[u8; 64], u32); 5] = [
    (&slots(0), 0),
    (&slots(1), 0),
    (&slots(2), 4),
    (&slots(3), 12),
    (&slots(4), 24),
];

/// What a component's kept coefficients are to be multiplied by.
pub(crate) struct Steps([u16; 16]);

impl Steps {
    pub fn new(side: usize, quantisation: &Quantisation) -> Self {
        let mut steps = [0; 16];
        let (slots, last) = SLOTS[side];
        for (&slot, &step) in slots.iter().zip(quantisation).take(last as usize + 1) {
            if let Some(to) = steps.get_mut(usize::from(slot)) {
                *to = step;
            }
        }
        Self(steps)
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

/// Writes the `SIDE` x `SIDE` samples of a block to `samples`, whose rows are
/// `stride` apart. `others` are the kept coefficients behind `dc`.
#[inline(always)]
pub(crate) fn write_samples<const SIDE: usize>(
    dc: i16,
    others: &[i16],
    steps: &Steps,
    samples: &mut [u8],
    stride: usize,
) {
    if SIDE == 1 {
        if let Some(sample) = samples.first_mut() {
            *sample = mean(dc, steps);
        }
        return;
    }
    let mut lowest = [0.0; 16];
    lowest[0] = f32::from(dc) * f32::from(steps.0[0]);
    #[expect(clippy::needless_range_loop, reason = "iterators are not vectorised")]
    for slot in 1..SIDE * SIDE {
        let other = others.get(slot - 1).copied().unwrap_or_default();
        lowest[slot] = f32::from(other) * f32::from(steps.0[slot]);
    }
    match SIDE {
        2 => write_rows(two_by_two(&lowest), samples, stride),
        _ => write_rows(four_by_four(&lowest), samples, stride),
    }
}

/// The mean of a block; a half is rounded up, as libjpeg does.
#[inline(always)]
pub(crate) fn mean(dc: i16, steps: &Steps) -> u8 {
    let level = (i32::from(dc) * i32::from(steps.0[0]) + 4) >> 3;
    (level + 128).clamp(0, 255) as u8
}

#[inline(always)]
fn write_rows<const N: usize>(rows: [[u8; N]; N], samples: &mut [u8], stride: usize) {
    for (y, row) in rows.iter().enumerate() {
        if let Some(to) = samples.get_mut(y * stride..y * stride + N) {
            to.copy_from_slice(row);
        }
    }
}

/// The nearest sample to a level that is 0 for a medium grey.
#[inline(always)]
fn to_sample(level: f32) -> u8 {
    // Added to this, a number up to 255 stands in the lowest bits as an integer:
    // cheaper than a conversion that minds numbers too large.
    const INTEGER: f32 = (3 << 22) as f32;
    ((level + 128.0).clamp(0.0, 255.0) + INTEGER).to_bits() as u8
}

#[inline(always)]
fn two_by_two(lowest: &[f32; 16]) -> [[u8; 2]; 2] {
    let [mean, down, across, both, ..] = lowest.map(|coefficient| coefficient / 8.0);
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
fn four_by_four(lowest: &[f32; 16]) -> [[u8; 4]; 4] {
    let (columns, _) = lowest.as_chunks::<4>();
    // Along the rows, four of them side by side, then down the columns.
    let across = four_points([columns[0], columns[1], columns[2], columns[3]]);
    let mut rows = [[0.0; 4]; 4];
    for y in 0..4 {
        for x in 0..4 {
            rows[y][x] = across[x][y];
        }
    }
    let points = four_points(rows);
    let mut samples = [[0; 4]; 4];
    for y in 0..4 {
        for x in 0..4 {
            samples[y][x] = to_sample(points[y][x] / 8.0);
        }
    }
    samples
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
    fn by_definition(lowest: &[i16; 16], side: usize) -> Vec<f64> {
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

    fn differs<const SIDE: usize>(lowest: &[i16; 16], steps: &Steps) -> f64 {
        let mut samples = [0; 16];
        write_samples::<SIDE>(lowest[0], &lowest[1..], steps, &mut samples, SIDE);
        let exact = by_definition(lowest, SIDE);
        let pairs = exact.iter().zip(samples);
        let differences = pairs.map(|(exact, found)| (exact - f64::from(found)).abs());
        differences.fold(0.0, f64::max)
    }

    #[test]
    fn samples_are_the_nearest_to_the_definition() {
        let steps = Steps([1; 16]);
        let mut seed = 1_u32;
        for _ in 0..20_000 {
            let mut lowest = [0; 16];
            for entry in &mut lowest {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *entry = (seed >> 16) as i16 % 300;
            }
            assert!(differs::<1>(&lowest, &steps) <= 0.5 + 1e-4);
            assert!(differs::<2>(&lowest, &steps) <= 0.5 + 1e-4);
            assert!(differs::<4>(&lowest, &steps) <= 0.5 + 1e-4);
        }
    }

    #[test]
    fn extreme_coefficients_are_limited() {
        let steps = Steps([u16::MAX; 16]);
        for (dc, expected) in [(i16::MIN, 0), (i16::MAX, 255)] {
            let mut samples = [7; 16];
            write_samples::<4>(dc, &[0; 15], &steps, &mut samples, 4);
            assert_eq!(samples, [expected; 16]);
            write_samples::<4>(dc, &[dc; 15], &steps, &mut samples, 4);
            write_samples::<1>(dc, &[], &steps, &mut samples, 1);
            assert_eq!(samples[0], expected);
        }
    }
}
