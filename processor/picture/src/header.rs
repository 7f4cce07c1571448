//! Step 1 and 2: what the file is and what its header claims. In: the bytes; out: a
//! [`Header`] that is within every limit. Nothing is decoded here and nothing
//! allocated but the colour profile, so a bomb costs what its bytes cost to read.

use std::fmt;

use schemas::{Format, Reason, events};

use super::exif::{self, Orientation};
use super::{Limits, Refusal};

mod jpeg;
pub(crate) use jpeg::{JpegFrame, without_stray_bytes};

mod png;

mod webp;

mod gif;

mod bmp;

#[cfg(feature = "heic")]
mod heif;

/// What the header says, checked against the limits.
#[derive(Debug)]
pub struct Header<'a> {
    /// What the file is.
    pub format: Format,
    /// As stored, before the orientation is applied.
    pub width: u32,
    /// As stored as well.
    pub height: u32,
    /// How the stored picture is turned.
    pub orientation: Orientation,
    /// The EXIF block, beginning with its byte order.
    pub exif: Option<&'a [u8]>,
    /// The ICC profile, if it describes RGB.
    pub profile: Option<Vec<u8>>,
    /// What only the JPEG decoder needs.
    pub(crate) jpeg: Option<JpegFrame>,
    /// What decoding will take at most, in bytes.
    pub decode_bytes: u64,
}

/// What one format's reader found, not yet held to any limit.
#[derive(Debug, Default)]
struct Found<'a> {
    width: u32,
    height: u32,
    exif: Option<&'a [u8]>,
    profile: Option<Vec<u8>>,
    jpeg: Option<JpegFrame>,
    decode_bytes: u64,
    /// What is wrong beyond the size. Told last: of a forged header the size is the news.
    fault: Option<Refusal>,
}

impl<'a> Header<'a> {
    /// Reads and checks the header of a whole file.
    pub fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self, Refusal> {
        if bytes.is_empty() {
            return Err(Refusal::new(Reason::Empty, "the file has no bytes"));
        }
        let format = sniff(bytes)?;
        let found = match format {
            Format::Jpeg => jpeg::read(bytes, limits)?,
            Format::Png => png::read(bytes, limits)?,
            Format::Webp => webp::read(bytes, limits)?,
            Format::Gif => gif::read(bytes)?,
            Format::Bmp => bmp::read(bytes)?,
            #[cfg(feature = "heic")]
            Format::Heic | Format::Avif => heif::read(bytes)?,
            other => return Err(unsupported(other)),
        };
        let orientation = found.exif.map_or(Orientation::UPRIGHT, exif::orientation);
        let (width, height) = orientation.upright_size(found.width, found.height);
        let original = events::Original {
            format: format.as_str().into(),
            width,
            height,
        };
        check_size(&found, limits).map_err(|refusal| refusal.of(&original))?;
        if let Some(fault) = found.fault {
            return Err(fault.of(&original));
        }
        if found.decode_bytes > limits.max_decode_bytes {
            let refusal = Refusal::new(
                Reason::DecodeMemory,
                format!(
                    "decoding this {} of {width} x {height} pixels takes {} MiB; the limit is {} MiB",
                    format.title(),
                    found.decode_bytes >> 20,
                    limits.max_decode_bytes >> 20
                ),
            );
            return Err(refusal.of(&original));
        }
        Ok(Self {
            format,
            width: found.width,
            height: found.height,
            orientation,
            exif: found.exif,
            profile: found.profile.filter(|profile| describes_rgb(profile)),
            jpeg: found.jpeg,
            decode_bytes: found.decode_bytes,
        })
    }

    /// The header of a HEIF once it is decoded: what was decoded is the size, whatever the
    /// boxes claimed, and it is upright.
    #[cfg(feature = "heic")]
    pub fn decoded(&self, width: u32, height: u32, limits: &Limits) -> Result<Self, Refusal> {
        let found = Found {
            width,
            height,
            ..Found::default()
        };
        check_size(&found, limits)?;
        Ok(Self {
            format: self.format,
            width,
            height,
            orientation: Orientation::UPRIGHT,
            exif: None,
            profile: None,
            jpeg: None,
            decode_bytes: self.decode_bytes,
        })
    }

