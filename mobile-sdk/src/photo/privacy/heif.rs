//! HEIC and AVIF: pictures point into the file by offsets, so nothing may move. The EXIF item
//! is overwritten in place by its allowed part, XMP by spaces, and boxes behind the picture
//! that hold a video by zeros. After ISO/IEC 14496-12 (`meta`, `iinf`, `iloc`) and 23008-12.

use std::ops::Range;

use super::{Damage, exif};

/// Items of a file: an iPhone's photo has some 60 tiles. More is no photo.
const MAX_ITEMS: u32 = 10_000;

pub(super) fn strip(mut bytes: Vec<u8>) -> Result<Vec<u8>, Damage> {
    let items = metadata_items(&bytes).ok_or_else(|| {
        Damage::of("this HEIC or AVIF, whose list of parts is damaged or unusual")
    })?;
    for (kind, range) in items {
        let item = &mut bytes[range];
        match kind {
            Kind::Exif => overwrite_exif(item),
            Kind::Text => item.fill(b' '),
        }
    }
    for range in videos(&bytes) {
        bytes[range].fill(0);
    }
    Ok(bytes)
}

/// The item begins with the distance from there to the byte order.
fn overwrite_exif(item: &mut [u8]) {
    let distance = item.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let start = distance.and_then(|distance| (distance as usize).checked_add(4));
    let block = start.and_then(|start| item.get(start..));
    let allowed = block.and_then(exif::allowed).unwrap_or_default();
    item.fill(0);
    // An empty table is EXIF as well; the allowed part never is longer than what it is from,
    // unless that was damaged.
    const EMPTY: [u8; 14] = [b'I', b'I', 42, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let block = if allowed.is_empty() || allowed.len() + 4 > item.len() {
        &EMPTY[..]
    } else {
        &allowed
    };
    if let Some(target) = item.get_mut(4..4 + block.len()) {
        target.copy_from_slice(block);
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Exif,
    /// XMP and any other text.
    Text,
}

/// Where the metadata stands in the file. None if the boxes make no sense.
fn metadata_items(bytes: &[u8]) -> Option<Vec<(Kind, Range<usize>)>> {
    let meta = find(bytes, 0..bytes.len(), b"meta")?;
    let meta = meta.start + 4..meta.end; // version and flags
    let Some(infos) = find(bytes, meta.clone(), b"iinf") else {
        return Some(Vec::new());
    };
    let kinds = item_kinds(bytes, infos)?;
    if kinds.is_empty() {
        return Some(Vec::new());
    }
    let locations = find(bytes, meta.clone(), b"iloc")?;
    let data = find(bytes, meta, b"idat");
    let mut found = Vec::new();
    for (id, ranges) in item_places(bytes, locations, data)? {
        if let Some((_, kind)) = kinds.iter().find(|(known, _)| *known == id) {
            for range in ranges {
                bytes.get(range.clone())?;
                found.push((*kind, range));
            }
        }
    }
    Some(found)
}

fn item_kinds(bytes: &[u8], infos: Range<usize>) -> Option<Vec<(u32, Kind)>> {
    let mut reader = Reader::new(bytes, infos.clone());
    let version = reader.number(1)?;
    reader.skip(3)?;
    reader.number(if version == 0 { 2 } else { 4 })?;
    let mut kinds = Vec::new();
    for (kind, content) in boxes(bytes, reader.at..infos.end) {
        if &kind != b"infe" {
            continue;
        }
        let mut entry = Reader::new(bytes, content);
        let version = entry.number(1)?;
        entry.skip(3)?;
        if version < 2 {
            return None; // an old form that no phone writes: what it names is unknown
        }
        let id = entry.number(if version == 2 { 2 } else { 4 })? as u32;
        entry.skip(2)?;
        match &entry.take(4)? {
            b"Exif" => kinds.push((id, Kind::Exif)),
            b"mime" | b"uri " => kinds.push((id, Kind::Text)),
            _ => {}
        }
    }
    Some(kinds)
}

type Places = Vec<(u32, Vec<Range<usize>>)>;

fn item_places(bytes: &[u8], iloc: Range<usize>, idat: Option<Range<usize>>) -> Option<Places> {
    let mut reader = Reader::new(bytes, iloc);
    let version = reader.number(1)?;
    reader.skip(3)?;
    let sizes = reader.number(2)? as usize;
    let [offset_bytes, length_bytes, base_bytes] = [sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15];
    let index_bytes = if version > 0 { sizes & 15 } else { 0 };
    let id_bytes = if version < 2 { 2 } else { 4 };
    let num_items = reader.number(id_bytes)? as u32;
    if num_items > MAX_ITEMS {
        return None;
    }
    let mut places = Vec::new();
    for _ in 0..num_items {
        let id = reader.number(id_bytes)? as u32;
        let method = if version > 0 {
            reader.number(2)? & 15
        } else {
            0
        };
        reader.skip(2)?;
        let base = reader.number(base_bytes)? as usize;
        let num_extents = reader.number(2)?;
        let mut ranges = Vec::new();
        for _ in 0..num_extents {
            reader.skip(index_bytes)?;
            let offset = reader.number(offset_bytes)? as usize;
            let length = reader.number(length_bytes)? as usize;
            let origin = match method {
                0 => 0,
                1 => idat.clone()?.start,
                _ => return None,
            };
            let start = origin.checked_add(base)?.checked_add(offset)?;
            ranges.push(start..start.checked_add(length)?);
        }
        places.push((id, ranges));
    }
    Some(places)
}

/// Videos of motion photos, beside the picture.
fn videos(bytes: &[u8]) -> Vec<Range<usize>> {
    let all = boxes(bytes, 0..bytes.len());
    let videos = all.filter(|(kind, _)| matches!(kind, b"mpvd" | b"moov" | b"uuid" | b"udta"));
    videos.map(|(_, content)| content).collect()
}

fn find(bytes: &[u8], within: Range<usize>, wanted: &[u8; 4]) -> Option<Range<usize>> {
    boxes(bytes, within).find_map(|(kind, content)| (&kind == wanted).then_some(content))
}

/// The boxes that stand side by side in a range: their kinds and where their content is.
fn boxes(bytes: &[u8], within: Range<usize>) -> impl Iterator<Item = ([u8; 4], Range<usize>)> {
    let mut at = within.start;
    std::iter::from_fn(move || {
        let mut reader = Reader::new(bytes, at..within.end);
        let length = reader.number(4)? as usize;
        let kind = reader.take(4)?;
        let length = match length {
            0 => within.end - at,
            1 => usize::try_from(reader.number(8)?).ok()?,
            length => length,
        };
        let end = at.checked_add(length).filter(|end| *end <= within.end)?;
        let content = reader.at..end;
        (content.start <= content.end).then(|| {
            at = end;
            (kind, content)
        })
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], range: Range<usize>) -> Self {
        Self {
            bytes,
            at: range.start,
            end: range.end.min(bytes.len()),
        }
    }

    /// A big-endian number of 0 to 8 bytes.
    fn number(&mut self, num_bytes: usize) -> Option<u64> {
        let next = self.at.checked_add(num_bytes)?;
        if next > self.end || num_bytes > 8 {
            return None;
        }
        let bytes = self.bytes.get(self.at..next)?;
        self.at = next;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    }

    fn take(&mut self, _four: usize) -> Option<[u8; 4]> {
        Some((self.number(4)? as u32).to_be_bytes())
    }

    fn skip(&mut self, num_bytes: usize) -> Option<()> {
        self.number(num_bytes).map(|_| ())
    }
}
