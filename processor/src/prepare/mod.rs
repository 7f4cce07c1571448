//! Stage "prepare", without its streams: the bytes of one original go in, a
//! [`Photo`] or a [`Rejection`] comes out. The function is pure and blocks; the pool
//! around it bounds threads, memory and time, so that no photo, however made, takes
//! more than its share or takes others with it.
//!
//! The steps, in order; those up to 8a are the crate `picture`'s, which phones have as well:
//!
//! 1. sniff   what the file is, by its first bytes
//! 2. header  size, frames, EXIF and profile against the limits, before any memory is taken
//! 3. decode  to eight-bit RGB, whole or at a fraction of the size
//! 4. hash    SHA-256 over the upright pixels: copies that differ in metadata alone are equal
//! 5. resize  to 256 on the short side; everything below sees this picture only
//! 6. colour  to sRGB, then upright
//! 7. scores  CleanVision's seven
//! 8. prints  64-bit perceptual hash and PDQ, of what is between black bars
//! 9. encode  a new JPEG, with nothing of the original's metadata
//! 10. embed  a network's features of that JPEG, in the pool, when the verdict stands

use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use picture::limits::Deadline;
use picture::{Header, Pixels, Refusal, decode, exif, scores};
pub use picture::{Limits, quality_findings};
#[cfg(feature = "heic")]
use schemas::Format;
use schemas::Reason;
use schemas::events::{Photo, Rejection};

use crate::metrics::{PREPARE_STEP_SECONDS, PREPARED_PHOTOS};

#[cfg(feature = "heic")]
pub mod heif;

mod pdq;

mod encode;

mod embed;
pub use embed::{Embedder, EmbedderError, Embedding};

mod pool;
pub use pool::{DecodePool, PoolSettings};

pub mod stage;

/// The version of everything that decides what a row holds. Raise it with any change
/// that makes the same file give another picture, score or hash.
pub const PIPELINE_VERSION: &str = "3";

/// Prepares one photo. Blocks for up to `limits.deadline`, and, if a decoder does not
/// heed the request to stop, longer; [`DecodePool`] bounds that as well, and catches
/// panics.
///
/// # Errors
/// The photo is not usable; the rejection says why, for programs and for a person.
pub fn prepare(bytes: &[u8], limits: &Limits) -> Result<Photo, Rejection> {
    let deadline = Deadline::after(limits.deadline);
    let result = inspect(bytes, limits)
        .and_then(|header| finish(bytes, &header, limits, deadline))
        .map_err(Rejection::from);
    count(&result);
    result
}

/// Steps 1 and 2: cheap, and bounded by the length of the file.
fn inspect<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Header<'a>, Refusal> {
    timed("header", || Header::read(bytes, limits))
}

/// All further steps. What they need in memory was told by the header.
fn finish(
    bytes: &[u8],
    header: &Header<'_>,
    limits: &Limits,
    deadline: Deadline,
) -> Result<Photo, Refusal> {
    run_steps(bytes, header, limits, deadline).map_err(|refusal| refusal.of(&header.original()))
}

fn run_steps(
    bytes: &[u8],
    header: &Header<'_>,
    limits: &Limits,
    deadline: Deadline,
) -> Result<Photo, Refusal> {
    #[cfg(feature = "heic")]
    if matches!(header.format, Format::Heic | Format::Avif) {
        return run_heif_steps(bytes, header, limits, deadline);
    }
    let decoded = Decoded {
        facts: header.exif.map(exif::facts).unwrap_or_default(),
        pixels: timed("decode", || decode::decode(bytes, header, deadline))?,
        profile: header.profile.as_deref(),
    };
    finish_decoded(decoded, header, limits, deadline)
}

/// The picture and what the file says about it.
struct Decoded<'a> {
    pixels: Pixels,
    facts: exif::Facts,
    profile: Option<&'a [u8]>,
}

/// The same for a HEIF, which only its library reads: size, EXIF and profile come with the
/// pixels. Those are upright already, so EXIF's orientation is left alone.
#[cfg(feature = "heic")]
fn run_heif_steps(
    bytes: &[u8],
    header: &Header<'_>,
    limits: &Limits,
    deadline: Deadline,
) -> Result<Photo, Refusal> {
    let bounds = heif::Bounds::of(limits);
    let decoded = timed("decode", || match &limits.heif_program {
        Some(program) => heif::child::decode_beside(program, bytes, bounds, deadline),
        None => heif::decode(bytes, bounds),
    })?;
    deadline.check()?;
    let heif::Decoded {
        pixels,
        exif,
        profile,
    } = decoded;
    let header = header.decoded(pixels.width, pixels.height, limits)?;
    let decoded = Decoded {
        pixels,
        facts: exif.as_deref().map(exif::facts).unwrap_or_default(),
        profile: profile.as_deref(),
    };
    finish_decoded(decoded, &header, limits, deadline)
        .map_err(|refusal| refusal.of(&header.original()))
}

/// Everything behind the decoder.
fn finish_decoded(
    decoded: Decoded<'_>,
    header: &Header<'_>,
    limits: &Limits,
    deadline: Deadline,
) -> Result<Photo, Refusal> {
    let Decoded {
        pixels,
        facts,
        profile,
    } = decoded;
    let orientation = header.orientation;
    let stored_size = (header.width, header.height);
    let original = header.original();
    let pixel_sha256 = timed("hash", || pixels.upright_sha256(stored_size, orientation));
    deadline.check()?;
    let small = picture::small(pixels, profile, header, limits, &record_time)?;
    let scores = timed("scores", || {
        let size = (original.width, original.height);
        scores::scores(&small, size, limits.target_short_side)
    });
    let (phash, pdq) = timed("prints", || {
        let picture = picture::without_bars(&small);
        (picture::phash(&picture), pdq::pdq(&picture))
    });
    let jpeg = timed("encode", || encode::encode(&small, limits.jpeg_quality)).map_err(failure)?;
    deadline.check()?;

    Ok(Photo {
        jpeg: jpeg.into(),
        width: small.width,
        height: small.height,
        original: Some(original),
        captured_at_us: facts.captured_at_us,
        scores: Some(scores),
        phash,
        pdq: pdq.hash.to_vec(),
        pdq_quality: pdq.quality,
        pdq_turned: pdq.turned.concat(),
        pixel_sha256: pixel_sha256.to_vec(),
        embedding: Vec::new(),
        embedding_model: String::new(),
        camera: facts.camera,
    })
}

/// A step failed that cannot fail on pixels within the limits.
fn failure(error: impl std::error::Error) -> Refusal {
    Refusal::new(Reason::DecoderFailure, error.to_string())
}

fn timed<T>(step: &'static str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    record_time(step, start.elapsed());
    result
}

fn record_time(step: &'static str, took: Duration) {
    histogram!(PREPARE_STEP_SECONDS, "step" => step).record(took);
}

fn count(result: &Result<Photo, Rejection>) {
    let result = match result {
        Ok(_) => "photo",
        Err(rejection) => Reason::from_name(&rejection.reason).map_or("unknown", Reason::as_str),
    };
    counter!(PREPARED_PHOTOS, "result" => result).increment(1);
}

#[cfg(test)]
mod tests;
