//! How fine the detail of a picture is, as its coded blocks tell.

/// Where the luma blocks' coefficients end, in zigzag order: a by-product of
/// stepping over them. A blurred picture's blocks end early, whatever it shows;
/// hard quantisation makes them end earlier too, so judge it together with the
/// quality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    ends: [u32; 64],
}

impl Default for Detail {
    fn default() -> Self {
        Self { ends: [0; 64] }
    }
}

impl Detail {
    /// Counts per zigzag index of the last coded coefficient: blocks that are
    /// flat stand at 0, blocks with the finest detail at 63.
    #[must_use]
    pub fn ends(&self) -> &[u32; 64] {
        &self.ends
    }

    /// Luma blocks counted, among them those that fill the last MCUs up.
    #[must_use]
    pub fn num_blocks(&self) -> u64 {
        self.ends.iter().map(|&count| u64::from(count)).sum()
    }

    /// The mean zigzag index of the last coded coefficient, 0 to 63.
    #[must_use]
    pub fn mean_end(&self) -> f32 {
        let weighted: u64 = (0..)
            .zip(&self.ends)
            .map(|(index, &count): (u64, _)| index * u64::from(count))
            .sum();
        weighted as f32 / self.num_blocks().max(1) as f32
    }

    /// The zigzag index that `share` (0 to 1) of the blocks do not go beyond:
    /// at 0.9, what the sharpest tenth of the picture reaches.
    #[must_use]
    pub fn quantile(&self, share: f32) -> u8 {
        let wanted = share.clamp(0.0, 1.0) * self.num_blocks() as f32;
        let mut below = 0.0;
        for (index, &count) in (0..).zip(&self.ends) {
            below += count as f32;
            if below >= wanted {
                return index;
            }
        }
        63
    }
}

/// Counts of blocks while a scan is being decoded.
#[derive(Clone)]
pub(crate) struct EndCounts {
    /// By a block's index, see [`crate::block::NO_CODE`]. In four rows, taken in turn:
    /// adding to one count again and again would wait for memory each time.
    counts: [[u32; 256]; 4],
}

impl Default for EndCounts {
    fn default() -> Self {
        Self {
            counts: [[0; 256]; 4],
        }
    }
}

impl EndCounts {
    /// Counts a block; `turn` is any number that changes from block to block.
    #[inline(always)]
    pub fn count(&mut self, turn: usize, index: i16) {
        self.counts[turn % 4][usize::from(index as u8)] += 1;
    }

    pub fn to_detail(&self) -> Detail {
        let mut detail = Detail::default();
        for row in &self.counts {
            for (index, &count) in row.iter().enumerate() {
                // With the bit 128 for the end-of-block code, which is none.
                let behind_last = (index & 127).saturating_sub(index >> 7);
                detail.ends[behind_last.saturating_sub(1) & 63] += count;
            }
        }
        detail
    }
}
