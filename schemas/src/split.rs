//! Which part of the data a photo belongs to: chosen by a hash of its
//! near-duplicate group, so that twins never straddle train and test, and so that
//! no photo ever moves when others arrive.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CaptureId;
use crate::reasons::named;

named! {
    /// The part of the data.
    Split {
        /// To learn from: 80 of 100 groups.
        Train = "train",
        /// To choose by: 10 of 100.
        Validation = "validation",
        /// To judge by, once: 10 of 100.
        Test = "test",
    }
}

impl Split {
    /// The split of every photo in this group.
    pub fn of_group(group: CaptureId) -> Self {
        let hash = crate::Sha256::of(group.as_bytes());
        match u16::from_be_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]) % 100 {
            0..80 => Self::Train,
            80..90 => Self::Validation,
            _ => Self::Test,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_groups_fall_near_eighty_ten_ten() {
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            *counts.entry(Split::of_group(CaptureId::new())).or_insert(0) += 1;
        }
        assert!(
            (7_700..8_300).contains(&counts[&Split::Train]),
            "{counts:?}"
        );
        assert!((800..1_200).contains(&counts[&Split::Test]), "{counts:?}");
    }
}
