//! Whatever the bytes are, the answer is a picture of the right size or an error
//! that says where: never a panic, never an endless loop.

#![allow(clippy::unwrap_used)]

mod pictures;

use std::time::{Duration, Instant};

use jpeg_encoder::SamplingFactor;
use pictures::{Encoding, MAX_PIXELS, Random, encode, files_below, real_photos};
use scaled_jpeg::{Buffers, Error, Header, Scale, decode};

fn small_files() -> Vec<Vec<u8>> {
    let plain = Encoding {
        width: 150,
        height: 120,
        grey: false,
        sampling: SamplingFactor::F_2_2,
        progressive: false,
        restart_interval: 0,
        optimised: false,
        quality: 80,
    };
    let encodings = [
        plain,
        Encoding {
            restart_interval: 7,
            ..plain
        },
        Encoding {
            progressive: true,
            ..plain
        },
        Encoding {
            progressive: true,
            restart_interval: 5,
            ..plain
        },
        Encoding {
            grey: true,
            optimised: true,
            ..plain
        },
        Encoding {
            sampling: SamplingFactor::F_4_1,
            optimised: true,
            ..plain
        },
        Encoding {
            sampling: SamplingFactor::F_1_1,
            progressive: true,
            grey: true,
            ..plain
        },
    ];
    encodings.iter().map(encode).collect()
}

/// Decodes at a scale, and checks what there is to check of any outcome.
fn check(jpeg: &[u8], scale: Scale, buffers: &mut Buffers) -> Result<Option<usize>, Error> {
    let result = decode(jpeg, scale, buffers);
    let header = Header::read(jpeg);
    match result {
        Ok(picture) => {
            let size = header.unwrap().size_at(scale);
            assert_eq!((picture.width, picture.height), size);
            assert_eq!(picture.pixels.len() % (size.0 * size.1) as usize, 0);
            Ok(picture.cut)
        }
        Err(error) => {
            match error {
                Error::Truncated { at_byte, .. } => assert!(at_byte <= jpeg.len()),
                Error::Corrupt { offset, .. } => assert!(offset <= jpeg.len()),
                Error::Unsupported(_) | Error::TooLarge { .. } => {}
            }
            Err(error)
        }
    }
}

/// A file cut to `length` must be noticed to be.
fn check_cut(jpeg: &[u8], length: usize, scale: Scale, buffers: &mut Buffers) {
    match check(&jpeg[..length], scale, buffers) {
        Ok(cut) => assert_eq!(
            cut,
            Some(length),
            "cut at {length} of {}, {scale:?}",
            jpeg.len()
        ),
        Err(Error::Truncated { at_byte, .. }) => {
            assert!(
                at_byte <= length && at_byte + 1 >= length,
                "{at_byte} {length}"
            );
        }
        Err(error) => panic!("cut at {length} of {}: {error}", jpeg.len()),
    }
}

#[test]
fn small_files_cut_at_every_length_are_noticed() {
    let mut buffers = Buffers::new(MAX_PIXELS);
    let mut num_cuts = 0;
    for jpeg in small_files() {
        for scale in Scale::ALL {
            assert_eq!(check(&jpeg, scale, &mut buffers), Ok(None));
            for length in 0..jpeg.len() {
                check_cut(&jpeg, length, scale, &mut buffers);
                num_cuts += 1;
            }
        }
    }
    println!("{num_cuts} cuts");
    assert!(num_cuts > 50_000, "{num_cuts}");
}

#[test]
fn photos_cut_at_every_percent_are_noticed() {
    let photos = real_photos();
    if photos.is_empty() {
        println!("skipped: no photos on this machine");
        return;
    }
    let mut buffers = Buffers::new(MAX_PIXELS);
    let mut num_cuts = 0;
    let is_large = |path: &&std::path::PathBuf| path.metadata().unwrap().len() > 1_000_000;
    let large: Vec<_> = photos.iter().filter(is_large).collect();
    let others: Vec<_> = photos.iter().step_by(100).collect();
    for path in large.into_iter().chain(others) {
        let jpeg = std::fs::read(path).unwrap();
        if Header::read(&jpeg)
            .and_then(|header| header.check_supported())
            .is_err()
        {
            continue;
        }
        let end = end_of_picture(&jpeg);
        for percent in 0..100 {
            let length = jpeg.len() * percent / 100;
            if length < end {
                check_cut(&jpeg, length, Scale::Eighth, &mut buffers);
                num_cuts += 1;
            }
        }
    }
    println!("{num_cuts} cuts");
    assert!(num_cuts > 1000, "{num_cuts}");
}

/// Length up to and with the end marker: previews and the like may follow it.
fn end_of_picture(jpeg: &[u8]) -> usize {
    let start = Header::read(jpeg).unwrap().first_scan;
    let marker = jpeg[start..]
        .windows(2)
        .position(|pair| pair == [0xff, 0xd9]);
    start + marker.unwrap() + 2
}

