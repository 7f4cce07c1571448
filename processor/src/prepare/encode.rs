//! Step 9: the finished JPEG, new from its pixels alone: what the original carried
//! beside them (places, serial numbers, second pictures) has no way in.

use jpeg_encoder::{ColorType, Encoder, EncodingError, SamplingFactor};

use super::Pixels;

/// The picture as JPEG.
pub(super) fn encode(pixels: &Pixels, quality: u8) -> Result<Vec<u8>, EncodingError> {
    let mut jpeg = Vec::with_capacity(64 << 10);
    let mut encoder = Encoder::new(&mut jpeg, quality);
    // Half the colour resolution, as nearly every photo that a network ever saw. The
    // usual tables: with tables of its own this encoder puts each channel into a scan
    // of its own, which readers get wrong.
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    // Limits keep both sides far under JPEG's 65,535.
    let (width, height) = (pixels.width as u16, pixels.height as u16);
    encoder.encode(&pixels.rgb, width, height, ColorType::Rgb)?;
    Ok(jpeg)
}
