//! TFLite's fixed-point arithmetic: a float factor as an integer and a shift, and the
//! rounding of gemmlowp, bit by bit as in `tensorflow/lite/kernels/internal/common.h`
//! and `quantization_util.cc`.

/// A factor `multiplier * 2^(shift - 31)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Factor {
    pub multiplier: i32,
    pub shift: i32,
}

impl Factor {
    /// The nearest factor to a positive number (`QuantizeMultiplier`).
    pub fn of(real: f64) -> Self {
        if real <= 0.0 || !real.is_finite() {
            return Self {
                multiplier: 0,
                shift: 0,
            };
        }
        let mut shift = real.log2().floor() as i32 + 1;
        let mut fraction = real / f64::from(shift).exp2();
        // The logarithm of a number just beside a power of two may round across it.
        if fraction >= 1.0 {
            fraction /= 2.0;
            shift += 1;
        } else if fraction < 0.5 {
            fraction *= 2.0;
            shift -= 1;
        }
        let mut multiplier = (fraction * f64::from(1_u32 << 31)).round() as i64;
        if multiplier == 1 << 31 {
            multiplier /= 2;
            shift += 1;
        }
        if shift < -31 {
            return Self {
                multiplier: 0,
                shift: 0,
            };
        }
        Self {
            multiplier: i32::try_from(multiplier).unwrap_or(i32::MAX),
            shift,
        }
    }

    /// `value` times the factor, rounded twice (`MultiplyByQuantizedMultiplier`).
    pub fn times(self, value: i32) -> i32 {
        let left = self.shift.max(0);
        let right = (-self.shift).max(0);
        let shifted = value.wrapping_shl(left as u32);
        divide_by_power(doubling_high_multiply(shifted, self.multiplier), right)
    }
}

/// The upper half of twice the product, rounded (`SaturatingRoundingDoublingHighMul`).
fn doubling_high_multiply(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    ((product + nudge) / (1 << 31)) as i32
}

/// Division by `2^exponent`, halves away from zero (`RoundingDivideByPOT`).
fn divide_by_power(value: i32, exponent: i32) -> i32 {
    let mask = ((1_i64 << exponent) - 1) as i32;
    let remainder = value & mask;
    let threshold = (mask >> 1) + i32::from(value < 0);
    (value >> exponent.min(31)) + i32::from(remainder > threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_the_number_it_was_made_of() {
        for real in [1.0, 0.5, 0.75, 1e-6, 0.003_921_568_6, 2.5, 0.999_999_999_9] {
            let factor = Factor::of(real);
            let back = f64::from(factor.multiplier) * f64::from(factor.shift - 31).exp2();
            assert!(
                (back / real - 1.0).abs() < 1e-9,
                "{real}: {factor:?} is {back}"
            );
        }
        assert_eq!(Factor::of(0.0).times(1000), 0);
    }

    #[test]
    fn halves_are_rounded_as_gemmlowp_rounds_them() {
        assert_eq!(
            [5, 6, 7, -5, -6, -7].map(|v| divide_by_power(v, 2)),
            [1, 2, 2, -1, -2, -2]
        );
        assert_eq!([3, -3].map(|value| Factor::of(0.5).times(value)), [2, -1]);
        assert_eq!(
            [100, -100].map(|value| Factor::of(1.0).times(value)),
            [100, -100]
        );
    }
}
