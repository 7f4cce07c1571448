//! What is done to training photos, by chance: crop, rotation, mirror, colour, erasing.
//!
//! A picture and a number come in, the network's input comes out; the same number gives
//! the same input, so that an epoch can be gone through again from any place. Geometry is
//! one look-up per pixel of the result; photos are 256 on the short side, so that no crop
//! is shrunk by more than a half and bilinear look-ups do.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use schemas::training::Augment;
use schemas::{InputSpec, Layout};

use crate::error::TrainerError;
use crate::photo::{self, Picture};

/// Aspect ratios of crops: torchvision's.
const RATIOS: (f32, f32) = (3.0 / 4.0, 4.0 / 3.0);
/// Parts of the area that an erased rectangle takes, and its aspect ratios: torchvision's.
const ERASED: (f32, f32) = (0.02, 0.33);
const ERASED_RATIOS: (f32, f32) = (0.3, 3.3);

/// The random choices of one photo in one epoch.
pub fn choice(seed: u64, epoch: u64, photo: usize) -> u64 {
    // SplitMix64's finaliser (Steele, Lea and Flood, 2014) over the three numbers.
    let mut value = seed;
    for part in [epoch, photo as u64] {
        value = value.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31;
    }
    value
}

/// Makes the network's input, planes of red, green and blue, of a training photo.
///
/// # Errors
/// The picture is empty.
pub fn training_input(
    picture: &Picture,
    spec: &InputSpec,
    augment: &Augment,
    choice: u64,
    out: &mut Vec<f32>,
) -> Result<(), TrainerError> {
    let mut rng = StdRng::seed_from_u64(choice);
    let moves = augment.min_crop < 1.0 || augment.rotation_degrees > 0.0;
    let size = spec.size as usize;
    let begin = out.len();
    if moves {
        let view = View::choose(picture, augment, &mut rng);
        view.look(picture, size, out);
    } else {
        let plain = InputSpec {
            mean: [0.0; 3],
            std: [1.0; 3],
            ..spec.clone()
        };
        plain_input(picture, &plain, out)?;
    }
    let planes = &mut out[begin..];
    if augment.flip && rng.random_bool(0.5) {
        for row in planes.chunks_exact_mut(size) {
            row.reverse();
        }
    }
    if augment.jitter > 0.0 {
        jitter(planes, augment.jitter, &mut rng);
    }
    for (plane, (mean, std)) in planes
        .chunks_exact_mut(size * size)
        .zip(spec.mean.iter().zip(spec.std))
    {
        for value in plane {
            *value = (*value - mean) / std;
        }
    }
    if rng.random::<f32>() < augment.erasing {
        erase(planes, size, &mut rng);
    }
    Ok(())
}

/// Makes the network's input, planes again, of a photo that is judged, not learnt from.
///
/// # Errors
/// The picture is empty.
pub fn plain_input(
    picture: &Picture,
    spec: &InputSpec,
    out: &mut Vec<f32>,
) -> Result<(), TrainerError> {
    let planes = InputSpec {
        layout: Layout::Nchw,
        ..spec.clone()
    };
    out.extend(photo::input(picture, &planes)?);
    Ok(())
}

/// The part of a picture that is looked at.
struct View {
    centre: (f32, f32),
    size: (f32, f32),
    /// Sine and cosine of the rotation.
    turn: (f32, f32),
}

impl View {
    fn choose(picture: &Picture, augment: &Augment, rng: &mut StdRng) -> Self {
        let (width, height) = (picture.width as f32, picture.height as f32);
        let area = width * height * rng.random_range(augment.min_crop..=1.0);
        let ratio = rng.random_range(RATIOS.0.ln()..=RATIOS.1.ln()).exp();
        // A crop that would be wider or higher than the photo is cut to it.
        let size = (
            (area * ratio).sqrt().min(width),
            (area / ratio).sqrt().min(height),
        );
        let left = rng.random_range(0.0..=(width - size.0).max(0.0));
        let top = rng.random_range(0.0..=(height - size.1).max(0.0));
        let limit = augment.rotation_degrees.to_radians();
        let angle = if limit > 0.0 {
            rng.random_range(-limit..=limit)
        } else {
            0.0
        };
        Self {
            centre: (left + size.0 / 2.0, top + size.1 / 2.0),
            size,
            turn: angle.sin_cos(),
        }
    }

    /// Bilinear; outside the picture its edge goes on.
    fn look(&self, picture: &Picture, size: usize, out: &mut Vec<f32>) {
        let begin = out.len();
        let area = size * size;
        out.resize(begin + 3 * area, 0.0);
        let (red, rest) = out[begin..].split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        let (width, height) = (picture.width as usize, picture.height as usize);
        let (sin, cos) = self.turn;
        for y in 0..size {
            let v = ((y as f32 + 0.5) / size as f32 - 0.5) * self.size.1;
            for x in 0..size {
                let u = ((x as f32 + 0.5) / size as f32 - 0.5) * self.size.0;
                let from_x = self.centre.0 + u * cos - v * sin - 0.5;
                let from_y = self.centre.1 + u * sin + v * cos - 0.5;
                let from_x = from_x.clamp(0.0, (width - 1) as f32);
                let from_y = from_y.clamp(0.0, (height - 1) as f32);
                let (left, top) = (from_x as usize, from_y as usize);
                let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
                let (part_x, part_y) = (from_x - left as f32, from_y - top as f32);
                let pixel = |x: usize, y: usize| {
                    let at = (y * width + x) * 3;
                    &picture.rgb[at..at + 3]
                };
                let corners = [
                    (pixel(left, top), (1.0 - part_x) * (1.0 - part_y)),
                    (pixel(right, top), part_x * (1.0 - part_y)),
                    (pixel(left, bottom), (1.0 - part_x) * part_y),
                    (pixel(right, bottom), part_x * part_y),
                ];
                let blend = |channel: usize| {
                    let sum = corners
                        .iter()
                        .map(|(rgb, part)| f32::from(rgb[channel]) * part);
                    sum.sum::<f32>() / 255.0
                };
                let at = y * size + x;
                (red[at], green[at], blue[at]) = (blend(0), blend(1), blend(2));
            }
        }
    }
}

