//! Pictures of which every pixel is known: those of `tests/reference/scores_and_pdq.py`, and a
//! scene.

use crate::pixels::Pixels;

/// The picture of this name: `shades`, `checks`, `grain`, `night` or `rings`.
///
/// # Panics
/// There is none of this name.
pub fn picture(name: &str, width: u32, height: u32) -> Pixels {
    let mut pixels = Pixels::new(width, height);
    for (i, pixel) in pixels.rgb.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = (i as u32 % width, i as u32 / width);
        let rgb = match name {
            "shades" => [x * 255 / (width - 1), y * 255 / (height - 1), x * y % 256],
            "checks" => {
                let v = (x / 9 + y / 7) % 2 * 150 + 30;
                [v, v + x / 8, v / 2]
            }
            "grain" => {
                let v = (x * 7919 + y * 104_729 + x * y * 31) % 97;
                [v + 20, v + 60, 200 - v]
            }
            "night" => {
                let v = (x * 13 + y * 29) % 31 / 3;
                [v, v / 2, v + 2]
            }
            "rings" => {
                let v = (x * x + 2 * y * y + x * y) / 397 % 211;
                [v, 255 - v, v / 2 + 60]
            }
            _ => panic!("no picture is called {name}"),
        };
        *pixel = rgb.map(|v| v as u8);
    }
    pixels
}

/// A picture with edges, shades and colours, different in all four corners.
pub fn scene(width: u32, height: u32) -> Pixels {
    let mut pixels = Pixels::new(width, height);
    for (i, pixel) in pixels.rgb.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = (i as u32 % width, i as u32 / width);
        let right = x * 255 / width;
        let down = y * 255 / height;
        let check = (x * 16 / width + y * 16 / height) % 2 * 40;
        let corner = u32::from(x < width / 3 && y < height / 3) * 60;
        // The edges are of brightness, which JPEG keeps, and the shades of colour.
        *pixel = [right / 2, 128 - down / 2, (right + down) / 4]
            .map(|v| (v + check + corner).min(255) as u8);
    }
    pixels
}
