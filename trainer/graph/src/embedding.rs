//! What a photo's embedding is: the pooled features of one backbone, at one input side,
//! of the JPEG that the row of the table holds. The processor computes it as the photo
//! comes in; whoever computes it later from the row gets the same bits.

use std::fmt;

use schemas::Sha256;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::architecture::{Architecture, Width};

/// The backbone whose features tables hold, and which the preset `fast` asks for: with
/// another one it would compute them again. The side is chosen by what
/// `benches/embedding` measures: see the crate's README.
pub const EMBEDDING_BACKBONE: Backbone = Backbone {
    architecture: Architecture::MobileNetV2(Width::Full),
    side: 224,
};

/// A network and the side of its input in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backbone {
    /// The network.
    pub architecture: Architecture,
    /// The side of its square input.
    pub side: usize,
}

impl Backbone {
    /// The name of the embeddings that it computes with these weights.
    pub fn with_weights(self, sha256: Sha256) -> EmbeddingModel {
        EmbeddingModel {
            backbone: self,
            sha256,
        }
    }
}

/// What computed an embedding, complete: embeddings of equal models can be compared, others
/// cannot. As text, and in the column `embedding_model`, it is
/// `mobilenet_v2@224:` and the SHA-256 of the file of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddingModel {
    /// The network and its input.
    pub backbone: Backbone,
    /// The hash of the file of weights.
    pub sha256: Sha256,
}

impl fmt::Display for EmbeddingModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Backbone { architecture, side } = self.backbone;
        write!(f, "{architecture}@{side}:{}", self.sha256)
    }
}

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

/// The bytes are no picture that the processor wrote, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PictureError(String);

impl Picture {
    /// Decodes the JPEG of a row. Training, predictions and embeddings all see a photo
    /// through this.
    ///
    /// # Errors
    /// [`PictureError`]
    pub fn decode(jpeg: &[u8]) -> Result<Self, PictureError> {
        let options = DecoderOptions::default()
            .set_max_width(MAX_SIDE)
            .set_max_height(MAX_SIDE)
            .jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
        let rgb = decoder
            .decode()
            .map_err(|fault| PictureError(format!("{fault:?}")))?;
        let (width, height) = decoder
            .dimensions()
            .ok_or_else(|| PictureError("it has no size".into()))?;
        if rgb.len() != width * height * 3 {
            return Err(PictureError("it has not three channels".into()));
        }
        Ok(Self {
            width: width as u32,
            height: height as u32,
            rgb,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_by_network_side_and_weights() {
        let model = EMBEDDING_BACKBONE.with_weights(Sha256::of(b"weights"));
        let text = model.to_string();
        assert_eq!(text, format!("mobilenet_v2@224:{}", Sha256::of(b"weights")));
        let other = Backbone {
            side: 128,
            ..EMBEDDING_BACKBONE
        };
        assert_ne!(other.with_weights(model.sha256), model);
    }

    #[test]
    fn what_is_no_jpeg_is_refused_in_words() {
        assert!(!Picture::decode(b"no picture").unwrap_err().0.is_empty());
    }
}
