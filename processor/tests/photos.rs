//! Real files through the public interface: every honest photo becomes a row that
//! decodes to what it says, upright, with the facts that another reader finds, and
//! near-duplicates are near.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use processor::prepare::{Limits, prepare, quality_findings};
use schemas::events::Photo;
use zune_core::bytestream::ZCursor;
use zune_jpeg::JpegDecoder;

mod data;
use data::{data, files};

fn photo(path: &Path) -> Photo {
    prepare(&std::fs::read(path).unwrap(), &Limits::default())
        .unwrap_or_else(|rejection| panic!("{}: {rejection:?}", path.display()))
}

/// The finished picture: width, height, RGB.
fn shown(photo: &Photo) -> (usize, usize, Vec<u8>) {
    let mut decoder = JpegDecoder::new(ZCursor::new(&photo.jpeg[..]));
    let rgb = decoder.decode().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    (width, height, rgb)
}

fn is_picture(path: &Path) -> bool {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    ["jpg", "jpeg", "png", "bmp", "webp"].contains(&extension.to_ascii_lowercase().as_str())
}

#[test]
fn every_real_photo_becomes_a_picture_of_the_stated_size_without_a_finding() {
    let Some(data) = data() else { return };
    let mut num_photos = 0;
    for path in files(&data.join("photos"))
        .iter()
        .filter(|path| is_picture(path))
    {
        let photo = photo(path);
        let (width, height, _) = shown(&photo);
        assert_eq!(
            (photo.width as usize, photo.height as usize),
            (width, height)
        );
        let original = photo.original.as_ref().unwrap();
        let short = original.width.min(original.height);
        assert_eq!(photo.width.min(photo.height), short.min(256), "{path:?}");
        let ratio = |w: u32, h: u32| f64::from(w) / f64::from(h);
        let stretch = ratio(photo.width, photo.height) / ratio(original.width, original.height);
        assert!((0.99..1.01).contains(&stretch), "{path:?}: {stretch}");
        assert_eq!((photo.pdq.len(), photo.pixel_sha256.len()), (32, 32));
        let finding = quality_findings(photo.scores.as_ref().unwrap());
        assert_eq!(finding, None, "{path:?}: {:?}", photo.scores);
        num_photos += 1;
    }
    println!("{num_photos} photos");
    assert!(num_photos > 1300, "only {num_photos} photos");
}

#[test]
fn the_same_photo_in_every_orientation_comes_out_alike() {
    let Some(data) = data() else { return };
    let mut groups: BTreeMap<String, Vec<Photo>> = BTreeMap::new();
    for path in files(&data.join("phone-exif/orientation-1to8")) {
        let stem = path.file_stem().unwrap().to_string_lossy().to_lowercase();
        if let Some((name, _)) = stem.split_once('_').filter(|_| is_picture(&path)) {
            groups
                .entry(name.to_owned())
                .or_default()
                .push(photo(&path));
        }
    }
    let mut num_photos = 0;
    for (name, photos) in &groups {
        let (_, _, reference) = shown(&photos[0]);
        for photo in photos {
            let is_landscape = photo.width > photo.height;
            assert_eq!(is_landscape, name == "landscape", "{name}");
            let (_, _, rgb) = shown(photo);
            let steps: u64 = rgb
                .iter()
                .zip(&reference)
                .map(|(a, b)| u64::from(a.abs_diff(*b)))
                .sum();
            let mean = steps as f64 / rgb.len() as f64;
            assert!(mean < 6.0, "{name}: {mean} levels off in the mean");
            assert!((photo.phash ^ photos[0].phash).count_ones() <= 6, "{name}");
            num_photos += 1;
        }
    }
    println!("{num_photos} photos of {} pictures", groups.len());
    assert_eq!((groups.len(), num_photos), (2, 18));
}

