//! Steps over the blocks of several stretches of a scan at once.
//!
//! Stretches of entropy-coded data come in; a word for each of their blocks goes
//! out. A chain of look-ups, each waiting for the one before, leaves most of a
//! core idle; stretches do not wait for one another, so their look-ups interleave.

use crate::bits::Bits;
use crate::block::{BlockTables, NO_CODE, difference, index_behind, is_too_far, read_difference};
use crate::frame::MAX_BLOCKS_IN_MCU;
use crate::huffman::{NO_ENTRY, SKIP_BITS, START_BITS};
use crate::window::{Data, Window};

/// Stretches at once. More hide more waiting, but need more registers, and the
/// blocks side by side take as long as the longest.
pub(crate) const LANES: usize = 6;

/// MCUs decoded between looks at how far the lanes have got. Larger, and lanes
/// run further beyond where they should stop.
pub(crate) const CHUNK_MCUS: usize = 16;

/// What is known of a block: its DC difference << 8, and its index as in
/// [`crate::block::Ended`].
pub(crate) type BlockWord = i32;

/// A place in the entropy-coded data from which MCUs are being decoded.
#[derive(Default)]
pub(crate) struct Lane {
    pub window: Window,
    /// Position in the window in bits.
    pub position: usize,
    /// The last chunk's blocks.
    words: Chunk,
    /// Where the last chunk's MCUs start, in bits since the window was opened.
    starts: [usize; CHUNK_MCUS],
}

/// The blocks of a chunk of MCUs.
struct Chunk([BlockWord; CHUNK_MCUS * MAX_BLOCKS_IN_MCU]);

impl Default for Chunk {
    fn default() -> Self {
        Self([0; CHUNK_MCUS * MAX_BLOCKS_IN_MCU])
    }
}

/// How a chunk went.
pub(crate) struct Run {
    /// MCUs decoded in each lane.
    pub num_mcus: usize,
    /// The lane that kept them from being as many as asked, and why.
    pub stopped: Option<(usize, Stop)>,
}

/// Why a lane cannot go on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The next MCU does not end before its data does.
    EndOfData,
    /// The next MCU has bits that are no code.
    NoCode,
}

impl Lane {
    /// Starts at `offset` in the file.
    pub fn open(&mut self, jpeg: &[u8], offset: usize) {
        self.window.open(jpeg, offset);
        self.position = 0;
    }

    /// The last chunk's first `num_mcus` MCUs of `blocks` blocks each.
    pub fn words(&self, num_mcus: usize, blocks: usize) -> &[BlockWord] {
        &self.words.0[..num_mcus * blocks]
    }

    /// Where the last chunk's MCUs start, in bits since the window was opened.
    pub fn starts(&self, num_mcus: usize) -> &[usize] {
        &self.starts[..num_mcus]
    }

    /// Position in bits since the window was opened.
    pub fn bits_since_open(&self) -> usize {
        self.window.dropped() * 8 + self.position
    }

    /// Whether the window is to be looked after before an MCU at `position`.
    #[inline(always)]
    fn is_beyond(&self, position: usize) -> bool {
        position >> 3 > self.window.safe_start()
    }

    fn is_overrun(&self, position: usize) -> bool {
        self.window.end().is_some() && position > self.window.filled() * 8
    }

    /// Behind the last MCU there are up to seven bits that are no code.
    #[cold]
    fn why_no_code(&self) -> Stop {
        if self.window.end().is_some() && self.position + 8 > self.window.filled() * 8 {
            Stop::EndOfData
        } else {
            Stop::NoCode
        }
    }

    /// Goes to `position`; the window then holds an MCU from there on.
    pub fn go_to(&mut self, jpeg: &[u8], position: usize) {
        self.position = position;
        if self.is_beyond(position) && self.window.end().is_none() {
            self.window.advance(jpeg, position >> 3);
            self.position = position & 7;
        }
    }
}

/// Decodes up to `num_mcus` MCUs in each lane, the same number in all.
pub(crate) fn decode_chunk(
    jpeg: &[u8],
    blocks: &[&BlockTables],
    lanes: &mut [&mut Lane],
    num_mcus: usize,
) -> Run {
    // One function for each number of lanes, up to `LANES`.
    macro_rules! decode_if_as_many {
        ($($n:literal)*) => {$(
            if let Ok(lanes) = <&mut [&mut Lane; $n]>::try_from(&mut *lanes) {
                return decode_mcus(jpeg, blocks, lanes, num_mcus);
            }
        )*};
    }
    decode_if_as_many!(6 5 4 3 2 1);
    unreachable!("there are one to six lanes")
}

