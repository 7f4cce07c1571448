//! Photos for phones that have no camera: a seed comes in, a JPEG goes out. Equal seeds
//! give equal bytes, others another picture.

use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Rectangles in a picture: enough that two never look alike.
const SHAPES: u32 = 60;

/// The picture of a seed, `long` pixels wide.
pub fn photo(seed: u64, long: u32) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (width, height) = (long, long * 3 / 4);
    let ground = image::Rgb(std::array::from_fn(|_| rng.random_range(40..220)));
    let mut canvas = RgbImage::from_pixel(width, height, ground);
    for _ in 0..SHAPES {
        let colour = image::Rgb(rng.random::<[u8; 3]>());
        let (x, y) = (rng.random_range(0..width), rng.random_range(0..height));
        let (w, h) = (
            rng.random_range(4..width / 3),
            rng.random_range(4..height / 3),
        );
        for row in y..(y + h).min(height) {
            for column in x..(x + w).min(width) {
                canvas.put_pixel(column, row, colour);
            }
        }
    }
    let mut bytes = Vec::new();
    let size = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    let encoder = Encoder::new(&mut bytes, 88);
    let encoded = encoder.encode(canvas.as_raw(), size(width), size(height), ColorType::Rgb);
    encoded.expect("a vector takes all bytes, and the size is that of the pixels");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_picture_and_another_seed_another() {
        assert_eq!(photo(1, 320), photo(1, 320));
        assert_ne!(photo(1, 320), photo(2, 320));
        assert_eq!(photo(1, 320)[..3], [0xff, 0xd8, 0xff]);
    }
}
