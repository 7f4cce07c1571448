//! Decodes a sequential scan into the planes.
//!
//! The scan's entropy-coded data comes in; samples go out, block by block, each
//! straight to its place: there are no coefficients to keep.

use crate::Error;
use crate::bits::Entropy;
use crate::block::{BlockTables, NO_CODE, read_lowest, skip_block};
use crate::detail::Detail;
use crate::frame::{Component, Frame, MAX_BLOCKS_IN_MCU};
use crate::idct::{one_sample, write_samples};

/// A component in a scan.
#[derive(Clone, Copy)]
pub(crate) struct ScanComponent<'a> {
    /// Its number in the frame.
    pub number: usize,
    pub tables: BlockTables<'a>,
}

/// What a scan writes to.
pub(crate) struct Output<'a> {
    pub planes: &'a mut [u8],
    /// Of the first component; then of all others.
    pub details: &'a mut [Detail; 2],
}

/// A block's place in the MCU being decoded.
#[derive(Clone, Copy)]
struct Place<'a> {
    tables: BlockTables<'a>,
    /// Number of the component.
    component: usize,
    side: usize,
    stride: usize,
    /// Where its samples start in the planes, and how far the next MCU's are.
    at: usize,
    step: usize,
    /// Blocks right and down of the MCU's first.
    x: usize,
    y: usize,
}

/// Decodes the scan of `components`.
pub(crate) fn decode_scan(
    frame: &Frame,
    components: &[ScanComponent],
    restart_interval: usize,
    entropy: &mut Entropy,
    output: &mut Output,
) -> Result<(), Error> {
    // A scan of one component has its blocks in plain order, whatever the
    // sampling, and only those that the picture covers.
    let alone = match components {
        [one] => Some(&frame.components[one.number]),
        _ => None,
    };
    let (mcus_wide, mcus_high) = match alone {
        Some(component) => (component.blocks_wide, component.blocks_high),
        None => (frame.mcus_wide, frame.mcus_high),
    };
    let mut places = Vec::with_capacity(MAX_BLOCKS_IN_MCU);
    for scanned in components {
        let component = &frame.components[scanned.number];
        let (across, down) = blocks_in_mcu(component, alone.is_some());
        for y in 0..down {
            places.extend((0..across).map(|x| Place {
                tables: scanned.tables,
                component: scanned.number,
                side: component.side,
                stride: component.stride,
                at: 0,
                step: across * component.side,
                x,
                y,
            }));
        }
    }

    let mut predictions = [0; 3];
    let mut until_restart = restart_interval;
    for row in 0..mcus_high {
        entropy.mcu_row = row;
        for place in &mut places {
            let component = &frame.components[place.component];
            let (_, down) = blocks_in_mcu(component, alone.is_some());
            place.at = component.sample(place.x, row * down + place.y);
        }
        let mut left = mcus_wide;
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

fn blocks_in_mcu(component: &Component, alone: bool) -> (usize, usize) {
    if alone {
        (1, 1)
    } else {
        (component.horizontal, component.vertical)
    }
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
        for place in places.iter_mut() {
            let tables = place.tables;
            let ended = match place.side {
                1 => skip_block(&mut bits, data, tables),
                2 => read_lowest::<2>(&mut bits, data, tables, &mut lowest),
                _ => read_lowest::<4>(&mut bits, data, tables, &mut lowest),
            };
            worst |= ended.index;
            output.details[place.component.min(1)].count(ended.index);
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
