//! Blocks made here, whole and broken. Real ones are compared with another reader in
//! `tests/photos.rs`.

use super::*;

/// A value as an entry holds it.
enum Value {
    Short(u16),
    Long(u32),
    Text(&'static str),
}
use Value::{Long, Short, Text};

/// A block of two tables, the second found through the first's last entry.
fn block(is_big_endian: bool, first: &[(u16, Value)], second: &[(u16, Value)]) -> Vec<u8> {
    let u16 = |v: u16| {
        if is_big_endian {
            v.to_be_bytes()
        } else {
            v.to_le_bytes()
        }
    };
    let u32 = |v: u32| {
        if is_big_endian {
            v.to_be_bytes()
        } else {
            v.to_le_bytes()
        }
    };
    let mut block = if is_big_endian {
        b"MM\0*".to_vec()
    } else {
        b"II*\0".to_vec()
    };
    block.extend(u32(8));
    let second_at = 8 + 2 + (first.len() + 1) * 12 + 4;
    let texts_at = second_at + 2 + second.len() * 12 + 4;
    let mut texts = Vec::new();
    let mut table = |entries: &[(u16, Value)], link: Option<u32>| {
        let mut bytes = u16(entries.len() as u16 + u16::from(link.is_some())).to_vec();
        for (tag, value) in entries {
            bytes.extend(u16(*tag));
            match value {
                Short(v) => {
                    bytes.extend(u16(3));
                    bytes.extend(u32(1));
                    bytes.extend(u16(*v));
                    bytes.extend([0; 2]);
                }
                Long(v) => {
                    bytes.extend(u16(4));
                    bytes.extend(u32(1));
                    bytes.extend(u32(*v));
                }
                Text(text) => {
                    bytes.extend(u16(2));
                    bytes.extend(u32(text.len() as u32 + 1));
                    if text.len() < 4 {
                        let mut short = [0; 4];
                        short[..text.len()].copy_from_slice(text.as_bytes());
                        bytes.extend(short);
                    } else {
                        bytes.extend(u32((texts_at + texts.len()) as u32));
                        texts.extend_from_slice(text.as_bytes());
                        texts.push(0);
                    }
                }
            }
        }
        if let Some(link) = link {
            bytes.extend(u16(TAG_EXIF_TABLE));
            bytes.extend(u16(4));
            bytes.extend(u32(1));
            bytes.extend(u32(link));
        }
        bytes.extend(u32(0));
        bytes
    };
    block.extend(table(first, Some(second_at as u32)));
    block.extend(table(second, None));
    block.extend(texts);
    block
}

fn phone(is_big_endian: bool) -> Vec<u8> {
    block(
        is_big_endian,
        &[
            (TAG_MAKE, Text("Apple")),
            (TAG_MODEL, Text("  iPhone\u{7} 15 Pro  ")),
            (TAG_ORIENTATION, Short(6)),
        ],
        &[
            (TAG_TAKEN_AT, Text("2024:05:17 18:30:05")),
            (TAG_TAKEN_AT_OFFSET, Text("+02:00")),
        ],
    )
}

#[test]
fn both_byte_orders_tell_the_same() {
    for is_big_endian in [true, false] {
        let block = phone(is_big_endian);
        assert_eq!(orientation(&block), Orientation::from_exif(6));
        let facts = facts(&block);
        let camera: Vec<_> = facts.camera.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(camera, [("make", "Apple"), ("model", "iPhone 15 Pro")]);
        // 2024-05-17T16:30:05Z
        assert_eq!(facts.captured_at_us, Some(1_715_963_405_000_000));
    }
}

#[test]
fn a_time_without_an_offset_counts_as_utc_and_an_unset_clock_as_none() {
    let time = |text| facts(&block(true, &[], &[(TAG_TAKEN_AT, Text(text))])).captured_at_us;
    assert_eq!(time("2024:05:17 16:30:05"), Some(1_715_963_405_000_000));
    for text in [
        "0000:00:00 00:00:00",
        "1970:01:01 00:00:00",
        "    :  :     :  :  ",
        "2024:13:01 00:00:00",
        "yesterday",
    ] {
        assert_eq!(time(text), None, "{text}");
    }
}

#[test]
fn a_broken_part_does_not_take_the_others_with_it() {
    // The second table lies past the end, the make is a number, the model runs out.
    let mut block = block(
        true,
        &[
            (TAG_MAKE, Long(7)),
            (TAG_ORIENTATION, Short(3)),
            (TAG_MODEL, Text("Pixel 5")),
        ],
        &[],
    );
    let end = block.len() - 4;
    block.truncate(end);
    assert_eq!(orientation(&block), Orientation::from_exif(3));
    let facts = facts(&block);
    assert_eq!(facts.camera.get("model").map(String::as_str), Some("Pixe"));
    assert_eq!(facts.camera.get("make"), None);
}

#[test]
fn no_block_can_make_it_fail() {
    let block = phone(false);
    let mut num_blocks = 0;
    for length in 0..block.len() {
        let _ = (orientation(&block[..length]), facts(&block[..length]));
        num_blocks += 1;
    }
    for at in 0..block.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut broken = block.clone();
            broken[at] = value;
            let _ = (orientation(&broken), facts(&broken));
            num_blocks += 1;
        }
    }
    assert_eq!(num_blocks, block.len() * 6);
    // A table of 65,535 entries, and one that contains itself.
    let _ = facts(&[b"II*\0\x08\0\0\0\xff\xff".to_vec(), vec![0x69; 60_000]].concat());
    let _ = facts(b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0");
}

#[test]
fn names_are_cut_to_64_bytes_at_a_letter() {
    assert_eq!(tidy("ä".repeat(40).as_bytes()).unwrap(), "ä".repeat(32));
    assert_eq!(tidy(b" \0\n "), None);
}
