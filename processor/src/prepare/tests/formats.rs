//! Every kind of file that is read gives the picture that it holds.

use png::{BitDepth, ColorType};
use schemas::events::Photo;

use super::pictures::{
    SetUp, bmp, decoded, distance, gif, interlaced_png, jpeg, jpeg_with, png, rgb_png, scene,
    turned_jpeg, webp,
};
use crate::prepare::{Limits, prepare};
use picture::Header;
use picture::Pixels;
use picture::decode;
use picture::limits::Deadline;

fn photo(file: &[u8]) -> Photo {
    prepare(file, &Limits::default()).unwrap()
}

/// The finished picture is the expected one, within what two passes of JPEG lose.
fn assert_shows(photo: &Photo, expected: &Pixels, what: &str) {
    let shown = decoded(&photo.jpeg);
    assert_eq!(
        (photo.width, photo.height),
        (shown.width, shown.height),
        "{what}"
    );
    let (mean, _) = distance(&shown, expected);
    assert!(mean < 4.0, "{what}: {mean} levels off in the mean");
}

#[test]
fn each_format_is_named_and_shows_its_picture() {
    let scene = scene(200, 160);
    let files = [
        ("jpeg", jpeg(&scene)),
        (
            "jpeg",
            jpeg_with(&scene, |encoder| encoder.set_progressive(true)),
        ),
        (
            "jpeg",
            jpeg_with(&scene, |encoder| encoder.set_restart_interval(4)),
        ),
        ("png", rgb_png(&scene)),
        ("webp", webp(&scene)),
        ("gif", gif(&scene, 1)),
        ("bmp", bmp(&scene)),
    ];
    for (format, file) in &files {
        let photo = photo(file);
        let original = photo.original.clone().unwrap();
        assert_eq!(original.format, *format);
        assert_eq!((original.width, original.height), (200, 160));
        assert_shows(&photo, &scene, format);
    }
    assert_eq!(files.len(), 7);
}

#[test]
fn a_large_picture_comes_out_with_256_on_its_short_side_and_no_metadata() {
    let photo = photo(&turned_jpeg(&scene(1024, 768), 6));
    assert_eq!((photo.width, photo.height), (256, 341));
    let original = photo.original.unwrap();
    assert_eq!(
        (original.width, original.height),
        (768, 1024),
        "told upright"
    );
    for marker in [0xe1, 0xe2, 0xed, 0xfe] {
        let found = photo.jpeg.windows(2).any(|two| two == [0xff, marker]);
        assert!(!found, "the finished JPEG has a segment 0x{marker:x}");
    }
}

#[test]
fn all_eight_orientations_come_out_upright() {
    let upright = scene(96, 64);
    for number in 1..=8 {
        // The file that a camera held this way would have written.
        let stored_from = |x: u32, y: u32, w: u32, h: u32| match number {
            2 => (w - 1 - x, y),
            3 => (w - 1 - x, h - 1 - y),
            4 => (x, h - 1 - y),
            5 => (y, x),
            6 => (y, w - 1 - x),
            7 => (h - 1 - y, w - 1 - x),
            8 => (h - 1 - y, x),
            _ => (x, y),
        };
        let (width, height) = if number >= 5 { (64, 96) } else { (96, 64) };
        let mut stored = Pixels::new(width, height);
        for y in 0..64 {
            for x in 0..96 {
                let (to_x, to_y) = stored_from(x, y, 96, 64);
                let from = (y * 96 + x) as usize * 3;
                let to = (to_y * width + to_x) as usize * 3;
                stored.rgb[to..to + 3].copy_from_slice(&upright.rgb[from..from + 3]);
            }
        }
        let photo = photo(&turned_jpeg(&stored, number));
        assert_shows(&photo, &upright, &format!("orientation {number}"));
    }
}

#[test]
fn grey_pictures_have_no_colour_whatever_their_file() {
    let scene = scene(120, 100);
    let gray: Vec<u8> = scene.rgb.as_chunks::<3>().0.iter().map(|p| p[1]).collect();
    let expected = Pixels {
        rgb: gray.iter().flat_map(|v| [*v; 3]).collect(),
        ..scene
    };
    let mut as_jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut as_jpeg, 92)
        .encode(&gray, 120, 100, jpeg_encoder::ColorType::Luma)
        .unwrap();
    let as_png = png(
        (120, 100),
        ColorType::Grayscale,
        BitDepth::Eight,
        &gray,
        |_| {},
    );
    for file in [as_jpeg, as_png, rgb_png(&expected)] {
        let photo = photo(&file);
        assert_shows(&photo, &expected, "grey");
        assert_eq!(photo.scores.unwrap().grayscale, 0.0);
    }
    let colour = prepare(
        &rgb_png(&super::pictures::scene(120, 100)),
        &Limits::default(),
    );
    assert_eq!(colour.unwrap().scores.unwrap().grayscale, 1.0);
}

#[test]
fn cmyk_and_ycck_jpegs_show_their_colours() {
    let scene = scene(96, 80);
    let cmyk: Vec<u8> = scene
        .rgb
        .as_chunks::<3>()
        .0
        .iter()
        .flat_map(|rgb| {
            let [r, g, b] = rgb.map(|v| 255 - v);
            [r, g, b, 0]
        })
        .collect();
    for colour in [
        jpeg_encoder::ColorType::Cmyk,
        jpeg_encoder::ColorType::CmykAsYcck,
    ] {
        let mut file = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut file, 95);
        encoder.encode(&cmyk, 96, 80, colour).unwrap();
        assert_shows(&photo(&file), &scene, &format!("{colour:?}"));
    }
}

