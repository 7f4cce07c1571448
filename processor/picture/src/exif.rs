//! The five facts that are taken from EXIF, and nothing else: orientation, when the
//! photo was taken (with its offset), camera make and model. In: the EXIF block; out:
//! what could be read of it. Never an error and never a location.
//!
//! Read by hand, not by a library: two tables are visited once each, so nothing can
//! loop or grow, and one broken entry does not take the others with it, which is what
//! happens on many phones' files.

use std::collections::BTreeMap;

use chrono::{FixedOffset, NaiveDateTime, TimeZone, Utc};

/// How the stored picture is turned, 1 to 8 as EXIF counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation(u8);

impl Orientation {
    /// As stored.
    pub const UPRIGHT: Self = Self(1);

    /// Anything that is not 1 to 8 counts as upright, as all viewers have it.
    pub fn from_exif(value: u16) -> Self {
        match value {
            2..=8 => Self(value as u8),
            _ => Self::UPRIGHT,
        }
    }

    /// The number as EXIF has it.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Width and height once upright.
    pub fn upright_size(self, width: u32, height: u32) -> (u32, u32) {
        if self.0 >= 5 {
            (height, width)
        } else {
            (width, height)
        }
    }
}

/// When and with what a photo was taken.
#[derive(Debug, Default, PartialEq)]
pub struct Facts {
    /// Microseconds since 1970 in UTC. A time without an offset counts as UTC: the
    /// error is up to 14 hours, and no guess would be better.
    pub captured_at_us: Option<i64>,
    /// `make` and `model`, as far as they are told.
    pub camera: BTreeMap<String, String>,
}

const TAG_MAKE: u16 = 0x010f;
const TAG_MODEL: u16 = 0x0110;
const TAG_ORIENTATION: u16 = 0x0112;
const TAG_EXIF_TABLE: u16 = 0x8769;
const TAG_TAKEN_AT: u16 = 0x9003;
const TAG_TAKEN_AT_OFFSET: u16 = 0x9011;

/// The orientation that an EXIF block tells; upright if it tells none.
pub fn orientation(block: &[u8]) -> Orientation {
    Block::open(block)
        .and_then(|block| block.number(block.first_table()?, TAG_ORIENTATION))
        .map_or(Orientation::UPRIGHT, |n| Orientation::from_exif(n as u16))
}

/// The allow-listed facts of an EXIF block.
pub fn facts(block: &[u8]) -> Facts {
    let mut facts = Facts::default();
    let Some(block) = Block::open(block) else {
        return facts;
    };
    let Some(table) = block.first_table() else {
        return facts;
    };
    for (name, tag) in [("make", TAG_MAKE), ("model", TAG_MODEL)] {
        if let Some(text) = block.text(table, tag).and_then(tidy) {
            facts.camera.insert(name.into(), text);
        }
    }
    if let Some(table) = block.number(table, TAG_EXIF_TABLE) {
        let table = table as usize;
        facts.captured_at_us = block
            .text(table, TAG_TAKEN_AT)
            .and_then(|time| taken_at_us(time, block.text(table, TAG_TAKEN_AT_OFFSET)));
    }
    facts
}

/// Printable, without outer space, and short: a name is not a place to hide things.
fn tidy(text: &[u8]) -> Option<String> {
    const MAX_BYTES: usize = 64;
    let text: String = String::from_utf8_lossy(text)
        .chars()
        .filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER)
        .collect();
    let text = text.trim();
    let end = text.floor_char_boundary(MAX_BYTES);
    let text = text[..end].trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

fn taken_at_us(time: &[u8], offset: Option<&[u8]>) -> Option<i64> {
    let time = std::str::from_utf8(time).ok()?.trim();
    let time = NaiveDateTime::parse_from_str(time, "%Y:%m:%d %H:%M:%S").ok()?;
    let offset = offset
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| text.trim().parse::<FixedOffset>().ok());
    let time = match offset {
        Some(offset) => offset.from_local_datetime(&time).single()?.to_utc(),
        None => Utc.from_utc_datetime(&time),
    };
    // Clocks that were never set say 1970 or earlier; those say nothing.
    (time.timestamp() > 365 * 86_400).then(|| time.timestamp_micros())
}

/// A TIFF structure: tables of twelve-byte entries, in either byte order.
#[derive(Clone, Copy)]
struct Block<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

impl<'a> Block<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        let is_big_endian = match bytes.get(..2)? {
            b"MM" => true,
            b"II" => false,
            _ => return None,
        };
        Some(Self {
            bytes,
            is_big_endian,
        })
    }

    fn first_table(self) -> Option<usize> {
        self.u32(4).map(|at| at as usize)
    }

    fn u16(self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    fn u32(self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// Where the entry for `tag` stands in a table; the first one if there are more.
    fn entry(self, table: usize, tag: u16) -> Option<usize> {
        let num_entries = usize::from(self.u16(table)?);
        (0..num_entries)
            .map(|i| table + 2 + 12 * i)
            .take_while(|at| at + 12 <= self.bytes.len())
            .find(|at| self.u16(*at) == Some(tag))
    }

    /// A number of two or four bytes.
    fn number(self, table: usize, tag: u16) -> Option<u32> {
        const SHORT: u16 = 3;
        const LONG: u16 = 4;
        let entry = self.entry(table, tag)?;
        match self.u16(entry + 2)? {
            SHORT => self.u16(entry + 8).map(u32::from),
            LONG => self.u32(entry + 8),
            _ => None,
        }
    }

    /// A text up to its first zero; as much of it as lies within the block.
    fn text(self, table: usize, tag: u16) -> Option<&'a [u8]> {
        const ASCII: u16 = 2;
        let entry = self.entry(table, tag)?;
        if self.u16(entry + 2)? != ASCII {
            return None;
        }
        let length = self.u32(entry + 4)? as usize;
        let at = if length <= 4 {
            entry + 8
        } else {
            self.u32(entry + 8)? as usize
        };
        let text = self.bytes.get(at..)?;
        let text = &text[..text.len().min(length)];
        text.split(|b| *b == 0).next()
    }
}

#[cfg(test)]
mod tests;
