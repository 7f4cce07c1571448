//! How the learning rate goes over the steps, as a part of the highest one.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The learning rate's course. It depends on the number of the step alone.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Always the same.
    #[default]
    Constant,
    /// Rises from nothing in a straight line, then falls to nothing along half a cosine.
    Cosine {
        /// Steps of rising.
        warmup_steps: u64,
        /// Steps in all; afterwards the rate is 0.
        total_steps: u64,
    },
    /// Is multiplied again and again.
    Step {
        /// After so many steps each.
        every_steps: u64,
        /// By this.
        gamma: f64,
    },
}

impl Schedule {
    /// The rate of the step after `done` steps, as a part of the highest.
    pub fn factor(&self, done: u64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Cosine { warmup_steps, .. } if done < warmup_steps => {
                (done + 1) as f64 / warmup_steps as f64
            }
            Self::Cosine {
                warmup_steps,
                total_steps,
            } => {
                let falling = (total_steps - warmup_steps) as f64;
                let part = ((done - warmup_steps) as f64 / falling).min(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * part).cos())
            }
            Self::Step { every_steps, gamma } => gamma.powf((done / every_steps) as f64),
        }
    }

    /// Refuses what has no meaning.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let reason = match *self {
            Self::Cosine {
                warmup_steps,
                total_steps,
            } if warmup_steps >= total_steps => {
                format!("a warm-up of {warmup_steps} steps in {total_steps} steps in all")
            }
            Self::Step { every_steps: 0, .. } => "a step schedule of every 0 steps".to_owned(),
            Self::Step { gamma, .. } if !(gamma > 0.0 && gamma <= 1.0) => {
                format!("a step schedule's gamma of {gamma}, which is not in (0, 1]")
            }
            _ => return Ok(()),
        };
        Err(ModelError::Settings { reason })
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn cosine_rises_in_a_line_and_falls_to_nothing() {
        let schedule = Schedule::Cosine {
            warmup_steps: 4,
            total_steps: 12,
        };
        let factors: Vec<f64> = (0..14).map(|done| schedule.factor(done)).collect();
        assert_eq!(factors[..5], [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert!((factors[8] - 0.5).abs() < 1e-12);
        assert!(factors[11] > 0.0 && factors[11] < 0.04);
        assert_eq!(factors[12..], [0.0, 0.0]);
    }

    #[test]
    fn step_multiplies_after_each_period() {
        let schedule = Schedule::Step {
            every_steps: 3,
            gamma: 0.1,
        };
        let factors: Vec<f64> = (0..7).map(|done| schedule.factor(done)).collect();
        for (factor, expected) in factors.iter().zip([1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01]) {
            assert!((factor - expected).abs() < 1e-12, "{factors:?}");
        }
    }

    #[test]
    fn senseless_courses_are_refused() {
        assert!(
            Schedule::Cosine {
                warmup_steps: 5,
                total_steps: 5
            }
            .check()
            .is_err()
        );
        assert!(
            Schedule::Step {
                every_steps: 0,
                gamma: 0.1
            }
            .check()
            .is_err()
        );
        assert!(
            Schedule::Step {
                every_steps: 1,
                gamma: 0.0
            }
            .check()
            .is_err()
        );
        assert!(
            Schedule::Step {
                every_steps: 1,
                gamma: f64::NAN
            }
            .check()
            .is_err()
        );
        assert!(Schedule::Constant.check().is_ok());
    }
}
