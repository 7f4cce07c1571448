//! The demo's set of files: a seed comes in, labelled photos go out, one at a time,
//! and among them what real collections have: exact copies, copies saved again or
//! made smaller, blurred and dark shots, a file cut short and one that is no photo.
//! Equal seeds give equal bytes.

use image::RgbImage;
use image::imageops::{self, FilterType};
use jpeg_encoder::{ColorType, Encoder};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::canvas::Canvas;
use super::scenes::SCENES;

/// Good photos of each class.
pub const PER_CLASS: u32 = 40;

/// Width and height in pixels, or the other way round.
const SIZE: (u32, u32) = (800, 600);

/// How far a shaken photo is smeared, in pixels of standard deviation.
const BLUR: f32 = 9.0;

/// What is left of the light in a dark photo.
const DARK: f32 = 0.06;

/// A file of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its label: the name of its folder.
    pub label: &'static str,
    /// Its file name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Every file of the set, class by class; only one is in memory.
///
/// # Errors
/// Encoding fails, which it does not for photos of this size.
pub fn pictures(seed: u64) -> impl Iterator<Item = anyhow::Result<Picture>> {
    let size = SIZE;
    Set { seed, size }.files()
}

/// A set that is to be drawn.
#[derive(Debug, Clone, Copy)]
struct Set {
    seed: u64,
    size: (u32, u32),
}

impl Set {
    fn files(self) -> impl Iterator<Item = anyhow::Result<Picture>> {
        (0..SCENES.len()).flat_map(move |class| {
            let good = (0..PER_CLASS).map(move |n| self.good(class, n));
            let copies = (0..3).map(move |n| self.copy(class, n));
            let poor = (0..2).map(move |n| self.poor(class, n));
            let broken = std::iter::once_with(move || self.broken(class));
            good.chain(copies).chain(poor).chain(broken.flatten())
        })
    }

    fn draw(self, class: usize, n: u32) -> RgbImage {
        // One stream of chances for each photo: another class changes none of them.
        let stream = (class as u64) << 32 | u64::from(n);
        let whole: u64 = StdRng::seed_from_u64(self.seed).random();
        let mut rng = StdRng::seed_from_u64(whole ^ stream.wrapping_mul(0x9E37_79B9));
        let (wide, high) = self.size;
        // Every third is held upright.
        let (width, height) = if n % 3 == 2 {
            (high, wide)
        } else {
            (wide, high)
        };
        let mut canvas = Canvas::new(width, height);
        (SCENES[class].1)(&mut canvas, &mut rng);
        canvas.develop(&mut rng)
    }

    fn good(self, class: usize, n: u32) -> anyhow::Result<Picture> {
        let bytes = jpeg(&self.draw(class, n), 90)?;
        Ok(picture(class, &format!("{:02}.jpg", n + 1), bytes))
    }

    fn copy(self, class: usize, n: u32) -> anyhow::Result<Picture> {
        let photo = self.draw(class, n);
        let (what, bytes) = match n {
            0 => ("copy-of", jpeg(&photo, 90)?),
            1 => ("saved-again", jpeg(&photo, 50)?),
            _ => {
                let (width, height) = (photo.width() / 2, photo.height() / 2);
                let half = imageops::resize(&photo, width, height, FilterType::Triangle);
                ("half-size", jpeg(&half, 90)?)
            }
        };
        Ok(picture(class, &format!("{what}-{:02}.jpg", n + 1), bytes))
    }

    fn poor(self, class: usize, n: u32) -> anyhow::Result<Picture> {
        let mut photo = self.draw(class, PER_CLASS + n);
        if n == 0 {
            let blurred = imageops::fast_blur(&photo, BLUR);
            return Ok(picture(class, "blurred.jpg", jpeg(&blurred, 90)?));
        }
        for value in photo.iter_mut() {
            *value = (f32::from(*value) * DARK) as u8;
        }
        Ok(picture(class, "dark.jpg", jpeg(&photo, 90)?))
    }

    fn broken(self, class: usize) -> Option<anyhow::Result<Picture>> {
        match SCENES[class].0 {
            "house" => Some(self.good(class, PER_CLASS + 2).map(|photo| {
                let bytes = photo.bytes[..photo.bytes.len() / 2].to_vec();
                picture(class, "cut-short.jpg", bytes)
            })),
            "flower" => {
                let text = "A list of flowers, and no photo of any.\n".repeat(20);
                Some(Ok(picture(class, "list.jpg", text.into())))
            }
            _ => None,
        }
    }
}

fn jpeg(photo: &RgbImage, quality: u8) -> anyhow::Result<Vec<u8>> {
    let (width, height) = (photo.width().try_into()?, photo.height().try_into()?);
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, quality).encode(photo.as_raw(), width, height, ColorType::Rgb)?;
    Ok(bytes)
}

