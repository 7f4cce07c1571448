//! A HEIF's boxes: the largest size that any of its pictures claims, whether it is a
//! sequence, whether it is all there. No item is followed and nothing is decoded. The
//! claims are a first gate only: the decoder measures again, under limits of its own.

use super::{Found, animated, be32};
use crate::Refusal;

/// Boxes of one level that are looked at. Real files have under a hundred properties.
const MAX_BOXES: usize = 4096;

pub(super) fn read(bytes: &[u8]) -> Result<Found<'_>, Refusal> {
    let mut found = Found::default();
    let mut meta = None;
    let mut has_movie = false;
    let mut end = 0;
    for part in Boxes::of(bytes) {
        match &part.kind {
            b"meta" => meta = meta.or(part.content.get(4..)),
            b"moov" => has_movie = true,
            _ => {}
        }
        end = part.claimed_end;
    }
    if end > bytes.len() {
        found.fault = Some(Refusal::truncated(bytes.len(), "within the picture"));
    } else if has_movie && is_sequence(bytes) {
        found.fault = Some(animated("HEIF sequence", "many"));
    }
    let sizes = meta.into_iter().flat_map(claimed_sizes);
    // A grid claims its whole size, its tiles theirs, a thumbnail the smallest.
    let largest = sizes.max_by_key(|(width, height)| u64::from(*width) * u64::from(*height));
    let Some((width, height)) = largest else {
        return Err(match found.fault {
            Some(fault) => fault,
            None => Refusal::corrupt_at(0, "the HEIF tells no picture's size"),
        });
    };
    (found.width, found.height) = (width, height);
    // What this process takes; the decoder beside it has its own limit.
    found.decode_bytes = u64::from(width) * u64::from(height) * 3;
    Ok(found)
}

/// The brand that stands first says what the file is meant to be shown as.
fn is_sequence(bytes: &[u8]) -> bool {
    let major = bytes.get(8..12);
    [&b"avis"[..], b"msf1", b"hevc", b"hevx", b"hevm", b"hevs"]
        .iter()
        .any(|brand| major == Some(*brand))
}

/// Every `ispe` of the item properties.
fn claimed_sizes(meta: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    let inside = |parent: &[u8; 4], bytes| {
        let parent = *parent;
        Boxes::of(bytes)
            .filter(move |part| part.kind == parent)
            .map(|part| part.content)
    };
    inside(b"iprp", meta)
        .flat_map(move |properties| inside(b"ipco", properties))
        .flat_map(move |properties| inside(b"ispe", properties))
        .filter_map(|ispe| Some((be32(ispe, 4)?, be32(ispe, 8)?)))
}

struct Part<'a> {
    kind: [u8; 4],
    /// As much of it as is there.
    content: &'a [u8],
    /// Where it should end.
    claimed_end: usize,
}

/// The boxes of one level, one after the other.
struct Boxes<'a> {
    bytes: &'a [u8],
    at: usize,
    num_left: usize,
}

impl<'a> Boxes<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            num_left: MAX_BOXES,
        }
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        self.num_left = self.num_left.checked_sub(1)?;
        let rest = self.bytes.get(self.at..)?;
        let kind = *rest.get(4..8)?.first_chunk()?;
        let (header, length) = match be32(rest, 0)? {
            0 => (8, rest.len() as u64),
            1 => (
                16,
                u64::from(be32(rest, 8)?) << 32 | u64::from(be32(rest, 12)?),
            ),
            length => (8, u64::from(length)),
        };
        if length < header {
            return None;
        }
        let claimed_end = self
            .at
            .saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let content = self
            .bytes
            .get(self.at + header as usize..claimed_end.min(self.bytes.len()))
            .unwrap_or_default();
        self.at = claimed_end;
        Some(Part {
            kind,
            content,
            claimed_end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut bytes = (8 + content.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(content);
        bytes
    }

    fn ispe(width: u32, height: u32) -> Vec<u8> {
        part(
            b"ispe",
            &[[0; 4], width.to_be_bytes(), height.to_be_bytes()].concat(),
        )
    }

    fn file(brand: &[u8; 4], properties: &[Vec<u8>]) -> Vec<u8> {
        let properties = part(b"iprp", &part(b"ipco", &properties.concat()));
        let meta = part(b"meta", &[vec![0; 4], properties].concat());
        [part(b"ftyp", brand), meta, part(b"mdat", &[7; 64])].concat()
    }

    #[test]
    fn the_largest_claim_counts_and_not_the_tile_or_the_thumbnail() {
        let bytes = file(b"heic", &[ispe(512, 512), ispe(4032, 3024), ispe(320, 240)]);
        let found = read(&bytes).unwrap();
        assert_eq!((found.width, found.height), (4032, 3024));
        assert!(found.fault.is_none());
    }

    #[test]
    fn a_cut_file_is_truncated_wherever_it_is_cut() {
        let bytes = file(b"heic", &[ispe(640, 480)]);
        // Cut between two boxes, or within the next one's header, it looks whole from here:
        // the decoder finds what is missing.
        let looks_whole = bytes.len() - 72..bytes.len() - 64;
        for end in (24..bytes.len()).filter(|end| !looks_whole.contains(end)) {
            let reason = match read(&bytes[..end]) {
                Ok(found) => found.fault.map(|fault| fault.reason),
                Err(refusal) => Some(refusal.reason),
            };
            assert!(reason.is_some(), "cut at {end}");
        }
    }

    #[test]
    fn a_sequence_is_animated_and_endless_boxes_end() {
        let mut bytes = file(b"msf1", &[ispe(64, 64)]);
        bytes.extend(part(b"moov", b""));
        let fault = read(&bytes).unwrap().fault.unwrap();
        assert_eq!(fault.reason, schemas::Reason::Animated);
        let many = file(b"heic", &vec![part(b"free", b""); 100_000]);
        assert!(read(&many).is_err());
    }
}
