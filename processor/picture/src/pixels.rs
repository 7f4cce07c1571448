//! A decoded picture, and its two turns: the hash over its upright pixels and the
//! turning itself.

use sha2::{Digest, Sha256};

use super::exif::Orientation;

/// Eight-bit RGB, row after row without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Three bytes a pixel.
    pub rgb: Vec<u8>,
}

impl Pixels {
    /// Black pixels to be written over.
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            rgb: vec![0; width as usize * height as usize * 3],
        }
    }

    fn pixels(&self) -> &[[u8; 3]] {
        self.rgb.as_chunks().0
    }

    /// The picture turned upright.
    pub fn upright(self, orientation: Orientation) -> Self {
        if orientation == Orientation::UPRIGHT {
            return self;
        }
        let (width, height) = orientation.upright_size(self.width, self.height);
        let mut rgb = Vec::with_capacity(self.rgb.len());
        self.visit_upright_rows(orientation, |row| rgb.extend_from_slice(row));
        Self { width, height, rgb }
    }

    /// SHA-256 over what the picture is, so that files which differ in metadata alone
    /// are equal: the sizes, then the upright pixels as decoded, before any change of
    /// colour.
    ///
    /// A photo may have been decoded at a fraction of its size; the pixels hashed are
    /// the ones that everything else is computed from. So equal hashes mean an equal
    /// row in the table, and different rows mean different hashes. The fraction
    /// depends on the size in the header alone, hence it is the same for copies.
    pub fn upright_sha256(&self, original: (u32, u32), orientation: Orientation) -> [u8; 32] {
        let mut hash = Sha256::new();
        let sizes = [original, (self.width, self.height)];
        for (width, height) in sizes.map(|(w, h)| orientation.upright_size(w, h)) {
            hash.update(width.to_le_bytes());
            hash.update(height.to_le_bytes());
        }
        self.visit_upright_rows(orientation, |row| hash.update(row));
        hash.finalize().into()
    }

    /// Hands out the rows of the upright picture, several at a time, from the top
    /// down, without a second copy of the whole.
    fn visit_upright_rows(&self, orientation: Orientation, mut visit: impl FnMut(&[u8])) {
        let (width, height) = (self.width as usize, self.height as usize);
        if orientation == Orientation::UPRIGHT {
            return visit(&self.rgb);
        }
        let (mirror_x, mirror_y, transpose) = match orientation.number() {
            2 => (true, false, false),
            3 => (true, true, false),
            4 => (false, true, false),
            5 => (false, false, true),
            6 => (false, true, true),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => (false, false, false),
        };
        let pixels = self.pixels();
        let mut rows: Vec<[u8; 3]> = Vec::new();
        if !transpose {
            for y in 0..height {
                let y = if mirror_y { height - 1 - y } else { y };
                rows.clear();
                rows.extend_from_slice(&pixels[y * width..(y + 1) * width]);
                if mirror_x {
                    rows.reverse();
                }
                visit(rows.as_flattened());
            }
            return;
        }
        // A column of the stored picture becomes a row. Sixteen columns at a time use
        // every cache line that is loaded; more would push lines out again.
        const STRIP: usize = 16;
        for first in (0..width).step_by(STRIP) {
            let num = STRIP.min(width - first);
            rows.clear();
            rows.resize(num * height, [0; 3]);
            for y in 0..height {
                let source = if mirror_y { height - 1 - y } else { y };
                for i in 0..num {
                    let x = if mirror_x {
                        width - 1 - first - i
                    } else {
                        first + i
                    };
                    rows[i * height + y] = pixels[source * width + x];
                }
            }
            visit(rows.as_flattened());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two by three, each pixel its own number: `0 1 / 2 3 / 4 5`.
    fn picture() -> Pixels {
        Pixels {
            width: 2,
            height: 3,
            rgb: (0..6).flat_map(|n| [n; 3]).collect(),
        }
    }

    #[test]
    fn every_orientation_turns_as_exif_says() {
        // EXIF: where the stored row 0 and column 0 belong in the upright picture.
        let cases: [(u16, (u32, u32), [u8; 6]); 8] = [
            (1, (2, 3), [0, 1, 2, 3, 4, 5]),
            (2, (2, 3), [1, 0, 3, 2, 5, 4]),
            (3, (2, 3), [5, 4, 3, 2, 1, 0]),
            (4, (2, 3), [4, 5, 2, 3, 0, 1]),
            (5, (3, 2), [0, 2, 4, 1, 3, 5]),
            (6, (3, 2), [4, 2, 0, 5, 3, 1]),
            (7, (3, 2), [5, 3, 1, 4, 2, 0]),
            (8, (3, 2), [1, 3, 5, 0, 2, 4]),
        ];
        for (number, size, expected) in cases {
            let upright = picture().upright(Orientation::from_exif(number));
            assert_eq!((upright.width, upright.height), size, "{number}");
            let numbers: Vec<u8> = upright.pixels().iter().map(|p| p[0]).collect();
            assert_eq!(numbers, expected, "orientation {number}");
        }
    }

    #[test]
    fn turning_in_strips_is_turning_pixel_by_pixel() {
        let (width, height) = (37, 21);
        let stored = Pixels {
            width,
            height,
            rgb: (0..width * height * 3)
                .map(|n| (n * 7 % 251) as u8)
                .collect(),
        };
        let upright = stored.clone().upright(Orientation::from_exif(6));
        for y in 0..width {
            for x in 0..height {
                let expected = stored.pixels()[((height - 1 - x) * width + y) as usize];
                assert_eq!(upright.pixels()[(y * height + x) as usize], expected);
            }
        }
    }

    #[test]
    fn a_baked_orientation_hashes_like_the_tag_and_a_changed_pixel_does_not() {
        let size = (2, 3);
        for number in 1..=8 {
            let orientation = Orientation::from_exif(number);
            let tagged = picture().upright_sha256(size, orientation);
            let baked = picture().upright(orientation);
            let baked_size = (baked.width, baked.height);
            assert_eq!(
                tagged,
                baked.upright_sha256(baked_size, Orientation::UPRIGHT),
                "{number}"
            );
            let mut changed = picture();
            changed.rgb[7] ^= 1;
            assert_ne!(tagged, changed.upright_sha256(size, orientation));
            assert_ne!(tagged, picture().upright_sha256((4, 6), orientation));
        }
    }
}
