//! A new EXIF block with the five facts that the server reads, made from an old one:
//! orientation, make, model, the time of the photo and its offset. Nothing else of the old
//! block survives: no GPS table, no maker note, no thumbnail. Written little-endian, after
//! the TIFF 6.0 and EXIF 2.32 specifications.

const MAKE: u16 = 0x010f;
const MODEL: u16 = 0x0110;
const ORIENTATION: u16 = 0x0112;
const EXIF_TABLE: u16 = 0x8769;
const TAKEN_AT: u16 = 0x9003;
const TAKEN_AT_OFFSET: u16 = 0x9011;

const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// The longest text that is kept; the server keeps 64 bytes.
const MAX_TEXT_BYTES: usize = 64;

/// The block without its place, beginning with its byte order; none if nothing is left.
pub(super) fn allowed(block: &[u8]) -> Option<Vec<u8>> {
    let block = Block::open(block)?;
    let first = block.u32(4)? as usize;
    let mut main = Vec::new();
    for tag in [MAKE, MODEL] {
        main.extend(block.text(first, tag).map(|text| Entry::text(tag, text)));
    }
    let orientation = block.short(first, ORIENTATION);
    let orientation = orientation.filter(|value| (2..=8).contains(value));
    main.extend(orientation.map(|value| Entry {
        tag: ORIENTATION,
        kind: SHORT,
        count: 1,
        value: vec![value as u8, 0, 0, 0],
    }));
    let mut exif = Vec::new();
    if let Some(table) = block.long(first, EXIF_TABLE) {
        for tag in [TAKEN_AT, TAKEN_AT_OFFSET] {
            let text = block.text(table as usize, tag);
            exif.extend(text.map(|text| Entry::text(tag, text)));
        }
    }
    (!main.is_empty() || !exif.is_empty()).then(|| write(main, &exif))
}

/// Orientation alone, for formats that keep it elsewhere otherwise; 1 if there is none.
fn write(mut main: Vec<Entry>, exif: &[Entry]) -> Vec<u8> {
    const HEAD: [u8; 8] = [b'I', b'I', 42, 0, 8, 0, 0, 0];
    let mut block = HEAD.to_vec();
    if exif.is_empty() {
        write_table(&mut block, &main);
        return block;
    }
    main.push(Entry {
        tag: EXIF_TABLE,
        kind: LONG,
        count: 1,
        value: vec![0; 4],
    });
    // The second table stands behind the first and its texts.
    let mut measured = HEAD.to_vec();
    write_table(&mut measured, &main);
    let place = (measured.len() as u32).to_le_bytes().to_vec();
    if let Some(entry) = main.last_mut() {
        entry.value = place;
    }
    write_table(&mut block, &main);
    write_table(&mut block, exif);
    block
}

fn write_table(block: &mut Vec<u8>, entries: &[Entry]) {
    let mut texts = Vec::new();
    let texts_at = block.len() + 2 + 12 * entries.len() + 4;
    block.extend((entries.len() as u16).to_le_bytes());
    for entry in entries {
        block.extend(entry.tag.to_le_bytes());
        block.extend(entry.kind.to_le_bytes());
        block.extend(entry.count.to_le_bytes());
        if entry.value.len() <= 4 {
            let mut value = entry.value.clone();
            value.resize(4, 0);
            block.extend(value);
        } else {
            block.extend(((texts_at + texts.len()) as u32).to_le_bytes());
            texts.extend(&entry.value);
            texts.resize(texts.len().next_multiple_of(2), 0);
        }
    }
    block.extend([0; 4]);
    block.extend(texts);
}

struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    value: Vec<u8>,
}

impl Entry {
    fn text(tag: u16, text: &[u8]) -> Self {
        let mut value = text.to_vec();
        value.push(0);
        Self {
            tag,
            kind: ASCII,
            count: value.len() as u32,
            value,
        }
    }
}

/// A TIFF structure: tables of twelve-byte entries, in either byte order.
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

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.is_big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.is_big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }

    fn entry(&self, table: usize, tag: u16, kind: u16) -> Option<usize> {
        let num_entries = usize::from(self.u16(table)?);
        (0..num_entries)
            .map(|i| table + 2 + 12 * i)
            .take_while(|at| at + 12 <= self.bytes.len())
            .find(|at| self.u16(*at) == Some(tag))
            .filter(|at| self.u16(at + 2) == Some(kind))
    }

    fn short(&self, table: usize, tag: u16) -> Option<u16> {
        self.u16(self.entry(table, tag, SHORT)? + 8)
    }

    fn long(&self, table: usize, tag: u16) -> Option<u32> {
        self.u32(self.entry(table, tag, LONG)? + 8)
    }

    /// A printable text up to its first zero.
    fn text(&self, table: usize, tag: u16) -> Option<&'a [u8]> {
        let entry = self.entry(table, tag, ASCII)?;
        let length = self.u32(entry + 4)? as usize;
        let at = match length {
            0..=4 => entry + 8,
            _ => self.u32(entry + 8)? as usize,
        };
        let text = self.bytes.get(at..)?;
        let text = &text[..text.len().min(length)];
        let text = text.split(|byte| *byte == 0).next()?;
        let text = &text[..text.len().min(MAX_TEXT_BYTES)];
        (!text.is_empty() && text.iter().all(|byte| (0x20..0x7f).contains(byte))).then_some(text)
    }
}
