//! Chooses the scans of a progressive file that a picture needs.
//!
//! All scans with the tables that they were found with come in; those that
//! matter go out, in order. At 1/8 only the DC scans do.

use crate::Error;
use crate::frame::Frame;
use crate::idct::SLOTS;
use crate::scan::Scan;
use crate::tables::{Definition, Tables};

/// Scans that a file may have. Encoders make about ten; each costs a pass over
/// the blocks however few bytes it has, so without a limit a small file could
/// take minutes.
pub(crate) const MAX_SCANS: usize = 128;

/// A scan, and the tables as they stand at its header.
pub(crate) struct PlannedScan<'a> {
    pub scan: Scan,
    pub restart_interval: usize,
    pub dc: [Option<Definition<'a>>; 4],
    pub ac: [Option<Definition<'a>>; 4],
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
            if usize::from(slots[index as usize]) < component.side * component.side {
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
