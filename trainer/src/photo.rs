//! A row's JPEG becomes a network's input: what training, evaluation and prediction see
//! is made by one function.

use schemas::InputSpec;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::error::TrainerError;

/// The longest side of a stored picture: 256 on the short side, at the ratio that the
/// processor lets through.
const MAX_SIDE: usize = 16_384;

/// Eight-bit RGB, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Three bytes for each pixel.
    pub rgb: Vec<u8>,
}

/// Decodes a picture that the processor wrote.
///
/// # Errors
/// It is not one: the table was changed by something else.
pub fn decode(jpeg: &[u8]) -> Result<Picture, TrainerError> {
    let damaged = |fault: String| TrainerError::Damaged {
        what: "a photo of the table".into(),
        fault,
    };
    let options = DecoderOptions::default()
        .set_max_width(MAX_SIDE)
        .set_max_height(MAX_SIDE)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
    let rgb = decoder
        .decode()
        .map_err(|fault| damaged(format!("{fault:?}")))?;
    let (width, height) = decoder
        .dimensions()
        .ok_or_else(|| damaged("it has no size".into()))?;
    if rgb.len() != width * height * 3 {
        return Err(damaged("it has not three channels".into()));
    }
    Ok(Picture {
        width: width as u32,
        height: height as u32,
        rgb,
    })
}

/// A picture as the network takes it: centre crop, normalised, rows of pixels of channels.
///
/// # Errors
/// The picture is empty.
pub fn input(picture: &Picture, spec: &InputSpec) -> Result<Vec<f32>, TrainerError> {
    spec.preprocess(
        &picture.rgb,
        picture.width as usize,
        picture.height as usize,
    )
    .map_err(|fault| TrainerError::Damaged {
        what: "a photo of the table".into(),
        fault: fault.to_string(),
    })
}
