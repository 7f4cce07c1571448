//! Real HEIC, HEIF and AVIF files: each gets a verdict, those that the others read are read,
//! as large and as upright as an independent reader has them.

#![cfg(feature = "heic")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use processor::prepare::{Limits, prepare};

mod data;
use data::data;

/// Conformance files of derived pictures, of which libheif 1.15 shows another one, or
/// another part, than the newer libheif of Pillow. Why was not looked into.
const OTHER_SIZE: [&str; 3] = [
    "nokia-conformance/C005.heic",
    "nokia-conformance/C013.heic",
    "nokia-conformance/MIAF007.heic",
];

/// Files that Pillow opens and this, on libheif 1.15, does not, each with its reason.
const NOT_READ: &[(&str, &str)] = &[
    ("abc_color_irot_alpha_irot.avif", "unsupported_format"),
    ("colors-animated-12bpc-keyframes-0-2-3.avif", "animated"),
    ("colors-animated-8bpc-alpha-exif-xmp.avif", "animated"),
    ("colors-animated-8bpc-audio.avif", "animated"),
    ("colors-animated-8bpc-depth-exif-xmp.avif", "animated"),
    ("colors-animated-8bpc.avif", "animated"),
    ("poc_b_506387278.avif", "animated"),
    ("C046.heic", "animated"),
    ("MIAF006.heic", "animated"),
    ("draw_points_idat_metasize0.avif", "corrupt"),
    ("draw_points_idat_progressive_metasize0.avif", "corrupt"),
    ("C008.heic", "corrupt"),
    ("C014.heic", "corrupt"),
];

#[test]
fn a_heic_or_avif_that_an_independent_reader_opens_is_a_photo_of_the_same_size() {
    let Some(data) = data() else { return };
    let folder = data.join("heic");
    let list = std::fs::read_to_string(folder.join("inventory.csv")).unwrap();
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut num_files = 0;
    for line in list.lines().skip(1) {
        let fields: Vec<_> = line.split(',').collect();
        let (path, width, height, pillow) =
            (fields[0], fields[5], fields[6], fields[fields.len() - 1]);
        let Ok(bytes) = std::fs::read(folder.join(path)) else {
            continue;
        };
        num_files += 1;
        let limits = Limits {
            min_side: 1,
            max_aspect_ratio: f64::INFINITY,
            // This asks what is read, not how busy the machine is.
            deadline: Duration::from_secs(120),
            ..Limits::default()
        };
        let result = prepare(&bytes, &limits);
        let outcome = match &result {
            Ok(_) => "photo".to_owned(),
            Err(rejection) => rejection.reason.clone(),
        };
        println!(
            "{path}: pillow {pillow}, {outcome} {}",
            result.as_ref().err().map_or("", |r| r.detail.as_str())
        );
        *tally.entry(outcome.clone()).or_default() += 1;
        let expected = NOT_READ.iter().find(|(name, _)| path.ends_with(name));
        match (&result, expected) {
            (Err(_), Some((_, reason))) if outcome == *reason => {}
            (Ok(photo), _) if pillow == "ok" => {
                let original = photo.original.as_ref().unwrap();
                let told = (original.width.to_string(), original.height.to_string());
                let same =
                    told == (width.into(), height.into()) || told == (height.into(), width.into());
                let differs = OTHER_SIZE.iter().any(|name| path.ends_with(name));
                if same == differs {
                    wrong.push(format!("{path}: {told:?}, not {width} x {height}"));
                }
            }
            (Err(rejection), _) if pillow == "ok" => wrong.push(format!("{path}: {rejection:?}")),
            _ => {}
        }
    }
    println!("{num_files} files: {tally:?}");
    assert!(num_files > 90, "only {num_files} files were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
