//! What is done to a photo before it enters the queue: it is held to the limits, its place
//! is taken out, it is hashed, and a person is told what could be better. In: the file's
//! bytes; out: the bytes that will be sent, and what is known of them. The same file gives
//! the same bytes and hash on every device.

use schemas::{Format, Sha256};
use serde::{Deserialize, Serialize};

use crate::TintypeError;
use crate::settings::{Location, Policy};

mod size;

mod privacy;

mod look;
pub(crate) use look::are_similar;

/// What a person could have done better, told before anything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// Too dark to see much.
    TooDark,
    /// Washed out.
    TooBright,
    /// Out of focus or shaken.
    Blurry,
    /// Next to nothing in it.
    Empty,
    /// Cut short or broken: the server would not be able to read it.
    Damaged,
    /// This very photo is in the queue, or was sent from this device.
    SamePhoto,
    /// One that looks nearly the same is in the queue, or was sent from this device.
    SimilarPhoto,
}

/// A photo that is ready to be queued.
#[derive(Debug, PartialEq)]
pub(crate) struct Prepared {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: Format,
    pub(crate) sha256: Sha256,
    pub(crate) phash: Option<u64>,
    pub(crate) hints: Vec<Hint>,
}

/// Checks a photo and makes of it what will be sent.
pub(crate) fn prepare(bytes: Vec<u8>, policy: &Policy) -> Result<Prepared, TintypeError> {
    let format = check(&bytes, policy)?;
    let bytes = match policy.location.unwrap_or_default() {
        Location::Keep => bytes,
        Location::Strip => privacy::strip(bytes, format)?,
    };
    let look::Found { phash, hints } = look::look(&bytes);
    Ok(Prepared {
        format,
        sha256: Sha256::of(&bytes),
        phash,
        hints,
        bytes,
    })
}

fn check(bytes: &[u8], policy: &Policy) -> Result<Format, TintypeError> {
    if bytes.is_empty() {
        let detail = "the file has no bytes; take the photo again";
        return Err(TintypeError::photo("empty", detail));
    }
    let num_bytes = bytes.len() as u64;
    if num_bytes > policy.max_photo_bytes {
        let detail = format!(
            "the photo has {:.1} MB; the most is {:.1} MB",
            num_bytes as f64 / 1e6,
            policy.max_photo_bytes as f64 / 1e6
        );
        return Err(TintypeError::photo("too_many_bytes", detail));
    }
    let format = match Format::sniff(bytes) {
        Some(format) if format.is_picture() => format,
        Some(other) => {
            let detail = format!("this is a {} file and no photo", other.title());
            return Err(TintypeError::photo("not_an_image", detail));
        }
        None => {
            let detail = "the file begins as no picture does; send JPEG, HEIC, PNG or WebP";
            return Err(TintypeError::photo("not_an_image", detail));
        }
    };
    let Some((width, height)) = size::of(bytes, format) else {
        return Ok(format); // a format whose size only the server reads
    };
    if u64::from(width) * u64::from(height) > policy.max_pixels {
        let detail = format!(
            "the photo has {width} x {height} pixels; the most is {:.1} megapixels",
            policy.max_pixels as f64 / 1e6
        );
        return Err(TintypeError::photo("too_many_pixels", detail));
    }
    if width.min(height) < policy.min_side {
        let detail = format!(
            "the photo has {width} x {height} pixels; its shorter side needs {} at least",
            policy.min_side
        );
        return Err(TintypeError::photo("too_small", detail));
    }
    Ok(format)
}
