//! What comes out is the picture: compared with what was encoded, with full
//! decodes of real photos by zune-jpeg, and with the same picture coded otherwise.

#![allow(clippy::unwrap_used)]

mod pictures;

use jpeg_encoder::SamplingFactor;
use pictures::{
    Encoding, Full, MAX_PIXELS, decode_full, encode, encode_pixels, pixels, psnr, real_photos,
};
use scaled_jpeg::{Buffers, Error, Header, Layout, Scale, decode};

const DIVISORS: [(Scale, usize); 3] = [(Scale::Eighth, 8), (Scale::Quarter, 4), (Scale::Half, 2)];

const SAMPLINGS: [SamplingFactor; 12] = [
    SamplingFactor::F_1_1,
    SamplingFactor::F_2_1,
    SamplingFactor::F_1_2,
    SamplingFactor::F_2_2,
    SamplingFactor::F_4_1,
    SamplingFactor::F_4_2,
    SamplingFactor::F_1_4,
    SamplingFactor::F_2_4,
    SamplingFactor::R_4_4_0,
    SamplingFactor::R_4_2_2,
    SamplingFactor::R_4_2_0,
    SamplingFactor::R_4_1_1,
];

/// Encodings of one size that say the same by other codes.
fn variants(width: u16, height: u16, sampling: SamplingFactor) -> Vec<Encoding> {
    let plain = Encoding {
        width,
        height,
        grey: false,
        sampling,
        progressive: false,
        restart_interval: 0,
        optimised: false,
        quality: 85,
    };
    let mut variants = vec![plain];
    for optimised in [false, true] {
        for progressive in [false, true] {
            // The encoder forgets restarts when it counts for optimised tables.
            let intervals: &[u16] = if optimised { &[0] } else { &[0, 1, 3, 50] };
            for &restart_interval in intervals {
                variants.push(Encoding {
                    progressive,
                    optimised,
                    restart_interval,
                    ..plain
                });
            }
        }
    }
    variants
}

#[test]
fn the_coding_does_not_change_a_pixel() {
    let mut buffers = Buffers::new(MAX_PIXELS);
    let mut num_compared = 0;
    for sampling in SAMPLINGS {
        for (width, height) in [(1, 1), (8, 8), (17, 33), (40, 16), (97, 203)] {
            for (scale, _) in DIVISORS {
                let mut first: Option<Vec<u8>> = None;
                for encoding in variants(width, height, sampling) {
                    let jpeg = encode(&encoding);
                    let picture = decode(&jpeg, scale, &mut buffers)
                        .unwrap_or_else(|error| panic!("{encoding:?} {scale:?}: {error}"));
                    let first = first.get_or_insert_with(|| picture.pixels.to_vec());
                    assert!(first == picture.pixels, "{encoding:?} {scale:?}");
                    num_compared += 1;
                }
            }
        }
    }
    println!("{num_compared} pictures compared");
    assert_eq!(num_compared, 12 * 5 * 3 * 11);
}

