//! A GIF's blocks: the size and whether there is more than one frame.

use super::{Found, animated, le16};
use crate::Refusal;

pub(super) fn read(bytes: &[u8]) -> Result<Found<'_>, Refusal> {
    let mut found = Found::default();
    let (Some(width), Some(height), Some(&flags)) = (le16(bytes, 6), le16(bytes, 8), bytes.get(10))
    else {
        return Err(Refusal::truncated(bytes.len(), "within its header"));
    };
    found.width = width.into();
    found.height = height.into();
    let mut frame_pixels = 0;
    let mut num_frames = 0;
    let mut at = 13 + colour_table_bytes(flags);
    let whole = loop {
        match bytes.get(at) {
            // An extension: its kind, then sub-blocks.
            Some(0x21) => at += 2,
            Some(0x2c) => {
                num_frames += 1;
                if num_frames > 1 {
                    // Counting on would let a long file cost time for nothing.
                    found.fault = Some(animated("GIF", "several"));
                    break true;
                }
                let side = |offset| le16(bytes, at + offset).map_or(0, u64::from);
                frame_pixels = side(5) * side(7);
                let flags = bytes.get(at + 9).copied().unwrap_or(0);
                at += 11 + colour_table_bytes(flags);
            }
            // The trailer. Many programs leave it out; a whole frame is enough.
            Some(0x3b) => break true,
            None => break num_frames > 0,
            Some(_) if num_frames > 0 => break true,
            Some(_) => return Err(Refusal::corrupt_at(at, "this is no block of a GIF")),
        }
        match end_of_sub_blocks(bytes, at) {
            Some(end) => at = end,
            None => break false,
        }
    };
    if !whole {
        let missing = if num_frames == 0 {
            "before the picture begins"
        } else {
            "within the picture"
        };
        found.fault = Some(Refusal::truncated(bytes.len(), missing));
    } else if num_frames == 0 {
        return Err(Refusal::corrupt_at(at, "the GIF has no frame"));
    }
    // Four bytes a pixel for the canvas; five for a frame that must be placed on it.
    let canvas_pixels = u64::from(found.width) * u64::from(found.height);
    found.decode_bytes = canvas_pixels * 4 + frame_pixels * 5 + (1 << 20);
    Ok(found)
}

/// Sub-blocks have their length in front; one of length zero ends them.
fn end_of_sub_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

fn colour_table_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}
