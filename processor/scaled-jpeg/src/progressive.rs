//! Decodes a progressive file's scans, as few of them as the scale needs.
//!
//! A list of scans comes in; the low coefficients of each block go out. At 1/8
//! only the DC scans are decoded. Otherwise one bit per coefficient is kept of
//! those that are not wanted, since refinements are coded by what is not zero.

use crate::Error;
use crate::bits::{Bits, Entropy};
use crate::frame::{Component, Frame};
use crate::huffman::{AcTable, Code, NO_ENTRY, VALUE_BITS, extend};
use crate::idct::{SLOTS, write_samples};
use crate::scan::Scan;
use crate::tables::{Definition, Quantisation, Tables};
use crate::window::{Data, Window};

/// Scans that a file may have. Encoders make about ten; each costs a pass over
/// the blocks however few bytes it has, so without a limit a small file could
/// take minutes.
pub(crate) const MAX_SCANS: usize = 128;

/// A scan, and the tables as they stand at its header.
pub(crate) struct PlannedScan<'a> {
    pub scan: Scan,
    pub restart_interval: usize,
    dc: [Option<Definition<'a>>; 4],
    ac: [Option<Definition<'a>>; 4],
}

impl<'a> PlannedScan<'a> {
    pub fn new(scan: Scan, tables: &Tables<'a>) -> Self {
        Self {
            scan,
            restart_interval: tables.restart_interval.into(),
            dc: tables.dc,
            ac: tables.ac,
        }
    }
}

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
    dc: [Code; 3],
    ac: AcTable,
}

/// How far a component's coefficients have been sent.
struct Progress {
    /// By zigzag index: the lowest bit sent.
    low_bits: [Option<u32>; 64],
}

/// Refuses scans that send bits twice or out of order.
pub(crate) fn check_order(scans: &[PlannedScan]) -> Result<(), Error> {
    let mut progress = [(); 3].map(|()| Progress {
        low_bits: [None; 64],
    });
    for PlannedScan { scan, .. } in scans {
        for part in &scan.parts {
            let low_bits = &mut progress[part.component].low_bits;
            let sent_before = (scan.high_bit > 0).then_some(scan.high_bit);
            for low_bit in &mut low_bits[scan.first as usize..=scan.last as usize] {
                if *low_bit != sent_before {
                    return Err(Error::Corrupt {
                        offset: scan.header,
                        what: "a progressive scan out of order",
                    });
                }
                *low_bit = Some(scan.low_bit);
            }
        }
    }
    Ok(())
}

/// Whether every component's DC coefficients have been sent at all.
pub(crate) fn has_all_dc(scans: &[PlannedScan], frame: &Frame) -> bool {
    (0..frame.components.len()).all(|number| {
        scans.iter().any(|PlannedScan { scan, .. }| {
            scan.first == 0 && scan.parts.iter().any(|part| part.component == number)
        })
    })
}

/// Which scans matter: all of DC, and of AC those with a wanted coefficient and
/// those whose coefficients a refinement that matters builds on.
pub(crate) fn choose<'s, 'a>(
    scans: &'s [PlannedScan<'a>],
    frame: &Frame,
) -> Vec<&'s PlannedScan<'a>> {
    let mut wanted = [0_u64; 3];
    for (wanted, component) in wanted.iter_mut().zip(&frame.components) {
        let (slots, last) = SLOTS[component.side];
        for index in 1..=last {
            if slots[index as usize] < 16 {
                *wanted |= 1 << index;
            }
        }
    }
    let mut chosen: Vec<_> = scans
        .iter()
        .rev()
        .filter(|PlannedScan { scan, .. }| {
            if scan.first == 0 {
                return true;
            }
            let wanted = &mut wanted[scan.parts[0].component];
            let matters = *wanted & scan.band() != 0;
            if matters && scan.high_bit > 0 {
                *wanted |= scan.band();
            }
            matters
        })
        .collect();
    chosen.reverse();
    chosen
}

