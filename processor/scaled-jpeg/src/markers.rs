//! Walks the marker segments of a JPEG, and finds where entropy-coded data ends.
//!
//! The file's bytes come in, segments with their offsets go out. Every step
//! moves forward, so a walk ends after at most as many steps as there are bytes.

use crate::Error;

pub(crate) const SOI: u8 = 0xd8;
pub(crate) const EOI: u8 = 0xd9;
pub(crate) const SOS: u8 = 0xda;
pub(crate) const DQT: u8 = 0xdb;
pub(crate) const DRI: u8 = 0xdd;
pub(crate) const DHT: u8 = 0xc4;
pub(crate) const DAC: u8 = 0xcc;
pub(crate) const JPG: u8 = 0xc8;
pub(crate) const APP0: u8 = 0xe0;
pub(crate) const APP14: u8 = 0xee;

/// One marker with its body (empty for markers that have none).
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub marker: u8,
    /// Offset of the body in the file.
    pub offset: usize,
    pub body: &'a [u8],
}

impl Segment<'_> {
    pub fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt {
            offset: self.offset,
            what,
        }
    }
}

/// A position between two segments.
pub(crate) struct Walk<'a> {
    jpeg: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// Starts behind the SOI that every JPEG opens with.
    pub fn start(jpeg: &'a [u8]) -> Result<Self, Error> {
        if jpeg.len() < 2 && jpeg == &[0xff, SOI][..jpeg.len()] {
            return Err(Error::Truncated {
                at_byte: jpeg.len(),
                mcu_row: 0,
            });
        }
        if !jpeg.starts_with(&[0xff, SOI]) {
            return Err(Error::Corrupt {
                offset: 0,
                what: "no JPEG start marker",
            });
        }
        Ok(Self { jpeg, at: 2 })
    }

    /// Continues from `offset`, where entropy-coded data ended.
    pub fn resume(&mut self, offset: usize) {
        self.at = offset;
    }

    /// Offset in the file of what comes next.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next segment. Bytes that belong to no segment are stepped over, as
    /// every decoder does; the file's end is [`Error::Truncated`].
    pub fn next(&mut self) -> Result<Segment<'a>, Error> {
        let cut = Error::Truncated {
            at_byte: self.jpeg.len(),
            mcu_row: 0,
        };
        loop {
            let (position, marker) = next_marker(self.jpeg, self.at).ok_or(cut.clone())?;
            let offset = position + 2;
            let empty = Segment {
                marker,
                offset,
                body: &[],
            };
            match marker {
                // TEM and restart markers stand alone and mean nothing here.
                0x01 | 0xd0..=0xd7 => self.at = offset,
                SOI => return Err(empty.corrupt("a second start marker")),
                EOI => return Ok(empty),
                _ => {
                    let length = self.jpeg[offset..].first_chunk::<2>().ok_or(cut.clone())?;
                    let length = usize::from(u16::from_be_bytes(*length));
                    if length < 2 {
                        return Err(empty.corrupt("a marker segment shorter than its length field"));
                    }
                    let body = self.jpeg.get(offset + 2..offset + length).ok_or(cut)?;
                    self.at = offset + length;
                    return Ok(Segment {
                        marker,
                        offset: offset + 2,
                        body,
                    });
                }
            }
        }
    }
}

/// The first marker at or after `from`: its offset and code. Stuffed zeros
/// (`FF 00`) and fill bytes (`FF FF`) are no markers.
fn next_marker(jpeg: &[u8], from: usize) -> Option<(usize, u8)> {
    let mut at = from;
    loop {
        at = find_ff(jpeg, at)?;
        match *jpeg.get(at + 1)? {
            0xff => at += 1,
            0x00 => at += 2,
            marker => return Some((at, marker)),
        }
    }
}

/// Where the entropy-coded data that `from` lies in ends: the offset of the
/// first marker that is no restart marker, or the file's length.
pub(crate) fn end_of_scan(jpeg: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        match next_marker(jpeg, at) {
            None => return jpeg.len(),
            Some((position, 0xd0..=0xd7)) => at = position + 2,
            Some((position, _)) => return position,
        }
    }
}

/// Where the restart interval that `from` lies in ends: the offset of the first
/// marker of any kind, or the file's length.
pub(crate) fn end_of_interval(jpeg: &[u8], from: usize) -> usize {
    next_marker(jpeg, from).map_or(jpeg.len(), |(position, _)| position)
}

/// Whether an end marker stands anywhere at or after `from`.
pub(crate) fn has_end_marker(jpeg: &[u8], from: usize) -> bool {
    let mut at = from;
    while let Some((position, marker)) = next_marker(jpeg, at) {
        if marker == EOI {
            return true;
        }
        at = position + 2;
    }
    false
}

/// Offset of the first `FF` byte at or after `from`.
fn find_ff(jpeg: &[u8], from: usize) -> Option<usize> {
    // Chunks of 64 are compared without a branch inside, which compiles to
    // vector compares; only a chunk with a hit is searched byte by byte.
    let rest = jpeg.get(from..)?;
    let (chunks, _) = rest.as_chunks::<64>();
    let clean = chunks
        .iter()
        .take_while(|chunk| {
            chunk
                .iter()
                .fold(0, |hit, &byte| hit | u8::from(byte == 0xff))
                == 0
        })
        .count();
    let skipped = clean * 64;
    let found = rest[skipped..].iter().position(|&byte| byte == 0xff)?;
    Some(from + skipped + found)
}
