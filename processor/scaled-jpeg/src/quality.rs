//! How hard a picture was quantised, on the scale that people know.
//!
//! A luma quantisation table comes in; the quality setting (1 to 100) of the
//! Independent JPEG Group's encoder with the nearest table goes out. Cameras
//! have tables of their own, for which it is a fair likeness.

use crate::tables::Quantisation;

/// The luma table of ITU-T T.81 Annex K.1 in zigzag order, quality 50.
const REFERENCE: Quantisation = [
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37,
    29, 40, 58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81,
    87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
];

/// The quality whose luma table is nearest to `table`.
pub(crate) fn estimate(table: &Quantisation) -> f32 {
    // The encoder multiplies the reference by `percent` and limits each step to
    // 1..=255; the sum of the steps rises steadily with `percent`, so the
    // percent that gives this table's sum is found by halving.
    let sum: u32 = table.iter().map(|&step| u32::from(step)).sum();
    let sum_at = |percent: f32| -> f32 {
        let step = |&step: &u16| (f32::from(step) * percent / 100.0).clamp(1.0, 255.0);
        REFERENCE.iter().map(step).sum()
    };
    let (mut low, mut high) = (0.0, 5000.0);
    for _ in 0..24 {
        let middle = (low + high) / 2.0;
        if sum_at(middle) < sum as f32 {
            low = middle;
        } else {
            high = middle;
        }
    }
    let quality = if low <= 100.0 {
        100.0 - low / 2.0
    } else {
        5000.0 / low
    };
    quality.clamp(1.0, 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table that the IJG encoder makes for a quality.
    fn table(quality: u32) -> Quantisation {
        let percent = if quality < 50 {
            5000 / quality
        } else {
            200 - 2 * quality
        };
        REFERENCE.map(|step| ((u32::from(step) * percent + 50) / 100).clamp(1, 255) as u16)
    }

    #[test]
    fn quality_of_ijg_tables_is_found_again() {
        for quality in 5..=100 {
            let found = estimate(&table(quality));
            assert!((found - quality as f32).abs() < 1.0, "{quality}: {found}");
        }
    }
}
