use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    width: usize,
    height: usize,
    resize: u32,
    crop: u32,
    bytes: Vec<u8>,
    bits: Vec<i32>,
}

/// Made by `tests/data/preprocess.py` with torchvision 0.29 and Pillow 13.
fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../tests/data/preprocess.json")).unwrap()
}

/// The script's picture.
fn picture(width: usize, height: usize) -> Vec<u8> {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            rgb.extend(
                (0..3).map(|c| ((x * x * 7 + y * 13 + x * y * (c + 3) + c * 85) % 256) as u8),
            );
        }
    }
    rgb
}

fn spec(resize: u32, crop: u32, layout: Layout) -> InputSpec {
    InputSpec {
        size: crop,
        resize,
        crop,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        layout,
    }
}

#[test]
fn the_input_is_to_the_bit_what_torchvision_makes_with_pillow() {
    let cases = cases();
    for case in &cases {
        let what = format!("{} x {} to {}", case.width, case.height, case.resize);
        let rgb = picture(case.width, case.height);
        let to_bytes = InputSpec {
            mean: [0.0; 3],
            std: [1.0; 3],
            ..spec(case.resize, case.crop, Layout::Nhwc)
        };
        let bytes = to_bytes.preprocess(&rgb, case.width, case.height).unwrap();
        let bytes: Vec<u8> = bytes
            .iter()
            .map(|value| (value * 255.0).round() as u8)
            .collect();
        assert_eq!(bytes, case.bytes, "{what}");

        let nchw = spec(case.resize, case.crop, Layout::Nchw);
        let found = nchw.preprocess(&rgb, case.width, case.height).unwrap();
        let bits: Vec<i32> = found.iter().map(|value| value.to_bits() as i32).collect();
        assert_eq!(bits, case.bits, "{what}");
    }
    assert_eq!(cases.len(), 12);
}

#[test]
fn both_layouts_hold_the_same_values() {
    let rgb = picture(30, 20);
    let nhwc = spec(12, 10, Layout::Nhwc).preprocess(&rgb, 30, 20).unwrap();
    let nchw = spec(12, 10, Layout::Nchw).preprocess(&rgb, 30, 20).unwrap();
    for place in 0..100 {
        for channel in 0..3 {
            assert_eq!(nhwc[place * 3 + channel], nchw[channel * 100 + place]);
        }
    }
}

#[test]
fn impossible_photos_buffers_and_specs_are_errors() {
    let good = spec(8, 6, Layout::Nhwc);
    for (width, height) in [(0, 5), (5, 0), (65_536, 1)] {
        let error = good.preprocess(&[], width, height).unwrap_err();
        assert_eq!(error, PreprocessError::Size { width, height });
    }
    let error = good.preprocess(&[0; 74], 5, 5).unwrap_err().to_string();
    assert_eq!(
        error,
        "preprocessing: the photo has 74 values, 75 are needed"
    );
    let error = good
        .preprocess_into(&[0; 75], 5, 5, &mut [0.0; 3])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "preprocessing: the input has 3 values, 108 are needed"
    );
    for bad in [
        InputSpec {
            crop: 5,
            ..good.clone()
        },
        InputSpec {
            size: 0,
            crop: 0,
            ..good.clone()
        },
        InputSpec {
            resize: 5,
            ..good.clone()
        },
        InputSpec {
            resize: 5000,
            ..good.clone()
        },
        InputSpec {
            std: [0.2, 0.0, 0.2],
            ..good.clone()
        },
        InputSpec {
            mean: [f32::NAN, 0.0, 0.2],
            ..good.clone()
        },
    ] {
        assert!(matches!(
            bad.preprocess(&[0; 75], 5, 5),
            Err(PreprocessError::Spec(_))
        ));
    }
}

#[test]
fn the_longest_and_thinnest_photo_costs_no_more_than_its_middle() {
    let thin = spec(256, 224, Layout::Nhwc);
    let rgb = vec![128; 65_535 * 3];
    for (width, height) in [(1, 65_535), (65_535, 1)] {
        let input = thin.preprocess(&rgb, width, height).unwrap();
        assert!(input.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn the_spec_is_written_as_phones_read_it() {
    let json = serde_json::to_value(spec(256, 224, Layout::Nhwc)).unwrap();
    assert_eq!(json["layout"], "NHWC");
    assert_eq!(json["resize"], 256);
    let unknown =
        r#"{"size":1,"resize":1,"crop":1,"mean":[0,0,0],"std":[1,1,1],"layout":"NHWC","x":1}"#;
    assert!(serde_json::from_str::<InputSpec>(unknown).is_err());
}
