//! A network in evaluation mode: batches of photos in, features or logits out. It is folded
//! once, for all batches.

use burn_tensor::Tensor;

use crate::batch::Images;
use crate::frozen::Frozen;
use crate::network::Pass;
use crate::parameters::download;
use crate::{ModelError, Network};

/// See [`Network::evaluator`].
#[derive(Debug)]
pub struct Evaluator<'a> {
    pub(crate) network: &'a Network,
    pub(crate) frozen: Frozen,
}

impl Evaluator<'_> {
    /// The pooled features of each photo: `count * num_features` values, photo by photo.
    ///
    /// # Errors
    /// Not whole photos, weights that are not finite, or the device failed.
    pub fn features(&mut self, images: &Images) -> Result<Vec<f32>, ModelError> {
        if images.count()? == 0 {
            return Ok(Vec::new());
        }
        download(self.pooled(images)?, "computing features")
    }

    /// The logits of each photo: `count * num_classes` values, photo by photo.
    ///
    /// # Errors
    /// As [`Self::features`].
    pub fn logits(&mut self, images: &Images) -> Result<Vec<f32>, ModelError> {
        if images.count()? == 0 {
            return Ok(Vec::new());
        }
        let features = self.pooled(images)?;
        download(self.network.classify(features), "computing logits")
    }

    fn pooled(&mut self, images: &Images) -> Result<Tensor<2>, ModelError> {
        Pass::evaluate(self.network).features(images, &mut self.frozen)
    }
}
