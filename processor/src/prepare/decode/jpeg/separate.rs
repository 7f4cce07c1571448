//! Baseline JPEGs with each channel in a scan of its own, as some encoders write them
//! to save a few bytes. `zune-jpeg` 0.5 puts parts of such pictures in the wrong place
//! without noticing, so they go to another decoder.

use jpeg_decoder::{Decoder, PixelFormat};

use schemas::Reason;

use crate::prepare::Refusal;
use crate::prepare::decode::paced::PacedFile;
use crate::prepare::limits::Deadline;
use crate::prepare::pixels::Pixels;

pub(super) fn decode(bytes: &[u8], deadline: Deadline) -> Result<Pixels, Refusal> {
    let mut decoder = Decoder::new(PacedFile::new(bytes, deadline));
    let rgb = decoder
        .decode()
        .map_err(|error| Refusal::corrupt("JPEG", &error))?;
    match decoder.info() {
        Some(info) if info.pixel_format == PixelFormat::RGB24 => Ok(Pixels {
            width: info.width.into(),
            height: info.height.into(),
            rgb,
        }),
        _ => Err(Refusal::new(
            Reason::UnsupportedFormat,
            "this JPEG has an unusual number of channels in scans of their own; send an ordinary one",
        )),
    }
}