#[test]
fn long_scans_do_not_depend_on_restart_markers() {
    // Without restart markers, where stretches start is guessed; flat areas, in
    // which all blocks have the same code, are where guessing is hardest.
    let (width, height) = (1100, 900);
    let mut buffers = Buffers::new(MAX_PIXELS);
    let mut num_compared = 0;
    for grey in [false, true] {
        let channels = if grey { 1 } else { 3 };
        let busy = pixels(width, height, grey);
        let flat = vec![200; busy.len()];
        let row = usize::from(width) * channels;
        let half_flat: Vec<u8> = busy
            .iter()
            .enumerate()
            .map(|(at, &sample)| if at / row % 300 < 150 { sample } else { 90 })
            .collect();
        for (pixels, quality) in [(&busy, 95), (&busy, 40), (&flat, 90), (&half_flat, 90)] {
            for sampling in [
                SamplingFactor::F_1_1,
                SamplingFactor::F_2_2,
                SamplingFactor::F_2_1,
            ] {
                for (scale, _) in DIVISORS {
                    let mut first: Option<Vec<u8>> = None;
                    for restart_interval in [0, 1, 13, 500] {
                        let encoding = Encoding {
                            grey,
                            restart_interval,
                            quality,
                            ..variants(width, height, sampling)[0]
                        };
                        let jpeg = encode_pixels(&encoding, pixels);
                        let picture = decode(&jpeg, scale, &mut buffers).unwrap();
                        let first = first.get_or_insert_with(|| picture.pixels.to_vec());
                        assert!(first == picture.pixels, "{encoding:?} {scale:?}");
                        assert_eq!(picture.cut, None);
                        num_compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(num_compared, 2 * 4 * 3 * 3 * 4);
}

/// The pixels that were encoded.
fn original(encoding: &Encoding) -> Full {
    Full {
        width: encoding.width.into(),
        height: encoding.height.into(),
        channels: if encoding.grey { 1 } else { 3 },
        pixels: pixels(encoding.width, encoding.height, encoding.grey),
    }
}

#[test]
fn made_pictures_of_every_small_size_look_like_the_original() {
    let mut buffers = Buffers::new(MAX_PIXELS);
    let mut num_compared = 0;
    let mut lowest = [f64::MAX; 3];
    for size in 1..=40 {
        for (width, height) in [(size, 41 - size), (size, size), (40, size)] {
            for grey in [false, true] {
                let sampling = SAMPLINGS[usize::from(size) % SAMPLINGS.len()];
                let encoding = Encoding {
                    grey,
                    progressive: size % 2 == 0,
                    ..variants(width, height, sampling)[0]
                };
                let jpeg = encode(&encoding);
                let original = original(&encoding);
                for ((scale, divisor), lowest) in DIVISORS.into_iter().zip(&mut lowest) {
                    let picture = decode(&jpeg, scale, &mut buffers).unwrap();
                    assert_eq!(picture.width as usize, original.width.div_ceil(divisor));
                    assert_eq!(picture.height as usize, original.height.div_ceil(divisor));
                    assert_eq!(picture.layout == Layout::Gray8, grey);
                    let near = psnr(picture.pixels, &original.averaged(divisor));
                    assert!(near > 19.0, "{encoding:?} {scale:?}: {near:.1} dB");
                    *lowest = lowest.min(near);
                    num_compared += 1;
                }
            }
        }
    }
    println!("{num_compared} pictures, lowest at 1/8, 1/4, 1/2: {lowest:.1?} dB");
    assert_eq!(num_compared, 40 * 3 * 2 * 3);
}

#[test]
fn larger_made_pictures_look_like_the_original() {
    let mut buffers = Buffers::new(MAX_PIXELS);
    for sampling in SAMPLINGS {
        let encoding = variants(400, 304, sampling)[0];
        let jpeg = encode(&encoding);
        for (scale, divisor) in DIVISORS {
            let picture = decode(&jpeg, scale, &mut buffers).unwrap();
            let near = psnr(picture.pixels, &original(&encoding).averaged(divisor));
            println!("{sampling:?} {scale:?}: {near:.1} dB");
            // Sharp-edged colours, sampled down by up to 4 and once more by 8.
            assert!(near > 24.0, "{encoding:?} {scale:?}: {near:.1} dB");
        }
    }
}

#[test]
fn real_photos_match_a_full_decode() {
    let photos = real_photos();
    if photos.is_empty() {
        println!("skipped: no photos on this machine");
        return;
    }
    let mut buffers = Buffers::new(MAX_PIXELS);
    let mut num_compared = 0;
    let mut num_other_decoder_fails = 0;
    let mut luma = [Nearness::default(); 3];
    let mut colour = [Nearness::default(); 3];
    for path in &photos {
        let jpeg = std::fs::read(path).unwrap();
        let header = Header::read(&jpeg).unwrap();
        if let Err(Error::Unsupported(what)) = header.check_supported() {
            println!("not decoded, {what}: {}", path.display());
            continue;
        }
        let (Some(full), Some(grey)) = (
            decode_full(&jpeg, header.components.into()),
            decode_full(&jpeg, 1),
        ) else {
            num_other_decoder_fails += 1;
            continue;
        };
        for (at, (scale, divisor)) in DIVISORS.into_iter().enumerate() {
            let picture = decode(&jpeg, scale, &mut buffers);
            let picture = picture.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!((picture.width, picture.height), header.size_at(scale));
            colour[at].count(psnr(picture.pixels, &full.averaged(divisor)));

            let expected = grey.lowest_frequencies(8 / divisor);
            let found = picture.luma.unwrap();
            let found = found
                .rows()
                .zip(&expected)
                .flat_map(|(row, expected)| &row[..expected.len()]);
            let found: Vec<u8> = found.copied().collect();
            let near = psnr(&found, &expected.concat());
            assert!(near > 30.0, "{} {scale:?}: {near:.1} dB", path.display());
            luma[at].count(near);
        }
        num_compared += 1;
    }
    println!(
        "{num_compared} of {} photos, {num_other_decoder_fails} that zune-jpeg does not read; dB at 1/8, 1/4, 1/2:",
        photos.len()
    );
    println!("luma beside the lowest frequencies of a full decode: {luma:.1?}");
    println!("all beside the averages of a full decode: {colour:.1?}");
    assert!(num_compared > photos.len() * 9 / 10);
    assert!(luma.iter().all(|luma| luma.mean() > 50.0));
    assert!(colour.iter().all(|colour| colour.mean() > 36.0));
}

/// PSNR of many pictures.
#[derive(Clone, Copy, Default)]
struct Nearness {
    sum: f64,
    count: f64,
    lowest: Option<f64>,
}

impl Nearness {
    fn count(&mut self, psnr: f64) {
        // Equal pictures would outweigh all others.
        self.sum += psnr.min(70.0);
        self.count += 1.0;
        self.lowest = Some(self.lowest.map_or(psnr, |lowest| lowest.min(psnr)));
    }

    fn mean(&self) -> f64 {
        self.sum / self.count
    }
}

impl std::fmt::Debug for Nearness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lowest = self.lowest.unwrap_or_default();
        write!(f, "mean {:.1} lowest {lowest:.1}", self.mean())
    }
}

#[test]
fn luma_is_the_mean_of_each_block() {
    let encoding = Encoding {
        grey: true,
        quality: 100,
        ..variants(320, 240, SamplingFactor::F_1_1)[0]
    };
    let jpeg = encode(&encoding);
    let mut buffers = Buffers::new(MAX_PIXELS);
    let picture = decode(&jpeg, Scale::Eighth, &mut buffers).unwrap();
    let luma: Vec<u8> = picture.luma.unwrap().rows().flatten().copied().collect();
    assert!(luma == picture.pixels);
    let original = pixels(320, 240, true);
    for (at, &found) in luma.iter().enumerate() {
        let (left, top) = (at % 40 * 8, at / 40 * 8);
        let block = (0..64).map(|i| f64::from(original[(top + i / 8) * 320 + left + i % 8]));
        assert!((block.sum::<f64>() / 64.0 - f64::from(found)).abs() < 0.8);
    }
}

#[test]
fn headers_tell_what_was_encoded() {
    for encoding in variants(123, 45, SamplingFactor::F_2_1) {
        let jpeg = encode(&encoding);
        let header = Header::read(&jpeg).unwrap();
        assert_eq!(
            (header.width, header.height, header.components),
            (123, 45, 3)
        );
        assert_eq!(header.restart_interval, encoding.restart_interval);
        assert_eq!(header.sampling[0].horizontal, 2);
        assert_eq!(header.sampling[0].vertical, 1);
        assert!(
            (header.quality.unwrap() - 85.0).abs() < 1.5,
            "{:?}",
            header.quality
        );
        assert_eq!(header.size_at(Scale::Eighth), (16, 6));
        assert_eq!(Scale::smallest_covering(&header, 6), Some(Scale::Eighth));
        assert_eq!(Scale::smallest_covering(&header, 7), Some(Scale::Quarter));
        assert_eq!(Scale::smallest_covering(&header, 23), Some(Scale::Half));
        assert_eq!(Scale::smallest_covering(&header, 24), None);
        let scan = jpeg
            .windows(2)
            .position(|pair| pair == [0xff, 0xda])
            .unwrap();
        let length = usize::from(jpeg[scan + 2]) * 256 + usize::from(jpeg[scan + 3]);
        assert_eq!(header.first_scan, scan + 2 + length);
    }
}

#[test]
fn blur_shows_in_the_detail() {
    let size = 512_u16;
    let sharp = pixels(size, size, true);
    let side = usize::from(size);
    let mut blurred = sharp.clone();
    for y in 4..side - 4 {
        for x in 4..side - 4 {
            let window = (0..81).map(|i| u32::from(sharp[(y + i / 9 - 4) * side + x + i % 9 - 4]));
            blurred[y * side + x] = (window.sum::<u32>() / 81) as u8;
        }
    }
    let mut buffers = Buffers::new(MAX_PIXELS);
    let mut detail = |pixels: &[u8]| {
        let mut jpeg = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
        encoder
            .encode(pixels, size, size, jpeg_encoder::ColorType::Luma)
            .unwrap();
        decode(&jpeg, Scale::Eighth, &mut buffers)
            .unwrap()
            .detail
            .unwrap()
    };
    let (sharp, blurred) = (detail(&sharp), detail(&blurred));
    println!(
        "mean end sharp {:.1}, blurred {:.1}",
        sharp.mean_end(),
        blurred.mean_end()
    );
    assert_eq!(sharp.num_blocks(), 64 * 64);
    assert!(sharp.mean_end() > 2.0 * blurred.mean_end());
    assert!(sharp.quantile(0.9) > blurred.quantile(0.9));
}

#[test]
fn what_is_not_decoded_is_named() {
    let mut jpeg = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
    encoder
        .encode(&[99; 16 * 16 * 4], 16, 16, jpeg_encoder::ColorType::Cmyk)
        .unwrap();
    let mut buffers = Buffers::new(MAX_PIXELS);
    assert_eq!(Header::read(&jpeg).unwrap().components, 4);
    let refused = decode(&jpeg, Scale::Half, &mut buffers).unwrap_err();
    assert_eq!(refused, Error::Unsupported("four colour components"));

    let mut small = Buffers::new(100 * 99);
    let jpeg = encode(&variants(100, 100, SamplingFactor::F_1_1)[0]);
    let refused = decode(&jpeg, Scale::Half, &mut small).unwrap_err();
    let too_large = Error::TooLarge {
        pixels: 10_000,
        limit: 9_900,
    };
    assert_eq!(refused, too_large);
}
