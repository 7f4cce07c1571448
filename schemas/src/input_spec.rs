//! What a network expects of a photo, and the ONE function that makes it so: training,
//! the server and the phones all call [`InputSpec::preprocess`].

use serde::{Deserialize, Serialize};

/// How a photo becomes a network's input: `preprocess.json` of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Side of the square input, in pixels.
    pub size: u32,
    /// The short side is brought to this many pixels first, antialiased bilinear.
    pub resize: u32,
    /// Side of the square cut from the centre; equal to `size`.
    pub crop: u32,
    /// Taken from each of R, G, B, after they are brought to 0..=1.
    pub mean: [f32; 3],
    /// What each of R, G, B is then divided by.
    pub std: [f32; 3],
    /// The order of the exported file's input.
    pub layout: Layout,
}

/// The order of an input's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Layout {
    /// Rows, columns, channels.
    Nhwc,
    /// Channels, rows, columns.
    Nchw,
}