/// Brightness, contrast and saturation, each by a factor around 1, as torchvision's.
fn jitter(planes: &mut [f32], by: f32, rng: &mut StdRng) {
    let area = planes.len() / 3;
    let mut factor = || rng.random_range((1.0 - by).max(0.0)..=1.0 + by);
    let (brightness, contrast, saturation) = (factor(), factor(), factor());
    let grey = |planes: &[f32], at: usize| {
        0.299 * planes[at] + 0.587 * planes[area + at] + 0.114 * planes[2 * area + at]
    };
    let mean = (0..area).map(|at| grey(planes, at)).sum::<f32>() / area as f32 * brightness;
    for at in 0..area {
        for channel in 0..3 {
            let value = &mut planes[channel * area + at];
            *value = mean + (*value * brightness - mean) * contrast;
        }
        let grey = grey(planes, at);
        for channel in 0..3 {
            let value = &mut planes[channel * area + at];
            *value = (grey + (*value - grey) * saturation).clamp(0.0, 1.0);
        }
    }
}

/// A rectangle becomes the mean of all photos, which is 0 once normalised (Zhong and
/// others, Random Erasing, 2017).
fn erase(planes: &mut [f32], size: usize, rng: &mut StdRng) {
    let area = (size * size) as f32 * rng.random_range(ERASED.0..=ERASED.1);
    let ratio = rng
        .random_range(ERASED_RATIOS.0.ln()..=ERASED_RATIOS.1.ln())
        .exp();
    let width = ((area * ratio).sqrt() as usize).clamp(1, size);
    let height = ((area / ratio).sqrt() as usize).clamp(1, size);
    let left = rng.random_range(0..=size - width);
    let top = rng.random_range(0..=size - height);
    for plane in planes.chunks_exact_mut(size * size) {
        for row in plane.chunks_exact_mut(size).skip(top).take(height) {
            row[left..left + width].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: InputSpec = InputSpec {
        size: 64,
        resize: 64,
        crop: 64,
        mean: [0.5; 3],
        std: [0.25; 3],
        layout: Layout::Nhwc,
    };

    fn nothing() -> Augment {
        Augment {
            min_crop: 1.0,
            flip: false,
            jitter: 0.0,
            rotation_degrees: 0.0,
            erasing: 0.0,
        }
    }

    fn picture() -> Picture {
        let pixel = |at: u32| [(at % 96) as u8 * 2, (at / 96) as u8 * 3, 77];
        Picture {
            width: 96,
            height: 64,
            rgb: (0..96 * 64).flat_map(pixel).collect(),
        }
    }

    fn input(augment: &Augment, choice: u64) -> Vec<f32> {
        let mut out = Vec::new();
        training_input(&picture(), &SPEC, augment, choice, &mut out).unwrap();
        out
    }

    #[test]
    fn without_augmentation_a_photo_is_learnt_as_it_is_judged() {
        let mut judged = Vec::new();
        plain_input(&picture(), &SPEC, &mut judged).unwrap();
        let learnt = input(&nothing(), 7);
        assert_eq!(learnt.len(), judged.len());
        for (a, b) in learnt.iter().zip(&judged) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[test]
    fn the_same_choice_gives_the_same_input_and_another_another() {
        let all = Augment {
            min_crop: 0.3,
            flip: true,
            jitter: 0.3,
            rotation_degrees: 15.0,
            erasing: 1.0,
        };
        let first = input(&all, choice(1, 2, 3));
        assert_eq!(first, input(&all, choice(1, 2, 3)));
        for other in [choice(1, 2, 4), choice(1, 3, 3), choice(2, 2, 3)] {
            assert_ne!(first, input(&all, other));
        }
        assert!(
            first
                .iter()
                .all(|value| value.is_finite() && value.abs() <= 2.0)
        );
        assert!(first.contains(&0.0), "something is erased");
    }

    #[test]
    fn a_mirrored_photo_has_its_rows_reversed() {
        let flip = Augment {
            flip: true,
            ..nothing()
        };
        let plain = input(&nothing(), 0);
        let mirrored: Vec<f32> = plain
            .chunks_exact(64)
            .flat_map(|row| row.iter().rev().copied())
            .collect();
        let inputs: Vec<_> = (0..20).map(|choice| input(&flip, choice)).collect();
        assert!(inputs.contains(&plain));
        assert!(inputs.contains(&mirrored));
    }

    #[test]
    fn the_whole_picture_seen_through_a_view_is_the_picture() {
        let view = View {
            centre: (48.0, 32.0),
            size: (64.0, 64.0),
            turn: (0.0, 1.0),
        };
        let mut seen = Vec::new();
        view.look(&picture(), 64, &mut seen);
        // Columns 16 to 79: red is twice the column.
        for (x, value) in seen[..64].iter().enumerate() {
            assert!((value * 255.0 - (16 + x) as f32 * 2.0).abs() < 1e-3);
        }
    }
}
