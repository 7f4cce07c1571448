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
    #[inline(always)]
    pub fn times(self, value: i32) -> i32 {
        scaled(value, self.multiplier, self.shift)
    }
}

/// Some factors beside each other, for the vectors of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factors<const N: usize> {
    multipliers: [i32; N],
    shifts: [i32; N],
}

impl<const N: usize> Factors<N> {
    /// At most `N` factors; what is missing is 0.
    pub fn of(factors: &[Factor]) -> Self {
        let get = |at: usize| factors.get(at);
        Self {
            multipliers: std::array::from_fn(|at| get(at).map_or(0, |f| f.multiplier)),
            shifts: std::array::from_fn(|at| get(at).map_or(0, |f| f.shift)),
        }
    }

    /// Makes each value that times its factor, as [`Factor::times`].
    #[inline(always)]
    pub fn scale(&self, values: &mut [i32; N]) {
        let factors = self.multipliers.iter().zip(&self.shifts);
        for (value, (multiplier, shift)) in values.iter_mut().zip(factors) {
            *value = scaled(*value, *multiplier, *shift);
        }
    }
}

/// `SaturatingRoundingDoublingHighMul`, then `RoundingDivideByPOT`. A multiplier is never
/// below 0, so that the first saturates nothing and is a half added and a shift; the second takes
/// halves away from zero. Both without a branch, for vectors.
#[inline(always)]
fn scaled(value: i32, multiplier: i32, shift: i32) -> i32 {
    let (left, right) = (shift.max(0), (-shift).max(0));
    let product = i64::from(value.wrapping_shl(left as u32)) * i64::from(multiplier);
    let high = (product + (1 << 30)) >> 31;
    let half = (1_i64 << right) >> 1;
    let away = i64::from(high < 0) & i64::from(right > 0);
    ((high + half - away) >> right) as i32
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

    /// The upper half of twice the product, rounded, as gemmlowp writes it.
    fn doubling_high_multiply(a: i32, b: i32) -> i32 {
        if a == i32::MIN && b == i32::MIN {
            return i32::MAX;
        }
        let product = i64::from(a) * i64::from(b);
        let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
        ((product + nudge) / (1 << 31)) as i32
    }

    /// Division by `2^exponent`, halves away from zero, as gemmlowp writes it.
    fn divide_by_power(value: i32, exponent: i32) -> i32 {
        let mask = ((1_i64 << exponent) - 1) as i32;
        let remainder = value & mask;
        let threshold = (mask >> 1) + i32::from(value < 0);
        (value >> exponent.min(31)) + i32::from(remainder > threshold)
    }

    #[test]
    fn a_product_is_rounded_as_gemmlowp_rounds_it() {
        let mut state = 7_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 32) as i32
        };
        let edges = [0, 1, -1, i32::MAX, i32::MIN, 1 << 30, -(1 << 30), 3 << 29];
        let mut num_compared = 0;
        for shift in -31..=8 {
            for _ in 0..2_000 {
                let factor = Factor {
                    multiplier: match next() % 4 {
                        0 => 1 << 30,
                        1 => 3 << 29,
                        _ => next() & i32::MAX | 1 << 30,
                    },
                    shift,
                };
                let value = match next() % 3 {
                    0 => edges[(next() & 7) as usize],
                    1 => next() >> (next() & 31),
                    _ => next(),
                };
                let shifted = value.wrapping_shl(shift.max(0) as u32);
                let high = doubling_high_multiply(shifted, factor.multiplier);
                let expected = divide_by_power(high, (-shift).max(0));
                assert_eq!(factor.times(value), expected, "{value} by {factor:?}");
                let mut values = [value; 3];
                Factors::<3>::of(&[factor; 2]).scale(&mut values);
                assert_eq!(values, [expected, expected, 0]);
                num_compared += 1;
            }
        }
        assert_eq!(num_compared, 80_000);
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
