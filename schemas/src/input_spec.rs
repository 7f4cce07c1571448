//! What a network expects of a photo, and the ONE function that makes it so: training,
//! the server and the phones all call [`InputSpec::preprocess`]. Comes in: an upright
//! sRGB photo of any size. Goes out: the network's input, to the bit what torchvision
//! makes of it with Pillow (`Resize(resize)`, `CenterCrop(crop)`, `Normalize`).

use std::ops::Range;

use serde::{Deserialize, Serialize};

mod resample;

/// How a photo becomes a network's input: `preprocess.json` of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Side of the square input, in pixels.
    pub size: u32,
    /// The short side is brought to this many pixels first, antialiased bilinear.
    pub resize: u32,
    /// Side of the square cut from the centre; equal to `size`.
    pub crop: u32,
    /// Taken from each of R, G, B, after they are brought to 0..=1.
    pub mean: [f32; 3],
    /// What each of R, G, B is then divided by.
    pub std: [f32; 3],
    /// The order of the exported file's input.
    pub layout: Layout,
}

/// The order of an input's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Layout {
    /// Rows, columns, channels.
    Nhwc,
    /// Channels, rows, columns.
    Nchw,
}

/// Why a photo cannot be made an input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    /// A side is 0, or too long to be a photo's.
    #[error("a photo of {width} x {height} pixels has no input: its sides must be 1 to 65535")]
    Size {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },
    /// The buffer is not as long as it must be.
    #[error("preprocessing: the {buffer} has {found} values, {expected} are needed")]
    Length {
        /// Which buffer.
        buffer: &'static str,
        /// How long it must be.
        expected: usize,
        /// How long it is.
        found: usize,
    },
    /// The spec itself makes no sense.
    #[error("input spec: {0}")]
    Spec(&'static str),
}

/// Longer sides would overflow nothing, but no photo has them.
const MAX_SIDE: usize = 65_535;

/// Inputs are squares of a few hundred pixels; a larger one is a mistake, and would ask
/// for a gigabyte.
const MAX_INPUT_SIDE: u32 = 4096;

impl InputSpec {
    /// How many values an input has.
    pub fn num_values(&self) -> usize {
        self.size as usize * self.size as usize * 3
    }

    /// Checks the fields against each other.
    ///
    /// # Errors
    /// [`PreprocessError::Spec`] with the rule that is broken.
    pub fn check(&self) -> Result<(), PreprocessError> {
        let is_scale = |value: &f32| value.is_finite() && *value > 0.0;
        let fault = match self {
            _ if self.crop != self.size => "crop and size differ",
            _ if self.size == 0 || self.size > self.resize => {
                "the side cut out must be 1 to resize pixels"
            }
            _ if self.resize > MAX_INPUT_SIDE => "resize is more than 4096 pixels",
            _ if !self.std.iter().all(is_scale) => "std must be positive",
            _ if !self.mean.iter().all(|mean| mean.is_finite()) => "mean must be a number",
            _ => return Ok(()),
        };
        Err(PreprocessError::Spec(fault))
    }

    /// The input made of a photo: `width * height * 3` bytes R, G, B, row by row.
    ///
    /// # Errors
    /// [`PreprocessError`]
    pub fn preprocess(
        &self,
        rgb: &[u8],
        width: usize,
        height: usize,
    ) -> Result<Vec<f32>, PreprocessError> {
        self.check()?;
        let mut out = vec![0.0; self.num_values()];
        self.preprocess_into(rgb, width, height, &mut out)?;
        Ok(out)
    }

    /// The same into the caller's buffer of [`Self::num_values`].
    ///
    /// # Errors
    /// [`PreprocessError`]
    pub fn preprocess_into(
        &self,
        rgb: &[u8],
        width: usize,
        height: usize,
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        self.check()?;
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(PreprocessError::Size { width, height });
        }
        length("photo", width * height * 3, rgb.len())?;
        length("input", self.num_values(), out.len())?;

        let resized = resized(width, height, self.resize as usize);
        let [columns, rows] = resized.map(|side| middle(side, self.crop as usize));
        if resized == [width, height] {
            let rows = rows.map(|y| &rgb[(y * width + columns.start) * 3..][..columns.len() * 3]);
            self.normalise(rows, out);
        } else {
            let cut = resample::bilinear(rgb, [width, height], resized, [columns, rows]);
            self.normalise(cut.chunks_exact(self.size as usize * 3), out);
        }
        Ok(())
    }

    /// `(value / 255 - mean) / std`, in torchvision's order of roundings.
    fn normalise<'a>(&self, rows: impl Iterator<Item = &'a [u8]>, out: &mut [f32]) {
        let tables = [0, 1, 2].map(|channel| {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            std::array::from_fn::<f32, 256, _>(|value| (value as f32 / 255.0 - mean) / std)
        });
        let side = self.size as usize;
        for (y, row) in rows.enumerate() {
            let (pixels, _) = row.as_chunks::<3>();
            match self.layout {
                Layout::Nhwc => {
                    let (out, _) = out[y * side * 3..].as_chunks_mut::<3>();
                    for (out, pixel) in out.iter_mut().zip(pixels) {
                        *out =
                            [0, 1, 2].map(|channel| tables[channel][usize::from(pixel[channel])]);
                    }
                }
                Layout::Nchw => {
                    for channel in 0..3 {
                        let out = &mut out[(channel * side + y) * side..];
                        for (out, pixel) in out.iter_mut().zip(pixels) {
                            *out = tables[channel][usize::from(pixel[channel])];
                        }
                    }
                }
            }
        }
    }
}

fn length(buffer: &'static str, expected: usize, found: usize) -> Result<(), PreprocessError> {
    if expected == found {
        return Ok(());
    }
    Err(PreprocessError::Length {
        buffer,
        expected,
        found,
    })
}

/// Width and height once the short side has `short` pixels; the long one is rounded
/// down.
fn resized(width: usize, height: usize, short: usize) -> [usize; 2] {
    if width <= height {
        [short, short * height / width]
    } else {
        [short * width / height, short]
    }
}

/// The middle of a side. Halves go to the even number, as Python rounds them.
fn middle(side: usize, crop: usize) -> Range<usize> {
    let over = side - crop;
    let start = over / 2 + usize::from(over % 4 == 3);
    start..start + crop
}

#[cfg(test)]
mod tests;
