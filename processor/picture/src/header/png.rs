//! A PNG's chunks. Of the metadata only the EXIF block and the colour profile are
//! taken; text chunks, which may inflate to gigabytes, are stepped over unread.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::{Found, animated, be32};
use crate::{Limits, Refusal};

/// Behind each chunk; it is the decoder's to verify.
const CHECKSUM_BYTES: usize = 4;

pub(super) fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Found<'a>, Refusal> {
    let mut found = Found::default();
    let mut bits_per_row_pixel = 0;
    let mut at = 8;
    loop {
        let header = be32(bytes, at).zip(bytes.get(at + 4..at + 8));
        let Some((length, kind)) = header else {
            found.fault = Some(Refusal::truncated(bytes.len(), "before the picture's end"));
            break;
        };
        let start = at + 8;
        let content = start
            .checked_add(length as usize)
            .filter(|end| end + CHECKSUM_BYTES <= bytes.len())
            .and_then(|end| bytes.get(start..end));
        let Some(content) = content else {
            found.fault = Some(Refusal::truncated(
                bytes.len(),
                &format!("within its {} chunk", String::from_utf8_lossy(kind)),
            ));
            break;
        };
        match kind {
            b"IHDR" if bits_per_row_pixel == 0 => {
                let (Some(width), Some(height), Some([depth, colour])) =
                    (be32(content, 0), be32(content, 4), content.get(8..10))
                else {
                    return Err(Refusal::corrupt_at(at, "the PNG header is too short"));
                };
                found.width = width;
                found.height = height;
                let channels: u64 = match *colour {
                    2 => 3,
                    4 => 2,
                    6 => 4,
                    _ => 1,
                };
                bits_per_row_pixel = channels * u64::from(*depth);
            }
            b"acTL" => {
                if let Some(num_frames) = be32(content, 0).filter(|n| *n > 1) {
                    found.fault.get_or_insert(animated("PNG", num_frames));
                }
            }
            b"eXIf" => found.exif = Some(content),
            b"iCCP" => found.profile = inflate_profile(content, limits.max_profile_bytes),
            b"IEND" => break,
            _ => {}
        }
        at = start + content.len() + CHECKSUM_BYTES;
    }
    if bits_per_row_pixel == 0 {
        return Err(match found.fault {
            Some(fault) => fault,
            None => Refusal::corrupt_at(8, "the PNG has no header"),
        });
    }
    let pixels = u64::from(found.width) * u64::from(found.height);
    // Rows pass through buffers of about four rows; the inflater holds less than 1 MiB.
    let row_bytes = u64::from(found.width) * bits_per_row_pixel.max(32) / 8;
    found.decode_bytes = pixels
        .saturating_mul(3)
        .saturating_add(row_bytes * 8 + (1 << 20));
    Ok(found)
}

/// The profile in an `iCCP` chunk: a name, a zero, a method byte, zlib data.
fn inflate_profile(content: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    let name_end = content.iter().take(80).position(|b| *b == 0)?;
    let data = content.get(name_end + 2..)?;
    let mut profile = Vec::new();
    ZlibDecoder::new(data)
        .take(max_bytes as u64 + 1)
        .read_to_end(&mut profile)
        .ok()?;
    (profile.len() <= max_bytes).then_some(profile)
}