    /// Width and height of the upright picture.
    pub fn upright_size(&self) -> (u32, u32) {
        self.orientation.upright_size(self.width, self.height)
    }

    /// The original as the event tells it, upright.
    pub fn original(&self) -> events::Original {
        let (width, height) = self.upright_size();
        events::Original {
            format: self.format.as_str().into(),
            width,
            height,
        }
    }
}

fn sniff(bytes: &[u8]) -> Result<Format, Refusal> {
    match Format::sniff(bytes) {
        Some(format) if format.is_picture() => Ok(format),
        Some(other) => Err(Refusal::new(
            Reason::NotAnImage,
            format!(
                "this is a {} file, not a photo; send JPEG, PNG or WebP",
                other.title()
            ),
        )),
        None => Err(Refusal::new(
            Reason::NotAnImage,
            format!(
                "the file begins with {}, which no picture format does; send JPEG, PNG or WebP",
                Beginning(bytes)
            ),
        )),
    }
}

fn unsupported(format: Format) -> Refusal {
    let hint = match format {
        Format::Heic | Format::Avif => {
            "; it was built without the feature `heic`: send JPEG (on an iPhone: Settings, Camera, Formats, Most Compatible)"
        }
        _ => "; send JPEG, PNG, WebP, BMP or a GIF of one frame",
    };
    Refusal::new(
        Reason::UnsupportedFormat,
        format!("this installation does not read {}{hint}", format.title()),
    )
}

/// The first bytes as a person can read them: text as text, the rest as hex.
struct Beginning<'a>(&'a [u8]);

impl fmt::Display for Beginning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = &self.0[..self.0.len().min(12)];
        if first.iter().all(|b| (0x20..0x7f).contains(b)) {
            write!(f, "{:?}", String::from_utf8_lossy(first))
        } else {
            f.write_str("the bytes")?;
            first.iter().try_for_each(|b| write!(f, " {b:02x}"))
        }
    }
}

fn check_size(found: &Found<'_>, limits: &Limits) -> Result<(), Refusal> {
    let (width, height) = (found.width, found.height);
    if width == 0 || height == 0 {
        return Err(Refusal::new(
            Reason::Corrupt,
            format!("the header says {width} x {height} pixels, so there is no picture"),
        ));
    }
    let num_pixels = u64::from(width) * u64::from(height);
    if num_pixels > limits.max_pixels {
        return Err(Refusal::new(
            Reason::TooManyPixels,
            format!(
                "the picture has {width} x {height} pixels, {:.1} megapixels; the limit is {:.1} megapixels",
                num_pixels as f64 / 1e6,
                limits.max_pixels as f64 / 1e6
            ),
        ));
    }
    let (short, long) = (width.min(height), width.max(height));
    if short < limits.min_side {
        return Err(Refusal::new(
            Reason::TooSmall,
            format!(
                "the picture has {width} x {height} pixels; the shorter side needs at least {}",
                limits.min_side
            ),
        ));
    }
    let ratio = f64::from(long) / f64::from(short);
    if ratio > limits.max_aspect_ratio {
        return Err(Refusal::new(
            Reason::ExtremeAspectRatio,
            format!(
                "the picture has {width} x {height} pixels, {ratio:.1} times as long as wide; the limit is {:.1}",
                limits.max_aspect_ratio
            ),
        ));
    }
    Ok(())
}

fn animated(what: &str, num_frames: impl fmt::Display) -> Refusal {
    Refusal::new(
        Reason::Animated,
        format!("this {what} has {num_frames} frames; send a single picture"),
    )
}

/// The colour space of an ICC profile stands at byte 16. Others than RGB do not
/// fit the decoded pixels: grey ones differ too little to matter, and CMYK ones
/// describe inks that the decoder has mixed already.
pub fn describes_rgb(profile: &[u8]) -> bool {
    profile.get(16..20) == Some(b"RGB ")
}

/// Big-endian numbers at an offset; none past the end.
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_le_bytes(*b))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_le_bytes(*b))
}
