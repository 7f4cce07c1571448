//! The sizes that a JPEG can be decoded to.

use crate::Header;

/// Output size as a part of the full size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scale {
    /// 1/8: one pixel for each block of 8x8, its mean.
    Eighth,
    /// 1/4: four pixels for each block, from its lowest frequencies.
    Quarter,
    /// 1/2: sixteen pixels for each block, from its lower frequencies.
    Half,
}

impl Scale {
    /// All scales, the smallest picture first.
    pub const ALL: [Self; 3] = [Self::Eighth, Self::Quarter, Self::Half];

    /// The scale with the smallest picture whose shorter side still has
    /// `short_side` pixels; `None` if only the full size has.
    #[must_use]
    pub fn smallest_covering(header: &Header, short_side: u32) -> Option<Self> {
        let shorter = header.width.min(header.height);
        Self::ALL
            .into_iter()
            .find(|scale| scale.apply(shorter) >= short_side)
    }

    /// Pixels along the side of one block: 1, 2 or 4.
    pub(crate) fn block_side(self) -> usize {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 2,
            Self::Half => 4,
        }
    }

    /// `pixels` at this scale, rounded up.
    pub(crate) fn apply(self, pixels: u16) -> u32 {
        let divisor = match self {
            Self::Eighth => 8,
            Self::Quarter => 4,
            Self::Half => 2,
        };
        u32::from(pixels).div_ceil(divisor)
    }
}
