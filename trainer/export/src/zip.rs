//! The files that a `.tflite` carries: a ZIP archive behind the model, without
//! compression, for MediaPipe reads the entries in place and refuses compressed ones.

/// The first moment that ZIP can name, 1980-01-01: the same model gives the same bytes.
const DOS_DATE: u16 = 0x0021;

/// Appends `files` (name, content) to `bytes` as a ZIP archive whose offsets count from
/// the file's begin, as Python's `zipfile` appends.
pub(crate) fn append_zip(bytes: &mut Vec<u8>, files: &[(&str, &[u8])]) {
    let mut directory = Vec::new();
    for (name, content) in files {
        let start = bytes.len() as u32;
        bytes.extend(b"PK\x03\x04");
        let header = header(name, content);
        bytes.extend(&header);
        bytes.extend(name.as_bytes());
        bytes.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&header);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    let count = (files.len() as u16).to_le_bytes();
    bytes.extend([count, count].concat());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
}

/// The fields that both headers share, from the version to the extra field's length.
fn header(name: &str, content: &[u8]) -> Vec<u8> {
    // Names may be UTF-8: bit 11.
    let flags = if name.is_ascii() { 0_u16 } else { 1 << 11 };
    let (version, method, time, extra) = (20_u16, 0_u16, 0_u16, 0_u16);
    let size = (content.len() as u32).to_le_bytes();
    let mut header = Vec::new();
    for number in [version, flags, method, time, DOS_DATE] {
        header.extend(number.to_le_bytes());
    }
    header.extend(crc32(content).to_le_bytes());
    header.extend([size, size].concat());
    header.extend((name.len() as u16).to_le_bytes());
    header.extend(extra.to_le_bytes());
    header
}

/// The content of a stored entry of an archive at the end of `bytes`.
pub(crate) fn read_zip(bytes: &[u8], wanted: &str) -> Result<Vec<u8>, String> {
    let end = bytes.len().checked_sub(22).ok_or("no archive")?;
    let number = |at: usize, len: usize| -> Result<usize, String> {
        let field = bytes.get(at..at + len).ok_or("the archive is cut off")?;
        Ok(field
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | usize::from(byte)))
    };
    if !bytes[end..].starts_with(b"PK\x05\x06") {
        return Err("no archive at the end".to_owned());
    }
    let mut at = number(end + 16, 4)?;
    for _ in 0..number(end + 10, 2)? {
        let name_len = number(at + 28, 2)?;
        let name = bytes.get(at + 46..at + 46 + name_len);
        if number(at, 4)? != 0x0201_4b50 || number(at + 10, 2)? != 0 {
            return Err("an entry is damaged or compressed".to_owned());
        }
        if name == Some(wanted.as_bytes()) {
            let local = number(at + 42, 4)?;
            let start = local + 30 + number(local + 26, 2)? + number(local + 28, 2)?;
            let content = bytes.get(start..start + number(at + 24, 4)?);
            let content = content.ok_or("an entry is cut off")?;
            if crc32(content) as usize != number(at + 16, 4)? {
                return Err(format!("{wanted} has a wrong checksum"));
            }
            return Ok(content.to_vec());
        }
        at += 46 + name_len + number(at + 30, 2)? + number(at + 32, 2)?;
    }
    Err(format!("no {wanted} in the archive"))
}

fn crc32(content: &[u8]) -> u32 {
    !content.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            let carry = if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            crc >> 1 ^ carry
        })
    })
}
