//! Step 5: one small picture from which everything else is computed. Lanczos3, the
//! short side brought to the target, never made larger.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeError, ResizeOptions, Resizer};

use super::pixels::Pixels;

/// The finished size of a picture of this size; both as stored or both upright.
pub fn target_size(width: u32, height: u32, target_short_side: u32) -> (u32, u32) {
    let (short, long) = (width.min(height), width.max(height));
    if short <= target_short_side {
        return (width, height);
    }
    let exact = f64::from(long) * f64::from(target_short_side) / f64::from(short);
    let long = exact.round() as u32;
    if width < height {
        (target_short_side, long)
    } else {
        (long, target_short_side)
    }
}

/// Brings a picture to exactly this size.
pub fn resize(
    pixels: Pixels,
    (width, height): (u32, u32),
    filter: FilterType,
) -> Result<Pixels, ResizeError> {
    if (pixels.width, pixels.height) == (width, height) {
        return Ok(pixels);
    }
    let source = fast_image_resize::images::ImageRef::new(
        pixels.width,
        pixels.height,
        &pixels.rgb,
        PixelType::U8x3,
    )
    .expect("the buffer has three bytes for each pixel");
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        .use_alpha(false);
    Resizer::new().resize(&source, &mut target, &options)?;
    Ok(Pixels {
        width,
        height,
        rgb: target.into_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_side_meets_the_target_and_small_pictures_stay() {
        assert_eq!(target_size(4032, 3024, 256), (341, 256));
        assert_eq!(target_size(3024, 4032, 256), (256, 341));
        assert_eq!(target_size(512, 512, 256), (256, 256));
        assert_eq!(target_size(256, 4000, 256), (256, 4000));
        assert_eq!(target_size(100, 90, 256), (100, 90));
        assert_eq!(target_size(257, 257 * 12, 256), (256, 3072));
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        let flat = Pixels {
            width: 999,
            height: 700,
            rgb: [10, 200, 77].repeat(999 * 700),
        };
        let small = resize(flat, (365, 256), FilterType::Lanczos3).unwrap();
        assert_eq!((small.width, small.height), (365, 256));
        assert_eq!(small.rgb, [10, 200, 77].repeat(365 * 256));
    }
}
