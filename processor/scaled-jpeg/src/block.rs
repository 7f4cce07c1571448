//! Decodes one block in each of several places at once, as far as it is needed.
//!
//! Positions in entropy-coded data come in; the DC difference, the low
//! frequencies and the end of each block go out. A chain of look-ups, each
//! waiting for the one before, leaves most of a core idle; the chains of several
//! places do not wait for one another. Coefficients that are not needed are
//! stepped over, several at a look-up.

use crate::bits::Bits;
use crate::huffman::{
    AcTable, Code, END_OF_BLOCK, NO_ENTRY, SKIP_BITS, START_BITS, StartTable, VALUE_BITS, extend,
};
use crate::idct::SLOTS;
use crate::window::Data;

/// The tables by which a component's blocks are coded.
#[derive(Clone, Copy)]
pub(crate) struct BlockTables<'a> {
    pub start: &'a StartTable,
    pub ac: &'a AcTable,
}

/// What stands for a block: its DC difference; its index (below); and the other
/// coefficients of the lowest `side` x `side` frequencies in rows, then one that
/// nobody reads. Zero before it is decoded.
pub(crate) type Record = [i16];

/// Entries of a record.
pub(crate) const fn record_length(side: usize) -> usize {
    match side {
        1 => 2,
        _ => 2 + side * side,
    }
}

/// The index of a block that made no sense: it is never that of a decoded block,
/// which is 64 if the last coefficient is there, or else 128 and the zigzag index
/// behind the code for the block's end, as if that was a coefficient.
pub(crate) const NO_CODE: u32 = 128;

/// An index at which a block is done: 64 and above.
const DONE: u32 = 64;

/// Decodes a block at each of `positions`, and moves these behind it. The results
/// are the blocks' DC differences and indices; their other coefficients go into
/// the records that start at `at`.
#[inline(always)]
pub(crate) fn decode_blocks<const N: usize, const SIDE: usize>(
    data: [&Data; N],
    positions: &mut [usize; N],
    tables: &BlockTables,
    records: &mut [Vec<i16>; N],
    at: usize,
) -> ([i32; N], [u32; N]) {
    let starts = tables.start.starts();
    let mut differences = [0; N];
    let mut lanes = Lanes {
        data,
        positions,
        counts: [0; N],
    };
    for i in 0..N {
        let bits = Bits::at(data[i], lanes.positions[i]);
        let entry = starts[(bits.register() >> (64 - START_BITS)) as usize];
        differences[i] = difference(bits, entry);
        lanes.counts[i] = match SIDE {
            1 => entry & 0xffff,
            // Only the DC code: the AC codes behind it have values to be read.
            _ => ((entry >> 16 & 255) + (entry >> 24)) | 1 << 8,
        };
        if entry >> 8 & 255 == NO_ENTRY {
            (lanes.counts[i], differences[i]) = start_alone(bits, &tables.start.code);
        }
    }
    if SIDE > 1 {
        lanes.read_lowest::<SIDE>(tables.ac, records, at);
    }
    lanes.skip_rest(tables.ac);
    (differences, lanes.counts.map(|count| count >> 8))
}

/// Blocks being decoded side by side.
struct Lanes<'a, const N: usize> {
    data: [&'a Data; N],
    positions: &'a mut [usize; N],
    /// Bits taken since `positions`, and the zigzag index << 8, as in the tables'
    /// entries: one addition counts both.
    counts: [u32; N],
}