#[inline(never)]
fn decode_mcus<const N: usize>(
    jpeg: &[u8],
    blocks: &[&BlockTables],
    lanes: &mut [&mut Lane; N],
    num_mcus: usize,
) -> Run {
    let mut words = [[0; CHUNK_MCUS * MAX_BLOCKS_IN_MCU]; N];
    let mut run = Run {
        num_mcus: num_mcus.min(CHUNK_MCUS),
        stopped: None,
    };
    for mcu in 0..run.num_mcus {
        let data: [&Data; N] = std::array::from_fn(|i| lanes[i].window.data());
        let mut positions: [usize; N] = std::array::from_fn(|i| lanes[i].position);
        let mut indices_seen = 0;
        for (number, tables) in blocks.iter().enumerate() {
            let (differences, indices) = skip_blocks(data, &mut positions, tables);
            for i in 0..N {
                indices_seen |= indices[i];
                let word = differences[i] << 8 | (indices[i] & 255) as i32;
                if let Some(to) = words[i].get_mut(mcu * blocks.len() + number) {
                    *to = word;
                }
            }
        }
        let mut is_special = indices_seen & NO_CODE != 0;
        for i in 0..N {
            is_special |= lanes[i].is_beyond(positions[i]);
        }
        if is_special {
            // Nothing of this MCU counts if any lane stops at it.
            let is_code = indices_seen & NO_CODE == 0;
            run.stopped = find_stop(lanes, &positions, blocks, is_code);
            if run.stopped.is_some() {
                run.num_mcus = mcu;
                break;
            }
        }
        for (lane, position) in lanes.iter_mut().zip(positions) {
            lane.starts[mcu] = lane.bits_since_open();
            lane.position = position;
            if is_special {
                lane.go_to(jpeg, position);
            }
        }
    }
    for (lane, words) in lanes.iter_mut().zip(&words) {
        lane.words.0 = *words;
    }
    run
}

/// The first lane that cannot get through its next MCU to its new position.
#[cold]
fn find_stop(
    lanes: &[&mut Lane],
    positions: &[usize],
    blocks: &[&BlockTables],
    is_code: bool,
) -> Option<(usize, Stop)> {
    for (number, (lane, &position)) in lanes.iter().zip(positions).enumerate() {
        if lane.is_overrun(position) {
            return Some((number, Stop::EndOfData));
        }
        if is_code {
            continue;
        }
        let mut position = [lane.position];
        let has_code = |tables: &&BlockTables| {
            let (_, [index]) = skip_blocks([lane.window.data()], &mut position, tables);
            index & NO_CODE == 0
        };
        if !blocks.iter().all(has_code) {
            return Some((number, lane.why_no_code()));
        }
    }
    None
}

/// Steps over one block in each lane: DC differences, and zigzag indices as in
/// [`crate::block::Ended`].
#[inline(always)]
fn skip_blocks<const N: usize>(
    data: [&Data; N],
    positions: &mut [usize; N],
    tables: &BlockTables,
) -> ([i32; N], [u32; N]) {
    let starts = tables.start.starts();
    let skips = tables.ac.skips();
    let mut differences = [0; N];
    // Bits taken since the last load, and the zigzag index << 8, as in entries:
    // one addition counts both.
    let mut counts = [0; N];
    for i in 0..N {
        let bits = Bits::at(data[i], positions[i]);
        let entry = starts[(bits.register() >> (64 - START_BITS)) as usize];
        differences[i] = difference(bits, entry);
        counts[i] = entry & 0xffff;
        if entry >> 8 & 255 == NO_ENTRY {
            (counts[i], differences[i]) = start_alone(data[i], positions[i], tables);
        }
    }
    loop {
        let mut registers = [0; N];
        let mut is_live = false;
        for i in 0..N {
            positions[i] += (counts[i] & 255) as usize;
            counts[i] &= !255;
            is_live |= counts[i] < 64 << 8;
            registers[i] = Bits::at(data[i], positions[i]).register();
        }
        if !is_live {
            return (differences, counts.map(|count| count >> 8));
        }
        // Two entries have at most 46 of the 57 bits.
        for _ in 0..2 {
            for i in 0..N {
                let entry = u32::from(skips[(registers[i] >> (64 - SKIP_BITS)) as usize]);
                // A lane that has got through its block waits for the others.
                let mut entry = if counts[i] < 64 << 8 { entry } else { 0 };
                if is_too_far((counts[i] + entry) >> 8) {
                    entry = skip_alone(registers[i], tables, counts[i] >> 8);
                }
                counts[i] += entry;
                registers[i] <<= entry & 63;
            }
        }
    }
}

/// The count for the start of a block that has no entry, and its DC difference.
#[cold]
#[inline(never)]
fn start_alone(data: &Data, position: usize, tables: &BlockTables) -> (u32, i32) {
    let (bits, difference) = read_difference(Bits::at(data, position), &tables.start.code);
    match difference {
        Some(difference) => ((bits.position() - position) as u32 | 1 << 8, difference),
        None => (NO_CODE << 8, 0),
    }
}

/// The entry for one code, where the table has none or one that goes too far.
#[cold]
#[inline(never)]
fn skip_alone(register: u64, tables: &BlockTables, index: u32) -> u32 {
    let window = (register >> 48) as u32;
    match tables.ac.code.find(window) {
        Some((length, symbol)) => {
            let after = index_behind(symbol, index);
            (length + u32::from(symbol & 15)) | (after - index) << 8
        }
        None => NO_CODE << 8,
    }
}
