//! Decodes a JPEG straight to 1/8, 1/4 or 1/2 of its size.
//!
//! Bytes of one JPEG come in; 8-bit grey or RGB pixels go out, with what the
//! entropy-coded data tells in passing: how fine the detail is, how hard the
//! picture was quantised, whether the file was cut. Only what the smaller
//! picture needs is decoded; the rest of each block is stepped over. Whatever
//! the bytes are, the answer is a picture or an error: no panic, and no memory
//! beyond what the header justifies and the caller allows.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub use error::Error;

mod markers;

mod tables;

mod header;
pub use header::{Coding, Header, Sampling};

mod scale;
pub use scale::Scale;

mod frame;

mod scan;

mod huffman;

mod window;

mod bits;

mod block;

mod idct;

mod mcu;

mod lanes;

mod placing;

mod intervals;

mod guessing;

mod baseline;

mod plan;

mod progressive;

mod progressive_ac;

mod file;

mod planes;

mod upsample;

mod colour;

mod quality;

mod detail;
pub use detail::Detail;

mod decode;
pub use decode::{Buffers, Layout, Luma, Picture, decode};
