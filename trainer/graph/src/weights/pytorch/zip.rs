//! Records of a zip that are stored as they are, which is how PyTorch writes all of
//! them. Comes in: the archive's bytes. Goes out: slices of it by name, each inside it.

use std::collections::BTreeMap;

/// What a zip begins with: its first record.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";

/// The end record is 22 bytes and a comment of at most 64 KiB.
const MAX_END_BYTES: usize = 22 + 0xffff;

pub(super) fn records(bytes: &[u8]) -> Result<BTreeMap<String, &[u8]>, String> {
    let (mut place, num_records) =
        directory(bytes).ok_or("the zip's directory is missing: is the file cut short?")?;
    let mut records = BTreeMap::new();
    for _ in 0..num_records {
        let (name, record, next) = entry(bytes, place)
            .ok_or_else(|| format!("the zip's directory is broken at byte {place}"))?;
        let record = record.map_err(|fault| format!("record {name} of the zip {fault}"))?;
        records.insert(name, record);
        place = next;
    }
    Ok(records)
}

/// Where the central directory begins, and how many records it lists.
fn directory(bytes: &[u8]) -> Option<(usize, u64)> {
    let from = bytes.len().saturating_sub(MAX_END_BYTES);
    let end = from
        + bytes[from..]
            .windows(4)
            .rposition(|four| four == b"PK\x05\x06")?;
    if end + 22 + usize::from(u16_at(bytes, end + 20)?) != bytes.len() {
        return None;
    }
    let num_records = u16_at(bytes, end + 10)?;
    let place = u32_at(bytes, end + 16)?;
    if num_records != 0xffff && place != 0xffff_ffff {
        return Some((place as usize, num_records.into()));
    }
    // Zip64: a locator before the end record points to a longer one.
    let locator = end.checked_sub(20)?;
    if bytes.get(locator..locator + 4)? != b"PK\x06\x07" {
        return None;
    }
    let long = usize::try_from(u64_at(bytes, locator + 8)?).ok()?;
    if bytes.get(long..long.checked_add(4)?)? != b"PK\x06\x06" {
        return None;
    }
    Some((
        usize::try_from(u64_at(bytes, long + 48)?).ok()?,
        u64_at(bytes, long + 32)?,
    ))
}

type Entry<'a> = (String, Result<&'a [u8], &'static str>, usize);

/// One record of the directory, and where the next begins.
fn entry(bytes: &[u8], place: usize) -> Option<Entry<'_>> {
    if bytes.get(place..place.checked_add(46)?)?.get(..4)? != b"PK\x01\x02" {
        return None;
    }
    let method = u16_at(bytes, place + 10)?;
    let name_length = usize::from(u16_at(bytes, place + 28)?);
    let extra_length = usize::from(u16_at(bytes, place + 30)?);
    let comment_length = usize::from(u16_at(bytes, place + 32)?);
    let name = bytes.get(place + 46..place + 46 + name_length)?;
    let extra = place + 46 + name_length;
    let next = extra + extra_length + comment_length;

    let mut long = bytes.get(extra..extra + extra_length)?;
    let mut wide = [
        u64::from(u32_at(bytes, place + 24)?), // size
        u64::from(u32_at(bytes, place + 20)?), // stored size
        u64::from(u32_at(bytes, place + 42)?), // where its header is
    ];
    while let (Some(tag), Some(length)) = (u16_at(long, 0), u16_at(long, 2)) {
        let field = long.get(4..4 + usize::from(length))?;
        if tag == 1 {
            // Only those fields that did not fit are here, in this order.
            let missing = wide.iter_mut().filter(|value| **value == 0xffff_ffff);
            for (index, value) in missing.enumerate() {
                *value = u64_at(field, 8 * index)?;
            }
        }
        long = &long[4 + usize::from(length)..];
    }
    let name = String::from_utf8_lossy(name).into_owned();
    let record = if method == 0 && wide[0] == wide[1] {
        slice(bytes, wide[2], wide[0]).ok_or("lies outside the file")
    } else {
        Err("is compressed, which PyTorch never does")
    };
    Some((name, record, next))
}

/// The bytes behind the header of a record.
fn slice(bytes: &[u8], header: u64, size: u64) -> Option<&[u8]> {
    let header = usize::try_from(header).ok()?;
    if bytes.get(header..header.checked_add(30)?)?.get(..4)? != MAGIC {
        return None;
    }
    let name_length = usize::from(u16_at(bytes, header + 26)?);
    let extra_length = usize::from(u16_at(bytes, header + 28)?);
    let start = header + 30 + name_length + extra_length;
    bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    bytes
        .get(place..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    bytes
        .get(place..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], place: usize) -> Option<u64> {
    bytes
        .get(place..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}
