//! `golden.json` of a model: drawn pictures and what the trained network makes of them, so
//! that a phone can check its preprocessing and its runtime against training's. The pictures
//! are drawn by [`golden_picture`], here and on the phone.

use serde::{Deserialize, Serialize};

use crate::Sha256;

/// The content of `golden.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// The input's pixels across.
    pub width: usize,
    /// The input's pixels down.
    pub height: usize,
    /// A picture of that size: RGB bytes, row by row, in Base64. A file's input is each
    /// byte / 255.
    pub pixels: String,
    /// The trained network's logits for it, in class order.
    pub logits: Vec<f32>,
    /// The probabilities that the files give, in class order.
    pub probabilities: Vec<f32>,
    /// The same for a picture that must be resized and cropped first. Models made before
    /// this was written have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photo: Option<GoldenPhoto>,
}

/// A picture of another size than the input, all the way through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenPhoto {
    /// Pixels across of the picture that [`golden_picture`] draws.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// [`input_sha256`] of what `preprocess.json` makes of it.
    pub input_sha256: Sha256,
    /// The trained network's logits for it.
    pub logits: Vec<f32>,
}

impl GoldenPhoto {
    /// Pixels across and down: wider than high, and neither side a multiple of an input's.
    pub const SIZE: (usize, usize) = (401, 299);
}

/// Two ramps and a fine pattern, RGB row by row: every byte occurs, and a swap of channels,
/// rows and columns shows.
pub fn golden_picture(width: usize, height: usize) -> Vec<u8> {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    let pixel = |(y, x): (usize, usize)| [x * 255 / width, y * 255 / height, (x * 7) ^ (y * 13)];
    places
        .flat_map(pixel)
        .map(|value| (value & 255) as u8)
        .collect()
}

/// The hash of a network's input: its values as little-endian float32, in their order.
pub fn input_sha256(input: &[f32]) -> Sha256 {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    input
        .iter()
        .for_each(|value| hash.update(value.to_le_bytes()));
    Sha256::from(<[u8; 32]>::from(hash.finalize()))
}
