//! Decodes a scan with restart markers, several intervals at once.
//!
//! A scan comes in; samples go out. Intervals know nothing of one another, so
//! they are decoded side by side.

use crate::Error;
use crate::baseline::{Output, SequentialScan};
use crate::lanes::{CHUNK_MCUS, Lane, decode_chunk};
use crate::markers::end_of_interval;
use crate::placing::Placing;

/// An interval being decoded.
struct Interval<'a> {
    placing: Placing<'a>,
    /// MCUs still to come.
    num_left: usize,
}

/// Decodes the scan whose data starts at `start`; the offset behind the data.
/// With one lane the error is the first that the data has.
pub(crate) fn decode_scan(
    jpeg: &[u8],
    start: usize,
    scan: SequentialScan,
    lanes: &mut [Lane],
    output: &mut Output,
) -> Result<usize, Error> {
    let num_mcus = scan.mcus.wide * scan.mcus.high;
    let mut next_start = start;
    let mut num_opened = 0;
    let mut num_restarts = 0_u8;
    loop {
        // The next intervals, as many as there are lanes.
        let mut intervals: Vec<Interval> = Vec::with_capacity(lanes.len());
        let mut end = next_start;
        let mut is_in_order = true;
        while intervals.len() < lanes.len() && num_opened < num_mcus && is_in_order {
            let lane = &mut lanes[intervals.len()];
            lane.open(jpeg, next_start);
            let num_left = scan.restart_interval.min(num_mcus - num_opened);
            let placing = Placing::starting_at(scan, num_opened);
            intervals.push(Interval { placing, num_left });
            num_opened += num_left;
            let window = &lane.window;
            end = window
                .end()
                .unwrap_or_else(|| end_of_interval(jpeg, window.next()));
            is_in_order = jpeg.get(end + 1) == Some(&(0xd0 + num_restarts));
            num_restarts = (num_restarts + 1) % 8;
            next_start = end + 2;
        }
        decode_intervals(jpeg, scan, lanes, intervals, output)?;
        if num_opened == num_mcus {
            return Ok(end);
        }
        if !is_in_order {
            return Err(match jpeg.get(end + 1) {
                Some(0xd0..=0xd7) => Error::Corrupt {
                    offset: end,
                    what: "a restart marker out of order",
                },
                _ => Error::Truncated {
                    at_byte: end,
                    mcu_row: num_opened / scan.mcus.wide,
                },
            });
        }
    }
}

/// Decodes intervals side by side; all but the scan's last are of one length.
fn decode_intervals(
    jpeg: &[u8],
    scan: SequentialScan,
    lanes: &mut [Lane],
    mut intervals: Vec<Interval>,
    output: &mut Output,
) -> Result<(), Error> {
    let mut lanes: Vec<&mut Lane> = lanes.iter_mut().take(intervals.len()).collect();
    loop {
        while intervals
            .pop_if(|interval| interval.num_left == 0)
            .is_some()
        {
            lanes.pop();
        }
        let Some(fewest) = intervals.last().map(|interval| interval.num_left) else {
            return Ok(());
        };
        let run = decode_chunk(jpeg, scan.coded, &mut lanes, fewest.min(CHUNK_MCUS));
        for (interval, lane) in intervals.iter_mut().zip(&lanes) {
            interval.placing.place(&lane.records, output);
            interval.num_left -= run.num_mcus;
        }
        if let Some((number, stop)) = run.stopped {
            let row = intervals[number].placing.row();
            return Err(lanes[number].error(jpeg, stop, row));
        }
    }
}
