//! Decodes MCUs in several places of a scan at once.
//!
//! Places in the entropy-coded data come in; records of their blocks go out, and
//! which place cannot go on, and why.

use crate::Error;
use crate::block::{NO_CODE, decode_blocks};
use crate::mcu::CodedMcu;
use crate::window::{Data, Window};

/// Places at once. More hide more waiting, but blocks side by side take as long
/// as the longest of them; eight were slower.
pub(crate) const LANES: usize = 6;

/// MCUs decoded between looks at how far the lanes have got. Larger, and lanes
/// run further beyond where they should stop.
pub(crate) const CHUNK_MCUS: usize = 16;

/// A place in the entropy-coded data from which MCUs are being decoded.
#[derive(Default)]
pub(crate) struct Lane {
    pub window: Window,
    /// Position in the window in bits.
    pub position: usize,
    /// The last chunk's blocks, MCU by MCU.
    pub records: Vec<i16>,
    /// Where the last chunk's MCUs start, in bits since the window was opened.
    pub starts: Vec<usize>,
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

    /// Goes to `position`; the window then holds an MCU from there on.
    pub fn go_to(&mut self, jpeg: &[u8], position: usize) {
        self.position = position;
        if self.is_beyond(position) && self.window.end().is_none() {
            self.window.advance(jpeg, position >> 3);
            self.position = position & 7;
        }
    }

    /// The error for a scan that cannot be decoded on from here.
    pub fn error(&self, jpeg: &[u8], stop: Stop, mcu_row: usize) -> Error {
        match (stop, self.window.end()) {
            (Stop::EndOfData, Some(end)) => match jpeg.get(end + 1) {
                Some(0xd0..=0xd7) => Error::Corrupt {
                    offset: end,
                    what: "a restart marker before its interval's end",
                },
                _ => Error::Truncated {
                    at_byte: end,
                    mcu_row,
                },
            },
            _ => Error::Corrupt {
                offset: self.window.offset_in_file(jpeg, self.position / 8),
                what: "an MCU with bits that no Huffman code starts with",
            },
        }
    }

    /// Whether the window is to be looked after before an MCU at `position`.
    #[inline(always)]
    fn is_beyond(&self, position: usize) -> bool {
        position >> 3 > self.window.safe_start()
    }

    /// Why there is no MCU from here to `position`, if so.
    fn find_stop(&self, position: usize, has_failed: bool) -> Option<Stop> {
        let end = self.window.end().map(|_| self.window.filled() * 8);
        match end {
            Some(end) if position > end => Some(Stop::EndOfData),
            // Behind the last MCU there are up to seven bits that are no code.
            Some(end) if has_failed && self.position + 8 > end => Some(Stop::EndOfData),
            _ => has_failed.then_some(Stop::NoCode),
        }
    }
}

/// How a chunk went.
pub(crate) struct Run {
    /// MCUs decoded in each lane.
    pub num_mcus: usize,
    /// The lane that kept them from being as many as asked, and why.
    pub stopped: Option<(usize, Stop)>,
}

/// Decodes up to `num_mcus` MCUs in each lane, the same number in all.
pub(crate) fn decode_chunk(
    jpeg: &[u8],
    mcu: &CodedMcu,
    lanes: &mut [&mut Lane],
    num_mcus: usize,
) -> Run {
    // One function for each number of lanes, up to `LANES`.
    macro_rules! decode_if_as_many {
        ($($n:literal)*) => {$(
            if let Ok(lanes) = <&mut [&mut Lane; $n]>::try_from(&mut *lanes) {
                return match mcu.blocks.iter().all(|block| block.side == 1) {
                    true => decode_mcus::<$n, true>(jpeg, mcu, lanes, num_mcus),
                    false => decode_mcus::<$n, false>(jpeg, mcu, lanes, num_mcus),
                };
            }
        )*};
    }
    decode_if_as_many!(6 5 4 3 2 1);
    unreachable!("there are one to six lanes")
}

/// `MEANS_ONLY`: no block has more than one sample. A function of its own for
/// that is a twentieth faster.
#[inline(never)]
fn decode_mcus<const N: usize, const MEANS_ONLY: bool>(
    jpeg: &[u8],
    mcu: &CodedMcu,
    lanes: &mut [&mut Lane; N],
    num_mcus: usize,
) -> Run {
    let mut run = Run {
        num_mcus,
        stopped: None,
    };
    // Outside of the lanes while their windows are being read.
    let mut records = lanes.each_mut().map(|lane| {
        lane.starts.clear();
        let mut records = std::mem::take(&mut lane.records);
        records.clear();
        records.resize(run.num_mcus * mcu.length, 0);
        records
    });
    for number in 0..run.num_mcus {
        let data: [&Data; N] = std::array::from_fn(|i| lanes[i].window.data());
        let mut positions: [usize; N] = std::array::from_fn(|i| lanes[i].position);
        let mut failed = 0_u32;
        for block in &mcu.blocks {
            let at = number * mcu.length + block.start;
            let (differences, indices) = match block.side {
                _ if MEANS_ONLY => {
                    decode_blocks::<N, 1>(data, &mut positions, &block.tables, &mut records, at)
                }
                1 => decode_blocks::<N, 1>(data, &mut positions, &block.tables, &mut records, at),
                2 => decode_blocks::<N, 2>(data, &mut positions, &block.tables, &mut records, at),
                _ => decode_blocks::<N, 4>(data, &mut positions, &block.tables, &mut records, at),
            };
            for i in 0..N {
                failed |= u32::from(indices[i] == NO_CODE) << i;
                if let Some(head) = records[i].get_mut(at..at + 2) {
                    head.copy_from_slice(&[differences[i] as i16, indices[i] as i16]);
                }
            }
        }
        let mut is_special = failed != 0;
        for i in 0..N {
            is_special |= lanes[i].is_beyond(positions[i]);
        }
        if is_special {
            // Nothing of this MCU counts if any lane stops at it.
            let mut stops = (0..N)
                .filter_map(|i| Some((i, lanes[i].find_stop(positions[i], failed >> i & 1 == 1)?)));
            run.stopped = stops.next();
            if run.stopped.is_some() {
                run.num_mcus = number;
                break;
            }
        }
        for (lane, position) in lanes.iter_mut().zip(positions) {
            lane.starts.push(lane.window.dropped() * 8 + lane.position);
            lane.position = position;
            if is_special {
                lane.go_to(jpeg, position);
            }
        }
    }
    for (lane, mut records) in lanes.iter_mut().zip(records) {
        records.truncate(run.num_mcus * mcu.length);
        lane.records = records;
    }
    run
}
