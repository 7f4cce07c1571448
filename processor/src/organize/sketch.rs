//! An embedding in 64 bytes, for asking whether two pictures of which the hashes are not sure
//! show the same. Each feature is added to or taken from one of 64 sums, by a fixed hash of
//! its place (a count sketch: Charikar, Chen, Farach-Colton 2002), which keeps angles; on
//! the measured set the judgement is that of whole embeddings (`benches/peers/duplicates.py`).

use super::direction::hash;

const NUM_SUMS: usize = 64;
/// A sum is mostly under a quarter of the length; the few beyond 0.4 are cut.
const SCALE: f64 = 300.0;

/// The sketch of an embedding, and of which model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sketch {
    values: [i8; NUM_SUMS],
    /// Two models in one dataset are few enough for 32 bits of a hash.
    model: u32,
}

impl Sketch {
    /// None for an embedding that has no direction.
    pub fn of(model: &str, embedding: &[f32]) -> Option<Self> {
        let mut sums = [0.0_f64; NUM_SUMS];
        for (at, value) in embedding.iter().enumerate() {
            let sign = if is_added(at as u64) { 1.0 } else { -1.0 };
            sums[at % NUM_SUMS] += sign * f64::from(*value);
        }
        let length = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
        if !length.is_finite() || length <= 0.0 {
            return None;
        }
        Some(Self {
            values: sums.map(|sum| (sum / length * SCALE).round().clamp(-127.0, 127.0) as i8),
            model: (hash(model.as_bytes()) & 0xffff_ffff) as u32,
        })
    }

    /// Its sums, a byte each.
    pub fn to_bytes(self) -> [u8; NUM_SUMS] {
        self.values.map(i8::cast_unsigned)
    }

    /// Which model's embeddings it can be compared with.
    pub fn model(&self) -> u32 {
        self.model
    }

    /// The sketch that [`Self::to_bytes`] and [`Self::model`] are of; none of another length.
    pub fn from_bytes(values: &[u8], model: u32) -> Option<Self> {
        let values: [u8; NUM_SUMS] = values.try_into().ok()?;
        Some(Self {
            values: values.map(u8::cast_signed),
            model,
        })
    }

    /// The cosine of the angle, in percent; none between models.
    pub fn likeness_percent(&self, other: &Self) -> Option<u32> {
        if self.model != other.model {
            return None;
        }
        let dot = |a: &Self, b: &Self| -> i32 {
            let pairs = a.values.iter().zip(&b.values);
            pairs.map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
        };
        let lengths = f64::from(dot(self, self)) * f64::from(dot(other, other));
        let cosine = f64::from(dot(self, other)) / lengths.sqrt().max(1.0);
        Some((cosine.max(0.0) * 100.0).floor() as u32)
    }
}

/// A bit of SplitMix64's output for this number.
fn is_added(number: u64) -> bool {
    let mut mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(seed: u64) -> Vec<f32> {
        let feature = |at: u64| (at * 2_654_435_761 + seed * 97) % 1_009;
        (0..1_280).map(|at| feature(at) as f32 / 1_009.0).collect()
    }

    #[test]
    fn sketches_are_as_alike_as_embeddings_and_lengths_do_not_count() {
        let one = embedding(3);
        let sketch = Sketch::of("net", &one).unwrap();
        let longer: Vec<f32> = one.iter().map(|value| value * 7.0).collect();
        assert_eq!(Sketch::of("net", &longer), Some(sketch));
        let nearly: Vec<f32> = one
            .iter()
            .zip(embedding(8))
            .map(|(a, b)| a + 0.2 * b)
            .collect();
        let likeness = |other: &[f32]| sketch.likeness_percent(&Sketch::of("net", other).unwrap());
        assert_eq!(likeness(&one), Some(100));
        assert!(likeness(&nearly).unwrap() >= 90);
        let opposite: Vec<f32> = one.iter().map(|value| -value).collect();
        assert_eq!(likeness(&opposite), Some(0));
    }

    #[test]
    fn embeddings_of_two_models_and_those_without_direction_are_not_compared() {
        let one = Sketch::of("net", &embedding(1)).unwrap();
        assert_eq!(
            one.likeness_percent(&Sketch::of("other", &embedding(1)).unwrap()),
            None
        );
        assert_eq!(Sketch::of("net", &[]), None);
        assert_eq!(Sketch::of("net", &[0.0; 9]), None);
        assert_eq!(Sketch::of("net", &[f32::NAN; 9]), None);
    }
}
