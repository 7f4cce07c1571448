//! Codes that no longer change, under four tables: one for each 16 bits. Two codes that
//! differ in at most `r` bits differ in at most `r / 4` bits in one of the four bands, so
//! looking under every key that near finds them all.

use std::ops::Range;

const BANDS: usize = 4;
const BAND_BITS: u32 = 16;
const KEYS: usize = 1 << BAND_BITS;

/// More flips than this are more keys than a scan is worth at any size.
const MAX_FLIPS: u32 = 2;

#[derive(Debug)]
pub(crate) struct Segment {
    start: usize,
    bands: [Band; BANDS],
}

/// The codes sorted by 16 of their bits.
#[derive(Debug)]
struct Band {
    /// Where the codes of each key begin, and at the end their number.
    starts: Vec<u32>,
    /// Beside their positions, so that comparing reads on where the key led.
    codes: Vec<u64>,
    positions: Vec<u32>,
}

impl Segment {
    /// The codes from position `start` on.
    pub(crate) fn new(start: usize, codes: &[u64]) -> Self {
        Self {
            start,
            bands: std::array::from_fn(|band| Band::new(band, start, codes)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bands[0].codes.len()
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.start + self.len()
    }

    pub(crate) fn num_bytes(&self) -> usize {
        BANDS * ((KEYS + 1) * size_of::<u32>() + self.len() * (size_of::<u64>() + size_of::<u32>()))
    }

    /// Whether the tables are faster than a scan.
    pub(crate) fn is_worth_probing(radius: u32, num_codes: usize) -> bool {
        // A key is one or two cache misses; a scan compares some hundred codes in that time.
        const CODES_A_KEY: usize = 128;
        let keys = match radius / BANDS as u32 {
            0 => 1,
            1 => 1 + 16,
            MAX_FLIPS => 1 + 16 + 120,
            _ => return false,
        };
        BANDS * keys * CODES_A_KEY <= num_codes
    }

    /// Tells position and distance of every code within `radius`, each once.
    pub(crate) fn within(&self, query: u64, radius: u32, mut found: impl FnMut(u32, u32)) {
        let flips = radius / BANDS as u32;
        for (number, band) in self.bands.iter().enumerate() {
            let key = key(query, number);
            let mut look = |key: u16| {
                for (code, position) in band.under(key) {
                    let difference = code ^ query;
                    let distance = difference.count_ones();
                    // An earlier band that is near enough has told of it already.
                    if distance <= radius
                        && !(0..number)
                            .any(|band| self::key(difference, band).count_ones() <= flips)
                    {
                        found(position, distance);
                    }
                }
            };
            look(key);
            if flips >= 1 {
                (0..BAND_BITS).for_each(|a| look(key ^ 1 << a));
            }
            if flips >= MAX_FLIPS {
                for a in 0..BAND_BITS {
                    (0..a).for_each(|b| look(key ^ 1 << a ^ 1 << b));
                }
            }
        }
    }
}

fn key(code: u64, band: usize) -> u16 {
    (code >> (band as u32 * BAND_BITS)) as u16
}

impl Band {
    /// A counting sort: codes of equal keys stay in their order.
    fn new(band: usize, start: usize, codes: &[u64]) -> Self {
        let mut starts = vec![0u32; KEYS + 1];
        for code in codes {
            starts[usize::from(key(*code, band)) + 1] += 1;
        }
        for n in 0..KEYS {
            starts[n + 1] += starts[n];
        }
        let mut next = starts.clone();
        let mut sorted = vec![0; codes.len()];
        let mut positions = vec![0; codes.len()];
        for (n, code) in codes.iter().enumerate() {
            let place = &mut next[usize::from(key(*code, band))];
            sorted[*place as usize] = *code;
            positions[*place as usize] = (start + n) as u32;
            *place += 1;
        }
        Self {
            starts,
            codes: sorted,
            positions,
        }
    }

    fn under(&self, key: u16) -> impl Iterator<Item = (u64, u32)> {
        let key = usize::from(key);
        let range = self.starts[key] as usize..self.starts[key + 1] as usize;
        let codes = self.codes[range.clone()].iter().copied();
        codes.zip(self.positions[range].iter().copied())
    }
}
