//! HEIF files made here by libheif's own encoders, put through the whole of `prepare`.
//! Damage is tried on a child process, in the executable's tests.

use libheif_rs::{
    Channel, ColorProfileNCLX, CompressionFormat, EncoderQuality, EncodingOptions, Image,
};
use schemas::events::{Photo, Rejection};

use super::*;
use crate::prepare::prepare;
use crate::prepare::tests::pictures::{decoded, distance, exif, scene};
use picture::exif::Orientation;

/// How a test's file is made.
struct Recipe {
    format: CompressionFormat,
    /// Whether the file asks its readers to turn it by a quarter, clockwise.
    is_turned: bool,
    /// What EXIF claims beside it.
    exif: Option<u16>,
}

const PLAIN: Recipe = Recipe {
    format: CompressionFormat::Hevc,
    is_turned: false,
    exif: None,
};

fn image(pixels: &Pixels) -> Image {
    let (width, height) = (pixels.width, pixels.height);
    let mut image = Image::new(width, height, ColorSpace::Rgb(RgbChroma::Rgb)).unwrap();
    image
        .create_plane(Channel::Interleaved, width, height, 8)
        .unwrap();
    let plane = image.planes_mut().interleaved.unwrap();
    let rows = pixels.rgb.chunks(width as usize * 3);
    for (target, row) in plane.data.chunks_mut(plane.stride).zip(rows) {
        target[..row.len()].copy_from_slice(row);
    }
    // Numbers that stand for sRGB: the tests below need their box in the file.
    let srgb = ColorProfileNCLX::new().unwrap();
    image.set_color_profile_nclx(&srgb).unwrap();
    image
}

fn heif(pixels: &Pixels, recipe: &Recipe) -> Vec<u8> {
    let library = LibHeif::new();
    let image = image(pixels);
    let mut context = HeifContext::new().unwrap();
    let mut encoder = library.encoder_for_format(recipe.format).unwrap();
    encoder.set_quality(EncoderQuality::Lossy(95)).unwrap();
    let mut options = EncodingOptions::default();
    options.set_mac_os_compatibility_workaround_no_nclx_profile(false);
    let handle = context
        .encode_image(&image, &mut encoder, Some(options))
        .unwrap();
    if let Some(orientation) = recipe.exif {
        context
            .add_exif_metadata(&handle, &exif(orientation))
            .unwrap();
    }
    let mut file = context.write_to_bytes().unwrap();
    if recipe.is_turned {
        // The encoder knows no `irot`; the property that stands for sRGB makes room for one.
        let at = file
            .windows(4)
            .position(|four| four == b"colr")
            .expect(NO_COLR);
        file[at..at + 4].copy_from_slice(b"irot");
        file[at + 4] = 3; // quarters against the clock
    }
    file
}

const NO_COLR: &str = "the encoder writes a `colr` box";

/// Whether this libheif's encoder writes the box that two of the tests rewrite.
fn encoder_tells_colours() -> bool {
    let file = heif(&scene(64, 64), &PLAIN);
    let tells = file.windows(8).any(|eight| eight == b"colrnclx");
    if !tells {
        println!("skipped: this libheif writes no `colr` box with numbers");
    }
    tells
}

fn judged(file: &[u8]) -> Result<Photo, Rejection> {
    prepare(file, &Limits::default())
}

#[test]
fn heic_and_avif_come_out_as_the_picture_that_went_in() {
    let picture = scene(240, 180);
    for (format, name) in [
        (CompressionFormat::Hevc, "heic"),
        (CompressionFormat::Av1, "avif"),
    ] {
        let photo = judged(&heif(&picture, &Recipe { format, ..PLAIN })).unwrap();
        let original = photo.original.unwrap();
        assert_eq!((original.width, original.height), (240, 180));
        assert_eq!(original.format, name);
        let (mean, _) = distance(&decoded(&photo.jpeg), &picture);
        assert!(mean < 4.0, "{name}: {mean}");
    }
}

#[test]
fn what_the_file_asks_is_done_once_whatever_exif_says_beside_it() {
    if !encoder_tells_colours() {
        return;
    }
    let picture = scene(240, 180);
    let turned = picture.clone().upright(Orientation::from_exif(6));
    // Phones write both. Readers that heed both turn the picture twice.
    for exif in [None, Some(6), Some(3)] {
        let file = heif(
            &picture,
            &Recipe {
                is_turned: true,
                exif,
                ..PLAIN
            },
        );
        let photo = judged(&file).unwrap();
        let original = photo.original.unwrap();
        assert_eq!((original.width, original.height), (180, 240), "{exif:?}");
        let (mean, _) = distance(&decoded(&photo.jpeg), &turned);
        assert!(mean < 4.0, "{exif:?}: {mean}");
    }
    let only_exif = heif(
        &picture,
        &Recipe {
            exif: Some(6),
            ..PLAIN
        },
    );
    let photo = judged(&only_exif).unwrap();
    assert_eq!((photo.width, photo.height), (240, 180));
}

#[test]
fn a_wide_gamut_told_by_four_numbers_is_brought_to_srgb() {
    if !encoder_tells_colours() {
        return;
    }
    let picture = Pixels {
        width: 64,
        height: 64,
        rgb: [200, 60, 50].repeat(64 * 64),
    };
    let with = |primaries: u16| {
        let mut file = heif(&picture, &PLAIN);
        // The encoder writes the numbers of sRGB; the first of them names the primaries.
        let at = file.windows(4).position(|four| four == b"nclx").unwrap() + 4;
        file[at..at + 2].copy_from_slice(&primaries.to_be_bytes());
        decoded(&judged(&file).unwrap().jpeg)
    };
    let (plain, wide) = (with(1), with(12));
    assert!(plain.rgb[0].abs_diff(200) < 6, "{:?}", &plain.rgb[..3]);
    assert!(wide.rgb[0] > plain.rgb[0] + 8, "{:?}", &wide.rgb[..3]);
}

#[test]
fn the_limits_hold_on_the_header_and_again_on_what_the_library_finds() {
    let file = heif(&scene(240, 180), &PLAIN);
    let limits = Limits {
        max_pixels: 240 * 179,
        ..Limits::default()
    };
    let refused = prepare(&file, &limits).unwrap_err();
    assert_eq!(refused.reason, "too_many_pixels");
    // A header that lies: the claim is made small, the coded picture is not.
    let bounds = Bounds::of(&limits);
    assert_eq!(
        decode(&file, bounds).unwrap_err().reason,
        Reason::TooManyPixels
    );
    let small = heif(&scene(15, 60), &PLAIN);
    assert_eq!(judged(&small).unwrap_err().reason, "too_small");
}

#[test]
fn a_file_cut_anywhere_is_refused_and_never_half_a_picture() {
    let file = heif(&scene(120, 90), &PLAIN);
    for end in (16..file.len()).step_by(13) {
        let refused = judged(&file[..end]).unwrap_err();
        assert!(
            matches!(
                refused.reason.as_str(),
                "truncated" | "corrupt" | "not_an_image"
            ),
            "cut at {end}: {refused:?}"
        );
    }
}
