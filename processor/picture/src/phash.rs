//! Step 8a: the 64-bit perceptual hash: grey, 16 x 16 with Lanczos3, DCT, the 64
//! lowest frequencies against their median. Bit 0 is the constant term, then row by
//! row. Equal pixels give equal hashes on every machine of the fleet.
//!
//! `image_hasher` hashes; of its way to 16 x 16, which is that of `image`, this is the same sum
//! in the same order, a row at a time instead of a pixel: same bits, a tenth of the time.

use std::cell::LazyCell;
use std::f32::consts::PI;

use image::{ImageBuffer, Luma};
use image_hasher::{BitOrder, HashAlg, Hasher, HasherConfig};

use super::pixels::Pixels;

/// What the transform sees has so many pixels a side.
const SIDE: u32 = 16;

thread_local! {
    /// Planning the transform costs as much as several hashes.
    static HASHER: LazyCell<Hasher<[u8; 8]>> = LazyCell::new(|| {
        HasherConfig::with_bytes_type::<[u8; 8]>()
            .hash_size(8, 8)
            .hash_alg(HashAlg::Median)
            .preproc_dct()
            .bit_order(BitOrder::LsbFirst)
            .to_hasher()
    });
}

/// The hash of a small upright picture.
pub fn phash(small: &Pixels) -> u64 {
    let picture: ImageBuffer<Luma<u8>, _> = ImageBuffer::from_raw(SIDE, SIDE, sampled(small))
        .expect("the buffer has a byte for each pixel");
    let hash = HASHER.with(|hasher| hasher.hash_image(&picture));
    let bytes = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(bytes)
}

/// Grey, and 16 x 16.
fn sampled(small: &Pixels) -> Vec<u8> {
    let width = small.width as usize;
    let pixels = small.rgb.as_chunks::<3>().0;
    let gray: Vec<f32> = pixels.iter().map(|rgb| f32::from(gray(*rgb))).collect();
    let rows = weights(small.height).map(|(first, weights)| {
        let mut sums = vec![0.0; width];
        for (row, weight) in gray[first * width..].chunks_exact(width).zip(weights) {
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value * weight);
        }
        sums
    });
    let columns = weights(small.width);
    rows.iter()
        .flat_map(|row| {
            columns.iter().map(|(first, weights)| {
                let pairs = row[*first..].iter().zip(weights);
                let sum = pairs.fold(0.0_f32, |sum, (value, weight)| sum + value * weight);
                sum.clamp(0.0, 255.0).round() as u8
            })
        })
        .collect()
}

/// Luma by the weights of sRGB, rounded down.
fn gray(rgb: [u8; 3]) -> u8 {
    let [r, g, b] = rgb.map(u32::from);
    ((2_126 * r + 7_152 * g + 722 * b) / 10_000) as u8
}

/// Of which lines from the first on each of the sixteen is made, with which weights.
fn weights(side: u32) -> [(usize, Vec<f32>); SIDE as usize] {
    const SUPPORT: f32 = 3.0;
    let ratio = side as f32 / SIDE as f32;
    let stretch = ratio.max(1.0);
    std::array::from_fn(|at| {
        let middle = (at as f32 + 0.5) * ratio;
        let first = ((middle - SUPPORT * stretch).floor().max(0.0) as u32).min(side - 1);
        let end = ((middle + SUPPORT * stretch).ceil() as u32).clamp(first + 1, side);
        let mut weights: Vec<f32> = (first..end)
            .map(|line| lanczos3((line as f32 - (middle - 0.5)) / stretch))
            .collect();
        let sum = weights.iter().fold(0.0_f32, |sum, weight| sum + weight);
        weights.iter_mut().for_each(|weight| *weight /= sum);
        (first as usize, weights)
    })
}

fn lanczos3(x: f32) -> f32 {
    let sinc = |x: f32| {
        let angle = x * PI;
        if x == 0.0 { 1.0 } else { angle.sin() / angle }
    };
    if x.abs() < 3.0 {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, imageops};

    use super::*;
    use crate::testing::{picture, scene};

    #[test]
    fn the_sixteen_lines_are_those_of_the_image_crate() {
        let sizes = [
            (341, 256),
            (256, 341),
            (97, 31),
            (16, 300),
            (16, 16),
            (9, 7),
            (1, 1),
        ];
        for (width, height) in sizes {
            for small in [
                scene(width, height),
                picture("grain", width.max(2), height.max(2)),
            ] {
                let theirs: ImageBuffer<Rgb<u8>, _> =
                    ImageBuffer::from_raw(small.width, small.height, small.rgb.clone()).unwrap();
                let theirs = imageops::grayscale(&theirs);
                let theirs = imageops::resize(&theirs, SIDE, SIDE, imageops::FilterType::Lanczos3);
                assert_eq!(sampled(&small), theirs.into_raw(), "{width} x {height}");
            }
        }
    }
}
