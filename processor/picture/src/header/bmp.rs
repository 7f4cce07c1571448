//! A Windows bitmap's two headers.

use super::{Found, le16, le32};
use crate::Refusal;

pub(super) fn read(bytes: &[u8]) -> Result<Found<'_>, Refusal> {
    let size = if le32(bytes, 14) == Some(12) {
        le16(bytes, 18)
            .zip(le16(bytes, 20))
            .map(|(width, height)| (u32::from(width), u32::from(height)))
    } else {
        // A negative height means rows from the top down.
        le32(bytes, 18)
            .zip(le32(bytes, 22))
            .map(|(width, height)| (width, height.cast_signed().unsigned_abs()))
    };
    let Some((width, height)) = size else {
        return Err(Refusal::truncated(bytes.len(), "within its header"));
    };
    Ok(Found {
        width,
        height,
        decode_bytes: (u64::from(width) * u64::from(height))
            .saturating_mul(4)
            .saturating_add(1 << 20),
        ..Found::default()
    })
}