#[test]
fn flipped_bytes_never_panic() {
    let files = small_files();
    let mut buffers = Buffers::new(MAX_PIXELS);
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut outcomes = [0; 2];
    for round in 0..10_000 {
        let mut jpeg = files[round % files.len()].clone();
        // Half of the flips go to where headers and tables are.
        let range = if round % 2 == 0 { jpeg.len() } else { 700 };
        for _ in 0..=random.below(4) {
            let at = random.below(range);
            jpeg[at] ^= 1 + random.below(255) as u8;
        }
        let scale = Scale::ALL[random.below(3)];
        let start = Instant::now();
        let result = check(&jpeg, scale, &mut buffers);
        assert!(start.elapsed() < Duration::from_secs(20), "round {round}");
        outcomes[usize::from(result.is_ok())] += 1;
    }
    println!("{} refused, {} decoded", outcomes[0], outcomes[1]);
    assert!(outcomes.iter().all(|&count| count > 1000), "{outcomes:?}");
}

#[test]
fn flipped_bytes_in_longer_files_never_panic() {
    // Long enough for several stretches at once.
    let encodings = [SamplingFactor::F_2_2, SamplingFactor::F_1_1].map(|sampling| Encoding {
        width: 500,
        height: 400,
        grey: false,
        sampling,
        progressive: false,
        restart_interval: 0,
        optimised: sampling == SamplingFactor::F_2_2,
        quality: 85,
    });
    let files = encodings.map(|encoding| encode(&encoding));
    let mut buffers = Buffers::new(MAX_PIXELS);
    let mut random = Random(0x1234_5678_9abc_def2);
    let mut outcomes = [0; 2];
    for round in 0..2_000 {
        let mut jpeg = files[round % files.len()].clone();
        let start = Header::read(&jpeg).unwrap().first_scan;
        for _ in 0..=random.below(4) {
            let at = start + random.below(jpeg.len() - start);
            jpeg[at] ^= 1 + random.below(255) as u8;
        }
        let result = check(&jpeg, Scale::Eighth, &mut buffers);
        outcomes[usize::from(result.is_ok())] += 1;
    }
    println!("{} refused, {} decoded", outcomes[0], outcomes[1]);
    assert!(outcomes.iter().all(|&count| count > 100), "{outcomes:?}");
}

#[test]
fn tables_that_change_between_files_are_built_anew() {
    // The same buffers for all files, in both orders, give the same pixels as
    // buffers of their own.
    let files = small_files();
    let mut kept = Buffers::new(MAX_PIXELS);
    let mut num_compared = 0;
    for jpeg in files.iter().chain(files.iter().rev()) {
        for scale in Scale::ALL {
            let mut own = Buffers::new(MAX_PIXELS);
            let fresh = decode(jpeg, scale, &mut own).unwrap();
            let again = decode(jpeg, scale, &mut kept).unwrap();
            assert!(fresh.pixels == again.pixels);
            num_compared += 1;
        }
    }
    assert_eq!(num_compared, 42);
}

#[test]
fn hostile_files_do_no_harm() {
    let files = files_below("hostile");
    if files.is_empty() {
        println!("skipped: no hostile files on this machine");
        return;
    }
    let mut buffers = Buffers::new(MAX_PIXELS);
    let (mut num_jpegs, mut num_decoded) = (0, 0);
    let mut slowest = Duration::ZERO;
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        num_jpegs += usize::from(bytes.starts_with(&[0xff, 0xd8]));
        for scale in Scale::ALL {
            let start = Instant::now();
            let result = check(&bytes, scale, &mut buffers);
            slowest = slowest.max(start.elapsed());
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{}",
                path.display()
            );
            num_decoded += usize::from(result.is_ok());
        }
    }
    println!(
        "{} files, {num_jpegs} of them JPEGs, {num_decoded} of {} decodes gave a picture, slowest {slowest:.1?}",
        files.len(),
        3 * files.len(),
    );
    assert!(num_jpegs > 100, "{num_jpegs}");
}

#[test]
fn a_header_alone_takes_no_memory_and_no_time() {
    // 20,000 x 10,000 pixels announced, a few bytes of data.
    let mut jpeg = small_files().swap_remove(0);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x27, 0x10, 0x4e, 0x20]);
    let mut buffers = Buffers::new(MAX_PIXELS);
    for scale in Scale::ALL {
        let start = Instant::now();
        let refused = decode(&jpeg, scale, &mut buffers).unwrap_err();
        assert!(
            matches!(refused, Error::Truncated { mcu_row: 0, .. }),
            "{refused}"
        );
        assert!(
            start.elapsed() < Duration::from_millis(500),
            "{:?}",
            start.elapsed()
        );
    }
}