fn picture(class: usize, name: &str, bytes: Vec<u8>) -> Picture {
    let label = SCENES[class].0;
    let name = format!("{label}-{name}");
    Picture { label, name, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The same scenes at a quarter of the size, in a sixteenth of the time.
    fn small(seed: u64) -> Set {
        let size = (SIZE.0 / 4, SIZE.1 / 4);
        Set { seed, size }
    }

    #[test]
    fn a_seed_gives_the_same_bytes_each_time_and_another_seed_others() {
        let all = |seed| -> Vec<Picture> { small(seed).files().map(Result::unwrap).collect() };
        let first = all(1);
        assert_eq!(first, all(1));
        for (a, b) in first.iter().zip(all(2)) {
            let is_text = a.bytes.is_ascii();
            assert!(is_text || a.bytes != b.bytes, "{}", a.name);
        }
    }

    #[test]
    fn the_set_has_what_it_promises_and_no_name_twice() {
        let set: Vec<Picture> = small(1).files().map(Result::unwrap).collect();
        let mut by_label: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for picture in &set {
            let names = by_label.entry(picture.label).or_default();
            assert!(!names.contains(&picture.name.as_str()), "{}", picture.name);
            names.push(&picture.name);
        }
        assert_eq!(by_label.len(), 4);
        assert_eq!(set.len(), 4 * (PER_CLASS as usize + 3 + 2) + 2);
        let bytes = |name: &str| &set.iter().find(|p| p.name == name).unwrap().bytes;
        assert_eq!(bytes("ball-01.jpg"), bytes("ball-copy-of-01.jpg"));
        assert_ne!(bytes("ball-02.jpg"), bytes("ball-saved-again-02.jpg"));
        let half = image_size(bytes("ball-half-size-03.jpg"));
        let whole = image_size(bytes("ball-03.jpg"));
        assert_eq!((half.0 * 2, half.1 * 2), whole);
        assert!(bytes("flower-list.jpg").is_ascii());
        let cut = bytes("house-cut-short.jpg");
        assert!(cut.starts_with(&[0xff, 0xd8]) && !cut.ends_with(&[0xff, 0xd9]));
    }

    /// Width and height from the frame header.
    fn image_size(jpeg: &[u8]) -> (u16, u16) {
        let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        let at = |i: usize| u16::from_be_bytes([jpeg[frame + i], jpeg[frame + i + 1]]);
        (at(7), at(5))
    }

    /// The processor's perceptual hash in its plainest form: the sign of the 64
    /// slowest waves of a small grey copy against their median.
    fn fingerprint(photo: &RgbImage) -> u64 {
        const N: u32 = 32;
        let grey = image::DynamicImage::ImageRgb8(photo.clone()).to_luma8();
        let small = imageops::resize(&grey, N, N, FilterType::Lanczos3);
        let wave = |k: u32, i: u32| {
            let angle = std::f32::consts::PI * (2 * i + 1) as f32 * k as f32 / (2 * N) as f32;
            angle.cos()
        };
        let mut waves = Vec::new();
        for v in 0..8 {
            for u in 0..8 {
                let sum: f32 = small
                    .enumerate_pixels()
                    .map(|(x, y, p)| f32::from(p.0[0]) * wave(u, x) * wave(v, y))
                    .sum();
                waves.push(sum);
            }
        }
        let mut sorted = waves.clone();
        sorted.sort_by(f32::total_cmp);
        let median = (sorted[31] + sorted[32]) / 2.0;
        let bits = waves.iter().map(|w| u64::from(*w > median));
        bits.fold(0, |hash, bit| hash << 1 | bit)
    }

    #[test]
    fn no_two_good_photos_are_near_duplicates() {
        // With both hashes of the default policy the nearest two are far apart: 84 of 256 bits of pdq.
        const APART: u32 = 7;
        let mut hashes = Vec::new();
        for (class, scene) in SCENES.iter().enumerate() {
            for n in 0..PER_CLASS {
                let hash = fingerprint(&small(1).draw(class, n));
                hashes.push((format!("{}-{:02}", scene.0, n + 1), hash));
            }
        }
        let mut pairs = 0;
        for (i, (a, hash_a)) in hashes.iter().enumerate() {
            for (b, hash_b) in &hashes[..i] {
                let distance = (hash_a ^ hash_b).count_ones();
                assert!(distance >= APART, "{a} and {b} differ in {distance} bits");
                pairs += 1;
            }
        }
        let num = SCENES.len() * PER_CLASS as usize;
        assert_eq!(pairs, num * (num - 1) / 2);
    }
}
