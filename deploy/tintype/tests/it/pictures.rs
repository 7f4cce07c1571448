//! Pictures that differ from each other as photos do: coloured blobs of a seed's own.

use jpeg_encoder::{ColorType, Encoder};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The JPEG of picture number `seed`; equal seeds give equal bytes.
pub fn jpeg(seed: u64) -> Vec<u8> {
    tinted(seed, 0.0)
}

/// The same, warmer or colder by so many steps of red and blue.
pub fn tinted(seed: u64, warmth: f32) -> Vec<u8> {
    const SIDE: usize = 320;
    let mut rng = StdRng::seed_from_u64(seed);
    let blobs: Vec<([f32; 2], f32, [f32; 3])> = (0..14)
        .map(|_| {
            let place = [rng.random_range(0.0..320.0), rng.random_range(0.0..320.0)];
            let colour = [
                rng.random_range(-120.0..120.0),
                rng.random_range(-120.0..120.0),
                rng.random_range(-120.0..120.0),
            ];
            (place, rng.random_range(12.0..70.0), colour)
        })
        .collect();
    let mut pixels = Vec::with_capacity(SIDE * SIDE * 3);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let mut colour = [128.0 + warmth, 128.0, 128.0 - warmth];
            for (place, radius, tint) in &blobs {
                let distance =
                    ((x as f32 - place[0]).powi(2) + (y as f32 - place[1]).powi(2)).sqrt();
                // A soft edge of a few pixels: sharp enough not to be a blurred photo.
                let cover = ((radius - distance) / 2.0 + 0.5).clamp(0.0, 1.0);
                colour
                    .iter_mut()
                    .zip(tint)
                    .for_each(|(channel, tint)| *channel += tint * cover);
            }
            let noise = rng.random_range(-6.0..6.0);
            pixels.extend(colour.map(|channel| (channel + noise).clamp(0.0, 255.0) as u8));
        }
    }
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, 85)
        .encode(&pixels, SIDE as u16, SIDE as u16, ColorType::Rgb)
        .unwrap();
    bytes
}
