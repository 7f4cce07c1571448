//! The numbers that a network starts with when there are none: torchvision's choice.
//!
//! Convolutions are normal with a deviation of `sqrt(2 / fan_out)` (He et al., 2015),
//! batch norm is the identity; MobileNetV2's last layer is normal with 0.01, ResNet's
//! uniform within `1 / sqrt(inputs)`. The same seed gives the same numbers; each tensor
//! has its own stream, so a replaced head does not depend on the rest.

use crate::plan::ConvShape;
use crate::random::Random;

/// A convolution's weights, OIHW.
pub(crate) fn convolution(shape: &ConvShape, seed: u64, number: usize) -> Vec<f32> {
    // torchvision's fan_out counts all output channels, for depthwise ones too.
    let fan_out = (shape.out_channels * shape.kernel * shape.kernel) as f64;
    let deviation = (2.0 / fan_out).sqrt();
    let mut random = Random::new(seed, number as u64, INITIAL);
    (0..shape.weight_shape().iter().product())
        .map(|_| (random.normal() * deviation) as f32)
        .collect()
}

/// The last layer's matrix and bias.
pub(crate) fn head(name: &str, classes: usize, features: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut random = Random::new(seed, HEAD, INITIAL);
    if name == "fc" {
        let bound = 1.0 / (features as f64).sqrt();
        let mut draw = |count: usize| -> Vec<f32> {
            (0..count)
                .map(|_| ((2.0 * random.uniform() - 1.0) * bound) as f32)
                .collect()
        };
        let weights = draw(classes * features);
        (weights, draw(classes))
    } else {
        let weights = (0..classes * features)
            .map(|_| (random.normal() * 0.01) as f32)
            .collect();
        (weights, vec![0.0; classes])
    }
}

/// What these random numbers are for.
const INITIAL: u64 = 1;
/// The head's stream; a convolution's is its number.
const HEAD: u64 = u64::MAX;
