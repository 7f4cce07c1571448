//! The steps put together: [`small`] is what the server and [`look`] share, and [`look`] is
//! all that a phone asks.

use std::time::{Duration, Instant};

use fast_image_resize::FilterType;
use schemas::Reason;
use schemas::events::Scores;

use crate::limits::Deadline;
use crate::{Header, Limits, Pixels, Refusal, colour, decode, phash, resize, scores, without_bars};

/// What a look at a photo tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Width of the whole picture, upright.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// CleanVision's seven scores.
    pub scores: Scores,
    /// The 64-bit perceptual hash.
    pub phash: u64,
}

/// Looks at a photo: the scores and the hash that its row will have. Blocks, for up to
/// `limits.deadline` and a little.
///
/// # Errors
/// The photo is not usable; the refusal says why, for programs and for a person.
pub fn look(bytes: &[u8], limits: &Limits) -> Result<Look, Refusal> {
    let deadline = Deadline::after(limits.deadline);
    let header = Header::read(bytes, limits)?;
    let pixels = decode::decode(bytes, &header, deadline)?;
    let small = small(
        pixels,
        header.profile.as_deref(),
        &header,
        limits,
        &|_, _| {},
    )?;
    let (width, height) = header.upright_size();
    Ok(Look {
        width,
        height,
        scores: scores::scores(&small, (width, height), limits.target_short_side),
        phash: phash(&without_bars(&small)),
    })
}

/// The small upright picture in sRGB, of pixels as they were decoded. `clock` is told how
/// long each step took.
///
/// # Errors
/// The resizer failed, which it does not on pixels within the limits.
pub fn small(
    pixels: Pixels,
    profile: Option<&[u8]>,
    header: &Header<'_>,
    limits: &Limits,
    clock: &dyn Fn(&'static str, Duration),
) -> Result<Pixels, Refusal> {
    let begun = Instant::now();
    let size = resize::target_size(header.width, header.height, limits.target_short_side);
    let small = resize::resize(pixels, size, FilterType::Lanczos3)
        .map_err(|error| Refusal::new(Reason::DecoderFailure, error.to_string()))?;
    clock("resize", begun.elapsed());
    let begun = Instant::now();
    let small = match profile {
        Some(profile) => colour::to_srgb(small, profile),
        None => small,
    };
    clock("colour", begun.elapsed());
    Ok(small.upright(header.orientation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::picture;

    fn bitmap(pixels: &Pixels) -> Vec<u8> {
        let mut file = Vec::new();
        let (width, height) = (pixels.width, pixels.height);
        let colour = image::ExtendedColorType::Rgb8;
        image::codecs::bmp::BmpEncoder::new(&mut file)
            .encode(&pixels.rgb, width, height, colour)
            .unwrap();
        file
    }

    #[test]
    fn a_night_is_dark_and_a_plain_day_is_not() {
        let look = |name| look(&bitmap(&picture(name, 250, 180)), &Limits::default()).unwrap();
        let (night, day) = (look("night"), look("shades"));
        assert_eq!((day.width, day.height), (250, 180));
        assert_eq!(quality(&night), Some(Reason::Dark));
        assert_eq!(quality(&day), None);
        assert_ne!(night.phash, day.phash);
    }

    fn quality(look: &Look) -> Option<Reason> {
        crate::quality_findings(&look.scores).map(|(reason, _)| reason)
    }

    #[test]
    fn what_is_no_picture_is_refused_with_a_reason() {
        let refusal = look(b"a text", &Limits::default()).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotAnImage);
    }
}
