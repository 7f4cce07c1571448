//! What a dataset has already: identities and fingerprints of its photos.
//!
//! Exact look-ups are hash maps; the near-duplicate look-up is a flat scan over 8 bytes
//! a photo, which up to ten million photos is bound by memory bandwidth and beats every
//! tree (a few milliseconds at ten million). About 250 bytes of memory a photo.

use std::collections::{HashMap, HashSet};

use schemas::events::{Photo, Policy};
use schemas::{CaptureId, Reason, Sha256};

use super::plausibility::Looks;

/// PDQ hashes of pictures with less detail than this say nothing (PDQ's own advice),
/// so those pictures are compared by file and by pixels only.
const MIN_PDQ_QUALITY: u32 = 50;

/// The fingerprints by which photos are compared.
#[derive(Debug, Clone, Copy)]
pub struct Fingerprints {
    /// Of the uploaded file.
    pub sha256: Sha256,
    /// Of the upright pixels.
    pub pixel_sha256: Sha256,
    /// 64 bits.
    pub phash: u64,
    /// 256 bits, and how much they say, 0 to 100.
    pub pdq: [u64; 4],
    /// See [`Fingerprints::pdq`].
    pub pdq_quality: u32,
}

impl Fingerprints {
    /// Those of a prepared photo; none if a hash has not its length.
    pub fn of(sha256: Sha256, photo: &Photo) -> Option<Self> {
        Some(Self {
            sha256,
            pixel_sha256: photo.pixel_sha256.as_slice().try_into().ok()?,
            phash: photo.phash,
            pdq: pdq_words(&photo.pdq)?,
            pdq_quality: photo.pdq_quality,
        })
    }
}

/// The 32 bytes of a PDQ hash as four words.
pub fn pdq_words(bytes: &[u8]) -> Option<[u64; 4]> {
    let bytes: &[u8; 32] = bytes.try_into().ok()?;
    let word = |i: usize| u64::from_be_bytes(std::array::from_fn(|byte| bytes[i * 8 + byte]));
    Some([word(0), word(1), word(2), word(3)])
}

/// The photo that another one is a copy of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twin {
    /// The photo that was there first.
    pub id: CaptureId,
    /// Its near-duplicate group.
    pub group: CaptureId,
    /// How it was recognised.
    pub reason: Reason,
    /// Bits of 64 that differ, for a near-duplicate.
    pub phash_distance: Option<u32>,
    /// Bits of 256 that differ, for a near-duplicate.
    pub pdq_distance: Option<u32>,
}

/// All photos of one dataset, those of the open shard included.
#[derive(Default)]
pub struct Index {
    /// Every capture that was judged, accepted or not.
    judged: HashSet<CaptureId>,
    by_file: HashMap<Sha256, u32>,
    by_pixels: HashMap<Sha256, u32>,
    photos: Vec<(CaptureId, CaptureId)>,
    phashes: Vec<u64>,
    pdqs: Vec<[u64; 4]>,
    /// Which photo the n-th pair of hashes belongs to.
    hashed: Vec<u32>,
    /// What the photos of each label look like.
    pub looks: Looks,
}

impl Index {
    /// How many captures it knows.
    pub fn len(&self) -> usize {
        self.judged.len()
    }

    /// The memory that it takes, in that of captures (250 bytes).
    pub fn weight(&self) -> usize {
        self.judged.len() + self.looks.num_kept() * 5
    }

    /// Whether this capture was judged before.
    pub fn knows(&self, id: CaptureId) -> bool {
        self.judged.contains(&id)
    }

    /// Remembers that a capture was judged and not accepted.
    pub fn add_judged(&mut self, id: CaptureId) {
        self.judged.insert(id);
    }

    /// Remembers an accepted photo.
    pub fn add_photo(&mut self, id: CaptureId, group: CaptureId, prints: &Fingerprints) {
        self.judged.insert(id);
        // A dataset of four billion photos has other limits before this one.
        let Ok(number) = u32::try_from(self.photos.len()) else {
            return;
        };
        self.photos.push((id, group));
        self.by_file.entry(prints.sha256).or_insert(number);
        self.by_pixels.entry(prints.pixel_sha256).or_insert(number);
        if prints.pdq_quality >= MIN_PDQ_QUALITY {
            self.phashes.push(prints.phash);
            self.pdqs.push(prints.pdq);
            self.hashed.push(number);
        }
    }

