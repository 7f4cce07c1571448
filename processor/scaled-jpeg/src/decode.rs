//! The whole way from a file's bytes to pixels.
//!
//! A JPEG, a scale and buffers to work in come in; a picture in those buffers
//! goes out. The caller's limit on pixels is checked before anything is
//! allocated for them.

use crate::baseline::{self, Output, ScanComponent};
use crate::bits::Entropy;
use crate::block::BlockTables;
use crate::colour::{ColourSpace, write_pixels};
use crate::detail::Detail;
use crate::frame::Frame;
use crate::header::{Coding, FrameStart, check_supported, is_frame_start};
use crate::huffman::{AcTable, StartTable};
use crate::markers::{EOI, SOS, Segment, Walk, end_of_scan, has_end_marker};
use crate::progressive::{self, Coefficients, MAX_SCANS, PlannedScan, ScanTables};
use crate::scan::Scan;
use crate::tables::{Quantisation, Tables};
use crate::upsample::Room;
use crate::window::Window;
use crate::{Error, Scale, quality};

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
    /// How fine the luma's detail is; `None` for progressive files, of which it
    /// is not read.
    pub detail: Option<Detail>,
    /// The IJG quality (1 to 100) whose luma quantisation is nearest.
    pub quality: f32,
    /// Where the file ends, if it ends without an end marker: it was cut, though
    /// nothing that this picture needed is missing.
    pub cut: Option<usize>,
}

/// Memory for decoding, kept from one picture to the next, and the limit on what
/// is decoded into it. It grows with the largest picture: to about 10 bytes per
/// pixel of output, progressive files to 22.
pub struct Buffers {
    max_pixels: u64,
    window: Window,
    ac: [AcTable; 4],
    starts: [StartTable; 3],
    scan_tables: ScanTables,
    planes: Vec<u8>,
    coefficients: Vec<i16>,
    nonzero: Vec<u64>,
    rooms: [Room; 3],
    pixels: Vec<u8>,
}