#[test]
fn camera_and_time_are_what_another_reader_finds() {
    let Some(data) = data() else { return };
    let (mut num_files, mut num_makes, mut num_times) = (0, 0, 0);
    for folder in ["phone-exif", "photos/phone-large"] {
        for path in files(&data.join(folder)) {
            let bytes = std::fs::read(&path).unwrap();
            let Ok(photo) = prepare(&bytes, &Limits::default()) else {
                continue;
            };
            num_files += 1;
            num_times += usize::from(photo.captured_at_us.is_some());
            assert!(
                photo
                    .camera
                    .keys()
                    .all(|key| key == "make" || key == "model")
            );
            let mut file = std::io::Cursor::new(&bytes);
            let Ok(exif) = exif::Reader::new().read_from_container(&mut file) else {
                continue;
            };
            for (name, tag) in [("make", exif::Tag::Make), ("model", exif::Tag::Model)] {
                let field = exif.get_field(tag, exif::In::PRIMARY);
                let Some(exif::Value::Ascii(texts)) = field.map(|field| &field.value) else {
                    continue;
                };
                let text = String::from_utf8_lossy(texts.first().map_or(&[], Vec::as_slice));
                let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
                let found = photo.camera.get(name).map_or("", String::as_str);
                assert!(text.starts_with(found), "{path:?}: {found:?}, not {text:?}");
                assert_eq!(found.is_empty(), text.is_empty(), "{path:?}");
                num_makes += 1;
            }
        }
    }
    println!("{num_files} files, {num_makes} names, {num_times} times");
    assert!(num_files >= 90 && num_makes >= 100 && num_times >= 60);
}

#[test]
fn copies_are_near_and_other_photos_are_far() {
    let Some(data) = data() else { return };
    let near = data.join("neardup");
    let distance = |a: &Photo, b: &Photo| {
        let pdq = a.pdq.iter().zip(&b.pdq).map(|(a, b)| (a ^ b).count_ones());
        ((a.phash ^ b.phash).count_ones(), pdq.sum::<u32>())
    };
    let base = photo(&near.join("pdq-dihedral/bridge-1-original.jpg"));
    let mut num_copies = 0;
    for folder in ["pdq-bridge-mods", "pdq-modes"] {
        for path in files(&near.join(folder))
            .iter()
            .filter(|path| is_picture(path))
        {
            // A frame around a picture makes it another one to any hash of the whole.
            if path.to_string_lossy().contains("letterboxed") {
                continue;
            }
            let (phash, pdq) = distance(&base, &photo(path));
            assert!(phash <= 6 && pdq <= 31, "{path:?}: {phash} and {pdq} bits");
            num_copies += 1;
        }
    }
    println!("{num_copies} copies");
    assert!(num_copies >= 20, "only {num_copies} copies");

    // Photos of one series can be near; of 240 photos of six things no pair is.
    let others: Vec<Photo> = files(&data.join("photos/trashnet"))
        .iter()
        .step_by(2)
        .map(|path| photo(path))
        .collect();
    let mut num_near = 0;
    for (i, a) in others.iter().enumerate() {
        for b in &others[..i] {
            let (phash, pdq) = distance(a, b);
            num_near += usize::from(phash <= 6 && pdq <= 31);
            assert_ne!(a.pixel_sha256, b.pixel_sha256);
        }
    }
    println!("{} photos, {num_near} near pairs", others.len());
    assert!(
        others.len() >= 240 && num_near <= 1,
        "{num_near} near pairs"
    );
}

#[test]
fn different_pictures_with_one_md5_are_different() {
    let Some(data) = data() else { return };
    let near = data.join("neardup");
    let mut pairs: BTreeMap<String, Vec<Photo>> = BTreeMap::new();
    for line in std::fs::read_to_string(near.join("groundtruth.csv"))
        .unwrap()
        .lines()
    {
        let mut fields = line.splitn(3, ',');
        let (path, group) = (fields.next().unwrap(), fields.next().unwrap());
        let Ok(bytes) = std::fs::read(near.join(path)) else {
            continue;
        };
        if let Ok(photo) = prepare(&bytes, &Limits::default())
            && group.starts_with("md5_")
        {
            pairs.entry(group.to_owned()).or_default().push(photo);
        }
    }
    pairs.retain(|_, photos| photos.len() == 2);
    for (group, photos) in &pairs {
        assert_ne!(photos[0].pixel_sha256, photos[1].pixel_sha256, "{group}");
        assert_ne!(photos[0].phash, photos[1].phash, "{group}");
    }
    println!("{} pairs", pairs.len());
    assert!(pairs.len() >= 5, "only {}", pairs.len());
}
