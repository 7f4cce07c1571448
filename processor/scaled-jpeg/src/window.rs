//! Entropy-coded bytes without the stuffed zeros, a window at a time.
//!
//! The file's bytes come in; runs of plain bytes go out, ended by the first
//! marker and padded with zeros. The window moves over the file, so memory does
//! not grow with it, and what is being read stays in the first-level cache.

/// Bytes that one MCU can take at most: ten blocks, each with 64 codes of 16
/// bits with 15 extra bits (2,480), and what a reader loads ahead. A window that
/// holds as many holds a whole MCU; smaller, and reading could outrun it.
pub(crate) const MCU_BYTES: usize = 2560;

/// Larger windows push tables out of the first-level cache; in smaller ones the
/// share of bytes moved again, up to [`MCU_BYTES`] per window, grows.
const WINDOW_BYTES: usize = 8 * 1024;

/// The bytes of a window.
pub(crate) type Data = [u8; WINDOW_BYTES];

/// The window's memory; `data` ends with room for the padding.
pub(crate) struct Window {
    data: Box<Data>,
    /// Bytes of `data` that come from the file.
    filled: usize,
    /// Offset in the file at which the data starts.
    start: usize,
    /// Bytes of data that have been dropped since.
    dropped: usize,
    /// Offset in the file of the first byte not in `data` yet.
    next: usize,
    /// Whether `next` is where a marker stands or the file ends.
    ended: bool,
    /// An offset in the file whose place in the data is to be found out, and
    /// that place, in bits since the start, once it is known.
    mark: usize,
    mark_bits: Option<usize>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            data: match vec![0; WINDOW_BYTES].into_boxed_slice().try_into() {
                Ok(data) => data,
                Err(_) => unreachable!("the slice was made with the array's length"),
            },
            filled: 0,
            start: 0,
            dropped: 0,
            next: 0,
            ended: false,
            mark: usize::MAX,
            mark_bits: None,
        }
    }
}

impl Window {
    /// Starts at `offset` in the file.
    pub fn open(&mut self, jpeg: &[u8], offset: usize) {
        self.filled = 0;
        self.start = offset;
        self.dropped = 0;
        self.next = offset;
        self.ended = false;
        self.clear_mark();
        self.fill(jpeg);
    }

    /// Asks where in the data `offset` of the file is: not before [`Self::next`],
    /// and not between an FF and its stuffed zero.
    pub fn set_mark(&mut self, offset: usize) {
        self.mark = offset;
        self.mark_bits = None;
    }

    /// Forgets the mark.
    pub fn clear_mark(&mut self) {
        self.set_mark(usize::MAX);
    }

    /// Where the mark is, in bits since the start, if the window has got there.
    pub fn mark_bits(&self) -> Option<usize> {
        self.mark_bits
    }

    /// Bytes that have been dropped since the start.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Drops the first `consumed` bytes and fills up behind the rest.
    pub fn advance(&mut self, jpeg: &[u8], consumed: usize) {
        let consumed = consumed.min(self.filled);
        self.dropped += consumed;
        self.data.copy_within(consumed..self.filled, 0);
        self.filled -= consumed;
        self.fill(jpeg);
    }

    /// The window's bytes, with zeros behind the last.
    #[inline(always)]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Bytes that come from the file.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Up to where an MCU may start without the need to look after the window:
    /// a whole one is there, or the padding takes its place.
    pub fn safe_start(&self) -> usize {
        if self.ended {
            self.filled
        } else {
            self.filled - MCU_BYTES
        }
    }

    /// Where the data ends, if the window has got there: the offset in the file
    /// of the marker, or of the file's end.
    pub fn end(&self) -> Option<usize> {
        self.ended.then_some(self.next)
    }

    /// Offset in the file of the first byte that is not in the window yet.
    pub fn next(&self) -> usize {
        self.next
    }

    /// Offset in the file of the byte at `position` in the window. Goes through
    /// the data from its start: for errors only.
    #[cold]
    pub fn offset_in_file(&self, jpeg: &[u8], position: usize) -> usize {
        let mut offset = self.start;
        for _ in 0..self.dropped + position.min(self.filled) {
            // `FF 00`, and `FF FF 00` with fill bytes, is one byte of data.
            if jpeg.get(offset) == Some(&0xff) {
                while jpeg.get(offset + 1) == Some(&0xff) {
                    offset += 1;
                }
                offset += 1;
            }
            offset += 1;
        }
        offset
    }

