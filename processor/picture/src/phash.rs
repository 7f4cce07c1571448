//! Step 8a: the 64-bit perceptual hash: grey, 16 x 16 with Lanczos3, DCT, the 64
//! lowest frequencies against their median. Bit 0 is the constant term, then row by
//! row. Equal pixels give equal hashes on every machine of the fleet.

use std::cell::LazyCell;

use image::{ImageBuffer, Rgb};
use image_hasher::{BitOrder, HashAlg, Hasher, HasherConfig};

use super::pixels::Pixels;

thread_local! {
    /// Planning the transform costs as much as several hashes.
    static HASHER: LazyCell<Hasher<[u8; 8]>> = LazyCell::new(|| {
        HasherConfig::with_bytes_type::<[u8; 8]>()
            .hash_size(8, 8)
            .hash_alg(HashAlg::Median)
            .preproc_dct()
            .bit_order(BitOrder::LsbFirst)
            .to_hasher()
    });
}

/// The hash of a small upright picture.
pub fn phash(small: &Pixels) -> u64 {
    let picture: ImageBuffer<Rgb<u8>, _> =
        ImageBuffer::from_raw(small.width, small.height, small.rgb.clone())
            .expect("the buffer has three bytes for each pixel");
    let hash = HASHER.with(|hasher| hasher.hash_image(&picture));
    let bytes = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(bytes)
}
