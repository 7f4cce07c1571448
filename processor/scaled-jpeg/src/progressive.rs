//! Decodes the chosen scans of a progressive file, and makes samples of them.
//!
//! Scans come in, one by one; their coefficients gather in memory; samples go
//! out once all have been decoded. Only the coefficients that the scale needs
//! are kept.

use crate::Error;
use crate::bits::Entropy;
use crate::block::read_difference;
use crate::frame::{Component, Frame};
use crate::huffman::{AcTable, StartTable};
use crate::idct::{Steps, mean, write_samples};
use crate::mcu::{McuBlock, Mcus};
use crate::plan::PlannedScan;
use crate::progressive_ac;
use crate::tables::Quantisation;

/// The coefficients that are kept.
pub(crate) struct Coefficients<'a> {
    /// The wanted ones of each block, in rows of the component's `side`: where
    /// the samples of all blocks would be, block by block.
    pub kept: &'a mut [i16],
    /// Per block, which coefficients are not zero; empty at 1/8.
    pub nonzero: &'a mut [u64],
}

/// Tables that are built again for each scan.
#[derive(Default)]
pub(crate) struct ScanTables {
    /// By part of the scan, for DC alone: `no_ac` has no codes.
    dc: [StartTable; 3],
    no_ac: AcTable,
    ac: AcTable,
}

/// Decodes one scan.
pub(crate) fn decode_scan(
    frame: &Frame,
    planned: &PlannedScan,
    tables: &mut ScanTables,
    mut entropy: Entropy,
    coefficients: &mut Coefficients,
) -> Result<(), Error> {
    let scan = &planned.scan;
    let missing = Error::Corrupt {
        offset: scan.header,
        what: "a scan with a Huffman table that is not defined",
    };
    if scan.first == 0 {
        // Refinements of DC are plain bits.
        if scan.high_bit == 0 {
            for (part, table) in scan.parts.iter().zip(&mut tables.dc) {
                table.rebuild(planned.dc[part.dc].ok_or(missing.clone())?, &tables.no_ac);
            }
        }
        decode_dc(frame, planned, &tables.dc, &mut entropy, coefficients.kept)?;
    } else {
        let part = scan.parts[0];
        tables.ac.rebuild(planned.ac[part.ac].ok_or(missing)?);
        tables.ac.build_values();
        let component = &frame.components[part.component];
        progressive_ac::decode_ac(component, planned, &tables.ac, &mut entropy, coefficients)?;
    }
    entropy.check_not_overrun()
}

/// Where the next block of each place in the MCU has its DC coefficient.
struct Place {
    part: usize,
    at: usize,
    /// How far the next MCU's is.
    step: usize,
}

fn decode_dc(
    frame: &Frame,
    planned: &PlannedScan,
    tables: &[StartTable; 3],
    entropy: &mut Entropy,
    kept: &mut [i16],
) -> Result<(), Error> {
    let PlannedScan {
        scan,
        restart_interval,
        ..
    } = planned;
    let mcus = Mcus::of(frame, &scan.parts);
    let mut predictions = [0_i16; 3];
    let mut until_restart = *restart_interval;
    for row in 0..mcus.high {
        entropy.mcu_row = row;
        let place_in_row = |block: &McuBlock| {
            let component = &frame.components[scan.parts[block.part].component];
            Place {
                part: block.part,
                at: block.coefficients(component, row),
                step: block.across * component.side * component.side,
            }
        };
        let mut places: Vec<Place> = mcus.blocks.iter().map(place_in_row).collect();
        for _ in 0..mcus.wide {
            if *restart_interval > 0 {
                if until_restart == 0 {
                    entropy.restart()?;
                    predictions = [0; 3];
                    until_restart = *restart_interval;
                }
                until_restart -= 1;
            }
            entropy.prepare_mcu()?;
            let data = entropy.window.data();
            let mut bits = entropy.bits;
            if scan.high_bit > 0 {
                // Ten blocks at most: ten bits.
                bits.refill(data);
                for place in &mut places {
                    let bit = (bits.read(1) << scan.low_bit) as i16;
                    if let Some(dc) = kept.get_mut(place.at) {
                        *dc |= bit;
                    }
                    place.at += place.step;
                }
                entropy.bits = bits;
                continue;
            }
            for place in &mut places {
                bits.refill(data);
                let Some(difference) = read_difference(&mut bits, &tables[place.part]) else {
                    entropy.bits = bits;
                    return Err(entropy.no_code());
                };
                let prediction = &mut predictions[place.part];
                *prediction = prediction.wrapping_add(difference as i16);
                if let Some(dc) = kept.get_mut(place.at) {
                    *dc = *prediction << scan.low_bit;
                }
                place.at += place.step;
            }
            entropy.bits = bits;
        }
    }
    Ok(())
}

/// Turns a component's kept coefficients into samples.
pub(crate) fn transform(
    component: &Component,
    coefficients: &[i16],
    quantisation: &Quantisation,
    samples: &mut [u8],
) {
    match component.side {
        1 => transform_blocks::<1>(component, coefficients, quantisation, samples),
        2 => transform_blocks::<2>(component, coefficients, quantisation, samples),
        _ => transform_blocks::<4>(component, coefficients, quantisation, samples),
    }
}

fn transform_blocks<const SIDE: usize>(
    component: &Component,
    coefficients: &[i16],
    quantisation: &Quantisation,
    samples: &mut [u8],
) {
    let steps = Steps::new(SIDE, quantisation);
    for y in 0..component.padded_high {
        let start = component.coefficients(0, y);
        let row = &coefficients[start..start + component.padded_wide * SIDE * SIDE];
        if SIDE == 1 {
            let start = component.sample(0, y);
            for (sample, &dc) in samples[start..].iter_mut().zip(row) {
                *sample = mean(dc, &steps);
            }
            continue;
        }
        for (x, block) in row.chunks_exact(SIDE * SIDE).enumerate() {
            let [dc, others @ ..] = block else {
                continue;
            };
            let samples = &mut samples[component.sample(x, y)..];
            write_samples::<SIDE>(*dc, others, &steps, samples, component.stride);
        }
    }
}