#[test]
fn sixteen_bits_palettes_and_small_depths_are_read() {
    let scene = scene(64, 48);
    let wide: Vec<u8> = scene.rgb.iter().flat_map(|v| [*v, 0x5a]).collect();
    let file = png((64, 48), ColorType::Rgb, BitDepth::Sixteen, &wide, |_| {});
    assert_shows(&photo(&file), &scene, "16 bits");

    let indices: Vec<u8> = (0..64 * 48)
        .map(|i| (i % 64 / 16 + i / 64 / 24 * 4) as u8)
        .collect();
    let palette: Vec<u8> = (0..8u8).flat_map(|i| [i * 32, 255 - i * 20, 90]).collect();
    let expected = Pixels {
        rgb: indices
            .iter()
            .flat_map(|i| palette[usize::from(*i) * 3..][..3].to_vec())
            .collect(),
        width: 64,
        height: 48,
    };
    let file = png(
        (64, 48),
        ColorType::Indexed,
        BitDepth::Eight,
        &indices,
        |info| {
            info.palette = Some(palette.into());
        },
    );
    assert_shows(&photo(&file), &expected, "palette");

    // Eight columns to a byte: the left half of each is white.
    let bits = vec![0xf0; 64 / 8 * 48];
    let file = png((64, 48), ColorType::Grayscale, BitDepth::One, &bits, |_| {});
    let stripes = Pixels {
        rgb: (0..64 * 48)
            .flat_map(|i| [if i % 8 < 4 { 255 } else { 0 }; 3])
            .collect(),
        width: 64,
        height: 48,
    };
    assert_shows(&photo(&file), &stripes, "one bit");
}

#[test]
fn transparency_is_laid_on_white() {
    let scene = scene(64, 64);
    let alphas = |i: usize| [0, 128, 255][i % 64 / 22];
    let rgba: Vec<u8> = scene
        .rgb
        .as_chunks::<3>()
        .0
        .iter()
        .enumerate()
        .flat_map(|(i, [r, g, b])| [*r, *g, *b, alphas(i)])
        .collect();
    let over_white = |i: usize, v: u8| {
        let alpha = f64::from(alphas(i)) / 255.0;
        (f64::from(v) * alpha + 255.0 * (1.0 - alpha)).round() as u8
    };
    let expected = Pixels {
        rgb: (0..64 * 64 * 3)
            .map(|i| over_white(i / 3, scene.rgb[i]))
            .collect(),
        ..scene
    };
    let as_png = png((64, 64), ColorType::Rgba, BitDepth::Eight, &rgba, |_| {});
    let mut as_webp = Vec::new();
    image::codecs::webp::WebPEncoder::new_lossless(&mut as_webp)
        .encode(&rgba, 64, 64, image::ExtendedColorType::Rgba8)
        .unwrap();
    let hashes = [as_png, as_webp].map(|file| {
        let photo = photo(&file);
        assert_shows(&photo, &expected, "transparency");
        photo.pixel_sha256
    });
    let flattened = photo(&rgb_png(&expected)).pixel_sha256;
    assert_eq!(hashes, [flattened.clone(), flattened]);
}

#[test]
fn an_interlaced_png_is_put_together() {
    let scene = scene(37, 29);
    let photo = photo(&interlaced_png(&scene));
    assert_shows(&photo, &scene, "interlaced");
    assert_eq!(
        photo.pixel_sha256,
        self::photo(&rgb_png(&scene)).pixel_sha256
    );
}

#[test]
fn every_sampling_and_coding_of_jpeg_shows_its_picture() {
    use jpeg_encoder::SamplingFactor;
    let set_ups: [(&str, SetUp); 4] = [
        ("baseline", |_| {}),
        ("restarts", |encoder| encoder.set_restart_interval(3)),
        ("progressive", |encoder| encoder.set_progressive(true)),
        ("one scan a channel", |encoder| {
            encoder.set_optimized_huffman_tables(true)
        }),
    ];
    let samplings = [
        SamplingFactor::R_4_4_4,
        SamplingFactor::R_4_2_2,
        SamplingFactor::R_4_4_0,
        SamplingFactor::R_4_2_0,
        SamplingFactor::F_4_1,
        SamplingFactor::F_4_2,
        SamplingFactor::F_1_4,
        SamplingFactor::F_2_4,
    ];
    let mut num_files = 0;
    for (width, height) in [(192, 160), (203, 97)] {
        let scene = scene(width, height);
        for (coding, set_up) in set_ups {
            for sampling in samplings {
                let file = jpeg_with(&scene, |encoder| {
                    encoder.set_sampling_factor(sampling);
                    set_up(encoder);
                });
                let shown = decoded_by(&file);
                let (mean, _) = distance(&shown, &scene);
                // What is lost in colour grows with the factor; a wrong row costs 100.
                assert!(mean < 6.0, "{coding} {sampling:?} {width}: {mean}");
                num_files += 1;
            }
        }
    }
    assert_eq!(num_files, 64);
}

/// The stored picture as our own decoding has it.
fn decoded_by(file: &[u8]) -> Pixels {
    let limits = Limits::default();
    let header = Header::read(file, &limits).unwrap();
    let deadline = Deadline::after(limits.deadline);
    decode::decode(file, &header, deadline).unwrap()
}
