//! Reads what a JPEG says about itself, up to its first scan.
//!
//! The file's bytes come in; size, coding, sampling and where the picture data
//! starts go out. Segments are stepped over by their length, no pixel is decoded
//! and nothing is allocated, so the cost does not depend on the picture.

use crate::markers::{DAC, DHT, EOI, JPG, SOS, Segment, Walk};
use crate::quality;
use crate::tables::Tables;
use crate::{Error, Scale};

/// How a JPEG's coefficients are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Huffman-coded, each block whole: baseline (SOF0) and extended (SOF1).
    Sequential,
    /// Huffman-coded in passes of growing precision (SOF2).
    Progressive,
    /// Lossless, hierarchical or arithmetic; the number is that of the SOF
    /// marker. This crate does not decode them.
    Other(u8),
}

/// A component's share of the resolution: its samples per MCU, 1 to 4 each way.
/// A colour component with half the luma's numbers has half its resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Horizontal factor.
    pub horizontal: u8,
    /// Vertical factor.
    pub vertical: u8,
}

/// What a JPEG says about itself before the first scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Width in pixels as stored, before any EXIF orientation.
    pub width: u16,
    /// Height in pixels as stored.
    pub height: u16,
    /// Components: 1 is grey, 3 colour, 4 CMYK.
    pub components: u8,
    /// Bits per sample.
    pub precision: u8,
    /// How the coefficients are coded.
    pub coding: Coding,
    /// Sampling factors of the first `components` components, at most four.
    pub sampling: [Sampling; 4],
    /// MCUs between restart markers; 0: there are none.
    pub restart_interval: u16,
    /// The colour transform that an Adobe marker names: 0 none, 1 YCbCr, 2 YCCK.
    pub adobe_transform: Option<u8>,
    /// The IJG quality (1 to 100) whose luma quantisation is nearest to this
    /// file's; `None` if the file defines no table for it before the first scan.
    pub quality: Option<f32>,
    /// Offset in the file of the first scan's entropy-coded data.
    pub first_scan: usize,
}

impl Header {
    /// Reads the header of a JPEG. `jpeg` need not be the whole file, only
    /// reach to the first scan.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] if `jpeg` ends before the first scan, and
    /// [`Error::Corrupt`] if a segment before it breaks the format's rules.
    pub fn read(jpeg: &[u8]) -> Result<Self, Error> {
        let mut walk = Walk::start(jpeg)?;
        let mut tables = Tables::default();
        let mut found = None;
        loop {
            let segment = walk.next()?;
            match segment.marker {
                EOI => return Err(segment.corrupt("an end marker before any picture data")),
                SOS => {
                    let start = found.ok_or(segment.corrupt("a scan before the frame header"))?;
                    let first_scan = segment.offset + segment.body.len();
                    return Ok(Self::describe(&start, &tables, first_scan));
                }
                marker if is_frame_start(marker) => {
                    if found.is_some() {
                        return Err(segment.corrupt("a second frame header"));
                    }
                    found = Some(FrameStart::parse(&segment)?);
                }
                // Whether the file is arithmetic-coded is for the SOF to say.
                DAC => {}
                _ => tables.define(&segment)?,
            }
        }
    }

    /// Whether [`decode`](crate::decode()) reads this kind of JPEG.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] names what it does not read.
    pub fn check_supported(&self) -> Result<(), Error> {
        check_kind(self.coding, self.precision, self.components, self.height)
    }

    /// Width and height in pixels at `scale`: rounded up, as libjpeg does.
    #[must_use]
    pub fn size_at(&self, scale: Scale) -> (u32, u32) {
        (scale.apply(self.width), scale.apply(self.height))
    }

