//! Each limit refuses by the header alone, with the numbers, and before any memory.

use std::time::{Duration, Instant};

use schemas::Reason;
use schemas::events::Rejection;

use super::pictures::{gif, jpeg, jpeg_with, rgb_png, scene, webp, with_chunk};
use crate::prepare::{Limits, prepare};

fn refused(file: &[u8], limits: &Limits) -> (Reason, Rejection) {
    let rejection = prepare(file, limits).unwrap_err();
    (Reason::from_name(&rejection.reason).unwrap(), rejection)
}

/// A PNG that says another size than it has.
fn forged_png(width: u32, height: u32) -> Vec<u8> {
    let mut file = rgb_png(&scene(32, 32));
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    file
}

#[test]
fn forged_sizes_cost_nothing_and_are_told() {
    let limits = Limits::default();
    let mut bitmap = super::pictures::bmp(&scene(32, 32));
    bitmap[18..22].copy_from_slice(&90_000i32.to_le_bytes());
    bitmap[22..26].copy_from_slice(&(-90_000i32).to_le_bytes());
    let mut photo = jpeg(&scene(32, 32));
    let frame = photo
        .windows(2)
        .position(|two| two == [0xff, 0xc0])
        .unwrap();
    photo[frame + 5..frame + 9].fill(0xff);
    let files = [
        (forged_png(90_000, 90_000), (90_000, 90_000)),
        (forged_png(u32::MAX, u32::MAX), (u32::MAX, u32::MAX)),
        (bitmap, (90_000, 90_000)),
        (photo, (65_535, 65_535)),
    ];
    for (file, (width, height)) in files {
        let began = Instant::now();
        let (reason, rejection) = refused(&file, &limits);
        assert_eq!(reason, Reason::TooManyPixels, "{}", rejection.detail);
        assert!(rejection.detail.contains(&format!("{width} x {height}")));
        let original = rejection.original.unwrap();
        assert_eq!((original.width, original.height), (width, height));
        assert!(began.elapsed() < Duration::from_millis(200));
    }
}

#[test]
fn a_forged_size_within_the_limits_is_damage() {
    let limits = Limits::default();
    assert_eq!(refused(&forged_png(6000, 6000), &limits).0, Reason::Corrupt);
}

#[test]
fn too_small_too_long_and_empty_shapes_are_told() {
    let limits = Limits::default();
    for (width, height, expected) in [
        (15, 400, Reason::TooSmall),
        (400, 15, Reason::TooSmall),
        (1, 1, Reason::TooSmall),
        (20, 20 * 13, Reason::ExtremeAspectRatio),
        (0, 100, Reason::Corrupt),
    ] {
        let (reason, rejection) = refused(&forged_png(width, height), &limits);
        assert_eq!(reason, expected, "{width} x {height}: {}", rejection.detail);
    }
    for (width, height) in [(16, 16), (16, 192)] {
        assert!(prepare(&rgb_png(&scene(width, height)), &limits).is_ok());
    }
}

#[test]
fn more_than_one_frame_is_animated_and_one_is_not() {
    let limits = Limits::default();
    let scene = scene(40, 30);
    assert_eq!(refused(&gif(&scene, 2), &limits).0, Reason::Animated);
    assert!(prepare(&gif(&scene, 1), &limits).is_ok());

    let png = rgb_png(&scene);
    let animation = |num: u32| with_chunk(&png, b"acTL", &[num.to_be_bytes(), [0; 4]].concat());
    assert_eq!(refused(&animation(7), &limits).0, Reason::Animated);

    // Two frames, by their chunks alone: the header is enough.
    let still = webp(&scene);
    let picture = &still[12..];
    let frame = [
        b"ANMF",
        &(picture.len() as u32 + 16).to_le_bytes()[..],
        &[0; 16],
        picture,
    ]
    .concat();
    let body = [
        b"WEBPVP8X\x0a\0\0\0\x02\0\0\0\x27\0\0\x1d\0\0",
        &frame[..],
        &frame,
    ]
    .concat();
    let animated = [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat();
    let (reason, rejection) = refused(&animated, &limits);
    assert_eq!(reason, Reason::Animated, "{}", rejection.detail);
    assert!(rejection.detail.contains("2 frames"));
}

#[test]
fn a_progressive_jpeg_costs_its_coefficients_too() {
    let scene = scene(480, 400);
    let limits = Limits {
        max_decode_bytes: 480 * 400 * 3 + (1 << 19),
        ..Limits::default()
    };
    assert!(prepare(&jpeg(&scene), &limits).is_ok());
    let progressive = jpeg_with(&scene, |encoder| encoder.set_progressive(true));
    let (reason, rejection) = refused(&progressive, &limits);
    assert_eq!(reason, Reason::DecodeMemory, "{}", rejection.detail);
    assert!(prepare(&progressive, &Limits::default()).is_ok());

    // A large one is decoded at a fraction of its size and costs a fraction.
    let large = jpeg_with(&super::pictures::scene(2600, 2100), |encoder| {
        encoder.set_progressive(true);
    });
    let limits = Limits {
        max_decode_bytes: 2600 * 2100,
        ..limits
    };
    assert!(prepare(&large, &limits).is_ok());
}

#[test]
fn text_that_would_inflate_to_a_gigabyte_is_stepped_over() {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        std::io::Write::write_all(&mut packed, &zeros).unwrap();
    }
    let packed = packed.finish().unwrap();
    let png = rgb_png(&scene(64, 64));
    let text = with_chunk(&png, b"zTXt", &[b"Comment\0\0", &packed[..]].concat());
    let profile = with_chunk(&png, b"iCCP", &[b"profile\0\0", &packed[..]].concat());
    let plain = prepare(&png, &Limits::default()).unwrap();
    for file in [text, profile] {
        let began = Instant::now();
        assert_eq!(prepare(&file, &Limits::default()).unwrap(), plain);
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn a_photo_past_its_deadline_says_so() {
    let limits = Limits {
        deadline: Duration::ZERO,
        ..Limits::default()
    };
    let scene = scene(500, 400);
    for file in [jpeg(&scene), rgb_png(&scene), webp(&scene)] {
        let (reason, rejection) = refused(&file, &limits);
        assert_eq!(reason, Reason::DecodeDeadline, "{}", rejection.detail);
        assert_eq!(rejection.original.unwrap().width, 500);
    }
}