    fn fill(&mut self, jpeg: &[u8]) {
        if self.mark_bits.is_none() && self.mark < jpeg.len() {
            self.fill_up_to(&jpeg[..self.mark]);
            if self.next < self.mark {
                return self.pad();
            }
            self.mark_bits = Some((self.dropped + self.filled) * 8);
        }
        self.fill_up_to(jpeg);
        self.pad();
    }

    fn fill_up_to(&mut self, jpeg: &[u8]) {
        let room = &mut self.data[self.filled..WINDOW_BYTES - MCU_BYTES];
        let plain = unstuff(jpeg, self.next, room);
        self.filled += plain.written;
        self.next = plain.next;
        self.ended = plain.ended;
    }

    fn pad(&mut self) {
        if self.ended {
            self.data[self.filled..self.filled + MCU_BYTES].fill(0);
        }
    }
}

/// What [`unstuff`] got through.
struct Plain {
    written: usize,
    next: usize,
    ended: bool,
}

/// Copies entropy-coded data from `from` on into `out` without the stuffed
/// zeros, until `out` is full or a marker or the file's end is met.
fn unstuff(jpeg: &[u8], from: usize, out: &mut [u8]) -> Plain {
    let (mut at, mut to) = (from, 0);
    loop {
        // Eight bytes at a time; the first FF among them ends the step.
        while let (Some(chunk), Some(room)) = (
            jpeg.get(at..).and_then(<[u8]>::first_chunk::<8>),
            out.get_mut(to..).and_then(<[u8]>::first_chunk_mut::<8>),
        ) {
            *room = *chunk;
            let bytes = u64::from_le_bytes(*chunk);
            const ONES: u64 = u64::from_le_bytes([1; 8]);
            let ff = (!bytes).wrapping_sub(ONES) & bytes & (ONES << 7);
            if ff == 0 {
                at += 8;
                to += 8;
                continue;
            }
            let plain = (ff.trailing_zeros() / 8) as usize;
            if jpeg.get(at + plain + 1) != Some(&0) {
                at += plain;
                to += plain;
                break;
            }
            at += plain + 2;
            to += plain + 1;
        }
        // One byte: near the end of either side, or at an FF that is special.
        let stop = |ended| Plain {
            written: to,
            next: at,
            ended,
        };
        match (jpeg.get(at), jpeg.get(at + 1)) {
            (None, _) => return stop(true),
            _ if to == out.len() => return stop(false),
            (Some(&0xff), Some(0x00)) => {
                out[to] = 0xff;
                at += 2;
                to += 1;
            }
            (Some(&0xff), Some(0xff)) => at += 1,
            (Some(&0xff), _) => return stop(true),
            (Some(&byte), _) => {
                out[to] = byte;
                at += 1;
                to += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_zeros_and_fill_bytes_go_and_markers_end() {
        let mut jpeg: Vec<u8> = (0..40_000_u32).map(|i| (i * i % 255) as u8).collect();
        let plain = jpeg.clone();
        for at in [0, 7, 8, 9, 15_000, 15_001, 39_990] {
            jpeg[at] = 0xff;
        }
        let mut stuffed = Vec::new();
        let mut expected = Vec::new();
        for (&byte, &original) in jpeg.iter().zip(&plain) {
            expected.push(byte);
            stuffed.push(byte);
            match byte {
                0xff if original % 2 == 0 => stuffed.extend([0xff, 0x00]),
                0xff => stuffed.push(0x00),
                _ => {}
            }
        }
        let end = stuffed.len();
        for tail in [
            &[][..],
            &[0xff, 0xd9],
            &[0xff, 0xff, 0xd0, 1, 2, 3],
            &[0xff],
        ] {
            let file = [&stuffed, tail].concat();
            let mut window = Window::default();
            window.open(&file, 0);
            let mut seen = Vec::new();
            while window.end().is_none() {
                let consumed = window.filled() - 100;
                seen.extend_from_slice(&window.data()[..consumed]);
                window.advance(&file, consumed);
                let here = window.offset_in_file(&file, 0);
                assert_eq!(file[here], window.data()[0]);
            }
            seen.extend_from_slice(&window.data()[..window.filled()]);
            assert!(seen == expected);
            let end_seen = window.end().unwrap();
            assert!((end..=end + 1).contains(&end_seen), "{end} {end_seen}");
            let padding = &window.data()[window.filled()..][..MCU_BYTES];
            assert!(padding.iter().all(|&byte| byte == 0));
        }
    }
}
