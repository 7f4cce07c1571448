//! A file in memory that ends when the photo's time is over: the one way to stop a
//! decoder that was not built to be stopped.

use std::cell::Cell;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

use zune_core::bytestream::{ZByteIoError, ZByteReaderTrait, ZSeekFrom};

use crate::limits::Deadline;

/// The clock is looked at once in so many reads: more often costs time in the
/// innermost loop of the JPEG decoder, more seldom lets a slow one run on.
const READS_PER_LOOK: u32 = 4096;

/// The position in the file, and the clock.
struct Place<'a> {
    bytes: &'a [u8],
    at: usize,
    reads_until_look: u32,
    deadline: Deadline,
}

impl<'a> Place<'a> {
    fn new(bytes: &'a [u8], deadline: Deadline) -> Self {
        Self {
            bytes,
            at: 0,
            reads_until_look: READS_PER_LOOK,
            deadline,
        }
    }

    #[inline(always)]
    fn rest(&mut self) -> &'a [u8] {
        self.reads_until_look -= 1;
        if self.reads_until_look == 0 {
            self.look();
        }
        &self.bytes[self.at..]
    }

    #[cold]
    fn look(&mut self) {
        self.reads_until_look = READS_PER_LOOK;
        if self.deadline.is_over() {
            self.bytes = &[];
            self.at = 0;
        }
    }

    fn seek(&mut self, start: usize, offset: i64) -> Option<u64> {
        let at = i64::try_from(start).ok()?.checked_add(offset)?;
        self.at = usize::try_from(at).ok()?.min(self.bytes.len());
        Some(self.at as u64)
    }
}

/// For decoders that read through `std::io`.
pub(super) struct PacedFile<'a>(Place<'a>);

impl<'a> PacedFile<'a> {
    pub(super) fn new(bytes: &'a [u8], deadline: Deadline) -> Self {
        Self(Place::new(bytes, deadline))
    }
}

impl Read for PacedFile<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.0.rest();
        let num = rest.len().min(buf.len());
        buf[..num].copy_from_slice(&rest[..num]);
        self.0.at += num;
        Ok(num)
    }
}

impl BufRead for PacedFile<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // In pieces, so that a decoder which takes all it can get still comes back.
        const PIECE_BYTES: usize = 8 << 10;
        let rest = self.0.rest();
        Ok(&rest[..rest.len().min(PIECE_BYTES)])
    }

    fn consume(&mut self, num: usize) {
        self.0.at = (self.0.at + num).min(self.0.bytes.len());
    }
}

impl Seek for PacedFile<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(n) => i64::try_from(n).ok().and_then(|n| self.0.seek(0, n)),
            SeekFrom::End(n) => self.0.seek(self.0.bytes.len(), n),
            SeekFrom::Current(n) => self.0.seek(self.0.at, n),
        };
        at.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

/// For `zune-jpeg`. Tells how far the picture's own data reached: the decoder takes
/// that in words or without asking for errors, and everything else byte by byte.
pub(super) struct PacedJpeg<'a> {
    place: Place<'a>,
    num_read: &'a Cell<usize>,
}

impl<'a> PacedJpeg<'a> {
    pub(super) fn new(bytes: &'a [u8], deadline: Deadline, num_read: &'a Cell<usize>) -> Self {
        let place = Place::new(bytes, deadline);
        Self { place, num_read }
    }
}

impl ZByteReaderTrait for PacedJpeg<'_> {
    #[inline(always)]
    fn read_byte_no_error(&mut self) -> u8 {
        match self.place.rest().first() {
            Some(byte) => {
                self.place.at += 1;
                self.num_read.set(self.place.at);
                *byte
            }
            None => 0,
        }
    }

    #[inline(always)]
    fn read_exact_bytes(&mut self, buf: &mut [u8]) -> Result<(), ZByteIoError> {
        self.peek_exact_bytes(buf)?;
        self.place.at += buf.len();
        if buf.len() > 1 {
            self.num_read.set(self.place.at);
        }
        Ok(())
    }

    #[inline(always)]
    fn read_bytes(&mut self, buf: &mut [u8]) -> Result<usize, ZByteIoError> {
        let num = self.peek_bytes(buf)?;
        self.place.at += num;
        Ok(num)
    }

    #[inline(always)]
    fn peek_bytes(&mut self, buf: &mut [u8]) -> Result<usize, ZByteIoError> {
        let rest = self.place.rest();
        let num = rest.len().min(buf.len());
        buf[..num].copy_from_slice(&rest[..num]);
        Ok(num)
    }

    #[inline(always)]
    fn peek_exact_bytes(&mut self, buf: &mut [u8]) -> Result<(), ZByteIoError> {
        let rest = self.place.rest();
        match rest.get(..buf.len()) {
            Some(bytes) => {
                buf.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(ZByteIoError::NotEnoughBytes(rest.len(), buf.len())),
        }
    }

    fn z_seek(&mut self, to: ZSeekFrom) -> Result<u64, ZByteIoError> {
        let at = match to {
            ZSeekFrom::Start(n) => i64::try_from(n).ok().and_then(|n| self.place.seek(0, n)),
            ZSeekFrom::End(n) => self.place.seek(self.place.bytes.len(), n),
            ZSeekFrom::Current(n) => self.place.seek(self.place.at, n),
        };
        at.ok_or(ZByteIoError::SeekError("before the first byte"))
    }

    #[inline(always)]
    fn is_eof(&mut self) -> Result<bool, ZByteIoError> {
        Ok(self.place.at >= self.place.bytes.len())
    }

    fn z_position(&mut self) -> Result<u64, ZByteIoError> {
        Ok(self.place.at as u64)
    }

    fn read_remaining(&mut self, sink: &mut Vec<u8>) -> Result<usize, ZByteIoError> {
        let rest = self.place.rest();
        sink.extend_from_slice(rest);
        self.place.at += rest.len();
        Ok(rest.len())
    }
}
