//! Step 3: the picture itself. In: the bytes and their checked header; out: eight-bit
//! RGB pixels, as stored, possibly at a fraction of the size. Damage is a refusal,
//! never a half-grey picture; transparency is laid on white, as a page would show it.

use schemas::Format;

use super::Refusal;
use super::header::Header;
use super::limits::Deadline;
use super::pixels::Pixels;

mod paced;

mod jpeg;
pub(crate) use jpeg::memory_bytes as jpeg_bytes;

mod png;

mod others;

/// Decodes a whole file.
pub fn decode(bytes: &[u8], header: &Header<'_>, deadline: Deadline) -> Result<Pixels, Refusal> {
    let pixels = match (header.format, &header.jpeg) {
        (Format::Jpeg, Some(frame)) => jpeg::decode(bytes, header, frame, deadline),
        (Format::Png, _) => png::decode(bytes, header, deadline),
        _ => others::decode(bytes, header, deadline),
    };
    // A decoder that was told to stop reports that its file ended.
    deadline.check()?;
    pixels
}

/// Lays a channel on white; `alpha` 255 is opaque. Rounded to the nearest.
pub fn over_white(channel: u8, alpha: u8) -> u8 {
    let (channel, alpha) = (u32::from(channel), u32::from(alpha));
    ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}
