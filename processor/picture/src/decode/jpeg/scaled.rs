//! JPEGs at 1/8, 1/4 or 1/2 of their size. The decoder reads all of the data and stops at
//! the first that makes no sense, so its errors are final.

use scaled_jpeg::{Buffers, Error, Layout, Scale};
use schemas::Reason;

use crate::Refusal;
use crate::header::{Header, JpegFrame};
use crate::pixels::Pixels;

/// What decoding takes at most, in bytes: the decoder's own buffers and our copy of
/// the pixels.
pub(super) fn memory_bytes(frame: &JpegFrame, scale: Scale, width: u32, height: u32) -> u64 {
    let side = match scale {
        Scale::Eighth => 8,
        Scale::Quarter => 4,
        Scale::Half => 2,
    };
    let num_pixels = u64::from(width.div_ceil(side)) * u64::from(height.div_ceil(side));
    let bytes_per_pixel = if frame.is_progressive { 18 } else { 6 };
    num_pixels * (bytes_per_pixel + 3) + (2 << 20)
}

pub(super) fn decode(bytes: &[u8], header: &Header<'_>, scale: Scale) -> Result<Pixels, Refusal> {
    // The limits were checked on the size that our reader found; this holds the
    // decoder to it.
    let mut buffers = Buffers::new(u64::from(header.width) * u64::from(header.height));
    let picture = scaled_jpeg::decode(bytes, scale, &mut buffers).map_err(refusal)?;
    let rgb = match picture.layout {
        Layout::Rgb8 => picture.pixels.to_vec(),
        Layout::Gray8 => picture.pixels.iter().flat_map(|v| [*v; 3]).collect(),
    };
    Ok(Pixels {
        width: picture.width,
        height: picture.height,
        rgb,
    })
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Unsupported(what) => Refusal::new(
            Reason::UnsupportedFormat,
            format!("this is a JPEG with {what}, which is not read; send an ordinary one"),
        ),
        // The end marker was found, so what is missing is missing inside.
        Error::Truncated { at_byte, .. } => {
            Refusal::corrupt_at(at_byte, "picture data is missing before the end marker")
        }
        Error::Corrupt { offset, what } => Refusal::corrupt_at(offset, what),
        Error::TooLarge { .. } => Refusal::corrupt("JPEG", &"the size stands there twice"),
    }
}
