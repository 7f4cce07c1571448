//! A photo's refusal: the reason for programs, the words for a person.

use schemas::{Reason, events};

/// Why a photo does not become a row, and what is known of it so far.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    /// For programs.
    pub reason: Reason,
    /// For a person: what is wrong, with the numbers, and what to do.
    pub detail: String,
    /// What the header said, if it could be read.
    pub original: Option<events::Original>,
}

impl Refusal {
    /// A refusal of a photo of which nothing is known yet.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            original: None,
        }
    }

    /// The same, telling what the header said, unless more is known already.
    pub fn of(self, original: &events::Original) -> Self {
        Self {
            original: self.original.or_else(|| Some(original.clone())),
            ..self
        }
    }

    /// The file ends before the picture does. `missing` says what was not there any more.
    pub fn truncated(num_bytes: usize, missing: &str) -> Self {
        Self::new(
            Reason::Truncated,
            format!("the file ends after {num_bytes} bytes, {missing}; send it again, whole"),
        )
    }

    /// The file is damaged at `offset`.
    pub fn corrupt_at(offset: usize, what: &str) -> Self {
        Self::new(Reason::Corrupt, format!("damaged at byte {offset}: {what}"))
    }

    /// A decoder's own words on damage, cut to a length that a person reads.
    pub fn corrupt(format: &str, words: &dyn std::fmt::Display) -> Self {
        const MAX_CHARS: usize = 160;
        let words = words.to_string();
        let words: String = words.trim().chars().take(MAX_CHARS).collect();
        Self::new(
            Reason::Corrupt,
            format!("the {format} data is damaged: {words}"),
        )
    }
}

impl From<Refusal> for events::Rejection {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.reason.as_str().into(),
            detail: refusal.detail,
            original: refusal.original,
        }
    }
}
