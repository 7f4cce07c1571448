//! What Tintype makes of a photo's file. In: its bytes; out: the small upright picture in
//! sRGB that everything else is computed from, its quality scores and its perceptual hash.
//! Pure functions without threads, streams or I/O: servers and phones call the very same,
//! so that a phone's hash and hints are the server's.
//!
//! The steps, in order; `processor::prepare` adds the hash over all pixels, PDQ, the
//! encoding and the embedding:
//!
//! 1. sniff   what the file is, by its first bytes
//! 2. header  size, frames, EXIF and profile against the limits, before any memory is taken
//! 3. decode  to eight-bit RGB, whole or at a fraction of the size
//! 5. resize  to 256 on the short side; everything below sees this picture only
//! 6. colour  to sRGB, then upright
//! 7. scores  CleanVision's seven
//! 8. prints  64-bit perceptual hash, of what is between black bars

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod limits;
pub use limits::Limits;

mod refusal;
pub use refusal::Refusal;

pub mod header;
pub use header::Header;

pub mod exif;

pub mod decode;

pub mod pixels;
pub use pixels::Pixels;

mod resize;

mod colour;

pub mod scores;
pub use scores::quality_findings;

mod bars;
pub use bars::without_bars;

mod phash;
pub use phash::phash;

mod look;
pub use look::{Look, look, small};

#[cfg(any(test, feature = "testing"))]
pub mod testing;
