//! What a dataset has already: identities and fingerprints of its photos.
//!
//! Exact look-ups are hash maps; near-duplicates are found by [`duplicate_index`] among the
//! coarse 64 bits of PDQ and judged by all of its bits. A new photo is looked for in all
//! its eight positions, a known one is kept in its own. About 300 bytes of memory a photo.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use schemas::events::Policy;
use schemas::events::policy::TurnedCopies;
use schemas::{CaptureId, Reason, Sha256};

use super::clusters::Clusters;
use super::fingerprints::{Fingerprints, Pdq};
use super::plausibility::Looks;
use super::sketch::Sketch;
use super::snapshot::{self, Frame};
use crate::turn::Turn;

/// PDQ hashes of pictures with less detail than this say nothing (PDQ's own advice),
/// so those pictures are compared by file and by pixels only.
const MIN_PDQ_QUALITY: u32 = 50;

/// Copies are looked for among photos whose coarse 64 bits differ in no more than this, or a
/// quarter of what may differ of all 256. The coarse bits change last: their share of
/// the distance is less than a quarter. Larger costs look-ups, eight times as many for four
/// bits; smaller loses copies.
const MIN_COARSE_RADIUS: u32 = 7;

/// A picture in another position must be so near in `pdq`, or as near as the policy says if
/// that is less: there are seven chances for an accident, and no second hash.
const MAX_TURNED_PDQ_DISTANCE: u32 = 31;

/// `pdq` may differ in so many bits more than the policy says if `phash` differs in half of what
/// it may: crops and logos, mostly. Of a million pairs of other photos none was so near, nor
/// with 33 bits more.
const MORE_PDQ_DISTANCE: u32 = 24;
/// And in so many more if the embeddings are alike. More finds other photos of the class.
const MORE_PDQ_DISTANCE_IF_ALIKE: u32 = 32;
/// So alike they must be then, the cosine of their angle in percent. Of look-alikes within
/// that distance none was, of crops by five percent two in three.
const MIN_LIKENESS_PERCENT: u32 = 90;
/// Up to so many photos those that lie as the new one does are looked for by a scan, some
/// tenths of a millisecond for a million, which finds them whatever changed in the coarse bits: a
/// logo changes up to 17 of these. Beyond, embeddings are not asked, and the look-up goes by
/// [`MIN_COARSE_RADIUS`].
const MAX_SCANNED: usize = 1_000_000;
/// Larger passes on more that has nothing to do with the photo: 1 in 1,200 at 19.
const SCANNED_RADIUS: u32 = 19;

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
    /// The cosine of the embeddings' angle, in percent, where the hashes were not sure.
    pub likeness_percent: Option<u32>,
    /// How this picture must be laid to look like the other.
    pub turn: Turn,
}

/// What is kept of a photo with enough detail.
#[derive(Debug, Clone, Copy)]
struct Hashed {
    phash: u64,
    pdq: Pdq,
    /// Its place in `photos`.
    number: u32,
    /// Its place in `sketches`.
    sketch: Option<u32>,
}

/// All photos of one dataset, those of the open shard included.
#[derive(Default)]
pub struct Index {
    /// Every capture that was judged, accepted or not.
    judged: HashSet<CaptureId>,
    by_file: HashMap<Sha256, u32>,
    by_pixels: HashMap<Sha256, u32>,
    photos: Vec<(CaptureId, CaptureId)>,
    /// The coarse codes of the hashes below.
    coarse: duplicate_index::Index,
    hashed: Vec<Hashed>,
    /// Of those among them that have embeddings; while they are looked at.
    sketches: Vec<Sketch>,
    /// What the photos of each label look like.
    pub looks: Looks,
    /// Which kinds of photo there are.
    pub clusters: Clusters,
}

impl Index {
    /// How many captures it knows.
    pub fn len(&self) -> usize {
        self.judged.len()
    }

