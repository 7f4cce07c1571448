//! WebP: picture, transparency, animation and colour profile stay; EXIF is written anew, XMP
//! and everything unknown goes.

use super::{Damage, exif};

/// Bits of the extended header that tell of EXIF and XMP.
const HAS_EXIF: u8 = 8;
const HAS_XMP: u8 = 4;

pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Damage> {
    let damaged = || Damage::of("this WebP, which is damaged or cut off");
    let mut kept = bytes.get(..12).ok_or_else(damaged)?.to_vec();
    let length = u32::from_le_bytes([kept[4], kept[5], kept[6], kept[7]]) as usize;
    let end = bytes.len().min(length.saturating_add(8));
    let mut at = 12;
    let mut flags_at = None;
    let mut has_exif = false;
    while at < end {
        let head: [u8; 8] = *bytes[at..].first_chunk().ok_or_else(damaged)?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let next = at + 8 + length.next_multiple_of(2);
        let content = bytes.get(at + 8..at + 8 + length).ok_or_else(damaged)?;
        match &head[..4] {
            b"EXIF" => {
                let block = content.strip_prefix(b"Exif\0\0").unwrap_or(content);
                if let Some(block) = exif::allowed(block) {
                    push(&mut kept, b"EXIF", &block);
                    has_exif = true;
                }
            }
            kind @ (b"VP8 " | b"VP8L" | b"VP8X" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP") => {
                if kind == b"VP8X" {
                    flags_at = Some(kept.len() + 8);
                }
                push(&mut kept, kind, content);
            }
            _ => {}
        }
        at = next;
    }
    if let Some(flags) = flags_at.and_then(|at| kept.get_mut(at)) {
        *flags &= !(HAS_EXIF | HAS_XMP);
        *flags |= if has_exif { HAS_EXIF } else { 0 };
    }
    let length = (kept.len() - 8) as u32;
    kept[4..8].copy_from_slice(&length.to_le_bytes());
    Ok(kept)
}

fn push(kept: &mut Vec<u8>, kind: &[u8], content: &[u8]) {
    kept.extend(kind);
    kept.extend((content.len() as u32).to_le_bytes());
    kept.extend(content);
    kept.resize(kept.len().next_multiple_of(2), 0);
}
