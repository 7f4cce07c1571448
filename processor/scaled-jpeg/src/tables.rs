//! The tables that marker segments define, as slices of the file.
//!
//! DQT, DHT, DRI and the colour hints of APP0 and APP14 come in; checked
//! definitions go out. Nothing is built here: a file can redefine tables as often
//! as it likes without costing more than reading it.

use crate::Error;
use crate::markers::{APP0, APP14, DAC, DHT, DQT, DRI, Segment};

/// A Huffman table as the file has it: 16 counts, then the symbols.
pub(crate) type Definition<'a> = &'a [u8];

/// A quantisation table in zigzag order.
pub(crate) type Quantisation = [u16; 64];

/// Everything defined so far at some point of the file.
#[derive(Clone, Default)]
pub(crate) struct Tables<'a> {
    pub quantisation: [Option<Quantisation>; 4],
    pub dc: [Option<Definition<'a>>; 4],
    pub ac: [Option<Definition<'a>>; 4],
    /// MCUs between restart markers; 0: there are none.
    pub restart_interval: u16,
    pub adobe_transform: Option<u8>,
    pub jfif: bool,
}

impl<'a> Tables<'a> {
    /// Takes note of a segment; of no effect for those that define nothing.
    pub fn define(&mut self, segment: &Segment<'a>) -> Result<(), Error> {
        match segment.marker {
            DQT => self.define_quantisation(segment),
            DHT => self.define_huffman(segment),
            DRI => {
                let interval = segment.body.first_chunk::<2>();
                let interval = interval.ok_or(segment.corrupt("a restart interval too short"))?;
                self.restart_interval = u16::from_be_bytes(*interval);
                Ok(())
            }
            DAC => Err(Error::Unsupported("arithmetic coding")),
            APP0 => {
                self.jfif |= segment.body.starts_with(b"JFIF\0");
                Ok(())
            }
            APP14 => {
                if segment.body.len() >= 12 && segment.body.starts_with(b"Adobe") {
                    self.adobe_transform = Some(segment.body[11]);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn define_quantisation(&mut self, segment: &Segment<'a>) -> Result<(), Error> {
        let mut rest = segment.body;
        while let [head, tail @ ..] = rest {
            let bytes_each = match head >> 4 {
                0 => 1,
                1 => 2,
                _ => return Err(segment.corrupt("a quantisation table of unknown precision")),
            };
            let slot = self.quantisation.get_mut(usize::from(head & 15));
            let slot = slot.ok_or(segment.corrupt("a quantisation table number above 3"))?;
            let (values, after) = tail
                .split_at_checked(64 * bytes_each)
                .ok_or(segment.corrupt("a quantisation table cut short"))?;
            let mut table = [0; 64];
            for (entry, value) in table.iter_mut().zip(values.chunks_exact(bytes_each)) {
                *entry = value
                    .iter()
                    .fold(0, |sum, &byte| sum << 8 | u16::from(byte));
            }
            *slot = Some(table);
            rest = after;
        }
        Ok(())
    }

    fn define_huffman(&mut self, segment: &Segment<'a>) -> Result<(), Error> {
        let mut rest = segment.body;
        while let [head, tail @ ..] = rest {
            let kind = match head >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(segment.corrupt("a Huffman table of unknown kind")),
            };
            let slot = kind.get_mut(usize::from(head & 15));
            let slot = slot.ok_or(segment.corrupt("a Huffman table number above 3"))?;
            let cut = segment.corrupt("a Huffman table cut short");
            let counts = tail.first_chunk::<16>().ok_or(cut.clone())?;
            let num_symbols = check_counts(counts).map_err(|what| segment.corrupt(what))?;
            let (definition, after) = tail.split_at_checked(16 + num_symbols).ok_or(cut)?;
            if head >> 4 == 0 && definition[16..].iter().any(|&bits| bits > 15) {
                return Err(segment.corrupt("a DC difference of more than 15 bits"));
            }
            *slot = Some(definition);
            rest = after;
        }
        Ok(())
    }
}

/// The number of symbols that 16 counts of code lengths announce, if they fit
/// into a prefix code.
fn check_counts(counts: &[u8; 16]) -> Result<usize, &'static str> {
    let mut used = 0;
    for (length, &count) in (1..).zip(counts) {
        used += u32::from(count) << (16 - length);
    }
    if used > 1 << 16 {
        return Err("a Huffman table with more codes than fit");
    }
    let num_symbols: usize = counts.iter().map(|&count| usize::from(count)).sum();
    if num_symbols > 256 {
        return Err("a Huffman table of more than 256 symbols");
    }
    Ok(num_symbols)
}