    /// The memory that it takes, in that of captures (250 bytes).
    pub fn weight(&self) -> usize {
        self.judged.len() + (self.looks.num_kept() + self.clusters.num_kept()) * 5
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
            self.add_detail(number, prints.phash, prints.pdq, prints.sketch);
        }
    }

    fn add_detail(&mut self, number: u32, phash: u64, pdq: Pdq, sketch: Option<Sketch>) {
        if self.coarse.push(pdq.coarse()).is_some() {
            let sketch = sketch.filter(|_| self.hashed.len() < MAX_SCANNED);
            let place = u32::try_from(self.sketches.len()).ok();
            self.sketches.extend(sketch);
            self.hashed.push(Hashed {
                phash,
                pdq,
                number,
                sketch: sketch.and(place),
            });
        }
    }

    /// The photo that this one is a copy of: the same file, else the same pixels, else the
    /// nearest within the policy's two distances, in whichever position (of equally near
    /// ones the upright and then the first).
    pub fn find_twin(&self, prints: &Fingerprints, policy: &Policy) -> Option<Twin> {
        let exact = |number: &u32, reason| self.twin(*number, reason, None);
        if let Some(number) = self.by_file.get(&prints.sha256) {
            return exact(number, Reason::ExactDuplicate);
        }
        if let Some(number) = self.by_pixels.get(&prints.pixel_sha256) {
            return exact(number, Reason::PixelDuplicate);
        }
        let mut nearest: Option<Nearest> = None;
        self.each_near(prints, policy, |near| {
            if nearest.as_ref().is_none_or(|nearest| near < *nearest) {
                nearest = Some(near);
            }
        });
        let nearest = nearest?;
        self.twin(nearest.number, Reason::NearDuplicate, Some(&nearest))
    }

    /// The groups of all photos that this one is a near-duplicate of, the oldest first.
    pub fn near_groups(&self, prints: &Fingerprints, policy: &Policy) -> BTreeSet<CaptureId> {
        let mut groups = BTreeSet::new();
        self.each_near(prints, policy, |near| {
            let (_, group) = self.photos[near.number as usize];
            groups.insert(group);
        });
        groups
    }

    fn each_near(&self, prints: &Fingerprints, policy: &Policy, mut take: impl FnMut(Nearest)) {
        if prints.pdq_quality < MIN_PDQ_QUALITY {
            return;
        }
        let num_positions = match policy.turned_copies() {
            TurnedCopies::Same => usize::MAX,
            TurnedCopies::Different => 1,
        };
        let positions: Vec<(Turn, Pdq)> = prints.positions().take(num_positions).collect();
        let codes: Vec<u64> = positions.iter().map(|(_, pdq)| pdq.coarse()).collect();
        let Some((upright, turned)) = codes.split_first() else {
            return;
        };
        self.each_upright(*upright, prints, policy, &mut take);
        let most = policy.max_pdq_distance.min(MAX_TURNED_PDQ_DISTANCE);
        self.coarse.within(turned, coarse_radius(most), |hit| {
            let (turn, pdq) = positions[hit.query + 1];
            let hashed = &self.hashed[hit.position as usize];
            let pdq_distance = pdq.distance(hashed.pdq);
            if pdq_distance <= most {
                take(Nearest {
                    pdq_distance,
                    turn,
                    // Only of the upright position there is a second hash.
                    phash_distance: None,
                    number: hashed.number,
                    likeness_percent: None,
                });
            }
        });
    }

    /// Those that lie as this one does: near by both hashes, or not far by them and alike
    /// by their embeddings.
    fn each_upright(
        &self,
        code: u64,
        prints: &Fingerprints,
        policy: &Policy,
        take: &mut impl FnMut(Nearest),
    ) {
        let (max_pdq, max_phash) = (policy.max_pdq_distance, policy.max_phash_distance);
        let is_scanned = self.hashed.len() <= MAX_SCANNED;
        let (radius, more, more_if_alike) = if is_scanned && max_pdq > 0 {
            (
                SCANNED_RADIUS,
                MORE_PDQ_DISTANCE,
                MORE_PDQ_DISTANCE_IF_ALIKE,
            )
        } else {
            (coarse_radius(max_pdq), 0, 0)
        };
        self.coarse.within(&[code], radius, |hit| {
            let hashed = &self.hashed[hit.position as usize];
            let pdq_distance = prints.pdq.distance(hashed.pdq);
            if pdq_distance > max_pdq + more_if_alike {
                return;
            }
            let phash_distance = (prints.phash ^ hashed.phash).count_ones();
            let is_near = pdq_distance <= max_pdq && phash_distance <= max_phash
                || pdq_distance <= max_pdq + more && phash_distance <= max_phash / 2;
            let likeness_percent = if is_near {
                None
            } else {
                let known = hashed.sketch.and_then(|at| self.sketches.get(at as usize));
                let likeness = prints.sketch.filter(|_| more_if_alike > 0).zip(known);
                let likeness = likeness.and_then(|(new, known)| new.likeness_percent(known));
                let Some(percent) = likeness.filter(|percent| *percent >= MIN_LIKENESS_PERCENT)
                else {
                    return;
                };
                Some(percent)
            };
            take(Nearest {
                pdq_distance,
                turn: Turn::default(),
                phash_distance: Some(phash_distance),
                number: hashed.number,
                likeness_percent,
            });
        });
    }

    /// Hands out everything as frames of a snapshot, so many items in each, as long as `put`
    /// takes them; whether it took all.
    pub fn save(&self, frame_items: usize, put: &mut impl FnMut(Frame) -> bool) -> bool {
        let accepted: HashSet<CaptureId> = self.photos.iter().map(|(id, _)| *id).collect();
        let declined: Vec<_> = self.judged.difference(&accepted).collect();
        declined.chunks(frame_items).all(|ids| {
            let ids = ids.iter().map(|id| Bytes::copy_from_slice(id.as_bytes()));
            put(Frame {
                declined: ids.collect(),
                ..Frame::default()
            })
        }) && self.save_photos(frame_items, put)
            && self.looks.save(put)
            && self.clusters.save(put)
    }

    fn save_photos(&self, frame_items: usize, put: &mut impl FnMut(Frame) -> bool) -> bool {
        let (files, pixels) = (
            self.by_number(&self.by_file),
            self.by_number(&self.by_pixels),
        );
        let bytes =
            |hash: Option<&Sha256>| hash.map_or_else(Vec::new, |hash| hash.as_bytes().to_vec());
        let mut hashed = self.hashed.iter().peekable();
        let mut numbered = self.photos.iter().enumerate();
        loop {
            let photos: Vec<_> = numbered
                .by_ref()
                .take(frame_items)
                .map(|(number, (id, group))| snapshot::Photo {
                    id: id.as_bytes().to_vec(),
                    group: if group == id {
                        Vec::new()
                    } else {
                        group.as_bytes().to_vec()
                    },
                    sha256: bytes(files[number]),
                    pixel_sha256: bytes(pixels[number]),
                    detail: hashed
                        .next_if(|hashed| hashed.number as usize == number)
                        .map(|hashed| self.detail(hashed)),
                })
                .collect();
            if photos.is_empty() {
                return true;
            }
            let frame = Frame {
                photos,
                ..Frame::default()
            };
            if !put(frame) {
                return false;
            }
        }
    }

    /// Whose hash each photo's number is.
    fn by_number<'a>(&self, hashes: &'a HashMap<Sha256, u32>) -> Vec<Option<&'a Sha256>> {
        let mut by_number = vec![None; self.photos.len()];
        for (hash, number) in hashes {
            by_number[*number as usize] = Some(hash);
        }
        by_number
    }

    fn detail(&self, hashed: &Hashed) -> snapshot::Detail {
        let sketch = hashed.sketch.and_then(|at| self.sketches.get(at as usize));
        snapshot::Detail {
            phash: hashed.phash,
            pdq: hashed.pdq.to_bytes().to_vec(),
            sketch: sketch.map_or_else(Vec::new, |sketch| sketch.to_bytes().to_vec()),
            sketch_model: sketch.map_or(0, Sketch::model),
        }
    }

    /// Takes in what [`Self::save`] handed out, frame by frame in its order; none if it is no
    /// such frame.
    pub fn restore(&mut self, frame: Frame) -> Option<()> {
        for id in &frame.declined {
            self.add_judged(id.as_ref().try_into().ok()?);
        }
        for photo in &frame.photos {
            let id: CaptureId = photo.id.as_slice().try_into().ok()?;
            let group = match photo.group.as_slice() {
                [] => id,
                group => group.try_into().ok()?,
            };
            let number = u32::try_from(self.photos.len()).ok()?;
            self.judged.insert(id);
            self.photos.push((id, group));
            let known = [
                (&photo.sha256, &mut self.by_file),
                (&photo.pixel_sha256, &mut self.by_pixels),
            ];
            for (hash, numbers) in known {
                if !hash.is_empty() {
                    numbers.insert(hash.as_slice().try_into().ok()?, number);
                }
            }
            if let Some(detail) = &photo.detail {
                self.add_detail(
                    number,
                    detail.phash,
                    Pdq::from_bytes(&detail.pdq)?,
                    match detail.sketch.as_slice() {
                        [] => None,
                        values => Some(Sketch::from_bytes(values, detail.sketch_model)?),
                    },
                );
            }
        }
        self.looks.restore(frame.looks)?;
        self.clusters.restore(frame.spaces)
    }

    fn twin(&self, number: u32, reason: Reason, near: Option<&Nearest>) -> Option<Twin> {
        let &(id, group) = self.photos.get(number as usize)?;
        Some(Twin {
            id,
            group,
            reason,
            phash_distance: near.and_then(|near| near.phash_distance),
            pdq_distance: near.map(|near| near.pdq_distance),
            likeness_percent: near.and_then(|near| near.likeness_percent),
            turn: near.map(|near| near.turn).unwrap_or_default(),
        })
    }
}

