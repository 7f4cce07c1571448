//! What one photo may cost, and what is too much. In: nothing; out: the numbers
//! that every other step is held to. Each says what breaks if it is moved.

#[cfg(feature = "heic")]
use std::path::PathBuf;
use std::time::{Duration, Instant};

use schemas::Reason;

use super::Refusal;

/// Bounds on one photo, and the shape of what is made of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The most pixels a picture may have, by its header. 64 megapixels let the
    /// largest panoramas of phones and 50-megapixel cameras through; more would not
    /// fit `max_decode_bytes` in any case.
    pub max_pixels: u64,
    /// The shortest side in pixels. Under 16 a picture is an icon: no network
    /// learns from it, and the fingerprints have nothing to hold on to.
    pub min_side: u32,
    /// The longest side over the shortest. A full turn with a phone held upright is
    /// about 7 and a long receipt 8; larger makes wide strips that training crops to nothing.
    pub max_aspect_ratio: f64,
    /// The most memory one decode may take, in bytes, as estimated from the header:
    /// 64 megapixels at three bytes. Larger, and two such photos at once would break
    /// the process's 512 MiB; smaller refuses honest photos.
    pub max_decode_bytes: u64,
    /// The longest that one photo may take once its decoding began. The slowest
    /// honest photo, a PNG of 64 megapixels, takes two seconds on one slow core;
    /// the rest is room for a busy machine.
    pub deadline: Duration,
    /// The most bytes of a colour profile that are read; real ones have under 1 MiB.
    pub max_profile_bytes: usize,
    /// The short side of the finished picture in pixels; smaller pictures stay as they are.
    /// Networks look at 224; a larger picture only costs storage.
    pub target_short_side: u32,
    /// JPEG quality of the finished picture, 1 to 100. At 90 the loss is under what
    /// a network can tell; at 95 the table doubles.
    pub jpeg_quality: u8,
    /// The program that decodes HEIF in a process of its own, by `processor::prepare::heif::child`'s
    /// command. Without it HEIF is decoded here, where a file that crashes the C library
    /// takes this process with it: good for a tool, not for a server.
    #[cfg(feature = "heic")]
    pub heif_program: Option<PathBuf>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 64_000_000,
            min_side: 16,
            max_aspect_ratio: 12.0,
            max_decode_bytes: 192 << 20,
            deadline: Duration::from_secs(10),
            max_profile_bytes: 1 << 20,
            target_short_side: 256,
            jpeg_quality: 90,
            #[cfg(feature = "heic")]
            heif_program: None,
        }
    }
}

/// The moment at which a photo has had its time. Decoders are asked to stop at it
/// through the reader they read from; between steps it is checked directly.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    allowed: Duration,
}

impl Deadline {
    /// So long from now.
    pub fn after(allowed: Duration) -> Self {
        Self {
            at: Instant::now() + allowed,
            allowed,
        }
    }

    /// Whether it has passed.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.at
    }

    /// Goes on, or refuses the photo if the time is over.
    ///
    /// # Errors
    /// It is.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.is_over() {
            Err(self.refusal())
        } else {
            Ok(())
        }
    }

    /// The time that is left.
    #[cfg(feature = "heic")]
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// The verdict on a photo that took too long.
    pub fn refusal(&self) -> Refusal {
        deadline_refusal(self.allowed)
    }
}

/// The verdict on a photo that took longer than `allowed`.
pub fn deadline_refusal(allowed: Duration) -> Refusal {
    Refusal::new(
        Reason::DecodeDeadline,
        format!(
            "decoding was stopped after {:.1} s; no honest photo takes this long",
            allowed.as_secs_f64()
        ),
    )
}
