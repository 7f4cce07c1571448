//! JPEG. One function in, one function out: what it costs and what it gives, so that
//! a decoder that works at a fraction of the size can take over wherever it applies.

use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::{DecodeErrors, UnsupportedSchemes};

use schemas::Reason;

use super::paced::PacedJpeg;
use crate::prepare::header::JpegFrame;
use crate::prepare::limits::Deadline;
use crate::prepare::pixels::Pixels;
use crate::prepare::Refusal;

/// Scans of a progressive file: encoders write about ten, and each one passes over
/// every block of the picture again.
const MAX_SCANS: usize = 100;

/// What decoding takes at most, in bytes.
pub(in crate::prepare) fn memory_bytes(frame: &JpegFrame, width: u32, height: u32) -> u64 {
    let (width, height) = (u64::from(width), u64::from(height));
    let h_max = frame.sampling.iter().map(|s| s.0).max().unwrap_or(1);
    let v_max = frame.sampling.iter().map(|s| s.1).max().unwrap_or(1);
    let num_units = width.div_ceil(8 * u64::from(h_max)) * height.div_ceil(8 * u64::from(v_max));
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
    let rows = width * 8 * u64::from(v_max) * 2 * 8;
    pixels + coefficients + rows
}

/// Decodes the picture; whole, since this decoder knows no fractions.
pub(super) fn decode(
    bytes: &[u8],
    frame: &JpegFrame,
    _target_short_side: u32,
    deadline: Deadline,
) -> Result<Pixels, Refusal> {
    // Nothing behind the picture's end is any of the decoder's business.
    let bytes = &bytes[..frame.end];
    match decode_whole(bytes, true, deadline) {
        // Stray bytes between the headers harm nothing and some cameras write them,
        // but the strict mode that finds damage in the picture finds these as well.
        Err(DecodeErrors::FormatStatic(words)) if words.contains("between headers") => {
            decode_whole(bytes, false, deadline)
        }
        result => result,
    }
    .map_err(refusal)
}

fn decode_whole(bytes: &[u8], strict: bool, deadline: Deadline) -> Result<Pixels, DecodeErrors> {
    // The size has been held to the limits already; JPEG's own is 65,535.
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .set_strict_mode(strict)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(PacedJpeg::new(bytes, deadline), options);
    decoder.decode_headers()?;
    let (width, height) = decoder
        .dimensions()
        .ok_or(DecodeErrors::FormatStatic("no size in the header"))?;
    let mut pixels = Pixels::new(width as u32, height as u32);
    decoder.decode_into(&mut pixels.rgb)?;
    Ok(pixels)
}

fn refusal(error: DecodeErrors) -> Refusal {
    match error {
        DecodeErrors::Unsupported(scheme) => Refusal::new(
            Reason::UnsupportedFormat,
            format!(
                "this is a {} JPEG, which is not read; send an ordinary one",
                match scheme {
                    UnsupportedSchemes::ExtendedSequentialHuffman => "12-bit",
                    UnsupportedSchemes::LosslessHuffman | UnsupportedSchemes::LosslessArithmetic => "lossless",
                    _ => "arithmetically coded",
                }
            ),
        ),
        // The end marker was found, so what is missing is missing inside.
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => {
            Refusal::corrupt("JPEG", &"picture data is missing before the end marker")
        }
        other => Refusal::corrupt("JPEG", &other),
    }
}
