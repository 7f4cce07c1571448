//! Baseline JPEGs with each channel in a scan of its own, as some encoders write them
//! to save a few bytes. `zune-jpeg` 0.5 puts parts of such pictures in the wrong place
//! without noticing, so they go to another decoder.

use jpeg_decoder::{Decoder, PixelFormat};

use schemas::Reason;

use crate::Refusal;
use crate::decode::paced::PacedFile;
use crate::header::Header;
use crate::limits::Deadline;
use crate::pixels::Pixels;

pub(super) fn decode(
    bytes: &[u8],
    header: &Header<'_>,
    deadline: Deadline,
) -> Result<Pixels, Refusal> {
    let damaged = |error: jpeg_decoder::Error| Refusal::corrupt("JPEG", &error);
    let mut decoder = Decoder::new(PacedFile::new(bytes, deadline));
    decoder.read_info().map_err(damaged)?;
    let Some(info) = decoder.info() else {
        return Err(Refusal::corrupt("JPEG", &"it has no size"));
    };
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    // The limits were checked on the size that our reader found.
    if (width, height) != (header.width, header.height) {
        return Err(Refusal::corrupt("JPEG", &"the size stands there twice"));
    }
    if info.pixel_format != PixelFormat::RGB24 {
        return Err(Refusal::new(
            Reason::UnsupportedFormat,
            "this JPEG has an unusual number of channels in scans of their own; send an ordinary one",
        ));
    }
    let rgb = decoder.decode().map_err(damaged)?;
    Ok(Pixels { width, height, rgb })
}
