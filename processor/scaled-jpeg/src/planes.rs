//! Fills the planes with a file's samples.
//!
//! A file whose frame is laid out comes in; the samples of all components go
//! out, and what decoding found besides. The memory for it is kept for the next
//! file, and so are the tables, which mostly are the same ones again.

use crate::Error;
use crate::baseline::{self, Output, SequentialScan};
use crate::bits::Entropy;
use crate::block::BlockTables;
use crate::detail::{Detail, EndCounts};
use crate::file::File;
use crate::frame::Frame;
use crate::huffman::{AcTable, StartTable};
use crate::lanes::{LANES, Lane};
use crate::markers::{end_of_scan, has_end_marker};
use crate::mcu::{CodedMcu, Mcus};
use crate::plan::{self, MAX_SCANS, PlannedScan};
use crate::progressive::{self, Coefficients, ScanTables};
use crate::quality;
use crate::scan::Scan;

/// Memory to decode in, and the planes that result.
#[derive(Default)]
pub(crate) struct Planes {
    /// All components' samples, laid out by the frame; longer if a larger
    /// picture has been here before.
    pub samples: Vec<u8>,
    lanes: [Lane; LANES],
    ac: [AcTable; 4],
    starts: [StartTable; 3],
    scan_tables: ScanTables,
    coefficients: Vec<i16>,
    nonzero: Vec<u64>,
}

/// What decoding found besides the samples.
pub(crate) struct Decoded {
    pub detail: Option<Detail>,
    pub quality: f32,
    pub cut: Option<usize>,
}

/// Makes `buffer` at least `length` long, of any content. New memory comes from
/// the system as zeros and is not touched: a header alone cannot fill memory.
pub(crate) fn grow(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() < length {
        *buffer = vec![0; length];
    }
}

impl Planes {
    /// Decodes a sequential file: scan after scan, until no component is missing.
    pub fn fill_sequential(&mut self, file: &mut File, frame: &Frame) -> Result<Decoded, Error> {
        let num_samples = frame.num_samples();
        grow(&mut self.samples, num_samples);
        let mut ends = EndCounts::default();
        let mut missing = vec![true; frame.components.len()];
        let mut luma_quality = 0.0;
        let mut end = 0;
        while missing.contains(&true) {
            let scan = file.next_scan(frame)?.ok_or_else(|| file.ends_early())?;
            for part in &scan.parts {
                if !std::mem::take(&mut missing[part.component]) {
                    return Err(Error::Corrupt {
                        offset: scan.header,
                        what: "a second scan of the same component",
                    });
                }
            }
            self.build_tables(file, frame, &scan)?;
            let mut tables = Vec::with_capacity(scan.parts.len());
            let mut quantisation = Vec::with_capacity(scan.parts.len());
            for part in &scan.parts {
                tables.push(BlockTables {
                    start: &self.starts[part.component],
                    ac: &self.ac[part.ac],
                });
                let number = frame.components[part.component].quantisation;
                quantisation.push(file.quantisation(number, &scan)?);
            }
            if scan.parts[0].component == 0 {
                luma_quality = quality::estimate(&quantisation[0]);
            }
            let mcus = Mcus::of(frame, &scan.parts);
            let sequential = SequentialScan {
                frame,
                parts: &scan.parts,
                quantisation: &quantisation,
                mcus: &mcus,
                coded: &CodedMcu::of(frame, &scan.parts, &tables, &mcus),
                restart_interval: file.tables.restart_interval.into(),
            };
            let mut output = Output {
                planes: &mut self.samples[..num_samples],
                ends: &mut ends,
            };
            end = baseline::decode_scan(
                file.jpeg,
                scan.data,
                sequential,
                &mut self.lanes,
                &mut output,
            )?;
            file.walk.resume(end);
        }
        Ok(Decoded {
            detail: Some(ends.to_detail()),
            quality: luma_quality,
            cut: (!has_end_marker(file.jpeg, end)).then_some(file.jpeg.len()),
        })
    }

    /// Builds the tables of a sequential scan, where they are not built already.
    fn build_tables(&mut self, file: &File, frame: &Frame, scan: &Scan) -> Result<(), Error> {
        for part in &scan.parts {
            let (Some(dc), Some(ac)) = (file.tables.dc[part.dc], file.tables.ac[part.ac]) else {
                return Err(Error::Corrupt {
                    offset: scan.header,
                    what: "a scan with a Huffman table that is not defined",
                });
            };
            let table = &mut self.ac[part.ac];
            table.rebuild(ac);
            table.build_skips();
            if frame.components[part.component].side > 1 {
                table.build_values();
            }
            self.starts[part.component].rebuild(dc, table);
        }
        Ok(())
    }

    /// Decodes a progressive file: the list of its scans first, then those of
    /// them that matter.
    pub fn fill_progressive(&mut self, file: &mut File, frame: &Frame) -> Result<Decoded, Error> {
        let mut scans: Vec<PlannedScan> = Vec::new();
        // The table of a component is the one at its first scan.
        let mut quantisation = [None; 3];
        let cut = loop {
            let scan = match file.next_scan(frame) {
                Ok(Some(scan)) => scan,
                Ok(None) => break None,
                Err(Error::Truncated { at_byte, .. }) if plan::has_all_dc(&scans, frame) => {
                    break Some(at_byte);
                }
                Err(error) => return Err(error),
            };
            if scans.len() == MAX_SCANS {
                return Err(Error::Unsupported("more than 128 scans"));
            }
            for part in &scan.parts {
                let table = &mut quantisation[part.component];
                if table.is_none() {
                    let number = frame.components[part.component].quantisation;
                    *table = Some(file.quantisation(number, &scan)?);
                }
            }
            file.walk.resume(end_of_scan(file.jpeg, scan.data));
            scans.push(PlannedScan::new(scan, &file.tables));
        };
        if !plan::has_all_dc(&scans, frame) {
            return Err(file.ends_early());
        }
        plan::check_order(&scans)?;

        let num_samples = frame.num_samples();
        self.coefficients.clear();
        self.coefficients.resize(num_samples, 0);
        self.nonzero.clear();
        if frame.components.iter().any(|component| component.side > 1) {
            self.nonzero.resize(frame.num_blocks(), 0);
        }
        let mut coefficients = Coefficients {
            kept: &mut self.coefficients,
            nonzero: &mut self.nonzero,
        };
        for planned in plan::choose(&scans, frame) {
            let entropy = Entropy::open(file.jpeg, planned.scan.data, &mut self.lanes[0].window);
            progressive::decode_scan(
                frame,
                planned,
                &mut self.scan_tables,
                entropy,
                &mut coefficients,
            )?;
        }
        grow(&mut self.samples, num_samples);
        for (component, quantisation) in frame.components.iter().zip(&quantisation) {
            if let Some(quantisation) = quantisation {
                let samples = &mut self.samples[..num_samples];
                progressive::transform(component, &self.coefficients, quantisation, samples);
            }
        }
        Ok(Decoded {
            detail: None,
            quality: quantisation[0].as_ref().map_or(0.0, quality::estimate),
            cut,
        })
    }
}
