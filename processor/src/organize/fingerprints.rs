//! What photos are compared by: hashes of the file, of the pixels, and of what the
//! picture looks like, in each of its eight positions.

use schemas::Sha256;
use schemas::events::Photo;

use super::sketch::Sketch;
use crate::turn::Turn;

/// The fingerprints of one photo.
#[derive(Debug, Clone, Copy)]
pub struct Fingerprints {
    /// Of the uploaded file.
    pub sha256: Sha256,
    /// Of the upright pixels.
    pub pixel_sha256: Sha256,
    /// 64 bits.
    pub phash: u64,
    /// 256 bits.
    pub pdq: Pdq,
    /// How much `pdq` says, 0 to 100.
    pub pdq_quality: u32,
    /// `pdq` of the seven other positions; not known of rows, whose other positions
    /// nobody asks for, and of records of an older version.
    pub turned: Option<[Pdq; Turn::OTHERS.len()]>,
    /// What its embedding says, if it has one.
    pub sketch: Option<Sketch>,
}

/// A PDQ hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pdq(pub [u64; 4]);

impl Fingerprints {
    /// Those of a prepared photo; none if a hash has not its length.
    pub fn of(sha256: Sha256, photo: &Photo) -> Option<Self> {
        Some(Self {
            sha256,
            pixel_sha256: photo.pixel_sha256.as_slice().try_into().ok()?,
            phash: photo.phash,
            pdq: Pdq::from_bytes(&photo.pdq)?,
            pdq_quality: photo.pdq_quality,
            turned: turned(&photo.pdq_turned),
            sketch: Sketch::of(&photo.embedding_model, &photo.embedding),
        })
    }

    /// The picture's hash in every position that is known, the upright one first.
    pub fn positions(&self) -> impl Iterator<Item = (Turn, Pdq)> {
        let others = self.turned.into_iter().flatten();
        std::iter::once((Turn::default(), self.pdq)).chain(Turn::OTHERS.into_iter().zip(others))
    }
}

fn turned(bytes: &[u8]) -> Option<[Pdq; Turn::OTHERS.len()]> {
    let (hashes, []) = bytes.as_chunks::<32>() else {
        return None;
    };
    let hashes: [[u8; 32]; Turn::OTHERS.len()] = hashes.try_into().ok()?;
    Some(hashes.map(|hash| Pdq::from(&hash)))
}

impl Pdq {
    /// From its 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        Some(Self::from(bytes))
    }

    /// As its 32 bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *to = word.to_be_bytes();
        }
        bytes
    }

    /// How many of the 256 bits differ.
    pub fn distance(self, other: Self) -> u32 {
        let words = self.0.iter().zip(&other.0);
        words.map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// The 64 bits of the eight lowest frequencies each way, row by row from the lowest bit:
    /// the coarse look, which an edit of the picture changes last.
    pub fn coarse(self) -> u64 {
        // A row of 16 frequencies is two bytes, the lower eight of them the second byte; the
        // lowest row stands at the end.
        (0..8).fold(0, |code, row| {
            let byte = self.0[3 - row / 4] >> (16 * (row % 4)) & 0xff;
            code | byte << (8 * row)
        })
    }
}

impl From<&[u8; 32]> for Pdq {
    fn from(bytes: &[u8; 32]) -> Self {
        let word = |i: usize| u64::from_be_bytes(std::array::from_fn(|byte| bytes[i * 8 + byte]));
        Self([word(0), word(1), word(2), word(3)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_code_has_the_lowest_eight_frequencies_of_the_lowest_eight_rows() {
        // PDQ's own order: frequency k of 256 is bit k % 8 of byte 31 - k / 8.
        for k in 0..256usize {
            let mut bytes = [0; 32];
            bytes[31 - k / 8] = 1 << (k % 8);
            let (row, column) = (k / 16, k % 16);
            let expected = if row < 8 && column < 8 {
                1 << (8 * row + column)
            } else {
                0
            };
            assert_eq!(Pdq::from(&bytes).coarse(), expected, "frequency {k}");
        }
    }

    #[test]
    fn hashes_of_positions_are_all_there_or_none() {
        let photo = |num_bytes| Photo {
            pdq: vec![1; 32],
            pdq_turned: vec![2; num_bytes],
            pixel_sha256: vec![3; 32],
            ..Photo::default()
        };
        for (num_bytes, expected) in [(0, 1), (32 * 6, 1), (32 * 7, 8), (32 * 7 + 1, 1)] {
            let prints = Fingerprints::of(Sha256::of(b"a"), &photo(num_bytes)).unwrap();
            assert_eq!(prints.positions().count(), expected, "{num_bytes} bytes");
        }
    }
}