/// In the order of the fields: the smallest is the twin.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Nearest {
    pdq_distance: u32,
    turn: Turn,
    phash_distance: Option<u32>,
    number: u32,
    likeness_percent: Option<u32>,
}

/// How many of the coarse bits may differ where so many of all bits may.
fn coarse_radius(max_pdq_distance: u32) -> u32 {
    MIN_COARSE_RADIUS.max(max_pdq_distance / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prints(seed: u8, phash: u64) -> Fingerprints {
        Fingerprints {
            sha256: Sha256::of(&[seed]),
            pixel_sha256: Sha256::of(&[seed, 1]),
            phash,
            pdq: Pdq([phash, 0, 0, 0]),
            pdq_quality: 100,
            turned: None,
            sketch: None,
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
    fn a_mirrored_copy_is_found_and_an_equally_near_upright_one_comes_first() {
        let mut index = Index::default();
        let ids: Vec<_> = (0..2).map(|_| CaptureId::new()).collect();
        index.add_photo(ids[0], ids[0], &prints(1, 0xff00));
        let mut turned = [Pdq([u64::MAX; 4]); Turn::OTHERS.len()];
        turned[0] = prints(1, 0xff00).pdq;
        let mirrored = Fingerprints {
            turned: Some(turned),
            ..prints(2, 0x00ff)
        };
        let twin = index.find_twin(&mirrored, &policy()).unwrap();
        assert_eq!((twin.id, twin.turn.words()), (ids[0], Some("mirrored")));
        assert_eq!((twin.phash_distance, twin.pdq_distance), (None, Some(0)));
        let upright_only = Policy {
            turned_copies: TurnedCopies::Different.into(),
            ..policy()
        };
        assert_eq!(index.find_twin(&mirrored, &upright_only), None);
        index.add_photo(ids[1], ids[1], &prints(3, 0x00ff));
        let twin = index.find_twin(&mirrored, &policy()).unwrap();
        assert_eq!((twin.id, twin.turn.words()), (ids[1], None));
    }

    #[test]
    fn embeddings_judge_what_the_hashes_leave_open() {
        let sketch = |model, axis: usize| {
            let embedding: Vec<f32> = (0..640)
                .map(|at| if at / 64 == axis { 1.0 } else { 0.0 })
                .collect();
            Sketch::of(model, &embedding)
        };
        let known = Fingerprints {
            sketch: sketch("net", 0),
            ..prints(1, 0)
        };
        let mut index = Index::default();
        let id = CaptureId::new();
        index.add_photo(id, id, &known);
        let asked = |num_bits: u32, sketch| Fingerprints {
            phash: u64::MAX,
            pdq: Pdq([0, (1 << num_bits) - 1, 0, 0]),
            sketch,
            ..prints(2, 0)
        };
        let twin = index.find_twin(&asked(34, sketch("net", 0)), &policy());
        let twin = twin.unwrap();
        assert_eq!((twin.id, twin.likeness_percent), (id, Some(100)));
        assert_eq!(twin.pdq_distance, Some(34));
        let is_found = |asked| index.find_twin(&asked, &policy()).is_some();
        assert!(!is_found(asked(35, sketch("net", 0))), "too far");
        let with_phash = |num_bits, phash| Fingerprints {
            phash,
            ..asked(num_bits, None)
        };
        assert!(is_found(with_phash(26, 1)), "the other hash is sure");
        assert!(!is_found(with_phash(27, 1)), "too far");
        assert!(!is_found(with_phash(26, 3)), "neither is sure");
        assert!(!is_found(asked(34, sketch("net", 1))), "another picture");
        assert!(!is_found(asked(34, sketch("another", 0))), "another model");
        assert!(!is_found(asked(34, None)), "no embedding");
        let exact_only = Policy {
            max_pdq_distance: 0,
            ..policy()
        };
        assert_eq!(
            index.find_twin(&asked(9, sketch("net", 0)), &exact_only),
            None
        );
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
