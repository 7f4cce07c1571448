//! Puts decoded blocks where they belong in the planes.
//!
//! Words for blocks in coded order come in; samples at 1/8 go out, one for each
//! block, and counts of where the blocks' coefficients end.

use crate::baseline::{Output, SequentialScan};
use crate::frame::MAX_BLOCKS_IN_MCU;
use crate::idct::one_sample;
use crate::lanes::BlockWord;

/// Where the next MCU goes.
pub(crate) struct Placing<'a> {
    scan: SequentialScan<'a>,
    column: usize,
    row: usize,
    predictions: [i32; 3],
}

impl<'a> Placing<'a> {
    /// Starts at an MCU that is the scan's first, or the first after a restart.
    pub fn starting_at(scan: SequentialScan<'a>, mcu: usize) -> Self {
        Self {
            scan,
            column: mcu % scan.mcus.wide,
            row: mcu / scan.mcus.wide,
            predictions: [0; 3],
        }
    }

    /// Places whole MCUs, as many as `words` are for; none beyond the last.
    pub fn place(&mut self, mut words: &[BlockWord], output: &mut Output) {
        let mcus = self.scan.mcus;
        while !words.is_empty() && self.row < mcus.high {
            let in_row = (mcus.wide - self.column) * mcus.blocks.len();
            let (now, later) = words.split_at(in_row.min(words.len()));
            self.place_in_row(now, output);
            self.column += now.len() / mcus.blocks.len();
            if self.column == mcus.wide {
                self.column = 0;
                self.row += 1;
            }
            words = later;
        }
    }

    /// Places MCUs of one row, component by component: so the sum that becomes
    /// the next DC coefficient stays in a register.
    fn place_in_row(&mut self, words: &[BlockWord], output: &mut Output) {
        let SequentialScan {
            frame,
            parts,
            tables,
            mcus,
            ..
        } = self.scan;
        for (number, part) in parts.iter().enumerate() {
            let component = &frame.components[part.component];
            let step_of_dc = i32::from(tables[number].quantisation[0]);
            let is_first = part.component == 0;
            let mut prediction = self.predictions[number];
            // Its blocks stand together in the MCU; where their samples go.
            let Some(first) = mcus.blocks.iter().position(|block| block.part == number) else {
                continue;
            };
            let mut places = [0; MAX_BLOCKS_IN_MCU];
            let mut num_places = 0;
            let own = mcus.blocks[first..]
                .iter()
                .take_while(|block| block.part == number);
            for (place, block) in places.iter_mut().zip(own) {
                *place = block.sample(component, self.column, self.row);
                num_places += 1;
            }
            let step = mcus.blocks[first].across * component.side;
            for (mcu, words) in words.chunks_exact(mcus.blocks.len()).enumerate() {
                let own = words[first..].iter().zip(&places[..num_places]);
                for (turn, (&word, place)) in own.enumerate() {
                    prediction = i32::from((prediction + (word >> 8)) as i16);
                    if is_first {
                        output.ends.count(turn, word as u32);
                    }
                    if let Some(sample) = output.planes.get_mut(place + mcu * step) {
                        *sample = one_sample(prediction * step_of_dc);
                    }
                }
            }
            self.predictions[number] = prediction;
        }
    }
}
