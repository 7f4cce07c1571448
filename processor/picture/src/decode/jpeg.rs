//! JPEG: what decoding costs, and the picture. Large ones are decoded at a fraction of
//! their size, which is all that is needed of them and several times as fast; small
//! and rare ones whole.

use std::borrow::Cow;
use std::cell::Cell;

use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::paced::PacedJpeg;
use crate::Refusal;
use crate::header::{Header, JpegFrame, without_stray_bytes};
use crate::limits::Deadline;
use crate::pixels::Pixels;

mod scaled;

mod separate;

/// Scans of a progressive file: encoders write about ten, and each one passes over
/// every block of the picture again.
const MAX_SCANS: usize = 100;

/// Bytes that may be left behind the last pixel: padding that some encoders write.
/// Damage leaves hundreds.
const MAX_LEFT_BYTES: usize = 16;

/// What decoding takes at most, in bytes.
pub(crate) fn memory_bytes(frame: &JpegFrame, width: u32, height: u32) -> u64 {
    if let Some(scale) = frame.scale {
        return scaled::memory_bytes(frame, scale, width, height);
    }
    let num_units = frame.num_units(width, height);
    let (width, height) = (u64::from(width), u64::from(height));
    let pixels = width * height * 3;
    // Two bytes for each coefficient of each channel, for as long as scans may add to them.
    let coefficients: u64 = if frame.is_progressive || !frame.is_interleaved {
        let blocks: u64 = frame
            .sampling
            .iter()
            .map(|(h, v)| u64::from(*h) * u64::from(*v))
            .sum();
        num_units * blocks * 64 * 2
    } else {
        0
    };
    // Some rows of each channel, before and after they are brought to one size.
    let rows = width * 8 * 4 * 2 * 8;
    pixels + coefficients + rows
}

/// Decodes the picture.
pub(super) fn decode(
    bytes: &[u8],
    header: &Header<'_>,
    frame: &JpegFrame,
    deadline: Deadline,
) -> Result<Pixels, Refusal> {
    if let Some(scale) = frame.scale {
        return scaled::decode(&bytes[..frame.end], header, scale);
    }
    if !frame.is_progressive && !frame.is_interleaved {
        return separate::decode(&bytes[..frame.end], header, deadline);
    }
    // Nothing behind the picture's end is any of the decoder's business. And where the
    // end marker can be left away, running out of data is an error; with it, the
    // decoder would fill what is missing with grey.
    let end = if is_plain(frame) {
        frame.coded.end
    } else {
        frame.end
    };
    let mut file = Cow::Borrowed(&bytes[..end]);
    let mut decoded = decode_whole(&file, header, deadline);
    if let Err(DecodeErrors::FormatStatic(words)) = &decoded
        && words.contains("between headers")
    {
        // Some cameras leave stray bytes there. They harm nothing, but the decoder's
        // strict mode, which finds damage in the picture, does not bear them.
        file = Cow::Owned(without_stray_bytes(&file));
        decoded = decode_whole(&file, header, deadline);
    }
    let (pixels, num_read) = decoded.map_err(refusal)?;
    let num_left = file.len() - num_read;
    if is_plain(frame) && num_left > MAX_LEFT_BYTES {
        let words = format!("{num_left} bytes are left when the picture is complete");
        return Err(Refusal::corrupt("JPEG", &words));
    }
    Ok(pixels)
}

/// Data from the first pixel to the last in one go: whatever is damaged in it shifts
/// everything behind it, so that it ends too early or too late.
fn is_plain(frame: &JpegFrame) -> bool {
    !frame.is_progressive && frame.is_interleaved && frame.is_one_scan
}

/// Decodes, and says how many bytes the picture took.
fn decode_whole(
    bytes: &[u8],
    header: &Header<'_>,
    deadline: Deadline,
) -> Result<(Pixels, usize), DecodeErrors> {
    // The size has been held to the limits already; JPEG's own is 65,535.
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .set_strict_mode(true)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let num_read = Cell::new(0);
    let file = PacedJpeg::new(bytes, deadline, &num_read);
    let mut decoder = JpegDecoder::new_with_options(file, options);
    decoder.decode_headers()?;
    let (width, height) = (header.width, header.height);
    // The limits were checked on the size that our reader found.
    if decoder.dimensions() != Some((width as usize, height as usize)) {
        return Err(DecodeErrors::FormatStatic("the size stands there twice"));
    }
    let mut pixels = Pixels::new(width, height);
    decoder.decode_into(&mut pixels.rgb)?;
    Ok((pixels, num_read.get()))
}

fn refusal(error: DecodeErrors) -> Refusal {
    match error {
        // The end marker was found, so what is missing is missing inside.
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => {
            Refusal::corrupt("JPEG", &"picture data is missing before the end marker")
        }
        DecodeErrors::Format(words) => Refusal::corrupt("JPEG", &words),
        DecodeErrors::FormatStatic(words) => Refusal::corrupt("JPEG", &words),
        other => Refusal::corrupt("JPEG", &other),
    }
}
