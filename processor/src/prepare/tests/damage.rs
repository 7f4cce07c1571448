//! Files cut, emptied and damaged: each has its reason, and none becomes a picture
//! that is half grey.

use schemas::Reason;

use super::pictures::{SetUp, bmp, gif, jpeg, jpeg_with, rgb_png, scene, webp};
use crate::prepare::{Limits, prepare};

fn reason(file: &[u8]) -> Result<(), (Reason, String)> {
    match prepare(file, &Limits::default()) {
        Ok(_) => Ok(()),
        Err(rejection) => Err((
            Reason::from_name(&rejection.reason).unwrap(),
            rejection.detail,
        )),
    }
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    let scene = scene(160, 120);
    let files = [
        ("jpeg", jpeg(&scene)),
        (
            "progressive jpeg",
            jpeg_with(&scene, |e| e.set_progressive(true)),
        ),
        ("png", rgb_png(&scene)),
        ("webp", webp(&scene)),
        ("gif", gif(&scene, 1)),
        ("bmp", bmp(&scene)),
    ];
    let mut num_cuts = 0;
    for (what, file) in &files {
        // A GIF's trailer and a WebP's padding are often missing; nothing is lost with them.
        let last = match *what {
            "gif" => file.len() - 2,
            "webp" => file.len() - 3,
            _ => file.len() - 1,
        };
        let step = file.len() / 150 + 1;
        for length in (32..last).step_by(step).chain([last]) {
            num_cuts += 1;
            let cut = reason(&file[..length]);
            let (reason, detail) = cut.expect_err(&format!("{what} cut to {length} bytes"));
            assert_eq!(
                reason,
                Reason::Truncated,
                "{what} cut to {length}: {detail}"
            );
            assert!(
                detail.contains(&format!("after {length} bytes")) || *what == "bmp",
                "{what}: {detail}"
            );
        }
        assert!(reason(file).is_ok(), "{what}");
    }
    println!("{num_cuts} cuts");
    assert!(num_cuts > 500, "{num_cuts} cuts");
}

#[test]
fn a_jpeg_cut_and_closed_again_is_corrupt() {
    let scene = scene(320, 240);
    let mut num_cases = 0;
    let set_ups: [SetUp; 3] = [
        |_| {},
        |encoder| encoder.set_restart_interval(5),
        |encoder| encoder.set_progressive(true),
    ];
    for set_up in set_ups {
        let file = jpeg_with(&scene, set_up);
        let start = file.windows(2).position(|two| two == [0xff, 0xda]).unwrap() + 14;
        for tenth in 1..10 {
            let length = start + (file.len() - start) * tenth / 10;
            let mut closed = file[..length].to_vec();
            while closed.last() == Some(&0xff) {
                closed.pop();
            }
            closed.extend_from_slice(&[0xff, 0xd9]);
            num_cases += 1;
            let (reason, _) = reason(&closed).expect_err(&format!("cut at {length}"));
            assert_eq!(reason, Reason::Corrupt);
        }
    }
    assert_eq!(num_cases, 27);
}

#[test]
fn a_stretch_of_zeros_or_a_missing_stretch_in_a_jpeg_is_corrupt() {
    let file = jpeg(&scene(320, 240));
    let middle = file.len() / 2;
    let mut zeros = file.clone();
    zeros[middle..middle + 900].fill(0);
    let missing = [&file[..middle], &file[middle + 900..]].concat();
    for damaged in [zeros, missing] {
        assert_eq!(reason(&damaged).unwrap_err().0, Reason::Corrupt);
    }
}

#[test]
fn a_flipped_bit_in_a_png_is_corrupt() {
    let mut file = rgb_png(&scene(160, 120));
    let middle = file.len() / 2;
    file[middle] ^= 4;
    assert_eq!(reason(&file).unwrap_err().0, Reason::Corrupt);
}

#[test]
fn what_is_no_picture_is_told_by_its_name() {
    let cases: [(&[u8], Reason, &str); 7] = [
        (b"", Reason::Empty, "no bytes"),
        (
            b"hello, this is text",
            Reason::NotAnImage,
            "\"hello, this \"",
        ),
        (b"\0\x01\x02\x03", Reason::NotAnImage, "00 01 02 03"),
        (b"%PDF-1.7\n%\xe2", Reason::NotAnImage, "PDF"),
        (
            b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
            Reason::NotAnImage,
            "video",
        ),
        (b"MM\0*\0\0\0\x08", Reason::UnsupportedFormat, "TIFF"),
        (
            b"\xff\x0a\xfa\x1f\x41",
            Reason::UnsupportedFormat,
            "JPEG XL",
        ),
    ];
    for (file, expected, words) in cases {
        let (reason, detail) = reason(file).unwrap_err();
        assert_eq!(reason, expected, "{detail}");
        assert!(detail.contains(words), "{detail}");
    }
}

#[test]
fn rare_kinds_of_jpeg_are_unsupported_not_corrupt() {
    let plain = jpeg(&scene(64, 64));
    let frame = plain
        .windows(2)
        .position(|two| two == [0xff, 0xc0])
        .unwrap();
    for (offset, value, words) in [
        (1, 0xc3, "lossless"),
        (1, 0xc9, "arithmetically"),
        (4, 12, "12 bits"),
        (11, 0x31, "third"),
    ] {
        let mut file = plain.clone();
        file[frame + offset] = value;
        let (reason, detail) = reason(&file).unwrap_err();
        assert_eq!(reason, Reason::UnsupportedFormat, "{detail}");
        assert!(detail.contains(words), "{detail}");
    }
}

#[test]
fn stray_bytes_between_the_headers_of_a_jpeg_do_no_harm_and_hide_none() {
    let file = jpeg(&scene(160, 120));
    let tables = file.windows(2).position(|two| two == [0xff, 0xc4]).unwrap();
    let stray = [&file[..tables], b"some camera's idea", &file[tables..]].concat();
    let photo = |file: &[u8]| prepare(file, &Limits::default()).unwrap();
    assert_eq!(photo(&stray), photo(&file));
    let closed = [&stray[..stray.len() * 2 / 3], b"\xff\xd9"].concat();
    assert_eq!(reason(&closed).unwrap_err().0, Reason::Corrupt);
}