impl Buffers {
    /// Buffers for pictures of at most `max_pixels` at their full size.
    #[must_use]
    pub fn new(max_pixels: u64) -> Self {
        Self {
            max_pixels,
            window: Window::default(),
            ac: Default::default(),
            starts: Default::default(),
            scan_tables: ScanTables::default(),
            planes: Vec::new(),
            coefficients: Vec::new(),
            nonzero: Vec::new(),
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
    let mut file = File {
        jpeg,
        walk: Walk::start(jpeg)?,
        tables: Tables::default(),
    };
    let frame = file.read_frame(scale, buffers.max_pixels)?;
    let decoded = match frame.coding {
        Coding::Progressive => file.decode_progressive(&frame, buffers)?,
        _ => file.decode_sequential(&frame, buffers)?,
    };
    let layout = match frame.components.len() {
        1 => Layout::Gray8,
        _ => Layout::Rgb8,
    };
    let channels = match layout {
        Layout::Gray8 => 1,
        Layout::Rgb8 => 3,
    };
    let num_bytes = frame.width * frame.height * channels;
    buffers
        .pixels
        .resize(num_bytes.max(buffers.pixels.len()), 0);
    let pixels = &mut buffers.pixels[..num_bytes];
    let space = ColourSpace::of(&file.tables, &frame);
    write_pixels(&frame, &buffers.planes, space, &mut buffers.rooms, pixels);
    Ok(Picture {
        width: frame.width as u32,
        height: frame.height as u32,
        layout,
        pixels: &buffers.pixels[..num_bytes],
        detail: decoded.detail,
        quality: decoded.quality,
        cut: decoded.cut,
    })
}

/// What decoding found besides the samples.
struct Decoded {
    detail: Option<Detail>,
    quality: f32,
    cut: Option<usize>,
}

/// A file being read.
struct File<'a> {
    jpeg: &'a [u8],
    walk: Walk<'a>,
    tables: Tables<'a>,
}

impl<'a> File<'a> {
    /// Reads up to the frame header.
    fn read_frame(&mut self, scale: Scale, max_pixels: u64) -> Result<Frame, Error> {
        loop {
            let segment = self.walk.next()?;
            match segment.marker {
                SOS => return Err(segment.corrupt("a scan before the frame header")),
                EOI => return Err(segment.corrupt("an end marker before any picture data")),
                marker if is_frame_start(marker) => {
                    let start = FrameStart::parse(&segment)?;
                    check_supported(
                        start.coding,
                        start.precision,
                        start.num_components,
                        start.height,
                    )?;
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
    fn next_scan(&mut self, frame: &Frame) -> Result<Option<Scan>, Error> {
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

    fn quantisation(&self, number: usize, offset: usize) -> Result<Quantisation, Error> {
        self.tables.quantisation[number].ok_or(Error::Corrupt {
            offset,
            what: "a component with a quantisation table that is not defined",
        })
    }

    fn decode_sequential(
        &mut self,
        frame: &Frame,
        buffers: &mut Buffers,
    ) -> Result<Decoded, Error> {
        let num_samples = frame.num_samples();
        buffers
            .planes
            .resize(num_samples.max(buffers.planes.len()), 0);
        let mut details = <[Detail; 2]>::default();
        let mut missing: Vec<usize> = (0..frame.components.len()).collect();
        let mut luma_quality = 0.0;
        let mut end = 0;
        while !missing.is_empty() {
            let Some(scan) = self.next_scan(frame)? else {
                return Err(Error::Truncated {
                    at_byte: self.walk.position(),
                    mcu_row: 0,
                });
            };
            let mut quantisation = [[0; 64]; 3];
            for part in &scan.parts {
                let before = missing.len();
                missing.retain(|&number| number != part.component);
                if missing.len() == before {
                    return Err(Error::Corrupt {
                        offset: scan.header,
                        what: "a second scan of the same component",
                    });
                }
                let number = frame.components[part.component].quantisation;
                quantisation[part.component] = self.quantisation(number, scan.header)?;
                if part.component == 0 {
                    luma_quality = quality::estimate(&quantisation[0]);
                }
            }
            let Buffers {
                window,
                ac,
                starts,
                planes,
                ..
            } = buffers;
            self.build_tables(frame, &scan, ac, starts)?;
            let components: Vec<ScanComponent> = scan
                .parts
                .iter()
                .map(|part| ScanComponent {
                    number: part.component,
                    tables: BlockTables {
                        start: &starts[part.component],
                        ac: &ac[part.ac],
                        quantisation: &quantisation[part.component],
                    },
                })
                .collect();
            let mut entropy = Entropy::open(self.jpeg, scan.data, window);
            let mut output = Output {
                planes: &mut planes[..num_samples],
                details: &mut details,
            };
            let interval = self.tables.restart_interval.into();
            baseline::decode_scan(frame, &components, interval, &mut entropy, &mut output)?;
            end = entropy.end();
            self.walk.resume(end);
        }
        let [detail, _] = details;
        Ok(Decoded {
            detail: Some(detail),
            quality: luma_quality,
            cut: (!has_end_marker(self.jpeg, end)).then_some(self.jpeg.len()),
        })
    }

    /// Builds the tables of a sequential scan, where they are not built already.
    fn build_tables(
        &self,
        frame: &Frame,
        scan: &Scan,
        ac: &mut [AcTable; 4],
        starts: &mut [StartTable; 3],
    ) -> Result<(), Error> {
        for part in &scan.parts {
            let (Some(dc_definition), Some(ac_definition)) =
                (self.tables.dc[part.dc], self.tables.ac[part.ac])
            else {
                return Err(Error::Corrupt {
                    offset: scan.header,
                    what: "a scan with a Huffman table that is not defined",
                });
            };
            let table = &mut ac[part.ac];
            table.rebuild(ac_definition);
            table.build_skips();
            if frame.components[part.component].side > 1 {
                table.build_values();
            }
            starts[part.component].rebuild(dc_definition, table);
        }
        Ok(())
    }

    fn decode_progressive(
        &mut self,
        frame: &Frame,
        buffers: &mut Buffers,
    ) -> Result<Decoded, Error> {
        let mut scans: Vec<PlannedScan> = Vec::new();
        let mut quantisation = [None; 3];
        let cut = loop {
            let scan = match self.next_scan(frame) {
                Ok(Some(scan)) => scan,
                Ok(None) => break None,
                Err(Error::Truncated { at_byte, .. }) if progressive::has_all_dc(&scans, frame) => {
                    break Some(at_byte);
                }
                Err(error) => return Err(error),
            };
            if scans.len() == MAX_SCANS {
                return Err(Error::Unsupported("more than 128 scans"));
            }
            for part in &scan.parts {
                // The table of a component is the one at its first scan.
                let table = &mut quantisation[part.component];
                if table.is_none() {
                    let number = frame.components[part.component].quantisation;
                    *table = Some(self.quantisation(number, scan.header)?);
                }
            }
            self.walk.resume(end_of_scan(self.jpeg, scan.data));
            scans.push(PlannedScan::new(scan, &self.tables));
        };
        if !progressive::has_all_dc(&scans, frame) {
            return Err(Error::Truncated {
                at_byte: self.walk.position(),
                mcu_row: 0,
            });
        }
        progressive::check_order(&scans)?;

        let num_samples = frame.num_samples();
        let Buffers {
            window,
            scan_tables,
            planes,
            coefficients,
            nonzero,
            ..
        } = buffers;
        coefficients.clear();
        coefficients.resize(num_samples, 0);
        nonzero.clear();
        let has_ac = frame.components.iter().any(|component| component.side > 1);
        nonzero.resize(if has_ac { frame.num_blocks() } else { 0 }, 0);
        let mut kept = Coefficients {
            kept: coefficients,
            nonzero,
        };
        for planned in progressive::choose(&scans, frame) {
            progressive::decode_scan(self.jpeg, frame, planned, scan_tables, window, &mut kept)?;
        }
        planes.resize(num_samples.max(planes.len()), 0);
        transform(
            frame,
            coefficients,
            &quantisation,
            &mut planes[..num_samples],
        );
        Ok(Decoded {
            detail: None,
            quality: quantisation[0].as_ref().map_or(0.0, quality::estimate),
            cut,
        })
    }
}

/// Turns kept coefficients into samples.
fn transform(
    frame: &Frame,
    coefficients: &[i16],
    quantisation: &[Option<Quantisation>; 3],
    planes: &mut [u8],
) {
    for (component, quantisation) in frame.components.iter().zip(quantisation) {
        let Some(quantisation) = quantisation else {
            continue;
        };
        let transform_component = match component.side {
            1 => progressive::transform::<1>,
            2 => progressive::transform::<2>,
            _ => progressive::transform::<4>,
        };
        transform_component(component, coefficients, quantisation, planes);
    }
}
