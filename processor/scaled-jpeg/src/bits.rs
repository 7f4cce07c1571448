//! Reads bits from the entropy-coded data of one restart interval after another.
//!
//! A window comes in; bits go out of a register of 64 that takes in eight bytes
//! at a time. Reading past the end gives zeros and is noticed before the next MCU.

use crate::Error;
use crate::markers::end_of_interval;
use crate::window::{Data, Window};

/// The next bits, at the top of a register.
#[derive(Clone, Copy)]
pub(crate) struct Bits {
    register: u64,
    /// Bits of the register that are taken in already.
    count: u32,
    /// Byte in the window from which the register is refilled.
    next: usize,
}

impl Bits {
    const NONE: Self = Self {
        register: 0,
        count: 0,
        next: 0,
    };

    /// The bits at a position in the window: 57 or more, of which 49 count.
    #[inline(always)]
    pub fn at(data: &Data, position: usize) -> Self {
        let next = position >> 3;
        let within = (position & 7) as u32;
        Self {
            register: load(data, next) << within,
            // The eighth byte counts as not taken in yet: a full register has
            // no count.
            count: 56 - within,
            next: next + 7,
        }
    }

    /// Makes sure that there are at least 56 bits.
    #[inline(always)]
    pub fn refill(&mut self, data: &Data) {
        let bytes = load(data, self.next);
        self.register |= bytes >> (self.count & 63);
        let taken = (63 - self.count) >> 3;
        self.next += taken as usize;
        self.count += taken * 8;
    }

    /// The next `count` bits, 1 to 32, without stepping over them.
    #[inline(always)]
    pub fn peek(self, count: u32) -> u32 {
        (self.register >> (64 - count)) as u32
    }

    /// The register: the next bit is its highest.
    #[inline(always)]
    pub fn register(self) -> u64 {
        self.register
    }

    /// Steps over `count` bits, at most as many as there are.
    #[inline(always)]
    pub fn skip(&mut self, count: u32) {
        self.register <<= count & 63;
        self.count = self.count.wrapping_sub(count);
    }

    /// Reads `count` bits, 0 to 16; a refill may have been 40 bits ago.
    #[inline(always)]
    pub fn read(&mut self, count: u32) -> u32 {
        let value = (self.register >> 1 >> (63 - count)) as u32;
        self.skip(count);
        value
    }

    /// Position in the window of the next bit, in bits.
    pub fn position(self) -> usize {
        (self.next * 8).saturating_sub(self.count as usize)
    }
}

/// Eight bytes of the window.
#[inline(always)]
fn load(data: &Data, at: usize) -> u64 {
    // The window is padded by more than any MCU reads, so there are always eight
    // bytes; zeros instead of a panic keep the loop free of one.
    let ahead = data.get(at..at + 8).and_then(<[u8]>::first_chunk::<8>);
    ahead.map_or(0, |&bytes| u64::from_be_bytes(bytes))
}

/// The entropy-coded data of a scan.
pub(crate) struct Entropy<'a> {
    pub jpeg: &'a [u8],
    pub window: &'a mut Window,
    pub bits: Bits,
    num_restarts: u8,
    /// Row of MCUs being decoded, for errors.
    pub mcu_row: usize,
}

impl<'a> Entropy<'a> {
    /// The data that starts at `offset` in the file.
    pub fn open(jpeg: &'a [u8], offset: usize, window: &'a mut Window) -> Self {
        window.open(jpeg, offset);
        Self {
            jpeg,
            window,
            bits: Bits::NONE,
            num_restarts: 0,
            mcu_row: 0,
        }
    }

    /// To be called before every MCU: the window then holds all of it.
    #[inline(always)]
    pub fn prepare_mcu(&mut self) -> Result<(), Error> {
        if self.bits.next > self.window.safe_start() {
            self.advance()?;
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn advance(&mut self) -> Result<(), Error> {
        if self.window.end().is_some() {
            return self.check_not_overrun();
        }
        // Bytes in the register count as consumed, but for the last, which is
        // taken in again by the next refill.
        let consumed = self.bits.next;
        self.window.advance(self.jpeg, consumed);
        self.bits.next = 0;
        Ok(())
    }

    /// Whether no more bits were read than there were.
    pub fn check_not_overrun(&self) -> Result<(), Error> {
        match self.window.end() {
            Some(end) if self.bits.position() > self.window.filled() * 8 => Err(self.overrun(end)),
            _ => Ok(()),
        }
    }

    /// Ends a restart interval and starts the next one.
    #[cold]
    #[inline(never)]
    pub fn restart(&mut self) -> Result<(), Error> {
        self.check_not_overrun()?;
        let end = self.end();
        match self.jpeg.get(end..end + 2) {
            Some(&[_, marker]) if marker == 0xd0 + self.num_restarts => {}
            Some(&[_, 0xd0..=0xd7]) => {
                return Err(Error::Corrupt {
                    offset: end,
                    what: "a restart marker out of order",
                });
            }
            _ => {
                return Err(Error::Truncated {
                    at_byte: end,
                    mcu_row: self.mcu_row,
                });
            }
        }
        self.num_restarts = (self.num_restarts + 1) % 8;
        self.window.open(self.jpeg, end + 2);
        self.bits = Bits::NONE;
        Ok(())
    }

    /// Where this interval's data ends: the offset of the marker behind it.
    pub fn end(&self) -> usize {
        let end = self.window.end();
        end.unwrap_or_else(|| end_of_interval(self.jpeg, self.window.next()))
    }

    /// The error for bits that are no code.
    pub fn no_code(&self) -> Error {
        if let Err(overrun) = self.check_not_overrun() {
            return overrun;
        }
        let position = self.bits.position() / 8;
        Error::Corrupt {
            offset: self.window.offset_in_file(self.jpeg, position),
            what: "bits that no Huffman code starts with",
        }
    }

    fn overrun(&self, end: usize) -> Error {
        match self.jpeg.get(end + 1) {
            Some(0xd0..=0xd7) => Error::Corrupt {
                offset: end,
                what: "a restart marker before its interval's end",
            },
            _ => Error::Truncated {
                at_byte: end,
                mcu_row: self.mcu_row,
            },
        }
    }
}