impl<const N: usize> Lanes<'_, N> {
    /// Brings the positions up to date and gives the bits there, if the index of
    /// any block is below `limit`.
    #[inline(always)]
    fn load(&mut self, limit: u32) -> Option<[u64; N]> {
        let mut registers = [0; N];
        let mut is_any_below = false;
        #[expect(clippy::needless_range_loop, reason = "four arrays go side by side")]
        for i in 0..N {
            self.positions[i] += (self.counts[i] & 255) as usize;
            self.counts[i] &= !255;
            is_any_below |= self.counts[i] < limit << 8;
            registers[i] = Bits::at(self.data[i], self.positions[i]).register();
        }
        is_any_below.then_some(registers)
    }

    /// Decodes the coefficients up to the last that is wanted.
    #[inline(always)]
    fn read_lowest<const SIDE: usize>(
        &mut self,
        ac: &AcTable,
        records: &mut [Vec<i16>; N],
        at: usize,
    ) {
        let (slots, last) = SLOTS[SIDE];
        let values = ac.values();
        while let Some(mut registers) = self.load(last + 1) {
            // As many as a block this small mostly has; entries of 10 bits leave
            // room for five.
            for _ in 0..SIDE {
                for i in 0..N {
                    let entry = values[(registers[i] >> (64 - VALUE_BITS)) as usize];
                    // A block that has got so far waits for the others.
                    let mut entry = match self.counts[i] < (last + 1) << 8 {
                        true => entry,
                        false => 0,
                    };
                    registers[i] <<= entry & 63;
                    if is_too_far((self.counts[i] + (entry & 0xffff)) >> 8) {
                        let position = self.positions[i] + (self.counts[i] & 255) as usize;
                        entry = read_alone(self.data[i], position, &ac.code, self.counts[i] >> 8);
                        let behind = position + (entry & 255) as usize;
                        registers[i] = Bits::at(self.data[i], behind).register();
                    }
                    self.counts[i] += entry & 0xffff;
                    // Each is stored once; what waits has a value of zero.
                    let zigzag = (self.counts[i] >> 8).wrapping_sub(1) & 63;
                    let slot = at + 1 + usize::from(slots[zigzag as usize]);
                    if let Some(to) = records[i].get_mut(slot) {
                        *to |= (entry >> 16) as i16;
                    }
                }
            }
        }
    }

    /// Steps over the coefficients that are left.
    #[inline(always)]
    fn skip_rest(&mut self, ac: &AcTable) {
        let skips = ac.skips();
        while let Some(mut registers) = self.load(DONE) {
            // Two entries have at most 46 of the 57 bits.
            for _ in 0..2 {
                for i in 0..N {
                    let entry = u32::from(skips[(registers[i] >> (64 - SKIP_BITS)) as usize]);
                    // A block that is done waits for the others.
                    let mut entry = if self.counts[i] < DONE << 8 { entry } else { 0 };
                    if is_too_far((self.counts[i] + entry) >> 8) {
                        entry = skip_alone(registers[i], &ac.code, self.counts[i] >> 8);
                    }
                    self.counts[i] += entry;
                    registers[i] <<= entry & 63;
                }
            }
        }
    }
}

/// The DC difference of a block that starts at `bits` with `entry`.
#[inline(always)]
fn difference(bits: Bits, entry: u32) -> i32 {
    let (length, extra) = (entry >> 16 & 255, entry >> 24);
    let at_value = bits.register() << (length & 63);
    // Without a branch: a leading 0 means a negative value, for which
    // 2^extra - 1 is taken off; with no extra bits both terms are zero.
    let raw = (at_value >> 1 >> ((63 - extra) & 63)) as i32;
    let negative = !((at_value as i64) >> 63) as i32;
    raw + (negative & (1 - (1 << (extra & 31))))
}

/// Reads a DC difference by a table for DC alone; `None` if the bits are no code.
#[inline(always)]
pub(crate) fn read_difference(bits: &mut Bits, table: &StartTable) -> Option<i32> {
    let entry = table.starts()[(bits.register() >> (64 - START_BITS)) as usize];
    if entry >> 8 & 255 == NO_ENTRY {
        let (count, difference) = start_alone(*bits, &table.code);
        bits.skip(count & 255);
        return (count >> 8 != NO_CODE).then_some(difference);
    }
    let difference = difference(*bits, entry);
    bits.skip(entry & 255);
    Some(difference)
}

/// Whether an entry that leads to `index` goes too far: it holds codes that are
/// the next block's already, or it is none.
#[inline(always)]
fn is_too_far(index: u32) -> bool {
    index & 127 > 64
}

/// The count behind a DC code that has no entry, and the difference.
#[cold]
#[inline(never)]
fn start_alone(mut bits: Bits, code: &Code) -> (u32, i32) {
    let Some((length, extra)) = code.find(bits.peek(16)) else {
        return (NO_CODE << 8, 0);
    };
    let extra = u32::from(extra);
    bits.skip(length);
    let difference = extend(bits.read(extra), extra);
    ((length + extra) | 1 << 8, difference)
}

/// The entry for one code with its value, where the table has none.
#[cold]
#[inline(never)]
fn read_alone(data: &Data, position: usize, code: &Code, index: u32) -> u32 {
    let mut bits = Bits::at(data, position);
    let entry = skip_alone(bits.register(), code, index);
    let extra = match code.find(bits.peek(16)) {
        Some((length, symbol)) => {
            bits.skip(length);
            u32::from(symbol & 15)
        }
        None => 0,
    };
    entry | (extend(bits.read(extra), extra) as u32) << 16
}

/// The entry for one code without its value, where the table has none or one that
/// goes too far. A run that leads out of the block fills it, as in libjpeg.
#[cold]
#[inline(never)]
fn skip_alone(register: u64, code: &Code, index: u32) -> u32 {
    let Some((length, symbol)) = code.find((register >> 48) as u32) else {
        return (NO_CODE - index) << 8;
    };
    let extra = u32::from(symbol & 15);
    let behind = match symbol {
        0xf0 => (index + 16).min(DONE),
        _ if extra == 0 => index + END_OF_BLOCK,
        _ => (index + u32::from(symbol >> 4) + 1).min(DONE),
    };
    (length + extra) | (behind - index) << 8
}
