//! What a network takes, made of a photo: [`schemas::InputSpec::preprocess`], the one function
//! that training, the server and the phones call, with its result as the bytes that runtimes
//! take.

use std::sync::Arc;

use schemas::{InputSpec, Layout};

use crate::TintypeError;

/// The order of an input's axes, which depends on the file that is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum InputOrder {
    /// Rows, columns, channels: TFLite and LiteRT.
    Nhwc,
    /// Channels, rows, columns: ONNX.
    Nchw,
}

impl InputOrder {
    pub(super) fn apply(self, spec: &InputSpec) -> InputSpec {
        InputSpec {
            layout: match self {
                Self::Nhwc => Layout::Nhwc,
                Self::Nchw => Layout::Nchw,
            },
            ..spec.clone()
        }
    }
}

/// A model's preprocessing.
#[derive(Debug, uniffi::Object)]
pub struct Preprocessor {
    spec: InputSpec,
}

#[uniffi::export]
impl Preprocessor {
    /// From the text of a `preprocess.json`.
    #[uniffi::constructor]
    pub fn from_json(json: String) -> Result<Arc<Self>, TintypeError> {
        let spec = serde_json::from_str(&json)
            .map_err(|error| TintypeError::model(format!("preprocess.json: {error}")))?;
        Self::of(spec)
    }

    /// Side of the square input, in pixels.
    pub fn size(&self) -> u32 {
        self.spec.size
    }

    /// The network's input as little-endian float32, made of an upright sRGB photo of
    /// `width * height * 3` bytes R, G, B, row by row.
    pub fn input(
        &self,
        rgb: Vec<u8>,
        width: u32,
        height: u32,
        order: InputOrder,
    ) -> Result<Vec<u8>, TintypeError> {
        input(
            &order.apply(&self.spec),
            &rgb,
            width as usize,
            height as usize,
        )
    }
}

impl Preprocessor {
    pub(super) fn of(spec: InputSpec) -> Result<Arc<Self>, TintypeError> {
        spec.check()
            .map_err(|error| TintypeError::model(error.to_string()))?;
        Ok(Arc::new(Self { spec }))
    }
}

pub(super) fn input(
    spec: &InputSpec,
    rgb: &[u8],
    width: usize,
    height: usize,
) -> Result<Vec<u8>, TintypeError> {
    let values = spec.preprocess(rgb, width, height);
    let values = values.map_err(|error| TintypeError::photo("not_an_input", error.to_string()))?;
    Ok(to_bytes(&values))
}

pub(super) fn to_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
