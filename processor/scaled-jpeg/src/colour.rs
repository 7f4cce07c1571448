//! Makes pixels of the components' samples.
//!
//! Planes come in; rows of grey or RGB pixels go out, row by row, so that
//! upsampled colour never takes more than a row of memory.

use crate::frame::Frame;
use crate::tables::Tables;
use crate::upsample::{Room, Rows};

/// What the three components of a colour picture are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColourSpace {
    YCbCr,
    Rgb,
}

impl ColourSpace {
    /// By the markers, or else by the components' ids: as libjpeg decides it.
    pub fn of(tables: &Tables, frame: &Frame) -> Self {
        let is_named_rgb = || {
            frame
                .components
                .iter()
                .map(|component| component.id)
                .eq(*b"RGB")
        };
        match tables.adobe_transform {
            _ if tables.jfif => Self::YCbCr,
            Some(0) => Self::Rgb,
            None if is_named_rgb() => Self::Rgb,
            _ => Self::YCbCr,
        }
    }
}

/// Writes the pixels of the picture in `planes`.
pub(crate) fn write_pixels(
    frame: &Frame,
    planes: &[u8],
    space: ColourSpace,
    rooms: &mut [Room; 3],
    pixels: &mut [u8],
) {
    let rows: Vec<Rows> = frame
        .components
        .iter()
        .map(|component| Rows::of(frame, component, planes))
        .collect();
    let [first_room, second_room, third_room] = rooms;
    let width = frame.width;
    match rows.as_slice() {
        [grey] => {
            for (y, to) in pixels.chunks_exact_mut(width).enumerate() {
                to.copy_from_slice(grey.row(y, width, first_room));
            }
        }
        [first, second, third] => {
            for (y, to) in pixels.chunks_exact_mut(width * 3).enumerate() {
                let first = first.row(y, width, first_room);
                let second = second.row(y, width, second_room);
                let third = third.row(y, width, third_room);
                match space {
                    ColourSpace::YCbCr => convert_row(first, second, third, to),
                    ColourSpace::Rgb => interleave(first, second, third, to),
                }
            }
        }
        _ => unreachable!("only frames of one or three components are decoded"),
    }
}

fn interleave(red: &[u8], green: &[u8], blue: &[u8], to: &mut [u8]) {
    let pixels = to.as_chunks_mut::<3>().0.iter_mut();
    for (((to, &red), &green), &blue) in pixels.zip(red).zip(green).zip(blue) {
        *to = [red, green, blue];
    }
}

/// Pixels converted at a time: enough to fill vector registers.
const BATCH: usize = 32;

/// YCbCr to RGB by the equations of JFIF with 16 fraction bits, rounded as
/// libjpeg rounds.
fn convert_row(luma: &[u8], blue: &[u8], red: &[u8], to: &mut [u8]) {
    let (luma, luma_rest) = luma.as_chunks::<BATCH>();
    let (blue, blue_rest) = blue.as_chunks::<BATCH>();
    let (red, red_rest) = red.as_chunks::<BATCH>();
    let (batches, to_rest) = to.split_at_mut(luma.len() * BATCH * 3);
    let batches = batches.chunks_exact_mut(BATCH * 3);
    for (((to, luma), blue), red) in batches.zip(luma).zip(blue).zip(red) {
        convert(luma, blue, red, to);
    }
    let mut padded = [[0; BATCH]; 3];
    let mut converted = [0; BATCH * 3];
    for (room, rest) in padded.iter_mut().zip([luma_rest, blue_rest, red_rest]) {
        room[..rest.len()].copy_from_slice(rest);
    }
    convert(&padded[0], &padded[1], &padded[2], &mut converted);
    to_rest.copy_from_slice(&converted[..to_rest.len()]);
}

#[inline(always)]
fn convert(luma: &[u8; BATCH], blue: &[u8; BATCH], red: &[u8; BATCH], to: &mut [u8]) {
    let (mut reds, mut greens, mut blues) = ([0; BATCH], [0; BATCH], [0; BATCH]);
    for i in 0..BATCH {
        let (y, cb, cr) = (
            i16::from(luma[i]),
            i16::from(blue[i]) - 128,
            i16::from(red[i]) - 128,
        );
        // 1.402 = 1 + 0.402, 1.772 = 2 - 0.228, 0.71414 = 1 - 0.28586: what is
        // left fits into 16 bits.
        reds[i] = clamp(y + cr + high_half(26_345, cr));
        blues[i] = clamp(y + 2 * cb + high_half(-14_942, cb));
        let sum = -22_554 * i32::from(cb) + 18_734 * i32::from(cr) + (1 << 15);
        greens[i] = clamp(y - cr + (sum >> 16) as i16);
    }
    for (i, to) in to.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *to = [reds[i], greens[i], blues[i]];
    }
}

/// `factor` / 65536 * `value`, rounded.
#[inline(always)]
fn high_half(factor: i16, value: i16) -> i16 {
    let product = i32::from(factor) * i32::from(2 * value);
    (((product >> 16) as i16) + 1) >> 1
}

#[inline(always)]
fn clamp(value: i16) -> u8 {
    value.clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_the_nearest_to_the_equations() {
        for y in 0..=255_u8 {
            for cb in (0..=255_u8).step_by(3) {
                let row: Vec<u8> = (0..=255).collect();
                let mut pixels = [0; 256 * 3];
                convert_row(&[y; 256], &[cb; 256], &row, &mut pixels);
                for (cr, pixel) in row.iter().zip(pixels.as_chunks::<3>().0) {
                    let (y, b, r) = (f64::from(y), f64::from(cb) - 128.0, f64::from(*cr) - 128.0);
                    let exact = [y + 1.402 * r, y - 0.34414 * b - 0.71414 * r, y + 1.772 * b];
                    for (&found, exact) in pixel.iter().zip(exact) {
                        let off = (f64::from(found) - exact.clamp(0.0, 255.0)).abs();
                        assert!(off < 0.502, "{y} {b} {r}: {found} for {exact}");
                    }
                }
            }
        }
    }
}
