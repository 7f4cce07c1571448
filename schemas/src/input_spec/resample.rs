//! Pillow's `Image.resize(BILINEAR)`, to the bit: a triangle over all source pixels that
//! a target pixel covers, as 22-bit fixed point, columns first, then rows, rounded to
//! bytes between the two (Pillow's `Resample.c`). Only the part asked for is computed.

use std::ops::Range;

/// Bits behind the point of a weight: 32, less 8 for the value, less 2 for the sum.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// The source pixels that make one target pixel, and the weight of each.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

/// The part `columns` and `rows` of an RGB picture brought to `to`; sizes are width and
/// height.
pub(super) fn bilinear(
    rgb: &[u8],
    from: [usize; 2],
    to: [usize; 2],
    [columns, rows]: [Range<usize>; 2],
) -> Vec<u8> {
    let [width, height] = from;
    let across = windows(width, to[0], columns);
    let down = windows(height, to[1], rows);

    // Only the source rows that some target row reads.
    let first = down.first().map_or(0, |window| window.first);
    let last = down
        .last()
        .map_or(0, |window| window.first + window.weights.len());
    let narrow: Vec<u8> = if width == to[0] {
        let [left, count] = [
            across.first().map_or(0, |window| window.first),
            across.len(),
        ];
        let rows = (first..last).map(|y| &rgb[(y * width + left) * 3..][..count * 3]);
        rows.flatten().copied().collect()
    } else {
        let mut narrow = Vec::with_capacity((last - first) * across.len() * 3);
        for row in rgb[first * width * 3..last * width * 3].chunks_exact(width * 3) {
            for window in &across {
                let (pixels, _) = row[window.first * 3..].as_chunks::<3>();
                let mut sums = [1i32 << (PRECISION_BITS - 1); 3];
                for (pixel, weight) in pixels.iter().zip(&window.weights) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(*value) * weight;
                    }
                }
                narrow.extend(sums.map(to_byte));
            }
        }
        narrow
    };
    if height == to[1] {
        return narrow;
    }

    let row_bytes = across.len() * 3;
    let mut result = Vec::with_capacity(down.len() * row_bytes);
    let mut sums = vec![0i32; row_bytes];
    for window in &down {
        sums.fill(1 << (PRECISION_BITS - 1));
        let rows = narrow[(window.first - first) * row_bytes..].chunks_exact(row_bytes);
        for (row, weight) in rows.zip(&window.weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        result.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    result
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// The windows of some target pixels of one axis.
fn windows(from: usize, to: usize, part: Range<usize>) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    // Enlarging, the triangle is as wide as a source pixel; reducing, as a target pixel.
    let filter_scale = scale.max(1.0);
    part.map(|target| {
        let centre = (target as f64 + 0.5) * scale;
        // Truncated towards zero, and only then kept inside, as Pillow does.
        let first = ((centre - filter_scale + 0.5) as i64).max(0) as usize;
        let last = ((centre + filter_scale + 0.5) as usize).min(from);
        let triangle = |source: usize| {
            let distance = (source as f64 - centre + 0.5) * (1.0 / filter_scale);
            (1.0 - distance.abs()).max(0.0)
        };
        let weights: Vec<f64> = (first..last).map(triangle).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| (0.5 + weight / sum * f64::from(1 << PRECISION_BITS)) as i32;
        Window {
            first,
            weights: weights.iter().map(fixed).collect(),
        }
    })
    .collect()
}
