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
    is_full: bool,
    /// Samples of the component per pixel: numerator and denominator.
    across: (usize, usize),
    down: (usize, usize),
}

impl<'a> Rows<'a> {
    pub fn of(frame: &Frame, component: &'a Component, planes: &'a [u8]) -> Self {
        Self {
            plane: planes.get(component.plane..).unwrap_or_default(),
            component,
            is_full: frame.needs_no_upsampling(component),
            across: (component.horizontal * component.side, frame.full_horizontal),
            down: (component.vertical * component.side, frame.full_vertical),
        }
    }

    /// Row `y` of the picture, `width` pixels: a part of the plane if that has
    /// as many, or else made in `room`.
    pub fn row<'r>(&'r self, y: usize, width: usize, room: &'r mut Room) -> &'r [u8] {
        let sampled = self.sampled_row(y * self.down.0 / self.down.1);
        if self.is_full {
            return &sampled[..width];
        }
        let Room { sums, samples } = room;
        sums.clear();
        if self.down.1 == 2 * self.down.0 {
            let near = y / 2;
            let far = if y.is_multiple_of(2) {
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
    let weigh = |left: u16, here: u16, right: u16| {
        let here = 3 * here;
        [
            ((here + left + 8) >> 4) as u8,
            ((here + right + 7) >> 4) as u8,
        ]
    };
    let (pairs, _) = to.as_chunks_mut::<2>();
    let ([first, .., last], [.., before_last, _]) = (row, row) else {
        // A single sample has no neighbours.
        for (pair, &only) in pairs.iter_mut().zip(row) {
            *pair = weigh(only, only, only);
        }
        return;
    };
    let num_pairs = pairs.len();
    pairs[0] = weigh(*first, *first, row[1]);
    pairs[num_pairs - 1] = weigh(*before_last, *last, *last);
    for (pair, window) in pairs[1..].iter_mut().zip(row.windows(3)) {
        *pair = weigh(window[0], window[1], window[2]);
    }
}