    /// The photo that this one is a copy of: the same file, else the same pixels, else the
    /// nearest within the policy's two distances (of equally near ones the first).
    pub fn find_twin(&self, prints: &Fingerprints, policy: &Policy) -> Option<Twin> {
        let exact = |number: &u32, reason| self.twin(*number, reason, None);
        if let Some(number) = self.by_file.get(&prints.sha256) {
            return exact(number, Reason::ExactDuplicate);
        }
        if let Some(number) = self.by_pixels.get(&prints.pixel_sha256) {
            return exact(number, Reason::PixelDuplicate);
        }
        if prints.pdq_quality < MIN_PDQ_QUALITY {
            return None;
        }
        let mut nearest: Option<(u32, u32, u32)> = None;
        for (n, phash) in self.phashes.iter().enumerate() {
            let phash_distance = (phash ^ prints.phash).count_ones();
            if phash_distance > policy.max_phash_distance {
                continue;
            }
            let pdq_distance = self.pdqs[n]
                .iter()
                .zip(&prints.pdq)
                .map(|(a, b)| (a ^ b).count_ones())
                .sum();
            if pdq_distance <= policy.max_pdq_distance
                && nearest
                    .is_none_or(|(pdq, phash, _)| (pdq_distance, phash_distance) < (pdq, phash))
            {
                nearest = Some((pdq_distance, phash_distance, self.hashed[n]));
            }
        }
        let (pdq_distance, phash_distance, number) = nearest?;
        self.twin(
            number,
            Reason::NearDuplicate,
            Some((phash_distance, pdq_distance)),
        )
    }

    fn twin(&self, number: u32, reason: Reason, distances: Option<(u32, u32)>) -> Option<Twin> {
        let &(id, group) = self.photos.get(number as usize)?;
        let (phash_distance, pdq_distance) = distances.unzip();
        Some(Twin {
            id,
            group,
            reason,
            phash_distance,
            pdq_distance,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prints(seed: u8, phash: u64) -> Fingerprints {
        Fingerprints {
            sha256: Sha256::of(&[seed]),
            pixel_sha256: Sha256::of(&[seed, 1]),
            phash,
            pdq: [phash, 0, 0, 0],
            pdq_quality: 100,
        }
    }

    fn policy() -> Policy {
        Policy {
            max_phash_distance: 2,
            max_pdq_distance: 2,
            ..Policy::default()
        }
    }

    #[test]
    fn the_same_file_wins_over_pixels_and_those_over_nearness() {
        let mut index = Index::default();
        let (a, b) = (CaptureId::new(), CaptureId::new());
        index.add_photo(a, a, &prints(1, 0));
        index.add_photo(b, b, &prints(2, u64::MAX));
        let mut wanted = prints(2, 0);
        assert_eq!(index.find_twin(&wanted, &policy()).unwrap().id, b);
        wanted.sha256 = Sha256::of(b"another file");
        let twin = index.find_twin(&wanted, &policy()).unwrap();
        assert_eq!((twin.id, twin.reason), (b, Reason::PixelDuplicate));
        wanted.pixel_sha256 = Sha256::of(b"other pixels");
        let twin = index.find_twin(&wanted, &policy()).unwrap();
        assert_eq!(
            (twin.id, twin.reason, twin.pdq_distance),
            (a, Reason::NearDuplicate, Some(0))
        );
    }

    #[test]
    fn the_nearest_is_the_twin_and_of_equals_the_first() {
        let mut index = Index::default();
        let ids: Vec<_> = (0..3).map(|_| CaptureId::new()).collect();
        for (n, phash) in [0b11, 0b1, 0b1].into_iter().enumerate() {
            index.add_photo(ids[n], ids[n], &prints(n as u8, phash));
        }
        assert_eq!(
            index.find_twin(&prints(9, 0), &policy()).unwrap().id,
            ids[1]
        );
        assert_eq!(index.find_twin(&prints(9, 0b111_0000), &policy()), None);
    }

    #[test]
    fn a_picture_without_detail_has_no_near_duplicates() {
        let mut index = Index::default();
        let id = CaptureId::new();
        index.add_photo(id, id, &prints(1, 0));
        let plain = Fingerprints {
            pdq_quality: 10,
            ..prints(2, 0)
        };
        assert_eq!(index.find_twin(&plain, &policy()), None);
    }
}
