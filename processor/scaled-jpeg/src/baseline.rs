//! Decodes a sequential scan into the planes.
//!
//! The scan's entropy-coded data comes in; samples go out, block by block, each
//! straight to its place: there are no coefficients to keep. Scans of which only
//! the means are wanted are decoded in several places at once.

use crate::Error;
use crate::bits::Entropy;
use crate::block::{BlockTables, NO_CODE, read_lowest, skip_block};
use crate::detail::EndCounts;
use crate::frame::Frame;
use crate::guessing;
use crate::idct::{one_sample, write_samples};
use crate::intervals;
use crate::lanes::Lane;
use crate::mcu::{McuBlock, Mcus};
use crate::scan::Part;

/// A sequential scan, as all who decode it see it.
#[derive(Clone, Copy)]
pub(crate) struct SequentialScan<'a> {
    pub frame: &'a Frame,
    pub parts: &'a [Part],
    /// By part of the scan.
    pub tables: &'a [BlockTables<'a>],
    pub mcus: &'a Mcus,
    /// MCUs between restart markers; 0: there are none.
    pub restart_interval: usize,
}

/// What a scan writes to.
pub(crate) struct Output<'a> {
    pub planes: &'a mut [u8],
    /// Of the first component's blocks.
    pub ends: &'a mut EndCounts,
}

/// A block's place in the MCU being decoded.
#[derive(Clone, Copy)]
struct Place<'a> {
    tables: &'a BlockTables<'a>,
    /// Number of the component.
    component: usize,
    side: usize,
    stride: usize,
    /// Where its samples start in the planes, and how far the next MCU's are.
    at: usize,
    step: usize,
}

/// Decodes the scan whose data starts at `start`; the offset behind the data.
pub(crate) fn decode_scan(
    jpeg: &[u8],
    start: usize,
    scan: SequentialScan,
    lanes: &mut [Lane],
    output: &mut Output,
) -> Result<usize, Error> {
    let is_means_only = scan
        .parts
        .iter()
        .all(|part| scan.frame.components[part.component].side == 1);
    if is_means_only && jpeg.len() - start >= WORTH_LANES_BYTES {
        let ends = output.ends.clone();
        let end = if scan.restart_interval > 0 {
            intervals::decode_scan(jpeg, start, scan, lanes, output)
        } else {
            guessing::decode_scan(jpeg, start, scan, lanes, output)
        };
        match end {
            Some(end) => return Ok(end),
            // Something is wrong: from front to back it shows what, and where.
            None => *output.ends = ends,
        }
    }
    let mut entropy = Entropy::open(jpeg, start, &mut lanes[0].window);
    decode_in_order(scan, &mut entropy, output)?;
    Ok(entropy.end())
}

/// Below this, opening lanes costs as much as they save.
const WORTH_LANES_BYTES: usize = 8 * 1024;

/// Decodes a scan from front to back.
fn decode_in_order(
    scan: SequentialScan,
    entropy: &mut Entropy,
    output: &mut Output,
) -> Result<(), Error> {
    let SequentialScan {
        frame,
        parts,
        tables,
        mcus,
        restart_interval,
    } = scan;
    let mut predictions = [0; 3];
    let mut until_restart = restart_interval;
    for row in 0..mcus.high {
        entropy.mcu_row = row;
        let place_in_row = |block: &McuBlock| {
            let number = parts[block.part].component;
            let component = &frame.components[number];
            Place {
                tables: &tables[block.part],
                component: number,
                side: component.side,
                stride: component.stride,
                at: block.sample(component, 0, row),
                step: block.across * component.side,
            }
        };
        let mut places: Vec<Place> = mcus.blocks.iter().map(place_in_row).collect();
        let mut left = mcus.wide;
        while left > 0 {
            let mut run = left;
            if restart_interval > 0 {
                if until_restart == 0 {
                    entropy.restart()?;
                    predictions = [0; 3];
                    until_restart = restart_interval;
                }
                run = run.min(until_restart);
                until_restart -= run;
            }
            decode_run(&mut places, run, &mut predictions, entropy, output)?;
            left -= run;
        }
    }
    entropy.check_not_overrun()
}

/// Decodes `run` MCUs side by side with no restart between them.
fn decode_run(
    places: &mut [Place],
    run: usize,
    predictions: &mut [i32; 3],
    entropy: &mut Entropy,
    output: &mut Output,
) -> Result<(), Error> {
    let mut lowest = [0; 17];
    for _ in 0..run {
        entropy.prepare_mcu()?;
        let data = entropy.window.data();
        let mut bits = entropy.bits;
        let mut worst = 0;
        for (turn, place) in places.iter_mut().enumerate() {
            let tables = place.tables;
            let ended = match place.side {
                1 => skip_block(&mut bits, data, tables),
                2 => read_lowest::<2>(&mut bits, data, tables, &mut lowest),
                _ => read_lowest::<4>(&mut bits, data, tables, &mut lowest),
            };
            worst |= ended.index;
            if place.component == 0 {
                output.ends.count(turn, ended.index);
            }
            // Sums wrap at 16 bits, as the standard's do; only damage gets there.
            let prediction = &mut predictions[place.component % 3];
            *prediction = i32::from((*prediction + ended.difference) as i16);
            let dc = *prediction * i32::from(tables.quantisation[0]);
            let samples = output.planes.get_mut(place.at..).unwrap_or_default();
            place.at += place.step;
            if place.side == 1 {
                if let Some(sample) = samples.first_mut() {
                    *sample = one_sample(dc);
                }
                continue;
            }
            lowest[0] = dc;
            match place.side {
                2 => write_samples::<2>(&lowest, samples, place.stride),
                _ => write_samples::<4>(&lowest, samples, place.stride),
            }
        }
        entropy.bits = bits;
        if worst & NO_CODE != 0 {
            return Err(entropy.no_code());
        }
    }
    Ok(())
}
