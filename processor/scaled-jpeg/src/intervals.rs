//! Decodes a scan with restart markers, several intervals at once.
//!
//! A scan whose blocks are one sample each comes in; samples go out. Intervals
//! know nothing of one another, so they are decoded side by side.

use crate::baseline::{Output, SequentialScan};
use crate::block::BlockTables;
use crate::lanes::{CHUNK_MCUS, Lane, decode_chunk};
use crate::markers::end_of_interval;
use crate::placing::Placing;

/// Decodes the scan whose data starts at `start`; the offset behind the data.
/// `None` if anything is wrong with it, which the plain way then finds out.
pub(crate) fn decode_scan(
    jpeg: &[u8],
    start: usize,
    scan: SequentialScan,
    lanes: &mut [Lane],
    output: &mut Output,
) -> Option<usize> {
    let blocks: Vec<&BlockTables> = scan
        .mcus
        .blocks
        .iter()
        .map(|block| &scan.tables[block.part])
        .collect();
    let num_mcus = scan.mcus.wide * scan.mcus.high;
    let mut next_start = start;
    let mut done = 0;
    let mut num_restarts = 0_u8;
    loop {
        // The next intervals, as many as there are lanes.
        let mut intervals = Vec::with_capacity(lanes.len());
        let mut end = next_start;
        for lane in lanes.iter_mut() {
            if done == num_mcus {
                break;
            }
            lane.open(jpeg, next_start);
            let length = scan.restart_interval.min(num_mcus - done);
            intervals.push((Placing::starting_at(scan, done), length));
            done += length;
            let window = &lane.window;
            end = window
                .end()
                .unwrap_or_else(|| end_of_interval(jpeg, window.next()));
            if done < num_mcus && jpeg.get(end + 1) != Some(&(0xd0 + num_restarts)) {
                return None;
            }
            num_restarts = (num_restarts + 1) % 8;
            next_start = end + 2;
        }
        decode_intervals(jpeg, &blocks, lanes, intervals, output)?;
        if done == num_mcus {
            return Some(end);
        }
    }
}

/// Decodes intervals side by side; all but the scan's last are of one length.
fn decode_intervals(
    jpeg: &[u8],
    blocks: &[&BlockTables],
    lanes: &mut [Lane],
    mut intervals: Vec<(Placing, usize)>,
    output: &mut Output,
) -> Option<()> {
    let mut lanes: Vec<&mut Lane> = lanes.iter_mut().take(intervals.len()).collect();
    loop {
        while intervals.last().is_some_and(|&(_, left)| left == 0) {
            intervals.pop();
            lanes.pop();
        }
        let Some(&(_, fewest)) = intervals.last() else {
            return Some(());
        };
        let run = decode_chunk(jpeg, blocks, &mut lanes, fewest.min(CHUNK_MCUS));
        for ((placing, left), lane) in intervals.iter_mut().zip(&lanes) {
            placing.place(lane.words(run.num_mcus, blocks.len()), output);
            *left -= run.num_mcus;
        }
        if run.stopped.is_some() {
            return None;
        }
    }
}
