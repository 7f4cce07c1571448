//! Against CleanVision; `tests/reference/scores_and_pdq.py` gives the numbers.

use super::*;
use crate::testing::{picture, scene};

#[test]
fn scores_are_cleanvision_s() {
    // dark, light, blurry, low information
    let cases = [
        (("shades", 200, 150), [0.9225, 0.7927, 0.3121, 0.9109]),
        (("checks", 250, 180), [0.7728, 0.8769, 0.6724, 0.4246]),
        (("grain", 131, 97), [0.5655, 0.7070, 0.6369, 0.8173]),
        (("night", 160, 240), [0.0281, 0.9980, 0.8210, 0.4683]),
        (("checks", 64, 48), [0.7072, 0.8854, 1.0000, 0.3584]),
        (("rings", 250, 180), [0.8303, 0.5483, 0.5260, 0.8937]),
    ];
    for ((name, width, height), expected) in cases {
        let picture = picture(name, width, height);
        let pixels = picture.rgb.as_chunks::<3>().0;
        let (dark, light) = brightness_scores(pixels);
        let blurry = blurry_score(&picture, (width, height));
        let found = [dark, light, blurry, low_information_score(pixels, false)];
        for (i, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            // Pillow rounds its resampled pixels in another order.
            let allowed = if i == 2 { 0.01 } else { 0.0001 };
            let off = (found - expected).abs();
            assert!(off <= allowed, "{name}, score {i}: {found}, not {expected}");
        }
    }
}

#[test]
fn the_shape_scores_follow_the_original_s_size() {
    let small = scene(341, 256);
    let large = scores(&small, (4000, 3000), 256);
    assert_eq!((large.odd_aspect_ratio, large.odd_size), (0.75, 1.0));
    let icon = scores(&scene(64, 32), (64, 32), 256);
    assert_eq!((icon.odd_aspect_ratio, icon.odd_size), (0.5, 0.125));
}

fn flat(rgb: [u8; 3]) -> Pixels {
    Pixels {
        width: 300,
        height: 256,
        rgb: rgb.repeat(300 * 256),
    }
}

/// Each pixel the mean of the square around it, twice.
fn blurred(picture: &Pixels, radius: i64) -> Pixels {
    let mut blurred = picture.clone();
    for _ in 0..2 {
        let source = blurred.clone();
        let (width, height) = (i64::from(source.width), i64::from(source.height));
        for y in 0..height {
            for x in 0..width {
                for channel in 0..3 {
                    let (mut sum, mut num) = (0, 0);
                    for dy in (-radius..=radius).step_by(2) {
                        for dx in (-radius..=radius).step_by(2) {
                            let (x, y) =
                                ((x + dx).clamp(0, width - 1), (y + dy).clamp(0, height - 1));
                            sum += u32::from(source.rgb[((y * width + x) * 3 + channel) as usize]);
                            num += 1;
                        }
                    }
                    blurred.rgb[((y * width + x) * 3 + channel) as usize] = (sum / num) as u8;
                }
            }
        }
    }
    blurred
}

fn finding(picture: &Pixels) -> Option<Reason> {
    let scores = scores(picture, (picture.width, picture.height), 256);
    quality_findings(&scores).map(|(reason, _)| reason)
}

#[test]
fn black_white_empty_and_blurred_pictures_are_found_and_a_good_one_is_not() {
    let good = scene(300, 256);
    assert_eq!(finding(&good), None);
    assert_eq!(finding(&flat([0, 0, 0])), Some(Reason::Dark));
    assert_eq!(finding(&flat([9, 7, 12])), Some(Reason::Dark));
    assert_eq!(finding(&flat([255, 255, 255])), Some(Reason::Light));
    assert_eq!(
        finding(&flat([128, 128, 128])),
        Some(Reason::LowInformation)
    );
    assert_eq!(finding(&flat([200, 40, 90])), Some(Reason::LowInformation));
    assert_eq!(finding(&blurred(&good, 10)), Some(Reason::Blurry));
    let dim = Pixels {
        rgb: good.rgb.iter().map(|v| v / 2).collect(),
        ..good
    };
    assert_eq!(finding(&dim), None, "dim is not dark");
}

#[test]
fn a_finding_says_the_score_and_the_limit() {
    let black = scores(&flat([0, 0, 0]), (300, 256), 256);
    let (_, words) = quality_findings(&black).unwrap();
    assert_eq!(words, "too dark to see much (score 0.00, limit 0.20)");
}
