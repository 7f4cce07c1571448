//! A row's JPEG becomes a network's input: what training, evaluation and prediction see
//! is made by one function.

pub use graph::Picture;
use schemas::InputSpec;

use crate::error::TrainerError;

/// Decodes a picture that the processor wrote.
///
/// # Errors
/// It is not one: the table was changed by something else.
pub fn decode(jpeg: &[u8]) -> Result<Picture, TrainerError> {
    Picture::decode(jpeg).map_err(|fault| TrainerError::Damaged {
        what: "a photo of the table".into(),
        fault: fault.to_string(),
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
