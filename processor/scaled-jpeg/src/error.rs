//! Why a JPEG could not be decoded, and where in the file that showed.

use std::fmt;

/// Why there is no picture.
///
/// The variants differ by what a caller does next: `Unsupported` and `Corrupt`
/// go to a full decoder, which knows more formats and forgives more;
/// `Truncated` will not get better by another decoder; `TooLarge` is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A valid kind of JPEG that this crate does not decode.
    Unsupported(&'static str),
    /// The data ended before the picture did.
    Truncated {
        /// Offset in the file at which the picture's data ended.
        at_byte: usize,
        /// The row of MCUs (of blocks, in a scan of one component) that was
        /// being decoded, counted from 0 at the top.
        mcu_row: usize,
    },
    /// The bytes break the rules of the format.
    Corrupt {
        /// Offset in the file of what is wrong, or of the entropy-coded bits
        /// that make no sense.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The header announces more pixels than the caller allows.
    TooLarge {
        /// Width times height, as the header has them.
        pixels: u64,
        /// The caller's limit.
        limit: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(what) => write!(f, "this decoder does not read JPEGs with {what}"),
            Self::Truncated { at_byte, mcu_row } => write!(
                f,
                "the picture's data ends at byte {at_byte}, in MCU row {mcu_row}"
            ),
            Self::Corrupt { offset, what } => write!(f, "{what} at byte {offset}"),
            Self::TooLarge { pixels, limit } => {
                write!(f, "the picture has {pixels} pixels, the limit is {limit}")
            }
        }
    }
}

impl std::error::Error for Error {}
