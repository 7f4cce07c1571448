//! Rounded weights and cut activations move the mean of a channel, and a network of many
//! layers adds the moves up. Here each bias is corrected until the channel's mean over some
//! photos is that of the float network, layer after layer, so that each sees what the
//! corrected layers before it give.
//!
//! Source: Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight
//! Equalization and Bias Correction" (2019), the empirical correction of its appendix.

use super::quantize::LARGEST_BIAS;
use super::{IntInterpreter, IntNetwork, IntOp};
use crate::calibrate::Kept;

/// How often a layer is corrected. A bias does not move what an activation cuts off, so that
/// one correction falls short where there is one; after two little is left.
const ROUNDS: usize = 2;

impl IntNetwork {
    /// Corrects the biases by `photos`, each with its bytes as the network takes them.
    pub fn correct(self, photos: &[(Vec<u8>, &Kept)]) -> Self {
        if photos.is_empty() {
            return self;
        }
        let mut interpreter = IntInterpreter::new(self);
        let mut values: Vec<Vec<Vec<i8>>> = photos
            .iter()
            .map(|(bytes, _)| {
                interpreter.photo(bytes);
                interpreter.values.clone()
            })
            .collect();
        for id in 1..interpreter.network.nodes.len() {
            step(&mut interpreter, &mut values, id);
            for _ in 0..ROUNDS {
                let moved = moved(&interpreter.network, &values, photos, id);
                if !add_to_bias(&mut interpreter.network, id, &moved) {
                    break;
                }
                step(&mut interpreter, &mut values, id);
            }
        }
        interpreter.network
    }
}

/// Computes a node of every photo.
fn step(interpreter: &mut IntInterpreter, values: &mut [Vec<Vec<i8>>], id: usize) {
    for values in values {
        std::mem::swap(&mut interpreter.values, values);
        interpreter.step(id);
        std::mem::swap(&mut interpreter.values, values);
    }
}

/// How far each channel's mean is above that of the float network.
fn moved(
    network: &IntNetwork,
    values: &[Vec<Vec<i8>>],
    photos: &[(Vec<u8>, &Kept)],
    id: usize,
) -> Vec<f64> {
    let node = &network.nodes[id];
    let channels = node.shape.channels;
    let num_pixels = (node.shape.height * node.shape.width) as f64;
    let mut moved = vec![0.0; channels];
    for (values, (_, kept)) in values.iter().zip(photos) {
        let mut sums = vec![0_i64; channels];
        for pixel in values[id].chunks_exact(channels) {
            let pairs = sums.iter_mut().zip(pixel);
            pairs.for_each(|(sum, value)| *sum += i64::from(*value));
        }
        for ((moved, sum), mean) in moved.iter_mut().zip(&sums).zip(&kept.means[id]) {
            let found = *sum as f64 / num_pixels - f64::from(node.quant.zero_point);
            *moved += found * f64::from(node.quant.scale) - f64::from(*mean);
        }
    }
    let num_photos = photos.len() as f64;
    moved.iter().map(|sum| sum / num_photos).collect()
}

/// Takes what a channel is too high from its bias. False if the node has none.
fn add_to_bias(network: &mut IntNetwork, id: usize, moved: &[f64]) -> bool {
    let (_, input) = network.conv(id);
    let IntOp::Conv(conv) = &mut network.nodes[id].op else {
        return false;
    };
    let largest = f64::from(LARGEST_BIAS);
    let scales = conv.scales.iter().zip(moved);
    for (bias, (scale, moved)) in conv.bias.iter_mut().zip(scales) {
        let unit = f64::from(input.scale) * f64::from(*scale);
        let corrected = f64::from(*bias) - moved / unit;
        *bias = corrected.round().clamp(-largest, largest) as i32;
    }
    true
}
