//! Reads scan headers.
//!
//! An SOS segment comes in; which components, tables and coefficients the scan
//! has goes out, checked against the frame.

use crate::Error;
use crate::frame::{Frame, check_mcu_size};
use crate::header::Coding;
use crate::markers::Segment;

/// A component's part in a scan.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    /// Number of the component in the frame.
    pub component: usize,
    /// Numbers of its Huffman tables.
    pub dc: usize,
    pub ac: usize,
}

/// A scan as its header describes it.
#[derive(Clone)]
pub(crate) struct Scan {
    pub parts: Vec<Part>,
    /// First and last coefficient in zigzag order.
    pub first: u32,
    pub last: u32,
    /// Lowest bit that was sent before; 0: none was.
    pub high_bit: u32,
    /// Lowest bit that this scan sends.
    pub low_bit: u32,
    /// Offset in the file of the header, and of the data behind it.
    pub header: usize,
    pub data: usize,
}

impl Scan {
    /// Reads an SOS segment.
    pub fn parse(segment: &Segment, frame: &Frame) -> Result<Self, Error> {
        let cut = || segment.corrupt("a scan header cut short");
        let (&num_parts, rest) = segment.body.split_first().ok_or_else(cut)?;
        let num_parts = usize::from(num_parts);
        if num_parts == 0 || num_parts > frame.components.len() {
            return Err(segment.corrupt("a scan of no components or of more than there are"));
        }
        let (listed, rest) = rest.split_at_checked(2 * num_parts).ok_or_else(cut)?;
        let &[first, last, bits] = rest.first_chunk::<3>().ok_or_else(cut)?;

        let mut parts: Vec<Part> = Vec::with_capacity(num_parts);
        for &[id, tables] in listed.as_chunks::<2>().0 {
            let component = frame.find(id);
            let component = component.ok_or(segment.corrupt("a scan of an unknown component"))?;
            if parts.iter().any(|part| part.component >= component) {
                return Err(segment.corrupt("a scan with components out of order"));
            }
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if dc > 3 || ac > 3 {
                return Err(segment.corrupt("a Huffman table number above 3"));
            }
            parts.push(Part { component, dc, ac });
        }
        if parts.len() > 1 {
            let blocks = parts.iter().map(|part| {
                let component = &frame.components[part.component];
                component.horizontal * component.vertical
            });
            check_mcu_size(blocks.sum(), segment.offset)?;
        }
        let scan = Self {
            parts,
            first: first.into(),
            last: last.into(),
            high_bit: u32::from(bits >> 4),
            low_bit: u32::from(bits & 15),
            header: segment.offset,
            data: segment.offset + segment.body.len(),
        };
        // Sequential files have only one way to fill these fields in, and
        // decoders have always ignored them.
        if frame.coding == Coding::Progressive {
            scan.check_progressive()
                .map_err(|what| segment.corrupt(what))?;
        }
        Ok(scan)
    }

    fn check_progressive(&self) -> Result<(), &'static str> {
        if self.last < self.first || self.last > 63 {
            return Err("a scan of coefficients that there are not");
        }
        if self.first == 0 && self.last != 0 {
            return Err("a progressive scan of DC and AC together");
        }
        if self.first > 0 && self.parts.len() != 1 {
            return Err("an AC scan of several components");
        }
        if self.low_bit > 13 || (self.high_bit != 0 && self.high_bit != self.low_bit + 1) {
            return Err("a progressive scan that refines by other than one bit");
        }
        Ok(())
    }

    /// Its coefficients as a set: bit `n` is zigzag index `n`.
    pub fn band(&self) -> u64 {
        u64::MAX >> (63 - self.last) & u64::MAX << self.first
    }
}
