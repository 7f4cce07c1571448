//! Fresh weights for training from scratch. Comes in: a seed. Goes out: He's
//! initialisation (<https://arxiv.org/abs/1502.01852>, fan out of each group), equal
//! to the bit on every machine, because only additions and products make it.

use std::collections::BTreeMap;

use super::Architecture;
use crate::weights::{Tensor, Weights};

pub(super) fn weights(architecture: Architecture, num_classes: usize, seed: u64) -> Weights {
    let mut tensors = BTreeMap::new();
    let mut random = Random(seed);
    for spec in architecture.backbone_tensors() {
        let num_values = spec.shape.iter().product();
        let values = match *spec.shape.as_slice() {
            [out_channels, _, height, width] => {
                // The fan out of one group: a depthwise kernel feeds one channel only.
                let groups = if spec.shape[1] == 1 { out_channels } else { 1 };
                let fan_out = out_channels / groups * height * width;
                random.normal((2.0 / fan_out as f64).sqrt(), num_values)
            }
            _ if spec.name.ends_with(".weight") || spec.name.ends_with(".running_var") => {
                vec![1.0; num_values]
            }
            _ => vec![0.0; num_values],
        };
        tensors.insert(spec.name, Tensor::new(spec.shape, values));
    }
    let [weight, bias] = architecture.head_tensors(num_classes);
    let values = random.normal(0.01, num_classes * architecture.num_features());
    tensors.insert(weight.name, Tensor::new(weight.shape, values));
    tensors.insert(bias.name, Tensor::new(bias.shape, vec![0.0; num_classes]));
    Weights { tensors }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Normal values: the sum of twelve uniform ones less 6 has deviation 1 and differs
    /// from a true normal only beyond three deviations. Logarithms, which the usual
    /// methods need, differ between machines in the last bit.
    fn normal(&mut self, deviation: f64, num_values: usize) -> Vec<f32> {
        let quarter = |bits: u64| (0..4).map(|i| (bits >> (16 * i)) & 0xffff).sum::<u64>();
        let mut value = || {
            let sum: u64 = (0..3).map(|_| quarter(self.bits())).sum();
            // Twelve times the mean of 0..=65535, which is 32767.5.
            (sum as f64 - 393_210.0) / 65_536.0 * deviation
        };
        (0..num_values).map(|_| value() as f32).collect()
    }
}
