//! JPEG: of the application segments only JFIF, the colour profile and Adobe's colour
//! transform stay, EXIF is written anew, and what follows the picture goes.

use super::{Damage, exif};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const COM: u8 = 0xfe;

/// Width and height by the frame header.
pub(in crate::photo) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    while let Some(segment) = segment(bytes, at) {
        if is_frame(segment.marker) {
            let [h1, h0, w1, w0] = *segment.content.get(1..)?.first_chunk()?;
            let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
            return Some((side(w1, w0), side(h1, h0)));
        }
        at = segment.end;
    }
    None
}

fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Damage> {
    let mut kept = Vec::with_capacity(bytes.len());
    kept.extend([0xff, SOI]);
    let mut at = 2;
    let mut has_exif = false;
    loop {
        let damaged = || Damage::of("this JPEG, whose header is damaged");
        let segment = segment(bytes, at).ok_or_else(damaged)?;
        match segment.marker {
            0xe0 if segment.content.starts_with(b"JFIF\0") => kept.extend(jfif(segment.content)),
            0xe1 if segment.content.starts_with(b"Exif\0") && !has_exif => {
                has_exif = true;
                let block = segment.content.get(6..).unwrap_or_default();
                if let Some(block) = exif::allowed(block) {
                    // Within 64 KiB by far: a few short texts.
                    let length = (block.len() + 8) as u16;
                    kept.extend([0xff, 0xe1]);
                    kept.extend(length.to_be_bytes());
                    kept.extend(b"Exif\0\0");
                    kept.extend(block);
                }
            }
            0xe2 if segment.content.starts_with(b"ICC_PROFILE\0") => kept.extend(segment.whole),
            0xee if segment.content.starts_with(b"Adobe") => kept.extend(segment.whole),
            0xe0..=0xef | COM => {}
            _ => kept.extend(segment.whole),
        }
        at = segment.end;
        if segment.marker == SOS {
            let end = end_of_picture(bytes, at);
            kept.extend(&bytes[at..end]);
            return Ok(kept);
        }
    }
}

/// JFIF without its thumbnail: 14 bytes are the version and the density.
fn jfif(content: &[u8]) -> Vec<u8> {
    let mut content = content[..content.len().min(14)].to_vec();
    if let Some(size) = content.get_mut(12..14) {
        size.fill(0);
    }
    let length = (content.len() + 2) as u16;
    let mut whole = vec![0xff, 0xe0];
    whole.extend(length.to_be_bytes());
    whole.extend(content);
    whole
}

struct Segment<'a> {
    marker: u8,
    content: &'a [u8],
    /// With its marker and length.
    whole: &'a [u8],
    end: usize,
}

/// The segment that begins at or behind `at`; stray bytes before it are passed over.
fn segment(bytes: &[u8], at: usize) -> Option<Segment<'_>> {
    let mut start = at;
    loop {
        start += bytes.get(start..)?.iter().position(|byte| *byte == 0xff)?;
        match *bytes.get(start + 1)? {
            // Filling, or a marker without content.
            0xff => start += 1,
            0x00 | 0x01 | SOI | 0xd0..=0xd7 => start += 2,
            EOI => return None,
            marker => {
                let length = u16::from_be_bytes(*bytes.get(start + 2..)?.first_chunk()?);
                let end = start + 2 + usize::from(length.max(2));
                return Some(Segment {
                    marker,
                    content: bytes.get(start + 4..end)?,
                    whole: &bytes[start..end],
                    end,
                });
            }
        }
    }
}

/// One past the end marker; the end of the file if it has none. Between the scans of a
/// progressive picture stand segments, whose content is passed over.
fn end_of_picture(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(step) = bytes[at..].iter().position(|byte| *byte == 0xff) {
        at += step;
        match bytes.get(at + 1) {
            None => break,
            Some(&EOI) => return at + 2,
            Some(0xff) => at += 1,
            Some(0x00 | 0x01 | 0xd0..=0xd7) => at += 2,
            Some(_) => match segment(bytes, at) {
                Some(segment) => at = segment.end,
                None => break,
            },
        }
        if at >= bytes.len() {
            break;
        }
    }
    bytes.len()
}
