//! All codes of 64 bits within a Hamming distance of one: hashes go in, positions come
//! out. No I/O; nothing is ever removed.
//!
//! The newest codes are scanned, block by block, for all queries at once. Older ones stand
//! in segments with a table for each 16 bits of the code (multi-index hashing: Norouzi,
//! Punjani, Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing", 2012).
//! Both ways are exact: what a brute-force search finds is found, and nothing else.

mod scan;

mod segment;
use segment::Segment;

/// So many codes are scanned before they become a segment. Larger, and every query scans
/// more (1 MiB of codes takes some 20 microseconds); smaller, and a small set pays for the
/// tables' fixed megabyte.
const SEGMENT_CODES: usize = 1 << 17;

/// So many segments of one size become one. Larger, and a query looks into more tables;
/// smaller, and codes are moved more often.
const MERGED_SEGMENTS: usize = 8;

/// Codes in the order in which they came.
#[derive(Debug, Default)]
pub struct Index {
    codes: Vec<u64>,
    /// One after the other from position 0; what is behind the last one is scanned.
    segments: Vec<Segment>,
}

/// A code that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Which of the queries.
    pub query: usize,
    /// How many codes were pushed before this one.
    pub position: u32,
    /// How many bits differ.
    pub distance: u32,
}

impl Index {
    /// How many codes an index can hold: positions are `u32`.
    pub const MAX_CODES: usize = u32::MAX as usize;

    /// An index of many codes, at less cost than pushing each.
    pub fn from_codes(mut codes: Vec<u64>) -> Self {
        codes.truncate(Self::MAX_CODES);
        let mut index = Self {
            codes,
            segments: Vec::new(),
        };
        let mut size = SEGMENT_CODES;
        while size * MERGED_SEGMENTS <= index.codes.len() {
            size *= MERGED_SEGMENTS;
        }
        while size >= SEGMENT_CODES {
            while index.codes.len() - index.num_in_segments() >= size {
                index.add_segment(size);
            }
            size /= MERGED_SEGMENTS;
        }
        index
    }

    /// Adds a code and tells its position; `None` when the index is full.
    pub fn push(&mut self, code: u64) -> Option<u32> {
        if self.codes.len() >= Self::MAX_CODES {
            return None;
        }
        let position = u32::try_from(self.codes.len()).ok()?;
        self.codes.push(code);
        if self.codes.len() - self.num_in_segments() >= SEGMENT_CODES {
            self.add_segment(SEGMENT_CODES);
            self.merge();
        }
        Some(position)
    }

    /// How many codes it has.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Bytes in use, within a few.
    pub fn num_bytes(&self) -> usize {
        let segments: usize = self.segments.iter().map(Segment::num_bytes).sum();
        self.codes.capacity() * size_of::<u64>() + segments
    }

    /// Every code within `radius` bits of each query, in no particular order. Many queries
    /// at once cost less each.
    pub fn within(&self, queries: &[u64], radius: u32, mut found: impl FnMut(Hit)) {
        let mut scanned_from = 0;
        for segment in &self.segments {
            let range = segment.range();
            // Segments lie one after the other: what is scanned before this one had no table.
            scanned_from = range.end;
            if Segment::is_worth_probing(radius, segment.len()) {
                for (query, code) in queries.iter().enumerate() {
                    segment.within(*code, radius, |position, distance| {
                        found(Hit {
                            query,
                            position,
                            distance,
                        });
                    });
                }
            } else {
                self.scan(range, queries, radius, &mut found);
            }
        }
        self.scan(scanned_from..self.codes.len(), queries, radius, &mut found);
    }

    /// The same by looking at every code: for measuring, and as the judge in tests.
    pub fn scan_all(&self, queries: &[u64], radius: u32, mut found: impl FnMut(Hit)) {
        self.scan(0..self.codes.len(), queries, radius, &mut found);
    }

    fn scan(
        &self,
        range: std::ops::Range<usize>,
        queries: &[u64],
        radius: u32,
        found: &mut impl FnMut(Hit),
    ) {
        scan::scan(
            &self.codes[range.clone()],
            queries,
            radius,
            |query, n, distance| {
                // Fits: no more than MAX_CODES are let in.
                let position = (range.start + n) as u32;
                found(Hit {
                    query,
                    position,
                    distance,
                });
            },
        );
    }

    fn num_in_segments(&self) -> usize {
        self.segments.last().map_or(0, |last| last.range().end)
    }

    fn add_segment(&mut self, num_codes: usize) {
        let start = self.num_in_segments();
        let codes = &self.codes[start..start + num_codes];
        self.segments.push(Segment::new(start, codes));
    }

    /// Makes one of the last segments while there are enough of one size.
    fn merge(&mut self) {
        while let Some(first) = self.segments.len().checked_sub(MERGED_SEGMENTS) {
            let last = &self.segments[first..];
            let size = last[0].len();
            if last.iter().any(|segment| segment.len() != size) {
                return;
            }
            self.segments.truncate(first);
            self.add_segment(size * MERGED_SEGMENTS);
        }
    }
}

#[cfg(test)]
mod tests;
