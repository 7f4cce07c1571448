//! An embedding as it is kept: its direction in seven bits a feature, 1.3 KB with 1,280
//! features. What is computed of these is exact, so that it does not depend on an order.

use sha2::{Digest as _, Sha256};

/// An embedding of length 1 times this, rounded: entries are mostly below a tenth, so that
/// seven bits hold them; the few beyond a quarter are cut.
const SCALE: f32 = 508.0;

/// An embedding without its length, rounded.
#[derive(Debug)]
pub struct Direction {
    values: Box<[i8]>,
    /// Of `values`: about [`SCALE`].
    length: f64,
}

impl Direction {
    /// None for an embedding that has none.
    pub fn of(embedding: &[f32]) -> Option<Self> {
        let square: f64 = embedding.iter().map(|v| f64::from(*v).powi(2)).sum();
        if !square.is_finite() || square <= 0.0 {
            return None;
        }
        let factor = SCALE / square.sqrt() as f32;
        let round = |value: &f32| (value * factor).round().clamp(-127.0, 127.0) as i8;
        let values: Box<[i8]> = embedding.iter().map(round).collect();
        Self::from_values(values)
    }

    /// Of features that are rounded already.
    pub fn from_values(values: Box<[i8]>) -> Option<Self> {
        let length = f64::from(dot(&values, &values)).sqrt();
        (length > 0.0).then_some(Self { values, length })
    }

    /// The rounded features, a byte each.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.values
            .iter()
            .map(|value| value.cast_unsigned())
            .collect()
    }

    /// From its bytes; none of those that have no direction.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_values(bytes.iter().map(|byte| byte.cast_signed()).collect())
    }

    /// The rounded features.
    pub fn values(&self) -> &[i8] {
        &self.values
    }

    /// The length of [`Self::values`].
    pub fn length(&self) -> f64 {
        self.length
    }

    /// Of the angle to another one with as many features; of features that only one of them
    /// has nothing is known.
    pub fn cosine(&self, other: &Self) -> f32 {
        let dot = f64::from(dot(&self.values, &other.values));
        (dot / (self.length * other.length)) as f32
    }
}

/// Exact: 2,048 products of seven bits fit 32.
fn dot(a: &[i8], b: &[i8]) -> i32 {
    let products = a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b));
    products.sum()
}

/// A number that has nothing to do with the bytes' order, for picking some of many.
pub fn hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    u64::from_le_bytes(std::array::from_fn(|at| digest[at]))
}
