//! Which files count as the same picture, and that judging is repeatable.

use super::pictures::{exif, jpeg, jpeg_with, rgb_png, scene, turned_jpeg, webp, with_chunk};
use crate::prepare::{Limits, prepare};
use picture::exif::Orientation;

fn pixel_hash(file: &[u8]) -> bytes::Bytes {
    prepare(file, &Limits::default())
        .unwrap()
        .pixel_sha256
        .into()
}

#[test]
fn metadata_written_anew_leaves_the_hash_as_it_was() {
    let scene = scene(640, 480);
    let plain = jpeg(&scene);
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let tagged = jpeg_with(&scene, |encoder| {
        encoder.add_exif_metadata(&exif(1)).unwrap();
        encoder
            .add_app_segment(13, b"Photoshop 3.0".to_vec())
            .unwrap();
        encoder.add_icc_profile(&profile).unwrap();
    });
    let with_trailer = [&plain[..], b"a video behind the picture"].concat();
    assert_eq!(pixel_hash(&plain), pixel_hash(&tagged));
    assert_eq!(pixel_hash(&plain), pixel_hash(&with_trailer));

    let png = rgb_png(&scene);
    let commented = with_chunk(&png, b"tEXt", b"Comment\0where it was taken");
    assert_eq!(pixel_hash(&png), pixel_hash(&commented));
    assert_eq!(
        pixel_hash(&png),
        pixel_hash(&webp(&scene)),
        "another container"
    );
}

#[test]
fn an_orientation_that_was_baked_in_without_loss_leaves_the_hash_as_it_was() {
    let stored = scene(300, 200);
    let png = rgb_png(&stored);
    for number in 1..=8 {
        let tagged = with_chunk(&png, b"eXIf", &exif(number));
        let baked = rgb_png(&stored.clone().upright(Orientation::from_exif(number)));
        assert_eq!(
            pixel_hash(&tagged),
            pixel_hash(&baked),
            "orientation {number}"
        );
    }
}

#[test]
fn another_picture_or_another_turn_has_another_hash() {
    let scene = scene(300, 200);
    let file = rgb_png(&scene);
    let mut changed = scene.clone();
    changed.rgb[70_000] ^= 1;
    assert_ne!(pixel_hash(&file), pixel_hash(&rgb_png(&changed)));
    assert_ne!(
        pixel_hash(&turned_jpeg(&scene, 1)),
        pixel_hash(&turned_jpeg(&scene, 3))
    );
}

#[test]
fn the_same_file_gives_the_same_photo_every_time() {
    let file = turned_jpeg(&scene(900, 700), 8);
    let first = prepare(&file, &Limits::default()).unwrap();
    for _ in 0..3 {
        assert_eq!(prepare(&file, &Limits::default()).unwrap(), first);
    }
}

#[test]
fn what_a_phone_finds_is_what_the_row_has() {
    let scene = scene(900, 700);
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let wide = jpeg_with(&scene, |encoder| {
        encoder.add_icc_profile(&profile).unwrap();
    });
    let turned = (1..=8).map(|orientation| turned_jpeg(&scene, orientation));
    let files = turned.chain([wide, rgb_png(&scene), webp(&scene)]);
    let limits = Limits::default();
    let mut hashes = std::collections::BTreeSet::new();
    for file in files {
        let row = prepare(&file, &limits).unwrap();
        let phone = picture::look(&file, &limits).unwrap();
        assert_eq!(phone.phash, row.phash);
        assert_eq!(Some(phone.scores), row.scores);
        hashes.insert(row.phash);
    }
    assert!(hashes.len() >= 8, "a picture that is turned is another one");
}

#[test]
fn a_colour_profile_changes_the_finished_picture() {
    let scene = scene(200, 150);
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let wide = jpeg_with(&scene, |encoder| {
        encoder.add_icc_profile(&profile).unwrap();
    });
    let limits = Limits::default();
    let plain = prepare(&jpeg(&scene), &limits).unwrap();
    let converted = prepare(&wide, &limits).unwrap();
    assert_ne!(plain.jpeg, converted.jpeg);
    let too_large = Limits {
        max_profile_bytes: 100,
        ..limits
    };
    let ignored = prepare(&wide, &too_large).unwrap();
    assert_eq!(
        plain.jpeg, ignored.jpeg,
        "a profile over its limit is not read"
    );
}
