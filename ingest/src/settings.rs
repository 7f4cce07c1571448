//! The bounds of the captures route: what one upload may be and what all of them
//! together may take. Given by the executable, checked once, never changed.

use std::time::Duration;

/// What a multipart body may have beside its file: boundaries, part headers and
/// the small parts. Larger lets a form that never comes to its file fill memory;
/// smaller refuses honest forms with all parts at their limits.
pub(crate) const FORM_OVERHEAD_BYTES: u64 = 64 * 1024;

/// The bounds of the captures route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestSettings {
    /// The largest photo, in bytes. Larger lets fewer uploads share the body budget;
    /// smaller refuses what phones make (a 48 MP HEIC has 5 MB, a 50 MP JPEG up to 25 MB).
    pub max_body_bytes: u64,
    /// The memory that all bodies may take together, in bytes. Larger is that much more
    /// resident memory; smaller lets fewer uploads run at a time, and below one largest
    /// photo, none.
    pub body_budget_bytes: u64,
    /// How many uploads are worked on at a time. More cost a connection buffer each and
    /// a place in the catalog's queue; fewer let slow phones keep fast ones out.
    pub max_working: usize,
    /// How many more may wait for their turn. More only turn a quick refusal into a slow one.
    pub max_waiting: usize,
    /// How long an upload may wait for its turn, and again for memory, before it is refused.
    /// Longer outlasts a client's patience; shorter refuses in every small burst.
    pub max_wait: Duration,
    /// How long a body may be silent. Longer lets a dead phone hold memory; shorter cuts
    /// off phones that change from Wi-Fi to mobile data.
    pub idle_timeout: Duration,
    /// The slowest body, on average after `grace`, in bytes per second. Slower lets two
    /// stalled clients hold the whole budget for hours; faster refuses poor mobile networks.
    pub min_bytes_per_second: u64,
    /// How long a body may be slower than that at its beginning.
    pub grace: Duration,
    /// How many resumable uploads of one key may be open. More let one key that never
    /// completes anything fill the catalog; fewer refuse an app whose phones share a key.
    pub max_open_uploads_per_key: u64,
    /// What the open uploads of one dataset may take of the object store, in bytes, announced
    /// lengths included. More lets the abandoned fill the disk for a day; less refuses a
    /// large event's phones.
    pub max_open_bytes_per_dataset: u64,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            body_budget_bytes: 64 << 20,
            max_working: 64,
            max_waiting: 64,
            max_wait: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(10),
            min_bytes_per_second: 32 << 10,
            grace: Duration::from_secs(15),
            max_open_uploads_per_key: 10_000,
            max_open_bytes_per_dataset: 8 << 30,
        }
    }
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// Nothing would ever be let in.
    #[error("{0} is 0; it must be at least 1")]
    Zero(&'static str),
    /// One photo could never get the memory it needs.
    #[error(
        "body_budget_bytes is {budget}; it must be at least {needed}, the largest body and its form"
    )]
    Budget {
        /// What was given.
        budget: u64,
        /// What one largest body takes.
        needed: u64,
    },
    /// More than can be counted.
    #[error("body_budget_bytes is {0}; it must be at most 1 TiB")]
    Uncountable(u64),
}

impl IngestSettings {
    /// The largest body of a request: a photo, or a form around one.
    pub(crate) fn max_request_bytes(&self, is_form: bool) -> u64 {
        self.max_body_bytes + if is_form { FORM_OVERHEAD_BYTES } else { 0 }
    }

    /// The settings, if they can work.
    ///
    /// # Errors
    /// A bound is 0, or the budget cannot hold one largest body.
    pub fn validated(self) -> Result<Self, InvalidSettings> {
        let zeros = [
            ("max_body_bytes", self.max_body_bytes == 0),
            ("max_working", self.max_working == 0),
            ("max_wait", self.max_wait.is_zero()),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("min_bytes_per_second", self.min_bytes_per_second == 0),
        ];
        if let Some((name, _)) = zeros.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(InvalidSettings::Zero(name));
        }
        if self.body_budget_bytes > 1 << 40 {
            return Err(InvalidSettings::Uncountable(self.body_budget_bytes));
        }
        let needed = self.max_body_bytes.saturating_add(FORM_OVERHEAD_BYTES);
        if self.body_budget_bytes < needed {
            return Err(InvalidSettings::Budget {
                budget: self.body_budget_bytes,
                needed,
            });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_a_budget_under_one_photo_does_not() {
        assert!(IngestSettings::default().validated().is_ok());
        let small = IngestSettings {
            body_budget_bytes: 32 << 20,
            ..IngestSettings::default()
        };
        assert!(matches!(
            small.validated(),
            Err(InvalidSettings::Budget { .. })
        ));
        let closed = IngestSettings {
            max_working: 0,
            ..IngestSettings::default()
        };
        assert_eq!(
            closed.validated(),
            Err(InvalidSettings::Zero("max_working"))
        );
    }
}
