//! Decodes one block of sequential data as far as the scale needs it.
//!
//! Bits come in; the DC difference, the low frequencies and the zigzag index
//! behind the last coefficient go out. Coefficients that are not needed are
//! stepped over, several at a look-up.

use crate::bits::Bits;
use crate::huffman::{
    AcTable, Code, END_OF_BLOCK, NO_ENTRY, SKIP_BITS, START_BITS, StartTable, VALUE_BITS, extend,
};
use crate::idct::{Lowest, SLOTS};
use crate::tables::Quantisation;
use crate::window::Data;

/// The tables by which a component's blocks are coded.
#[derive(Clone, Copy)]
pub(crate) struct BlockTables<'a> {
    pub start: &'a StartTable,
    pub ac: &'a AcTable,
    pub quantisation: Quantisation,
}

/// A value of [`Ended::index`] from which on the block made no sense.
pub(crate) const NO_CODE: u32 = 1 << 16;

/// How a block went.
#[derive(Clone, Copy)]
pub(crate) struct Ended {
    /// What to add to the component's last DC coefficient.
    pub difference: i32,
    /// 64 if the block's last coefficient is there; or else 128 and the zigzag
    /// index behind the code for the block's end, as if that was a coefficient.
    pub index: u32,
}

/// Steps over a block, but for its DC difference.
#[inline(always)]
pub(crate) fn skip_block(bits: &mut Bits, data: &Data, tables: &BlockTables) -> Ended {
    bits.refill(data);
    let at_start = *bits;
    let entry = tables.start.starts()[(bits.register() >> (64 - START_BITS)) as usize];
    let mut index = entry >> 8 & 255;
    if index == NO_ENTRY {
        let difference;
        (*bits, difference) = read_difference(*bits, &tables.start.code);
        let Some(difference) = difference else {
            return Ended {
                difference: 0,
                index: NO_CODE,
            };
        };
        let index = skip_rest(bits, data, tables.ac, 1);
        return Ended { difference, index };
    }
    bits.skip(entry & 255);
    let difference = difference(at_start, entry);
    if index < 64 {
        index = skip_rest(bits, data, tables.ac, index);
    }
    Ended { difference, index }
}

/// The DC difference of a block that starts at `bits` with `entry`.
#[inline(always)]
pub(crate) fn difference(bits: Bits, entry: u32) -> i32 {
    let (length, extra) = (entry >> 16 & 255, entry >> 24);
    let at_value = bits.register() << (length & 63);
    // Without a branch: a leading 0 means a negative value, for which
    // 2^extra - 1 is taken off; with no extra bits both terms are zero.
    let raw = (at_value >> 1 >> ((63 - extra) & 63)) as i32;
    let negative = !((at_value as i64) >> 63) as i32;
    raw + (negative & (1 - (1 << (extra & 31))))
}

/// Steps over the coefficients from zigzag index `index` on, 63 at most; the
/// result is as in [`Ended::index`].
#[inline(always)]
fn skip_rest(bits: &mut Bits, data: &Data, ac: &AcTable, mut index: u32) -> u32 {
    let skips = ac.skips();
    let look_up = |bits: Bits| u32::from(skips[(bits.register() >> (64 - SKIP_BITS)) as usize]);
    loop {
        bits.refill(data);
        // Two entries have at most 46 of the 56 bits.
        let mut entry = look_up(*bits);
        let mut after = index + (entry >> 8);
        if after < 64 {
            bits.skip(entry & 255);
            index = after;
            entry = look_up(*bits);
            after = index + (entry >> 8);
            if after < 64 {
                bits.skip(entry & 255);
                index = after;
                continue;
            }
        }
        if !is_too_far(after) {
            bits.skip(entry & 255);
            return after;
        }
        (*bits, index) = skip_one(*bits, data, &ac.code, index);
        if index >= 64 {
            return index;
        }
    }
}

/// Whether an entry that leads to `index` goes too far: it holds codes that are
/// the next block's already, or it is none.
#[inline(always)]
pub(crate) fn is_too_far(index: u32) -> bool {
    index & 127 > 64
}

