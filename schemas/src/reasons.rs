//! What can become of a photo, and the closed list of reasons why it did not
//! become a row. The names are stored in tables and read by programs: they are
//! added to, never renamed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name as it is stored and sent.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use named;

named! {
    /// Where a capture stands.
    Status {
        /// Durable, not judged yet.
        Queued = "queued",
        /// A row of the table, or one that the next shard brings.
        Accepted = "accepted",
        /// The dataset has this photo already; the twin is named.
        Duplicate = "duplicate",
        /// Kept aside until a person looks at it.
        Review = "review",
        /// Not usable; the reason is named.
        Rejected = "rejected",
    }
}

named! {
    /// Why a capture is `duplicate`, `review` or `rejected`.
    Reason {
        /// The same file, byte for byte.
        ExactDuplicate = "exact_duplicate",
        /// Another file with the same pixels.
        PixelDuplicate = "pixel_duplicate",
        /// A re-encoded, resized or slightly edited copy.
        NearDuplicate = "near_duplicate",
        /// The dataset's policy asks for a look at new labels.
        UnknownLabel = "unknown_label",
        /// Too dark to see much.
        Dark = "dark",
        /// Washed out.
        Light = "light",
        /// Out of focus or shaken.
        Blurry = "blurry",
        /// Next to nothing in it.
        LowInformation = "low_information",
        /// It looks like a photo of another label.
        ImplausibleLabel = "implausible_label",
        /// Not one byte.
        Empty = "empty",
        /// The first bytes are of no picture format.
        NotAnImage = "not_an_image",
        /// A picture format that this installation does not read.
        UnsupportedFormat = "unsupported_format",
        /// The file ends before its picture does.
        Truncated = "truncated",
        /// Damaged inside.
        Corrupt = "corrupt",
        /// More pixels than the limit.
        TooManyPixels = "too_many_pixels",
        /// Fewer pixels than are of use.
        TooSmall = "too_small",
        /// More than one frame.
        Animated = "animated",
        /// Far longer than wide, or the other way round.
        ExtremeAspectRatio = "extreme_aspect_ratio",
        /// Decoding took longer than any honest photo does.
        DecodeDeadline = "decode_deadline",
        /// Decoding asked for more memory than any honest photo does.
        DecodeMemory = "decode_memory",
        /// The decoder failed in a way that it should not.
        DecoderFailure = "decoder_failure",
        /// The stored original is not what was uploaded.
        OriginalDamaged = "original_damaged",
    }
}

impl Reason {
    /// The status that a capture with this reason has, unless the dataset's policy
    /// turns a quality finding (`dark`, `light`, `blurry`, `low_information`) into a rejection.
    pub fn status(self) -> Status {
        match self {
            Self::ExactDuplicate | Self::PixelDuplicate | Self::NearDuplicate => Status::Duplicate,
            Self::UnknownLabel
            | Self::Dark
            | Self::Light
            | Self::Blurry
            | Self::LowInformation
            | Self::ImplausibleLabel => Status::Review,
            _ => Status::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_name_in_text_and_json() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        for &status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}
