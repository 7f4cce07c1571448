//! Which blocks an MCU of a scan has, and where they lie.
//!
//! A scan's components come in; the blocks of one MCU in coded order go out. A
//! scan of one component has its blocks in plain order, whatever the sampling,
//! and only those that the picture covers; otherwise MCUs are padded.

use crate::block::{BlockTables, record_length};
use crate::frame::{Component, Frame, MAX_BLOCKS_IN_MCU};
use crate::scan::Part;

/// The MCUs of a scan.
pub(crate) struct Mcus {
    pub wide: usize,
    pub high: usize,
    /// The blocks of one MCU in coded order.
    pub blocks: Vec<McuBlock>,
}

/// A block of an MCU.
#[derive(Clone, Copy)]
pub(crate) struct McuBlock {
    /// Which part of the scan it belongs to.
    pub part: usize,
    /// Blocks of its component across an MCU, and down.
    pub across: usize,
    down: usize,
    /// Blocks right and down of the component's first in this MCU.
    x: usize,
    y: usize,
}

impl Mcus {
    pub fn of(frame: &Frame, parts: &[Part]) -> Self {
        let (wide, high) = match parts {
            [one] => {
                let component = &frame.components[one.component];
                (component.blocks_wide, component.blocks_high)
            }
            _ => (frame.mcus_wide, frame.mcus_high),
        };
        let mut blocks = Vec::with_capacity(MAX_BLOCKS_IN_MCU);
        for (part, scanned) in parts.iter().enumerate() {
            let component = &frame.components[scanned.component];
            let (across, down) = match parts.len() {
                1 => (1, 1),
                _ => (component.horizontal, component.vertical),
            };
            for y in 0..down {
                blocks.extend((0..across).map(|x| McuBlock {
                    part,
                    across,
                    down,
                    x,
                    y,
                }));
            }
        }
        Self { wide, high, blocks }
    }
}

impl McuBlock {
    /// Where this block's samples start in the buffer of all planes, for the MCU
    /// at `column` of `row`.
    pub fn sample(&self, component: &Component, column: usize, row: usize) -> usize {
        component.sample(column * self.across + self.x, row * self.down + self.y)
    }

    /// Where this block's kept coefficients start, for the first MCU of `row`.
    pub fn coefficients(&self, component: &Component, row: usize) -> usize {
        component.coefficients(self.x, row * self.down + self.y)
    }
}

/// How one MCU of a sequential scan is coded, and what stands for it decoded: the
/// records of its blocks, one behind the other.
pub(crate) struct CodedMcu<'a> {
    pub blocks: Vec<CodedBlock<'a>>,
    /// Entries of all records together.
    pub length: usize,
}

/// A block of a coded MCU.
pub(crate) struct CodedBlock<'a> {
    pub tables: BlockTables<'a>,
    /// Samples along its side in the output.
    pub side: usize,
    /// Where its record starts among the MCU's.
    pub start: usize,
}

impl<'a> CodedMcu<'a> {
    /// The MCUs of a scan whose parts are coded by `tables`.
    pub fn of(frame: &Frame, parts: &[Part], tables: &[BlockTables<'a>], mcus: &Mcus) -> Self {
        let mut length = 0;
        let blocks = mcus.blocks.iter().map(|block| {
            let side = frame.components[parts[block.part].component].side;
            let start = length;
            length += record_length(side);
            CodedBlock {
                tables: tables[block.part],
                side,
                start,
            }
        });
        let blocks = blocks.collect();
        Self { blocks, length }
    }
}