    fn describe(start: &FrameStart, tables: &Tables, first_scan: usize) -> Self {
        let mut sampling = [Sampling {
            horizontal: 1,
            vertical: 1,
        }; 4];
        for (to, component) in sampling.iter_mut().zip(&start.components) {
            *to = component.sampling;
        }
        let luma = tables.quantisation[start.components[0].quantisation].as_ref();
        Self {
            width: start.width,
            height: start.height,
            components: start.num_components,
            precision: start.precision,
            coding: start.coding,
            sampling,
            restart_interval: tables.restart_interval,
            adobe_transform: tables.adobe_transform,
            quality: luma.map(quality::estimate),
            first_scan,
        }
    }
}

/// The frame header (SOF) as it stands in the file.
#[derive(Clone)]
pub(crate) struct FrameStart {
    pub coding: Coding,
    pub precision: u8,
    pub width: u16,
    pub height: u16,
    pub num_components: u8,
    pub components: [FrameComponent; 4],
}

/// A component as the frame header has it.
#[derive(Clone, Copy)]
pub(crate) struct FrameComponent {
    pub id: u8,
    pub sampling: Sampling,
    /// Number of its quantisation table, 0 to 3.
    pub quantisation: usize,
}

/// Whether a marker opens a frame: any SOF, decodable here or not.
pub(crate) fn is_frame_start(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, DHT | JPG | DAC)
}

/// What keeps this crate from decoding a frame, if anything does.
pub(crate) fn check_supported(start: &FrameStart) -> Result<(), Error> {
    check_kind(
        start.coding,
        start.precision,
        start.num_components,
        start.height,
    )
}

fn check_kind(coding: Coding, precision: u8, components: u8, height: u16) -> Result<(), Error> {
    match (coding, precision, components) {
        (Coding::Other(3), ..) => Err(Error::Unsupported("lossless coding")),
        (Coding::Other(9..), ..) => Err(Error::Unsupported("arithmetic coding")),
        (Coding::Other(_), ..) => Err(Error::Unsupported("hierarchical coding")),
        (_, 8, 1 | 3) if height == 0 => Err(Error::Unsupported("a height given after the picture")),
        (_, 8, 1 | 3) => Ok(()),
        (_, 8, 4) => Err(Error::Unsupported("four colour components")),
        (_, 8, _) => Err(Error::Unsupported("this number of components")),
        _ => Err(Error::Unsupported("other than 8 bits per sample")),
    }
}

impl FrameStart {
    /// Reads a SOF segment.
    pub fn parse(segment: &Segment) -> Result<Self, Error> {
        let cut = || segment.corrupt("a frame header cut short");
        let (head, list) = segment.body.split_first_chunk::<6>().ok_or_else(cut)?;
        let [precision, h1, h0, w1, w0, num_components] = *head;
        let width = u16::from_be_bytes([w1, w0]);
        if width == 0 || num_components == 0 {
            return Err(segment.corrupt("a frame of no width or no components"));
        }
        if list.len() < 3 * usize::from(num_components) {
            return Err(cut());
        }
        let sampling = Sampling {
            horizontal: 1,
            vertical: 1,
        };
        let mut components = [FrameComponent {
            id: 0,
            sampling,
            quantisation: 0,
        }; 4];
        let named = list.as_chunks::<3>().0.iter().take(num_components.into());
        for (component, &[id, factors, quantisation]) in components.iter_mut().zip(named) {
            let (horizontal, vertical) = (factors >> 4, factors & 15);
            if !(1..=4).contains(&horizontal) || !(1..=4).contains(&vertical) {
                return Err(segment.corrupt("a sampling factor outside 1 to 4"));
            }
            if quantisation > 3 {
                return Err(segment.corrupt("a quantisation table number above 3"));
            }
            *component = FrameComponent {
                id,
                sampling: Sampling {
                    horizontal,
                    vertical,
                },
                quantisation: quantisation.into(),
            };
        }
        Ok(Self {
            coding: match segment.marker & 15 {
                0 | 1 => Coding::Sequential,
                2 => Coding::Progressive,
                other => Coding::Other(other),
            },
            precision,
            width,
            height: u16::from_be_bytes([h1, h0]),
            num_components,
            components,
        })
    }
}
