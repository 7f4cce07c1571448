//! A file being read: which segment comes next, and the tables so far.
//!
//! The file's bytes come in; the frame and then one scan header after the other
//! go out.

use crate::frame::Frame;
use crate::header::{FrameStart, check_supported, is_frame_start};
use crate::markers::{EOI, SOS, Segment, Walk};
use crate::scan::Scan;
use crate::tables::{Quantisation, Tables};
use crate::{Error, Scale};

pub(crate) struct File<'a> {
    pub jpeg: &'a [u8],
    pub walk: Walk<'a>,
    pub tables: Tables<'a>,
}

impl<'a> File<'a> {
    pub fn open(jpeg: &'a [u8]) -> Result<Self, Error> {
        Ok(Self {
            jpeg,
            walk: Walk::start(jpeg)?,
            tables: Tables::default(),
        })
    }

    /// Reads up to the frame header, and lays the frame out if it is one that is
    /// decoded here and has no more pixels than allowed.
    pub fn read_frame(&mut self, scale: Scale, max_pixels: u64) -> Result<Frame, Error> {
        loop {
            let segment = self.walk.next()?;
            match segment.marker {
                SOS => return Err(segment.corrupt("a scan before the frame header")),
                EOI => return Err(segment.corrupt("an end marker before any picture data")),
                marker if is_frame_start(marker) => {
                    let start = FrameStart::parse(&segment)?;
                    check_supported(&start)?;
                    let pixels = u64::from(start.width) * u64::from(start.height);
                    if pixels > max_pixels {
                        return Err(Error::TooLarge {
                            pixels,
                            limit: max_pixels,
                        });
                    }
                    return Ok(Frame::lay_out(&start, scale));
                }
                _ => self.tables.define(&segment)?,
            }
        }
    }

    /// The next scan header or, as `None`, the end marker.
    pub fn next_scan(&mut self, frame: &Frame) -> Result<Option<Scan>, Error> {
        loop {
            let segment: Segment<'a> = self.walk.next()?;
            match segment.marker {
                SOS => return Scan::parse(&segment, frame).map(Some),
                EOI => return Ok(None),
                marker if is_frame_start(marker) => {
                    return Err(segment.corrupt("a second frame header"));
                }
                _ => self.tables.define(&segment)?,
            }
        }
    }

    /// The quantisation table of a component, as it stands at `scan`.
    pub fn quantisation(&self, number: usize, scan: &Scan) -> Result<Quantisation, Error> {
        self.tables.quantisation[number].ok_or(Error::Corrupt {
            offset: scan.header,
            what: "a component with a quantisation table that is not defined",
        })
    }

    /// The error for a file that says it ends, but has not shown all.
    pub fn ends_early(&self) -> Error {
        Error::Truncated {
            at_byte: self.walk.position(),
            mcu_row: 0,
        }
    }
}