/// Steps over one code: for windows without an entry, and near a block's end.
#[cold]
#[inline(never)]
fn skip_one(mut bits: Bits, data: &Data, code: &Code, index: u32) -> (Bits, u32) {
    bits.refill(data);
    let Some((length, symbol)) = code.find(bits.peek(16)) else {
        return (bits, NO_CODE);
    };
    bits.skip(length + u32::from(symbol & 15));
    (bits, index_behind(symbol, index))
}

/// The zigzag index behind a code at `index`. A run that leads out of the block
/// fills it, as in libjpeg.
pub(crate) fn index_behind(symbol: u8, index: u32) -> u32 {
    match symbol {
        0xf0 => (index + 16).min(64),
        _ if symbol & 15 == 0 => index + END_OF_BLOCK,
        _ => (index + u32::from(symbol >> 4) + 1).min(64),
    }
}

/// Reads a DC difference one code at a time.
#[cold]
#[inline(never)]
pub(crate) fn read_difference(mut bits: Bits, code: &Code) -> (Bits, Option<i32>) {
    let Some((length, extra)) = code.find(bits.peek(16)) else {
        return (bits, None);
    };
    bits.skip(length);
    let extra = u32::from(extra);
    let raw = bits.read(extra);
    (bits, Some(extend(raw, extra)))
}

/// Decodes the lowest `SIDE` x `SIDE` frequencies of a block, dequantised, into
/// `lowest` (0 for DC, which only its difference is known of), and steps over
/// the rest.
#[inline(always)]
pub(crate) fn read_lowest<const SIDE: usize>(
    bits: &mut Bits,
    data: &Data,
    tables: &BlockTables,
    lowest: &mut Lowest,
) -> Ended {
    bits.refill(data);
    let entry = tables.start.starts()[(bits.register() >> (64 - START_BITS)) as usize];
    let difference = if entry >> 8 & 255 == NO_ENTRY {
        let difference;
        (*bits, difference) = read_difference(*bits, &tables.start.code);
        match difference {
            Some(difference) => difference,
            None => {
                return Ended {
                    difference: 0,
                    index: NO_CODE,
                };
            }
        }
    } else {
        let difference = difference(*bits, entry);
        bits.skip((entry >> 16 & 255) + (entry >> 24));
        difference
    };

    lowest[..SIDE * SIDE].fill(0);
    let (slots, last) = SLOTS[SIDE];
    let values = tables.ac.values();
    let mut index = 1;
    while index <= last {
        bits.refill(data);
        let entry = values[(bits.register() >> (64 - VALUE_BITS)) as usize];
        let advance = entry >> 8 & 255;
        let value;
        if advance == NO_ENTRY {
            (*bits, index, value) = read_one(*bits, &tables.ac.code, index);
        } else {
            bits.skip(entry & 255);
            index += advance;
            value = entry as i32 >> 16;
        }
        if index >= 64 {
            return Ended { difference, index };
        }
        store(lowest, slots, &tables.quantisation, index - 1, value);
    }
    let index = skip_rest(bits, data, tables.ac, index);
    Ended { difference, index }
}

/// Puts a coefficient into its slot; those that are not wanted share one that
/// nobody reads.
#[inline(always)]
fn store(lowest: &mut Lowest, slots: &[u8; 64], steps: &Quantisation, zigzag: u32, value: i32) {
    let zigzag = (zigzag & 63) as usize;
    let slot = usize::from(slots[zigzag]).min(lowest.len() - 1);
    lowest[slot] = value * i32::from(steps[zigzag]);
}

/// Reads one coefficient: for windows without an entry. The index is the one
/// behind it.
#[cold]
#[inline(never)]
fn read_one(mut bits: Bits, code: &Code, index: u32) -> (Bits, u32, i32) {
    let Some((length, symbol)) = code.find(bits.peek(16)) else {
        return (bits, NO_CODE, 0);
    };
    bits.skip(length);
    let extra = u32::from(symbol & 15);
    let value = extend(bits.read(extra), extra);
    (bits, index_behind(symbol, index), value)
}
