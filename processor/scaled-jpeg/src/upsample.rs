//! Gives a row of a component as many samples as the picture has pixels.
//!
//! A component's plane comes in; one row of the picture's width goes out. Where a
//! component has half the samples, they are weighted 3 to 1 by their distance, as
//! libjpeg's "fancy" upsampling does; other ratios take the nearest.

use crate::frame::{Component, Frame};

/// Room in which rows are samples.
#[derive(Default)]
pub(crate) struct Room {
    /// The samples of a row times four.
    sums: Vec<u16>,
    samples: Vec<u8>,
}

/// Where the rows of one component come from.
pub(crate) struct Rows<'a> {
    plane: &'a [u8],
    component: &'a Component,
    /// Samples of the component per pixel: numerator and denominator.
    across: (usize, usize),
    down: (usize, usize),
}

impl<'a> Rows<'a> {
    pub fn of(frame: &Frame, component: &'a Component, planes: &'a [u8]) -> Self {
        Self {
            plane: planes.get(component.plane..).unwrap_or_default(),
            component,
            across: (component.horizontal * component.side, frame.full_horizontal),
            down: (component.vertical * component.side, frame.full_vertical),
        }
    }

    /// Row `y` of the picture, `width` pixels: a part of the plane if that has
    /// as many, or else made in `room`.
    pub fn row<'r>(&'r self, y: usize, width: usize, room: &'r mut Room) -> &'r [u8] {
        let sampled = self.sampled_row(y * self.down.0 / self.down.1);
        if self.across.0 == self.across.1 && self.down.0 == self.down.1 {
            return &sampled[..width];
        }
        let Room { sums, samples } = room;
        sums.clear();
        if self.down.1 == 2 * self.down.0 {
            let near = y / 2;
            let far = if y % 2 == 0 {
                near.saturating_sub(1)
            } else {
                near + 1
            };
            let far = self.sampled_row(far);
            let pairs = sampled.iter().zip(far);
            sums.extend(pairs.map(|(&near, &far)| 3 * u16::from(near) + u16::from(far)));
        } else {
            sums.extend(sampled.iter().map(|&sample| 4 * u16::from(sample)));
        }
        if self.across.1 == 2 * self.across.0 {
            samples.resize(2 * sums.len(), 0);
            double(sums, samples);
        } else {
            samples.clear();
            let (numerator, denominator) = self.across;
            let last = sums.len() - 1;
            samples.extend((0..width).map(|x| {
                let nearest = (x * numerator / denominator).min(last);
                ((sums[nearest] + 2) / 4) as u8
            }));
        }
        &samples[..width]
    }

    /// Row `y` of the plane, or the last that the picture covers.
    fn sampled_row(&self, y: usize) -> &'a [u8] {
        let start = y.min(self.component.height - 1) * self.component.stride;
        &self.plane[start..start + self.component.width]
    }
}

/// Twice as many samples across, from samples times 4.
fn double(row: &[u16], to: &mut [u8]) {
    let last = row.len() - 1;
    for (x, pair) in to.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let (left, right) = (row[x.saturating_sub(1)], row[(x + 1).min(last)]);
        let here = 3 * row[x];
        *pair = [
            ((here + left + 8) >> 4) as u8,
            ((here + right + 7) >> 4) as u8,
        ];
    }
}
