//! Random numbers from a counter: the same seed, step and place give the same number,
//! whatever was drawn before. So a resumed run draws what an uninterrupted one does.

/// SplitMix64 (Steele, Lea and Flood, 2014) from a hash of what it is for.
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of `purpose` in `step` of the run `seed`.
    pub(crate) fn new(seed: u64, step: u64, purpose: u64) -> Self {
        let mut state = Self(seed);
        for part in [step, purpose] {
            state.0 = state.next() ^ part.wrapping_mul(0xD1B5_4A32_D192_ED03);
        }
        state
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// With mean 0 and standard deviation 1 (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn numbers_are_uniform_and_normal_and_depend_on_every_part() {
        let mut random = Random::new(1, 2, 3);
        let uniform: Vec<f64> = (0..10_000).map(|_| random.uniform()).collect();
        let mean = uniform.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        let normal: Vec<f64> = (0..10_000).map(|_| random.normal()).collect();
        let square = normal.iter().map(|value| value * value).sum::<f64>() / 10_000.0;
        assert!((square - 1.0).abs() < 0.05, "{square}");
        let first = |seed, step, purpose| Random::new(seed, step, purpose).next();
        assert_ne!(first(1, 2, 3), first(2, 2, 3));
        assert_ne!(first(1, 2, 3), first(1, 3, 3));
        assert_ne!(first(1, 2, 3), first(1, 2, 4));
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
    }
}
