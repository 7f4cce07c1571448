//! Decodes a sequential scan into the planes.
//!
//! The scan's entropy-coded data comes in; samples go out. It is decoded in
//! several places at once, and only if that fails from front to back.

use crate::Error;
use crate::detail::EndCounts;
use crate::frame::Frame;
use crate::guessing;
use crate::intervals;
use crate::lanes::Lane;
use crate::mcu::{CodedMcu, Mcus};
use crate::scan::Part;
use crate::tables::Quantisation;

/// A sequential scan.
#[derive(Clone, Copy)]
pub(crate) struct SequentialScan<'a> {
    pub frame: &'a Frame,
    pub parts: &'a [Part],
    /// By part of the scan.
    pub quantisation: &'a [Quantisation],
    pub mcus: &'a Mcus,
    pub coded: &'a CodedMcu<'a>,
    /// MCUs between restart markers; 0: there are none.
    pub restart_interval: usize,
}

/// What a scan writes to.
pub(crate) struct Output<'a> {
    pub planes: &'a mut [u8],
    /// Of the first component's blocks.
    pub ends: &'a mut EndCounts,
}

/// Below this, more lanes cost as much as they save.
const WORTH_LANES_BYTES: usize = 8 * 1024;

/// Decodes the scan whose data starts at `start`; the offset behind the data.
pub(crate) fn decode_scan(
    jpeg: &[u8],
    start: usize,
    scan: SequentialScan,
    lanes: &mut [Lane],
    output: &mut Output,
) -> Result<usize, Error> {
    let decode = match scan.restart_interval {
        0 => guessing::decode_scan,
        _ => intervals::decode_scan,
    };
    if jpeg.len() - start >= WORTH_LANES_BYTES {
        let ends = output.ends.clone();
        if let Ok(end) = decode(jpeg, start, scan, lanes, output) {
            return Ok(end);
        }
        *output.ends = ends;
    }
    // From front to back the first thing that is wrong shows first.
    decode(jpeg, start, scan, &mut lanes[..1], output)
}
