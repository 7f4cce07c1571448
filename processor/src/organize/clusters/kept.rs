//! Some of a dataset's photos, of each kind as many: those whose ids have the smallest
//! hashes. Which ones is a function of the set of photos seen, not of their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::CaptureId;

use crate::organize::direction::{Direction, hash};
use crate::organize::snapshot;

/// Photos kept in all, 1.3 KB each with 1,280 features. A fit compares all of them with each
/// other (a second, and 16 MB while it does), a new photo is compared with each (half a
/// millisecond). Half of it kept less of what is rare.
pub const MAX_KEPT: usize = 2_048;

/// Kinds of which photos are kept, those of earlier fits among them, so that each has four.
const MAX_KINDS: usize = 512;

/// Some photos.
#[derive(Debug, Default)]
pub struct Kept {
    /// By kind, then by the hash of the photo's id: the smallest stay.
    kinds: BTreeMap<Kind, BTreeMap<u64, KeptPhoto>>,
}

/// A photo, as its row says.
#[derive(Debug, Clone)]
pub struct KeptPhoto {
    /// Its id.
    pub id: CaptureId,
    /// Where it was placed when it came.
    pub cluster: Option<i64>,
    /// It looked like nothing seen before.
    pub is_outlier: bool,
    /// What it looks like.
    pub direction: Arc<Direction>,
}

/// What photos are kept by: so that a few odd ones find room beside many plain ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Outlier,
    NotPlaced,
    Cluster(i64),
}

impl KeptPhoto {
    fn kind(&self) -> Kind {
        match self.cluster {
            _ if self.is_outlier => Kind::Outlier,
            None => Kind::NotPlaced,
            Some(cluster) => Kind::Cluster(cluster),
        }
    }
}

impl Kept {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.kinds.values().map(BTreeMap::len).sum()
    }

    /// All of them, for a snapshot.
    pub fn save(&self) -> Vec<snapshot::KeptPhoto> {
        let photos = self.kinds.values().flatten();
        photos
            .map(|(key, photo)| snapshot::KeptPhoto {
                key: *key,
                id: photo.id.as_bytes().to_vec(),
                cluster: photo.cluster,
                is_outlier: photo.is_outlier,
                direction: photo.direction.to_bytes(),
            })
            .collect()
    }

    /// What [`Self::save`] gave; none if it is no such thing.
    pub fn restore(saved: Vec<snapshot::KeptPhoto>) -> Option<Self> {
        let mut kept = Self::default();
        for photo in saved {
            let restored = KeptPhoto {
                id: photo.id.as_slice().try_into().ok()?,
                cluster: photo.cluster,
                is_outlier: photo.is_outlier,
                direction: Arc::new(Direction::from_bytes(&photo.direction)?),
            };
            let photos = kept.kinds.entry(restored.kind()).or_default();
            photos.insert(photo.key, restored);
        }
        Some(kept)
    }

    /// Keeps a photo, if it is one of those to keep.
    pub fn add(&mut self, photo: KeptPhoto) {
        let kind = photo.kind();
        let key = hash(photo.id.to_string().as_bytes());
        let num_kinds = self.kinds.len();
        self.kinds.entry(kind).or_default().insert(key, photo);
        if self.kinds.len() > num_kinds {
            self.make_room();
        } else {
            let room = self.room();
            if let Some(photos) = self.kinds.get_mut(&kind) {
                shorten(photos, room);
            }
        }
    }

    /// Takes in what another one has kept.
    pub fn merge(&mut self, other: Self) {
        for (kind, photos) in other.kinds {
            self.kinds.entry(kind).or_default().extend(photos);
        }
        self.make_room();
    }

    /// All of them, in the order of their hashes.
    pub fn photos(&self) -> Vec<(u64, &KeptPhoto)> {
        let photos = self.kinds.values().flatten();
        let mut photos: Vec<_> = photos.map(|(key, photo)| (*key, photo)).collect();
        photos.sort_unstable_by_key(|(key, _)| *key);
        photos
    }

    fn room(&self) -> usize {
        MAX_KEPT / self.kinds.len().max(1)
    }

    fn make_room(&mut self) {
        while self.kinds.len() > MAX_KINDS {
            self.kinds.pop_last();
        }
        let room = self.room();
        let kinds = self.kinds.values_mut();
        kinds.for_each(|photos| shorten(photos, room));
    }
}

fn shorten(photos: &mut BTreeMap<u64, KeptPhoto>, room: usize) {
    while photos.len() > room {
        photos.pop_last();
    }
}
