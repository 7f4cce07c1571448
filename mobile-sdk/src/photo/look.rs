//! Looks at a photo as the server will: by the crate `picture`, so that the hash and what a
//! person is told are the server's own. In: the bytes as they will be sent; out: the
//! perceptual hash, and what could be better. Never a reason not to take a photo in: the
//! server has the last word, and formats that are not read here (HEIC, AVIF) have no hash.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use picture::Limits;
use schemas::Reason;

use super::Hint;

/// What one look may take in memory. A JPEG of any size needs a few MB, since it is decoded at a
/// fraction of its size; a PNG of a phone's screen 12 MB. More than this and old phones end
/// the app; photos that need more are left to the server.
const MAX_DECODE_BYTES: u64 = 64 << 20;
/// How long a look may take. A photo of 12 megapixels takes a tenth of a second; longer keeps the
/// person waiting for what is only advice.
const MAX_TIME: Duration = Duration::from_secs(2);
/// Of 64 bits, how many may differ in two photos that look nearly the same; the server's
/// default for its first of two hashes.
const MAX_DISTANCE: u32 = 6;

/// What a look found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) phash: Option<u64>,
    pub(super) hints: Vec<Hint>,
}

pub(super) fn look(bytes: &[u8]) -> Found {
    let limits = Limits {
        max_decode_bytes: MAX_DECODE_BYTES,
        deadline: MAX_TIME,
        ..Limits::default()
    };
    // Decoders read what strangers made; a panic of one costs the look, not the photo.
    let looked = catch_unwind(AssertUnwindSafe(|| picture::look(bytes, &limits)));
    match looked {
        Ok(Ok(look)) => Found {
            phash: Some(look.phash),
            hints: picture::quality_findings(&look.scores)
                .and_then(|(reason, _)| hint(reason))
                .into_iter()
                .collect(),
        },
        Ok(Err(refusal)) => Found {
            phash: None,
            hints: hint(refusal.reason).into_iter().collect(),
        },
        Err(_) => Found::default(),
    }
}

/// Whether two photos look nearly the same.
pub(crate) fn are_similar(a: u64, b: u64) -> bool {
    (a ^ b).count_ones() <= MAX_DISTANCE
}

fn hint(reason: Reason) -> Option<Hint> {
    match reason {
        Reason::Dark => Some(Hint::TooDark),
        Reason::Light => Some(Hint::TooBright),
        Reason::Blurry => Some(Hint::Blurry),
        Reason::LowInformation => Some(Hint::Empty),
        Reason::Truncated | Reason::Corrupt => Some(Hint::Damaged),
        // What else a server would refuse is told by `check`, or only by the server.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use picture::testing::picture;

    use super::*;

    fn png(name: &str) -> Vec<u8> {
        let picture = picture(name, 250, 180);
        let mut file = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut file);
        let colour = image::ExtendedColorType::Rgb8;
        image::ImageEncoder::write_image(encoder, &picture.rgb, 250, 180, colour).unwrap();
        file
    }

    #[test]
    fn a_dark_photo_is_told_and_a_good_one_is_not() {
        assert_eq!(look(&png("night")).hints, [Hint::TooDark]);
        let day = look(&png("shades"));
        assert_eq!(day.hints, []);
        let expected = ::picture::look(&png("shades"), &Limits::default()).unwrap();
        assert_eq!(day.phash, Some(expected.phash));
    }

    #[test]
    fn a_cut_file_is_damaged_and_an_unread_format_is_none_of_our_business() {
        let png = png("shades");
        assert_eq!(look(&png[..png.len() / 2]).hints, [Hint::Damaged]);
        assert_eq!(
            look(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
            Found::default()
        );
    }

    #[test]
    fn six_bits_apart_is_similar_and_seven_is_not() {
        assert!(are_similar(0b11_1111, 0));
        assert!(!are_similar(0b111_1111, 0));
    }
}
