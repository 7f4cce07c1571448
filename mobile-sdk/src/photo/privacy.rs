//! Takes the place where a photo was taken out of its file, without touching a pixel. By an
//! allow-list: a place stands not only in EXIF's GPS table but in XMP, IPTC, maker notes,
//! thumbnails, second pictures and videos behind the picture, so all of that goes. What
//! stays is what the server reads: orientation, time, make and model, and the colour
//! profile. A format in which this cannot be done is refused, never sent as it is.

use schemas::Format;

use crate::TintypeError;

mod exif;

pub(super) mod jpeg;

mod png;

mod webp;

mod heif;

/// The same picture without its place. What has none to begin with comes back as it is.
pub(super) fn strip(bytes: Vec<u8>, format: Format) -> Result<Vec<u8>, TintypeError> {
    let stripped = match format {
        Format::Jpeg => jpeg::strip(&bytes),
        Format::Png => png::strip(&bytes),
        Format::Webp => webp::strip(&bytes),
        Format::Heic | Format::Avif => return heif::strip(bytes).map_err(refusal),
        // These have no room for metadata that any phone writes.
        Format::Gif | Format::Bmp => return Ok(bytes),
        other => {
            let what = format!("a {} file", other.title());
            return Err(refusal(Damage(what)));
        }
    };
    stripped.map_err(refusal)
}

/// What could not be read, in words that fit behind "the place cannot be taken out of".
#[derive(Debug)]
struct Damage(String);

impl Damage {
    fn of(what: &str) -> Self {
        Self(what.into())
    }
}

fn refusal(damage: Damage) -> TintypeError {
    let detail = format!(
        "the place cannot be taken out of {}; send it as a JPEG, or allow places with Location.Keep",
        damage.0
    );
    TintypeError::photo("location_not_strippable", detail)
}

#[cfg(test)]
mod tests;
