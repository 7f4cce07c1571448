//! A WebP's chunks: the size, how many frames, EXIF, the colour profile.

use super::{Found, animated, le16, le32};
use crate::{Limits, Refusal};

pub(super) fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Found<'a>, Refusal> {
    let mut found = Found::default();
    let mut num_frames = 0;
    let mut has_picture = false;
    // The RIFF length counts from byte 8; what follows it is not the picture's.
    let claimed = le32(bytes, 4).map_or(0, |length| 8 + length as usize);
    let body = &bytes[..claimed.min(bytes.len())];
    let mut at = 12;
    while let (Some(kind), Some(length)) = (body.get(at..at + 4), le32(body, at + 4)) {
        let content = &body[at + 8..];
        let content = &content[..content.len().min(length as usize)];
        match kind {
            b"VP8X" => {
                found.width = 1 + le24(content, 4).unwrap_or(0);
                found.height = 1 + le24(content, 7).unwrap_or(0);
            }
            b"VP8 " | b"VP8L" => {
                has_picture = true;
                let size = if kind == b"VP8 " {
                    lossy_size(content)
                } else {
                    lossless_size(content)
                };
                if found.width == 0
                    && let Some((width, height)) = size
                {
                    found.width = width;
                    found.height = height;
                }
            }
            b"ANMF" => {
                has_picture = true;
                num_frames += 1;
            }
            b"EXIF" => found.exif = Some(content.strip_prefix(b"Exif\0\0").unwrap_or(content)),
            b"ICCP" if content.len() <= limits.max_profile_bytes => {
                found.profile = Some(content.to_vec());
            }
            _ => {}
        }
        at += 8 + (length as usize).next_multiple_of(2);
    }
    // A last byte of padding is often left out.
    if bytes.len() + 1 < claimed {
        let missing = if has_picture {
            "within the picture"
        } else {
            "before the picture begins"
        };
        found.fault = Some(Refusal::truncated(bytes.len(), missing));
    } else if !has_picture {
        return Err(Refusal::corrupt_at(12, "the WebP has no picture"));
    } else if num_frames > 1 {
        found.fault = Some(animated("WebP", num_frames));
    }
    if found.width == 0 {
        return Err(match found.fault {
            Some(fault) => fault,
            None => Refusal::corrupt_at(12, "the WebP has no readable picture header"),
        });
    }
    // Four bytes a pixel for what comes out, four for what the decoder keeps beside
    // it: colour planes and alpha, or the lossless decoder's own four channels.
    found.decode_bytes = u64::from(found.width) * u64::from(found.height) * 8 + (4 << 20);
    Ok(found)
}

fn lossy_size(content: &[u8]) -> Option<(u32, u32)> {
    if content.get(3..6)? != b"\x9d\x01\x2a" {
        return None;
    }
    let side = |at| le16(content, at).map(|n| u32::from(n & 0x3fff));
    Some((side(6)?, side(8)?))
}

fn lossless_size(content: &[u8]) -> Option<(u32, u32)> {
    if *content.first()? != 0x2f {
        return None;
    }
    let bits = le32(content, 1)?;
    Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
}

fn le24(bytes: &[u8], at: usize) -> Option<u32> {
    let &[a, b, c] = bytes.get(at..at + 3)? else {
        return None;
    };
    Some(u32::from_le_bytes([a, b, c, 0]))
}