/// Decodes one scan.
pub(crate) fn decode_scan(
    jpeg: &[u8],
    frame: &Frame,
    planned: &PlannedScan,
    tables: &mut ScanTables,
    window: &mut Window,
    coefficients: &mut Coefficients,
) -> Result<(), Error> {
    let scan = &planned.scan;
    let missing = Error::Corrupt {
        offset: scan.header,
        what: "a scan with a Huffman table that is not defined",
    };
    let mut entropy = Entropy::open(jpeg, scan.data, window);
    if scan.first == 0 {
        // Refinements of DC are plain bits.
        if scan.high_bit == 0 {
            for (part, code) in scan.parts.iter().zip(&mut tables.dc) {
                code.rebuild(planned.dc[part.dc].ok_or(missing.clone())?);
            }
        }
        decode_dc(frame, planned, &tables.dc, &mut entropy, coefficients.kept)?;
    } else {
        let part = scan.parts[0];
        tables.ac.rebuild(planned.ac[part.ac].ok_or(missing)?);
        tables.ac.build_values();
        let component = &frame.components[part.component];
        decode_ac(component, planned, &tables.ac, &mut entropy, coefficients)?;
    }
    entropy.check_not_overrun()
}

/// A block's place in the MCU of a DC scan.
struct Place {
    part: usize,
    x: usize,
    y: usize,
    /// Where its DC coefficient is kept, and how far the next MCU's is.
    at: usize,
    step: usize,
}

fn decode_dc(
    frame: &Frame,
    planned: &PlannedScan,
    codes: &[Code; 3],
    entropy: &mut Entropy,
    kept: &mut [i16],
) -> Result<(), Error> {
    let PlannedScan {
        scan,
        restart_interval,
        ..
    } = planned;
    let component_of = |part: usize| &frame.components[scan.parts[part].component];
    let alone = scan.parts.len() == 1;
    let blocks_in_mcu = |component: &Component| match alone {
        true => (1, 1),
        false => (component.horizontal, component.vertical),
    };
    let (mcus_wide, mcus_high) = match alone {
        true => (component_of(0).blocks_wide, component_of(0).blocks_high),
        false => (frame.mcus_wide, frame.mcus_high),
    };
    let mut places = Vec::new();
    for part in 0..scan.parts.len() {
        let component = component_of(part);
        let (across, down) = blocks_in_mcu(component);
        for y in 0..down {
            places.extend((0..across).map(|x| Place {
                part,
                x,
                y,
                at: 0,
                step: across * component.side * component.side,
            }));
        }
    }
    let mut predictions = [0; 3];
    let mut until_restart = *restart_interval;
    for row in 0..mcus_high {
        entropy.mcu_row = row;
        for place in &mut places {
            let component = component_of(place.part);
            let (_, down) = blocks_in_mcu(component);
            place.at = component.coefficients(place.x, row * down + place.y);
        }
        for _ in 0..mcus_wide {
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
            for place in &mut places {
                bits.refill(data);
                let Some(dc) = kept.get_mut(place.at) else {
                    continue;
                };
                place.at += place.step;
                if scan.high_bit > 0 {
                    *dc |= (bits.read(1) << scan.low_bit) as i16;
                    continue;
                }
                let Some((length, extra)) = codes[place.part].find(bits.peek(16)) else {
                    entropy.bits = bits;
                    return Err(entropy.no_code());
                };
                bits.skip(length);
                let raw = bits.read(extra.into());
                let prediction = &mut predictions[place.part];
                *prediction = i32::from((*prediction + extend(raw, extra.into())) as i16);
                *dc = (*prediction << scan.low_bit) as i16;
            }
            entropy.bits = bits;
        }
    }
    Ok(())
}

fn decode_ac(
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
        if advance < NO_ENTRY && advance <= 16 {
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

/// Turns a component's kept coefficients into samples.
pub(crate) fn transform<const SIDE: usize>(
    component: &Component,
    coefficients: &[i16],
    quantisation: &Quantisation,
    planes: &mut [u8],
) {
    let (slots, last) = SLOTS[SIDE];
    let mut steps = [0; 16];
    for index in 0..=last as usize {
        if let Some(step) = steps.get_mut(usize::from(slots[index])) {
            *step = i32::from(quantisation[index]);
        }
    }
    for y in 0..component.padded_high {
        let start = component.coefficients(0, y);
        let row = &coefficients[start..start + component.padded_wide * SIDE * SIDE];
        for (x, block) in row.chunks_exact(SIDE * SIDE).enumerate() {
            let mut lowest = [0; 17];
            for ((to, &coefficient), &step) in lowest.iter_mut().zip(block).zip(&steps) {
                *to = i32::from(coefficient) * step;
            }
            let samples = &mut planes[component.sample(x, y)..];
            write_samples::<SIDE>(&lowest, samples, component.stride);
        }
    }
}
