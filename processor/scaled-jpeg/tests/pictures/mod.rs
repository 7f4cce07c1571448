//! Where test pictures come from: real photos by path, made ones by an encoder.
//!
//! Real photos are found by `TINTYPE_TEST_DATA` or beside the workspace; tests
//! say how many they ran on, and that they skipped if there are none.

#![allow(dead_code, clippy::unwrap_used)]

use std::f64::consts::PI;
use std::path::{Path, PathBuf};

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// More than any picture here has.
pub const MAX_PIXELS: u64 = 200_000_000;

/// All files below `folder` of the test data, in a fixed order; none if there is
/// no such data on this machine.
pub fn files_below(folder: &str) -> Vec<PathBuf> {
    let root = std::env::var_os("TINTYPE_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The JPEGs among [`files_below`] `photos`.
pub fn real_photos() -> Vec<PathBuf> {
    let mut photos = files_below("photos");
    photos.retain(|path| {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        extension == "jpg" || extension == "jpeg"
    });
    photos
}

/// Numbers that look random and are the same in every run.
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

/// How a picture is to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    pub width: u16,
    pub height: u16,
    pub grey: bool,
    pub sampling: SamplingFactor,
    pub progressive: bool,
    pub restart_interval: u16,
    pub optimised: bool,
    pub quality: u8,
}

/// Grey or RGB pixels of a picture with soft colours, edges and some texture.
pub fn pixels(width: u16, height: u16, grey: bool) -> Vec<u8> {
    let mut random = Random(0x5eed + u64::from(width) * 65_536 + u64::from(height));
    let mut pixels = Vec::new();
    for y in 0..u32::from(height) {
        for x in 0..u32::from(width) {
            let (x, y) = (x as f32, y as f32);
            let noise = random.below(24) as f32 - 12.0;
            let edge = if (x * 0.31 + y * 0.17) % 40.0 < 20.0 {
                30.0
            } else {
                -30.0
            };
            let red = 128.0 + 60.0 * (x * 0.05).sin() + edge + noise;
            let green = 128.0 + 60.0 * (y * 0.04).cos() + edge + noise;
            let blue = 128.0 + 50.0 * ((x + y) * 0.03).sin() + noise;
            if grey {
                pixels.push(green as u8);
            } else {
                pixels.extend([red as u8, green as u8, blue as u8]);
            }
        }
    }
    pixels
}

/// Encodes [`pixels`].
pub fn encode(encoding: &Encoding) -> Vec<u8> {
    encode_pixels(
        encoding,
        &pixels(encoding.width, encoding.height, encoding.grey),
    )
}

/// Encodes grey or RGB pixels.
pub fn encode_pixels(encoding: &Encoding, pixels: &[u8]) -> Vec<u8> {
    let Encoding { width, height, .. } = *encoding;
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, encoding.quality);
    encoder.set_sampling_factor(encoding.sampling);
    encoder.set_progressive(encoding.progressive);
    encoder.set_restart_interval(encoding.restart_interval);
    encoder.set_optimized_huffman_tables(encoding.optimised);
    let colour = if encoding.grey {
        ColorType::Luma
    } else {
        ColorType::Rgb
    };
    encoder.encode(pixels, width, height, colour).unwrap();
    jpeg
}

/// A picture at its full size, decoded by zune-jpeg.
pub struct Full {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub pixels: Vec<u8>,
}

/// Decodes at full size; `None` if zune-jpeg cannot.
pub fn decode_full(jpeg: &[u8], channels: usize) -> Option<Full> {
    let colour = if channels == 1 {
        ColorSpace::Luma
    } else {
        ColorSpace::RGB
    };
    let options = DecoderOptions::default().jpeg_set_out_colorspace(colour);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
    let pixels = decoder.decode().ok()?;
    let info = decoder.info()?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    assert_eq!(pixels.len(), width * height * channels);
    Some(Full {
        width,
        height,
        channels,
        pixels,
    })
}

impl Full {
    /// Means of `divisor` x `divisor` pixels, fewer at the right and the bottom.
    pub fn averaged(&self, divisor: usize) -> Vec<f64> {
        let mut means = Vec::new();
        for top in (0..self.height).step_by(divisor) {
            for left in (0..self.width).step_by(divisor) {
                let bottom = (top + divisor).min(self.height);
                let right = (left + divisor).min(self.width);
                let count = (bottom - top) * (right - left);
                for channel in 0..self.channels {
                    let mut sum = 0;
                    for y in top..bottom {
                        for x in left..right {
                            let at = (y * self.width + x) * self.channels + channel;
                            sum += usize::from(self.pixels[at]);
                        }
                    }
                    means.push(sum as f64 / count as f64);
                }
            }
        }
        means
    }

    /// What the lowest `side` x `side` frequencies of each block say, by the
    /// definition of the transform; only of whole blocks, and only for grey.
    /// Rows as wide as the whole blocks are.
    pub fn lowest_frequencies(&self, side: usize) -> Vec<Vec<f64>> {
        assert_eq!(self.channels, 1);
        // From 8 pixels to `side` samples: forward over 8, back over `side`.
        let weights: Vec<[f64; 8]> = (0..side)
            .map(|to| {
                std::array::from_fn(|from| {
                    let wave = |frequency: usize, at: usize, points: usize| {
                        let angle = ((2 * at + 1) * frequency) as f64 * PI / (2 * points) as f64;
                        angle.cos() * if frequency == 0 { 1.0 } else { 2.0_f64.sqrt() }
                    };
                    let frequencies = 0..side;
                    let sum: f64 = frequencies
                        .map(|f| wave(f, from, 8) * wave(f, to, side))
                        .sum();
                    sum / 8.0
                })
            })
            .collect();
        let (blocks_wide, blocks_high) = (self.width / 8, self.height / 8);
        let mut rows = vec![vec![0.0; blocks_wide * side]; blocks_high * side];
        for (y, row) in rows.iter_mut().enumerate() {
            for (x, sample) in row.iter_mut().enumerate() {
                let (top, left) = (y / side * 8, x / side * 8);
                for (v, down) in weights[y % side].iter().enumerate() {
                    let pixels = &self.pixels[(top + v) * self.width + left..][..8];
                    let across = weights[x % side].iter().zip(pixels);
                    *sample += down
                        * across
                            .map(|(weight, &pixel)| weight * f64::from(pixel))
                            .sum::<f64>();
                }
            }
        }
        rows
    }
}

/// Peak signal-to-noise ratio in dB, of samples limited to 0 to 255.
pub fn psnr(found: &[u8], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let squares = found
        .iter()
        .zip(expected)
        .map(|(&found, expected)| (f64::from(found) - expected.clamp(0.0, 255.0)).powi(2));
    let mean = squares.sum::<f64>() / found.len() as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
}
