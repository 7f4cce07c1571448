//! Makes samples of decoded blocks, and puts them where they belong.
//!
//! Records of blocks in coded order come in; samples in the planes go out, and
//! counts of where the blocks' coefficients end.

use crate::baseline::{Output, SequentialScan};
use crate::block::{Record, record_length};
use crate::frame::MAX_BLOCKS_IN_MCU;
use crate::idct::{Steps, mean, write_samples};

/// Where the next MCU goes.
pub(crate) struct Placing<'a> {
    scan: SequentialScan<'a>,
    column: usize,
    row: usize,
    predictions: [i16; 3],
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

    /// The row of the next MCU.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Places whole MCUs, as many as `records` are for; none beyond the last.
    pub fn place(&mut self, mut records: &Record, output: &mut Output) {
        let SequentialScan { mcus, coded, .. } = self.scan;
        while !records.is_empty() && self.row < mcus.high {
            let in_row = (mcus.wide - self.column) * coded.length;
            let (now, later) = records.split_at(in_row.min(records.len()));
            // Component by component: so the sum that becomes the next DC
            // coefficient stays in a register.
            for (number, part) in self.scan.parts.iter().enumerate() {
                match self.scan.frame.components[part.component].side {
                    1 => self.place_part::<1>(number, now, output),
                    2 => self.place_part::<2>(number, now, output),
                    _ => self.place_part::<4>(number, now, output),
                }
            }
            self.column += now.len() / coded.length;
            if self.column == mcus.wide {
                self.column = 0;
                self.row += 1;
            }
            records = later;
        }
    }

    /// Places one component's blocks in MCUs of one row.
    fn place_part<const SIDE: usize>(
        &mut self,
        part: usize,
        records: &Record,
        output: &mut Output,
    ) {
        let SequentialScan {
            frame,
            parts,
            quantisation,
            mcus,
            coded,
            ..
        } = self.scan;
        let number = parts[part].component;
        let component = &frame.components[number];
        let steps = Steps::new(SIDE, &quantisation[part]);

        // Its blocks stand together in the MCU; where their samples go.
        let Some(first) = mcus.blocks.iter().position(|block| block.part == part) else {
            return;
        };
        let mut places = [0; MAX_BLOCKS_IN_MCU];
        let mut num_places = 0;
        let own = mcus.blocks[first..]
            .iter()
            .take_while(|block| block.part == part);
        for (place, block) in places.iter_mut().zip(own) {
            *place = block.sample(component, self.column, self.row);
            num_places += 1;
        }
        let places = &places[..num_places];
        let step = mcus.blocks[first].across * SIDE;
        let start = coded.blocks[first].start;

        let mut prediction = self.predictions[part];
        for (mcu, records) in records.chunks_exact(coded.length).enumerate() {
            let own = &records[start..start + num_places * record_length(SIDE)];
            if SIDE == 1 {
                // Pairs, and one sample each: the slices below would cost more
                // than what is done with them.
                for (turn, (&[difference, index], place)) in
                    own.as_chunks().0.iter().zip(places).enumerate()
                {
                    prediction = prediction.wrapping_add(difference);
                    if number == 0 {
                        output.ends.count(turn, index);
                    }
                    if let Some(sample) = output.planes.get_mut(place + mcu * step) {
                        *sample = mean(prediction, &steps);
                    }
                }
                continue;
            }
            let own = own.chunks_exact(record_length(SIDE)).zip(places);
            for (turn, (record, place)) in own.enumerate() {
                let &[difference, index, ref others @ ..] = record else {
                    continue;
                };
                // Sums wrap at 16 bits, as the standard's do; only damage gets there.
                prediction = prediction.wrapping_add(difference);
                if number == 0 {
                    output.ends.count(turn, index);
                }
                let samples = output
                    .planes
                    .get_mut(place + mcu * step..)
                    .unwrap_or_default();
                write_samples::<SIDE>(prediction, others, &steps, samples, component.stride);
            }
        }
        self.predictions[part] = prediction;
    }
}
