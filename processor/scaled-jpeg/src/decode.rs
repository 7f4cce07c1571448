//! The whole way from a file's bytes to pixels.
//!
//! A JPEG, a scale and buffers to work in come in; a picture in those buffers
//! goes out. The caller's limit on pixels is checked before anything is
//! allocated for them.

use crate::colour::{ColourSpace, write_pixels};
use crate::detail::Detail;
use crate::file::File;
use crate::header::Coding;
use crate::planes::{Planes, grow};
use crate::upsample::Room;
use crate::{Error, Scale};

/// How a picture's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One byte per pixel.
    Gray8,
    /// Three bytes per pixel: red, green, blue.
    Rgb8,
}

/// A decoded picture; the pixels lie in the [`Buffers`] it was decoded with.
#[derive(Clone, Debug)]
pub struct Picture<'b> {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Grey for files of one component, RGB for those of three.
    pub layout: Layout,
    /// Rows from top to bottom without gaps.
    pub pixels: &'b [u8],
    /// The luma by itself; `None` if the file is coded as RGB, or has its luma at
    /// less than the full resolution.
    pub luma: Option<Luma<'b>>,
    /// How fine the luma's detail is; `None` for progressive files, of which it
    /// is not read.
    pub detail: Option<Detail>,
    /// The IJG quality (1 to 100) whose luma quantisation is nearest.
    pub quality: f32,
    /// Where the file ends, if it ends without an end marker: it was cut, though
    /// nothing that this picture needed is missing.
    pub cut: Option<usize>,
}

/// The luma of a picture, before colour was added and rounded: what hashes and
/// sharpness are best judged by.
#[derive(Clone, Copy, Debug)]
pub struct Luma<'b> {
    samples: &'b [u8],
    stride: usize,
    width: usize,
}

impl<'b> Luma<'b> {
    /// The rows from top to bottom, each as wide as the picture.
    pub fn rows(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let width = self.width;
        self.samples
            .chunks(self.stride)
            .map(move |row| &row[..width])
    }
}

/// Memory for decoding, kept from one picture to the next, and the limit on what
/// is decoded into it. It grows with the largest picture: to 6 bytes for each
/// pixel of output at most, progressive files to 18, and about 1 MB besides.
pub struct Buffers {
    max_pixels: u64,
    planes: Planes,
    rooms: [Room; 3],
    pixels: Vec<u8>,
}

impl Buffers {
    /// Buffers for pictures of at most `max_pixels` at their full size.
    #[must_use]
    pub fn new(max_pixels: u64) -> Self {
        Self {
            max_pixels,
            planes: Planes::default(),
            rooms: Default::default(),
            pixels: Vec::new(),
        }
    }
}

/// Decodes `jpeg` at `scale`.
///
/// # Errors
///
/// See [`Error`]: which of them a caller can do something about.
pub fn decode<'b>(
    jpeg: &[u8],
    scale: Scale,
    buffers: &'b mut Buffers,
) -> Result<Picture<'b>, Error> {
    let mut file = File::open(jpeg)?;
    let frame = file.read_frame(scale, buffers.max_pixels)?;
    let Buffers {
        planes,
        rooms,
        pixels,
        ..
    } = buffers;
    let decoded = match frame.coding {
        Coding::Progressive => planes.fill_progressive(&mut file, &frame)?,
        _ => planes.fill_sequential(&mut file, &frame)?,
    };
    let samples = planes.samples.as_slice();
    let layout = match frame.components.len() {
        1 => Layout::Gray8,
        _ => Layout::Rgb8,
    };
    let channels = match layout {
        Layout::Gray8 => 1,
        Layout::Rgb8 => 3,
    };
    let num_bytes = frame.width * frame.height * channels;
    grow(pixels, num_bytes);
    let pixels = &mut pixels[..num_bytes];
    let space = ColourSpace::of(&file.tables, &frame);
    write_pixels(&frame, samples, space, rooms, pixels);
    let first = &frame.components[0];
    let has_luma = space == ColourSpace::YCbCr || layout == Layout::Gray8;
    let luma = (has_luma && frame.needs_no_upsampling(first)).then(|| Luma {
        samples: &samples[first.plane..first.plane + frame.height * first.stride],
        stride: first.stride,
        width: frame.width,
    });
    Ok(Picture {
        width: frame.width as u32,
        height: frame.height as u32,
        layout,
        pixels,
        luma,
        detail: decoded.detail,
        quality: decoded.quality,
        cut: decoded.cut,
    })
}
