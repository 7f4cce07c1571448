//! The number formats that weights are stored in, brought to float32. Comes in: raw
//! little-endian bytes. Goes out: values; 16-bit ones are exact in float32.

/// How one number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    F64,
    F32,
    F16,
    Bf16,
}

impl Number {
    /// Bytes of one number.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The first number in `bytes`, which hold at least one.
    pub fn value(self, bytes: &[u8]) -> f32 {
        match self {
            Self::F64 => f64::from_le_bytes(first(bytes)) as f32,
            Self::F32 => f32::from_le_bytes(first(bytes)),
            Self::F16 => f16_to_f32(u16::from_le_bytes(first(bytes))),
            Self::Bf16 => f32::from_bits(u32::from(u16::from_le_bytes(first(bytes))) << 16),
        }
    }

    /// All numbers in `bytes`, whose length is a multiple of [`Self::size_bytes`].
    pub fn values(self, bytes: &[u8]) -> Vec<f32> {
        bytes
            .chunks_exact(self.size_bytes())
            .map(|one| self.value(one))
            .collect()
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("the caller cuts whole numbers")
}

/// IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits.
fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let exponent = u32::from(half >> 10) & 31;
    let fraction = u32::from(half) & 0x3ff;
    let magnitude = match exponent {
        // Subnormal: the fraction counts steps of 2^-24.
        0 => (fraction as f32 * 2f32.powi(-24)).to_bits(),
        31 => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read_exactly() {
        for (half, value) in [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(
                f16_to_f32(half).to_bits(),
                f32::to_bits(value),
                "{half:04x}"
            );
        }
        assert!(f16_to_f32(0x7e00).is_nan());
        assert_eq!(Number::Bf16.value(&[0x80, 0xbf]), -1.0);
        assert_eq!(Number::F64.value(&0.5f64.to_le_bytes()), 0.5);
    }
}
