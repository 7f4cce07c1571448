//! Looking at every code. A block of codes is read from memory once for all queries, and
//! compared sixteen and more at a time by whatever vectors the processor has.

use pulp::Arch;

/// Codes a block: with 8 bytes each they stay in the first-level cache, whatever the number
/// of queries.
const BLOCK_CODES: usize = 2048;

/// Codes that are compared before one looks whether there was a hit. Larger, and a hit
/// costs more; smaller, and looking costs more than comparing.
const GROUP_CODES: usize = 64;

/// Tells query, position and distance of every code within `radius`.
pub(crate) fn scan(
    codes: &[u64],
    queries: &[u64],
    radius: u32,
    mut found: impl FnMut(usize, usize, u32),
) {
    let arch = Arch::new();
    for (block, codes) in codes.chunks(BLOCK_CODES).enumerate() {
        for (number, query) in queries.iter().enumerate() {
            for group in 0..codes.len().div_ceil(GROUP_CODES) {
                let start = group * GROUP_CODES;
                let end = codes.len().min(start + GROUP_CODES);
                let group = &codes[start..end];
                if !arch.dispatch(|| has_hit(group, *query, radius)) {
                    continue;
                }
                for (n, code) in group.iter().enumerate() {
                    let distance = (code ^ query).count_ones();
                    if distance <= radius {
                        found(number, block * BLOCK_CODES + start + n, distance);
                    }
                }
            }
        }
    }
}

/// Without a branch, so that it becomes vector code.
#[inline(always)]
fn has_hit(codes: &[u64], query: u64, radius: u32) -> bool {
    let radius = u64::from(radius);
    let nearest = codes
        .iter()
        .map(|code| u64::from((code ^ query).count_ones()))
        .fold(u64::MAX, u64::min);
    nearest <= radius
}
