//! Turns the lowest frequencies of a block into the samples of a smaller one.
//!
//! Dequantised coefficients come in; 1x1, 2x2 or 4x4 samples from 0 to 255 go
//! out. The transform of `n` points on the `n` lowest frequencies each way is a
//! low-pass and a reduction in one; the samples lie in the middle of the areas
//! that they stand for.

/// The lowest frequencies of a block in rows of 1, 2 or 4, dequantised; the last
/// entry takes what is not wanted.
pub(crate) type Lowest = [i32; 17];

const UNWANTED: u8 = 16;

/// By side of the output block: for each zigzag index the entry of [`Lowest`],
/// and the last index that is wanted.
pub(crate) const SLOTS: [(&[u8; 64], u32); 5] = [
    (&[UNWANTED; 64], 0),
    (&slots(1), 0),
    (&slots(2), 4),
    (&[UNWANTED; 64], 0),
    (&slots(4), 24),
];

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
    let mut slots = [UNWANTED; 64];
    let mut index = 0;
    while index < 64 {
        let (row, column) = (ZIGZAG[index] / 8, ZIGZAG[index] % 8);
        if row < side && column < side {
            slots[index] = row * side + column;
        }
        index += 1;
    }
    slots
}

/// The sample of a block from its dequantised DC coefficient.
#[inline(always)]
pub(crate) fn one_sample(dc: i32) -> u8 {
    to_sample((dc + 4) >> 3)
}

#[inline(always)]
fn to_sample(level: i32) -> u8 {
    (level + 128).clamp(0, 255) as u8
}

/// Writes the `side` x `side` samples of a block to `samples`, whose rows are
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

#[inline(always)]
fn two_by_two(lowest: &Lowest) -> [[u8; 2]; 2] {
    let [mean, across, down, both] = [0, 1, 2, 3].map(|slot| limited(lowest[slot]));
    let (left, right) = (mean + across + 4, mean - across + 4);
    let (down_left, down_right) = (down + both, down - both);
    let sample = |sum: i32| to_sample(sum >> 3);
    [
        [sample(left + down_left), sample(right + down_right)],
        [sample(left - down_left), sample(right - down_right)],
    ]
}

/// Coefficients of 8-bit pictures stay within a quarter of this; limiting them
/// to it keeps the sums of damaged files inside 32 bits.
const LARGEST: i32 = 4095;

#[inline(always)]
fn limited(coefficient: i32) -> i32 {
    coefficient.clamp(-LARGEST, LARGEST)
}

/// Fraction bits of the constants.
const FRACTION: u32 = 13;
/// sqrt(2) * cos(pi / 8) and sqrt(2) * cos(3 pi / 8).
const LARGE: i32 = 10_703;
const SMALL: i32 = 4_433;
/// Four points from four frequencies, times 2^(`FRACTION` + 1).
#[inline(always)]
fn four_points(frequencies: [i32; 4]) -> [i32; 4] {
    let [f0, f1, f2, f3] = frequencies;
    let (outer, inner) = ((f0 + f2) << FRACTION, (f0 - f2) << FRACTION);
    let steep = f1 * LARGE + f3 * SMALL;
    let flat = f1 * SMALL - f3 * LARGE;
    [outer + steep, inner + flat, inner - flat, outer - steep]
}

#[inline(always)]
fn four_by_four(lowest: &Lowest) -> [[u8; 4]; 4] {
    // Down the columns, two fraction bits kept, then along the rows.
    let mut columns = [[0; 4]; 4];
    for (x, column) in columns.iter_mut().enumerate() {
        let points = four_points([0, 1, 2, 3].map(|y| limited(lowest[y * 4 + x])));
        *column = points.map(|point| (point + (1 << (FRACTION - 3))) >> (FRACTION - 2));
    }
    let mut rows = [[0; 4]; 4];
    for (y, row) in rows.iter_mut().enumerate() {
        let points = four_points([0, 1, 2, 3].map(|x| columns[x][y]));
        *row = points.map(|point| to_sample((point + (1 << (FRACTION + 4))) >> (FRACTION + 5)));
    }
    rows
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
                        sum += f64::from(lowest[v * side + u]) * weight(u, x) * weight(v, y);
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
            let mut lowest = [0; 17];
            for entry in &mut lowest[..16] {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *entry = (seed >> 16) as i32 % 600 - 300;
            }
            assert!(differs::<1>(&lowest) <= 0.5 + 1e-9);
            assert!(differs::<2>(&lowest) <= 0.5 + 1e-9);
            assert!(differs::<4>(&lowest) <= 0.75);
        }
    }

    #[test]
    fn extreme_coefficients_do_not_overflow() {
        for sign in [-1, 1] {
            let lowest = [sign * 32_768 * 65_535 / 2; 17];
            let mut samples = [7; 16];
            write_samples::<4>(&lowest, &mut samples, 4);
            write_samples::<1>(&lowest, &mut samples, 1);
        }
    }
}
