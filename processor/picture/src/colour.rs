//! Step 6: sRGB. In: the small picture and the file's colour profile; out: the same
//! colours in the space that every reader of the table assumes. A profile that
//! cannot be used is no reason to lose a photo: its picture counts as sRGB.

use std::panic::{AssertUnwindSafe, catch_unwind};

use moxcms::{CmsError, ColorProfile, Layout, TransformOptions};

use super::pixels::Pixels;

/// The picture in sRGB; unchanged if the profile cannot be used.
pub fn to_srgb(mut pixels: Pixels, profile: &[u8]) -> Pixels {
    // Profiles are read by a large parser that strangers feed: its panic costs the
    // profile, not the photo.
    let converted = catch_unwind(AssertUnwindSafe(|| convert(&pixels.rgb, profile)));
    match converted {
        Ok(Ok(rgb)) => pixels.rgb = rgb,
        Ok(Err(error)) => tracing::debug!(%error, "colour profile not usable, taken as sRGB"),
        Err(_) => tracing::debug!("colour profile made its reader fail, taken as sRGB"),
    }
    pixels
}

fn convert(rgb: &[u8], profile: &[u8]) -> Result<Vec<u8>, CmsError> {
    let transform = ColorProfile::new_from_slice(profile)?.create_transform_8bit(
        Layout::Rgb,
        &ColorProfile::new_srgb(),
        Layout::Rgb,
        TransformOptions::default(),
    )?;
    let mut converted = vec![0; rgb.len()];
    transform.transform(rgb, &mut converted)?;
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rgb: [u8; 3]) -> Pixels {
        Pixels {
            width: 1,
            height: 1,
            rgb: rgb.to_vec(),
        }
    }

    #[test]
    fn a_wide_gamut_red_becomes_srgb_s_strongest_and_grey_stays_grey() {
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        assert_eq!(to_srgb(one([234, 51, 35]), &p3).rgb, [255, 0, 0]);
        let grey = to_srgb(one([128, 128, 128]), &p3).rgb;
        assert!(grey.iter().all(|v| v.abs_diff(128) <= 1), "{grey:?}");
    }

    #[test]
    fn an_srgb_profile_changes_nothing() {
        let srgb = ColorProfile::new_srgb().encode().unwrap();
        for rgb in [[0, 0, 0], [255, 255, 255], [200, 30, 90]] {
            let out = to_srgb(one(rgb), &srgb).rgb;
            assert!(
                out.iter().zip(rgb).all(|(a, b)| a.abs_diff(b) <= 1),
                "{out:?}"
            );
        }
    }

    #[test]
    fn a_profile_that_is_none_leaves_the_picture_as_it_is() {
        let mut cut = ColorProfile::new_display_p3().encode().unwrap();
        cut.truncate(200);
        for profile in [&b""[..], b"RGB ", &cut, &[0xff; 4096]] {
            assert_eq!(to_srgb(one([234, 51, 35]), profile).rgb, [234, 51, 35]);
        }
    }
}
