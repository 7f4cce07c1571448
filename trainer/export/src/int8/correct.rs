//! Rounded weights and cut activations move the mean of a channel, and a network of many
//! layers adds the moves up. Here each bias is corrected until the channel's mean over some
//! photos is that of the float network, layer after layer, so that each sees what the
//! corrected layers before it give.
//!
//! Source: Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight
//! Equalization and Bias Correction" (2019), the empirical correction of its appendix.

use super::quantize::LARGEST_BIAS;
use super::run::{Arena, Program};
use super::{IntNetwork, IntOp};
use crate::calibrate::Kept;

/// How often a layer is corrected. A bias does not move what an activation cuts off, so that
/// one correction falls short where there is one; after two little is left.
const ROUNDS: usize = 2;

impl IntNetwork {
    /// Corrects the biases by `photos`, each with its bytes as the network takes them,
    /// `num_threads` at a time.
    pub fn correct(self, photos: &[(Vec<u8>, &Kept)], num_threads: usize) -> Self {
        if photos.is_empty() {
            return self;
        }
        let mut program = Program::new(self);
        let mut arenas: Vec<Arena> = photos.iter().map(|_| program.arena()).collect();
        for (arena, (bytes, _)) in arenas.iter_mut().zip(photos) {
            program.photo(arena, bytes);
        }
        for id in 1..program.network.nodes.len() {
            let mut sums = step(&program, &mut arenas, id, num_threads);
            for _ in 0..ROUNDS {
                let moved = moved(&program.network, &sums, photos, id);
                if !add_to_bias(&mut program.network, id, &moved) {
                    break;
                }
                sums = step(&program, &mut arenas, id, num_threads);
            }
        }
        program.network
    }
}

/// Computes a node of every photo; of each the sum of each channel.
fn step(program: &Program, arenas: &mut [Arena], id: usize, num_threads: usize) -> Vec<Vec<i64>> {
    let channels = program.network.nodes[id].shape.channels;
    let sums = |arena: &mut Arena| {
        program.step(arena, id);
        let mut sums = vec![0_i64; channels];
        for pixel in arena.values[id].chunks_exact(channels) {
            let pairs = sums.iter_mut().zip(pixel);
            pairs.for_each(|(sum, value)| *sum += i64::from(*value));
        }
        sums
    };
    let share = arenas.len().div_ceil(num_threads.max(1));
    std::thread::scope(|scope| {
        let shares = arenas.chunks_mut(share);
        let work = |share: &mut [Arena]| share.iter_mut().map(sums).collect::<Vec<_>>();
        let threads: Vec<_> = shares
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        let found = threads.into_iter().flat_map(|thread| {
            let found = thread.join();
            found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        found.collect()
    })
}

/// How far each channel's mean is above that of the float network.
fn moved(
    network: &IntNetwork,
    sums: &[Vec<i64>],
    photos: &[(Vec<u8>, &Kept)],
    id: usize,
) -> Vec<f64> {
    let node = &network.nodes[id];
    let num_pixels = (node.shape.height * node.shape.width) as f64;
    let mut moved = vec![0.0; node.shape.channels];
    for (sums, (_, kept)) in sums.iter().zip(photos) {
        for ((moved, sum), mean) in moved.iter_mut().zip(sums).zip(&kept.means[id]) {
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
