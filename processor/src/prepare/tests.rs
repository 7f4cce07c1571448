//! The whole of `prepare` on pictures made here: every format and kind of pixel, every
//! damage, every limit. What real files do is tested in `tests/photos.rs`.

pub mod pictures;

mod formats;

mod sameness;

mod damage;

mod limits;
