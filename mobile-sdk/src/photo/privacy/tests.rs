//! No place is left, no pixel is touched, what the server reads is still there. On files
//! made here, and on real phones' where the test data is at hand.

use super::*;
use schemas::Format;

/// An EXIF block with a make, an orientation, a time, a GPS table and a maker note.
fn block() -> Vec<u8> {
    let mut b = b"MM\0*\0\0\0\x08".to_vec();
    let entry = |b: &mut Vec<u8>, tag: u16, kind: u16, count: u32, value: u32| {
        b.extend(tag.to_be_bytes());
        b.extend(kind.to_be_bytes());
        b.extend(count.to_be_bytes());
        b.extend(value.to_be_bytes());
    };
    b.extend(4u16.to_be_bytes());
    let texts = 8 + 2 + 4 * 12 + 4;
    entry(&mut b, 0x010f, 2, 8, texts); // "Phonix\0\0"
    entry(&mut b, 0x0112, 3, 1, 6 << 16);
    entry(&mut b, 0x8769, 4, 1, texts + 8);
    entry(&mut b, 0x8825, 4, 1, texts + 8 + 2 + 2 * 12 + 4 + 20 + 12);
    b.extend([0; 4]);
    b.extend(b"Phonix\0\0");
    b.extend(2u16.to_be_bytes());
    entry(&mut b, 0x9003, 2, 20, texts + 8 + 2 + 2 * 12 + 4);
    entry(&mut b, 0x927c, 7, 12, texts + 8 + 2 + 2 * 12 + 4 + 20);
    b.extend([0; 4]);
    b.extend(b"2026:05:04 10:30:00\0");
    b.extend(b"GPS-IN-MAKER");
    b.extend(1u16.to_be_bytes());
    entry(&mut b, 0x0001, 2, 2, u32::from_be_bytes(*b"N\0\0\0"));
    b.extend([0; 4]);
    b.extend(b"GPS-LATITUDE");
    b
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let mut whole = vec![0xff, marker];
    whole.extend(((content.len() + 2) as u16).to_be_bytes());
    whole.extend(content);
    whole
}

/// A JPEG with everything in which places are found.
fn jpeg() -> Vec<u8> {
    let mut exif = b"Exif\0\0".to_vec();
    exif.extend(block());
    let mut file = vec![0xff, 0xd8];
    file.extend(segment(0xe1, &exif));
    file.extend(segment(
        0xe1,
        b"http://ns.adobe.com/xap/1.0/\0<x exif:GPSLatitude='1'/>",
    ));
    file.extend(segment(0xe2, b"ICC_PROFILE\0\x01\x01profile"));
    file.extend(segment(0xe2, b"MPF\0second picture"));
    file.extend(segment(0xed, b"Photoshop 3.0\08BIM City: GPS"));
    file.extend(segment(0xfe, b"a comment: GPS"));
    file.extend(segment(0xdb, &[1; 65]));
    file.extend(segment(0xc0, &[8, 0, 16, 0, 32, 1, 1, 0x11, 0]));
    file.extend(segment(0xda, &[1, 1, 0, 0, 63, 0]));
    file.extend([0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0x56, 0xff, 0xd9]);
    file.extend(b"\xff\xd8 a second picture with GPS, and a video");
    file
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[test]
fn a_jpeg_keeps_picture_orientation_time_make_and_profile_and_loses_the_rest() {
    let stripped = strip(jpeg(), Format::Jpeg).unwrap();
    for gone in [&b"GPS"[..], b"MPF", b"adobe", b"comment", b"8BIM", b"video"] {
        assert!(
            !contains(&stripped, gone),
            "{}",
            String::from_utf8_lossy(gone)
        );
    }
    for kept in [
        &b"Phonix"[..],
        b"2026:05:04 10:30:00",
        b"ICC_PROFILE",
        &[1; 65],
    ] {
        assert!(
            contains(&stripped, kept),
            "{}",
            String::from_utf8_lossy(kept)
        );
    }
    assert!(stripped.ends_with(&[0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0x56, 0xff, 0xd9]));
    assert_eq!(jpeg::size(&stripped), Some((32, 16)));
    // Orientation 6, as a short in the little-endian block.
    assert!(contains(
        &stripped,
        &[0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0]
    ));
    assert_eq!(strip(stripped.clone(), Format::Jpeg).unwrap(), stripped);
}

#[test]
fn a_jpeg_cut_in_its_header_is_refused_and_one_cut_in_its_picture_is_left_to_the_server() {
    let whole = jpeg();
    let picture = whole.len() - 51;
    let mut num_refused = 0;
    for length in 3..whole.len() {
        match strip(whole[..length].to_vec(), Format::Jpeg) {
            Ok(stripped) => {
                assert!(!contains(&stripped, b"GPS"), "cut at {length}");
                assert!(length > picture - 20);
            }
            Err(error) => {
                num_refused += 1;
                assert!(error.to_string().contains("JPEG"), "{error}");
            }
        }
    }
    assert!(num_refused > 100);
}

#[test]
fn a_png_and_a_webp_keep_their_picture_and_lose_their_texts() {
    let chunk = |kind: &[u8], content: &[u8]| {
        let mut whole = (content.len() as u32).to_be_bytes().to_vec();
        whole.extend(kind);
        whole.extend(content);
        whole.extend(crc32fast::hash(&whole[4..]).to_be_bytes());
        whole
    };
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(chunk(b"IHDR", &[0, 0, 0, 32, 0, 0, 0, 16, 8, 2, 0, 0, 0]));
    png.extend(chunk(b"eXIf", &block()));
    png.extend(chunk(b"iTXt", b"XML:com.adobe.xmp GPS"));
    png.extend(chunk(b"IDAT", b"pixels"));
    png.extend(chunk(b"IEND", b""));
    png.extend(b"GPS behind the end");
    let stripped = strip(png, Format::Png).unwrap();
    assert!(!contains(&stripped, b"GPS") && !contains(&stripped, b"adobe"));
    assert!(contains(&stripped, b"pixels") && contains(&stripped, b"Phonix"));
    assert!(stripped.ends_with(b"IEND\xae\x42\x60\x82"));

    let riff = |kind: &[u8], content: &[u8]| {
        let mut whole = kind.to_vec();
        whole.extend((content.len() as u32).to_le_bytes());
        whole.extend(content);
        whole.resize(whole.len().next_multiple_of(2), 0);
        whole
    };
    let mut content = b"WEBP".to_vec();
    content.extend(riff(b"VP8X", &[0x2c, 0, 0, 0, 31, 0, 0, 15, 0, 0]));
    content.extend(riff(b"ICCP", b"profile"));
    content.extend(riff(b"VP8L", b"pixels"));
    content.extend(riff(b"EXIF", &block()));
    content.extend(riff(b"XMP ", b"GPS"));
    let webp = riff(b"RIFF", &content);
    let stripped = strip(webp, Format::Webp).unwrap();
    assert!(!contains(&stripped, b"GPS") && !contains(&stripped, b"XMP "));
    assert!(contains(&stripped, b"Phonix") && contains(&stripped, b"profile"));
    // Profile and EXIF are told in the flags, XMP no longer.
    assert_eq!(stripped[20], 0x28);
    assert_eq!(
        stripped.len() - 8,
        u32::from_le_bytes(*stripped[4..].first_chunk().unwrap()) as usize
    );
}

/// Where contributors keep real photos; see CONTRIBUTING.md.
fn test_data(folder: &str) -> Vec<std::path::PathBuf> {
    let root = std::env::var_os("TINTYPE_TEST_DATA").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        Into::into,
    );
    let mut pending = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => pending.push(path),
                path => files.push(path),
            }
        }
    }
    files.sort();
    files
}

