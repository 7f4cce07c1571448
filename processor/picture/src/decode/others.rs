//! WebP, GIF and BMP through the `image` crate: its decoders one by one, each with
//! limits set before anything is read, never its all-in-one functions.

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::ImageError;
use image::{ColorType, ImageDecoder, Limits};
use schemas::{Format, Reason};

use super::over_white;
use super::paced::PacedFile;
use crate::Refusal;
use crate::header::Header;
use crate::limits::Deadline;
use crate::pixels::Pixels;

pub(super) fn decode(
    bytes: &[u8],
    header: &Header<'_>,
    deadline: Deadline,
) -> Result<Pixels, Refusal> {
    let file = PacedFile::new(bytes, deadline);
    match header.format {
        Format::Webp => WebPDecoder::new(file).and_then(|decoder| read(decoder, header)),
        Format::Gif => GifDecoder::new(file).and_then(|decoder| read(decoder, header)),
        _ => BmpDecoder::new(file).and_then(|decoder| read(decoder, header)),
    }
    .map_err(|error| refusal(header.format, &error))?
}

/// Both results matter: the outer one is the decoder's, the inner one ours.
fn read(
    mut decoder: impl ImageDecoder,
    header: &Header<'_>,
) -> Result<Result<Pixels, Refusal>, ImageError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(header.width);
    limits.max_image_height = Some(header.height);
    limits.max_alloc = Some(header.decode_bytes);
    decoder.set_limits(limits)?;
    let (width, height) = decoder.dimensions();
    let colour = decoder.color_type();
    let num_bytes = decoder.total_bytes();
    if num_bytes > header.decode_bytes || (width, height) != (header.width, header.height) {
        let words = "the decoder and the header disagree on the size";
        return Ok(Err(Refusal::corrupt(header.format.title(), &words)));
    }
    let mut buffer = vec![0; num_bytes as usize];
    decoder.read_image(&mut buffer)?;
    Ok(to_rgb(buffer, colour)
        .map(|rgb| Pixels { width, height, rgb })
        .ok_or_else(|| {
            Refusal::new(
                Reason::UnsupportedFormat,
                format!("pixels of the kind {colour:?} are not read"),
            )
        }))
}

/// RGB, made in place where the pixels are larger than that.
fn to_rgb(mut buffer: Vec<u8>, colour: ColorType) -> Option<Vec<u8>> {
    match colour {
        ColorType::Rgb8 => {}
        ColorType::Rgba8 => {
            let num_pixels = buffer.len() / 4;
            for i in 0..num_pixels {
                let alpha = buffer[i * 4 + 3];
                for channel in 0..3 {
                    buffer[i * 3 + channel] = over_white(buffer[i * 4 + channel], alpha);
                }
            }
            buffer.truncate(num_pixels * 3);
        }
        ColorType::L8 => buffer = buffer.iter().flat_map(|v| [*v; 3]).collect(),
        _ => return None,
    }
    Some(buffer)
}

fn refusal(format: Format, error: &ImageError) -> Refusal {
    match error {
        ImageError::Unsupported(unsupported) => Refusal::new(
            Reason::UnsupportedFormat,
            format!("this kind of {} is not read: {unsupported}", format.title()),
        ),
        ImageError::Limits(_) => Refusal::new(
            Reason::DecodeMemory,
            format!(
                "decoding this {} takes more memory than its size allows for",
                format.title()
            ),
        ),
        // Bitmaps have no marker at their end, so only the decoder can miss it.
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => Refusal::new(
            Reason::Truncated,
            "the file ends within the picture; send it again, whole",
        ),
        other => Refusal::corrupt(format.title(), other),
    }
}
