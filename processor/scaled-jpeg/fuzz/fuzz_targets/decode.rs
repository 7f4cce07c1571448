//! Any bytes at any scale: no panic, and a picture of the size that the header
//! announces. `cargo +nightly fuzz run decode CORPUS -- -max_len=100000` in the
//! folder above, with a folder of small JPEGs as CORPUS.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scaled_jpeg::{Buffers, Header, Scale, decode};

thread_local! {
    /// Kept from one input to the next, as in the product.
    static BUFFERS: std::cell::RefCell<Buffers> = std::cell::RefCell::new(Buffers::new(1 << 22));
}

fuzz_target!(|jpeg: &[u8]| {
    let header = Header::read(jpeg);
    BUFFERS.with_borrow_mut(|buffers| {
        for scale in Scale::ALL {
            if let Ok(picture) = decode(jpeg, scale, buffers) {
                let Ok(header) = &header else {
                    panic!("decoded without a header");
                };
                assert_eq!((picture.width, picture.height), header.size_at(scale));
            }
        }
    });
});
