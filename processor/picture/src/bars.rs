//! Black bars around a picture, as letterboxing and screenshots leave them: fingerprints
//! are taken of what is between them, so that the picture with and without is one picture.

use std::borrow::Cow;

use crate::Pixels;

/// Luma up to which a pixel may belong to a bar. JPEG and resizing leave black a little
/// brighter than it was; more, and dark corners of real photos are taken for bars.
const MAX_BAR_LUMA: u8 = 32;
/// Of the first lines behind a bar, this part must be so bright: a photo that only
/// grows dark towards its edge has no bar there.
const MIN_EDGE_SHARE: f32 = 0.25;
const MIN_EDGE_LUMA: u8 = 48;
/// What is left must be this part of each side, else there is no telling picture from bar.
const MIN_SIDE_SHARE: f32 = 1.0 / 3.0;

/// The picture without its black bars: what fingerprints are taken of.
pub fn without_bars(small: &Pixels) -> Cow<'_, Pixels> {
    between_bars(small).map_or(Cow::Borrowed(small), Cow::Owned)
}

/// None if it has none.
fn between_bars(small: &Pixels) -> Option<Pixels> {
    let (width, height) = (small.width as usize, small.height as usize);
    let pixels = small.rgb.as_chunks::<3>().0;
    let row = |y: usize, above: u8| {
        let row = pixels[y * width..(y + 1) * width].iter();
        row.filter(|pixel| luma(pixel) > above).count()
    };
    let (top, bottom) = bars(height, width, row);
    let column = |x: usize, above: u8| {
        let rows = pixels.chunks_exact(width).take(height - bottom).skip(top);
        rows.filter(|row| luma(&row[x]) > above).count()
    };
    let (left, right) = bars(width, height - top - bottom, column);
    if top + bottom + left + right == 0 {
        return None;
    }
    let is_left = |rest: usize, side: usize| rest as f32 >= MIN_SIDE_SHARE * side as f32;
    let (rest_x, rest_y) = (width - left - right, height - top - bottom);
    if !is_left(rest_x, width) || !is_left(rest_y, height) {
        return None;
    }
    let rows = small.rgb.chunks_exact(width * 3).skip(top).take(rest_y);
    Some(Pixels {
        width: u32::try_from(rest_x).ok()?,
        height: u32::try_from(rest_y).ok()?,
        rgb: rows
            .flat_map(|row| &row[left * 3..(width - right) * 3])
            .copied()
            .collect(),
    })
}

fn luma([r, g, b]: &[u8; 3]) -> u8 {
    let luma = (77 * u32::from(*r) + 150 * u32::from(*g) + 29 * u32::from(*b)) >> 8;
    u8::try_from(luma).unwrap_or(u8::MAX)
}

/// Lines of the bar before and of the bar behind the picture, by how many of the `length`
/// pixels of each of the `num` lines are above a luma.
fn bars(num: usize, length: usize, num_above: impl Fn(usize, u8) -> usize) -> (usize, usize) {
    let bar = |lines: &mut dyn Iterator<Item = usize>| {
        let found = lines
            .enumerate()
            .find(|(_, line)| num_above(*line, MAX_BAR_LUMA) > 0);
        match found {
            // The line at the edge is a mixture; the next one counts as well.
            Some((size, line)) if size > 0 => {
                let next = if line < num / 2 { line + 1 } else { line - 1 };
                let bright = |line: usize| num_above(line, MIN_EDGE_LUMA);
                let most = bright(line).max(bright(next.min(num - 1)));
                if most as f32 >= MIN_EDGE_SHARE * length as f32 {
                    size
                } else {
                    0
                }
            }
            _ => 0,
        }
    };
    (bar(&mut (0..num)), bar(&mut (0..num).rev()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of some brightness at `inside` (left, top, right, bottom), black elsewhere.
    fn boxed(size: (u32, u32), inside: [u32; 4], luma: impl Fn(u32, u32) -> u8) -> Pixels {
        let mut pixels = Pixels::new(size.0, size.1);
        for y in inside[1]..inside[3] {
            for x in inside[0]..inside[2] {
                let at = (y * size.0 + x) as usize * 3;
                pixels.rgb[at..at + 3].fill(luma(x, y));
            }
        }
        pixels
    }

    #[test]
    fn bars_on_any_side_go_and_the_picture_stays() {
        let plain = boxed((90, 60), [0, 0, 90, 60], |x, y| (60 + x + y) as u8);
        assert_eq!(between_bars(&plain), None);
        for (left, top, right, bottom) in [(0, 8, 0, 8), (11, 0, 7, 0), (0, 5, 0, 0), (4, 3, 2, 1)]
        {
            let inside = [left, top, left + 90, top + 60];
            let size = (90 + left + right, 60 + top + bottom);
            let framed = boxed(size, inside, |x, y| (60 + x - left + y - top) as u8);
            assert_eq!(between_bars(&framed), Some(plain.clone()), "{size:?}");
        }
    }

    #[test]
    fn a_photo_that_fades_to_black_and_one_that_is_mostly_black_stay_whole() {
        let fading = boxed((90, 60), [0, 0, 90, 60], |_, y| (y * 3) as u8);
        assert_eq!(between_bars(&fading), None);
        let lamp = boxed(
            (90, 60),
            [0, 20, 90, 60],
            |x, _| if x == 45 { 255 } else { 0 },
        );
        assert_eq!(between_bars(&lamp), None);
        let slit = boxed((90, 60), [0, 25, 90, 30], |_, _| 200);
        assert_eq!(between_bars(&slit), None);
        assert_eq!(between_bars(&Pixels::new(90, 60)), None);
    }
}