#[test]
fn real_phone_photos_have_no_place_afterwards_and_the_same_picture_data() {
    let mut counts = std::collections::BTreeMap::new();
    for folder in ["phone-exif", "photos/phone-large", "heic"] {
        for path in test_data(folder) {
            let bytes = std::fs::read(&path).unwrap();
            let Some(format) = Format::sniff(&bytes) else {
                continue;
            };
            let Ok(stripped) = strip(bytes.clone(), format) else {
                *counts.entry((format.as_str(), "refused")).or_insert(0) += 1;
                continue;
            };
            *counts.entry((format.as_str(), "stripped")).or_insert(0) += 1;
            let name = path.display();
            for place in [
                &b"GPSLatitude"[..],
                b"exif:GPS",
                b"MPF\0",
                b"http://ns.adobe.com/xap",
            ] {
                let is_jpeg_or_heic = matches!(format, Format::Jpeg | Format::Heic);
                assert!(!is_jpeg_or_heic || !contains(&stripped, place), "{name}");
            }
            // Orientation and profile stay, so it looks as it did.
            let look = |bytes: &[u8]| picture::look(bytes, &picture::Limits::default());
            assert_eq!(look(&stripped).ok(), look(&bytes).ok(), "{name}");
            if format == Format::Jpeg {
                let size = jpeg::size(&bytes);
                assert_eq!(jpeg::size(&stripped), size, "{name}");
                assert!(stripped.len() <= bytes.len() + 64, "{name}");
            }
            if format == Format::Heic {
                assert_eq!(stripped.len(), bytes.len(), "{name}");
            }
            let again = strip(stripped.clone(), format).unwrap();
            assert_eq!(again, stripped, "{name}");
        }
    }
    eprintln!("real files: {counts:?}; none means that there is no test data here");
}

#[test]
fn hostile_files_end_in_a_result() {
    let files = test_data("hostile");
    let mut num_run = 0;
    for path in &files {
        let Ok(bytes) = std::fs::read(path) else {
            continue;
        };
        if let Some(format) = Format::sniff(&bytes) {
            let _ = strip(bytes, format);
            num_run += 1;
        }
    }
    eprintln!("{num_run} hostile files; 0 means that there is no test data here");
    assert!(files.is_empty() || num_run > 100);
}
