//! Decodes the AC scans of a progressive file.
//!
//! A scan's entropy-coded data comes in; the coefficients that are wanted go out,
//! and one bit for each of the others: refinements are coded by what is not zero.

use crate::Error;
use crate::bits::{Bits, Entropy};
use crate::frame::Component;
use crate::huffman::{AcTable, VALUE_BITS, extend};
use crate::idct::SLOTS;
use crate::plan::PlannedScan;
use crate::progressive::Coefficients;
use crate::window::Data;

/// Decodes one AC scan of `component`.
pub(crate) fn decode_ac(
    component: &Component,
    planned: &PlannedScan,
    table: &AcTable,
    entropy: &mut Entropy,
    coefficients: &mut Coefficients,
) -> Result<(), Error> {
    let PlannedScan {
        scan,
        restart_interval,
        ..
    } = planned;
    let (slots, _) = SLOTS[component.side];
    let per_block = component.side * component.side;
    let band = Band {
        first: scan.first,
        last: scan.last,
        low_bit: scan.low_bit,
        slots,
        table,
    };
    // Blocks still to come that have no more coefficients to be sent.
    let mut end_run = 0_u32;
    let mut until_restart = *restart_interval;
    for row in 0..component.blocks_high {
        entropy.mcu_row = row;
        for x in 0..component.blocks_wide {
            if *restart_interval > 0 {
                if until_restart == 0 {
                    entropy.restart()?;
                    end_run = 0;
                    until_restart = *restart_interval;
                }
                until_restart -= 1;
            }
            if end_run > 0 && scan.high_bit == 0 {
                end_run -= 1;
                continue;
            }
            let at = component.coefficients(x, row);
            let number = component.first_block + row * component.padded_wide + x;
            let (Some(kept), Some(nonzero)) = (
                coefficients.kept.get_mut(at..at + per_block),
                coefficients.nonzero.get_mut(number),
            ) else {
                continue;
            };
            entropy.prepare_mcu()?;
            let data = entropy.window.data();
            let mut bits = entropy.bits;
            let block = Block { kept, nonzero };
            let done = if scan.high_bit == 0 {
                first_pass(&band, &mut bits, data, block, &mut end_run)
            } else {
                refine(&band, &mut bits, data, block, &mut end_run)
            };
            entropy.bits = bits;
            if done.is_none() {
                return Err(entropy.no_code());
            }
        }
    }
    Ok(())
}

/// What an AC scan sends.
struct Band<'a> {
    first: u32,
    last: u32,
    low_bit: u32,
    /// By zigzag index: where in a block's kept coefficients.
    slots: &'a [u8; 64],
    table: &'a AcTable,
}

/// A block's coefficients.
struct Block<'a> {
    kept: &'a mut [i16],
    nonzero: &'a mut u64,
}

impl Block<'_> {
    fn set(&mut self, band: &Band, index: u32, value: i32) {
        let index = index & 63;
        *self.nonzero |= 1 << index;
        let slot = usize::from(band.slots[index as usize]);
        if let Some(kept) = self.kept.get_mut(slot) {
            *kept = (value << band.low_bit) as i16;
        }
    }

    /// Adds a correction bit's worth to a coefficient, away from zero.
    fn correct(&mut self, band: &Band, index: u32) {
        let slot = usize::from(band.slots[(index & 63) as usize]);
        if let Some(kept) = self.kept.get_mut(slot) {
            let step = 1 << band.low_bit;
            // The same correction twice is damage; libjpeg lets it pass too.
            if *kept & step == 0 {
                *kept = kept.wrapping_add(if *kept < 0 { -step } else { step });
            }
        }
    }
}

/// Reads the length of a run of blocks that end here, this one included.
fn read_end_run(bits: &mut Bits, run: u32) -> u32 {
    (1 << run) + bits.read(run)
}

/// Decodes a block of a band's first scan; `None` if the bits are no code.
fn first_pass(
    band: &Band,
    bits: &mut Bits,
    data: &Data,
    mut block: Block,
    end_run: &mut u32,
) -> Option<()> {
    let values = band.table.values();
    let mut index = band.first;
    while index <= band.last {
        bits.refill(data);
        let entry = values[(bits.register() >> (64 - VALUE_BITS)) as usize];
        let advance = entry >> 8 & 255;
        if advance <= 16 {
            bits.skip(entry & 255);
            index += advance;
            let value = entry as i32 >> 16;
            // A run of 16 zeros comes as an advance without a value.
            if value != 0 {
                block.set(band, index - 1, value);
            }
            continue;
        }
        let (length, symbol) = band.table.code.find(bits.peek(16))?;
        bits.skip(length);
        let (run, extra) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if extra == 0 {
            if run == 15 {
                index += 16;
                continue;
            }
            *end_run = read_end_run(bits, run) - 1;
            break;
        }
        index += run + 1;
        block.set(band, index - 1, extend(bits.read(extra), extra));
    }
    Some(())
}

/// Decodes a block of a scan that refines a band; `None` as above.
fn refine(
    band: &Band,
    bits: &mut Bits,
    data: &Data,
    mut block: Block,
    end_run: &mut u32,
) -> Option<()> {
    let mut index = band.first;
    while *end_run == 0 && index <= band.last {
        bits.refill(data);
        let (length, symbol) = band.table.code.find(bits.peek(16))?;
        bits.skip(length);
        let (run, extra) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        let mut value = 0;
        if extra == 0 {
            if run < 15 {
                *end_run = read_end_run(bits, run);
                break;
            }
        } else {
            // Always one bit: its sign. More is damage, and ignored.
            value = if bits.read(1) == 1 { 1 } else { -1 };
        }
        // The run counts zeros only, and ends at the zero behind it.
        let mut zeros = !*block.nonzero & u64::MAX << index;
        for _ in 0..run {
            zeros &= zeros.wrapping_sub(1);
        }
        let target = zeros.trailing_zeros().min(band.last + 1);
        correct_between(band, bits, data, &mut block, index, target);
        if value != 0 && target <= band.last {
            block.set(band, target, value);
        }
        index = target + 1;
    }
    if *end_run > 0 {
        correct_between(band, bits, data, &mut block, index, band.last + 1);
        *end_run -= 1;
    }
    Some(())
}

/// Reads a correction bit for each coefficient that is not zero, from zigzag
/// index `from` up to, not including, `to`.
fn correct_between(
    band: &Band,
    bits: &mut Bits,
    data: &Data,
    block: &mut Block,
    from: u32,
    to: u32,
) {
    if from >= to {
        return;
    }
    let mut left = *block.nonzero & u64::MAX << from & u64::MAX >> (64 - to);
    while left != 0 {
        // 32 bits at most between refills: the rest of 56 after a refill.
        bits.refill(data);
        for _ in 0..32 {
            if left == 0 {
                break;
            }
            let index = left.trailing_zeros();
            left &= left - 1;
            if bits.read(1) == 1 {
                block.correct(band, index);
            }
        }
    }
}
