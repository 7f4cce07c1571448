//! MobileNetV2 with real weights, where those are at hand: `TINTYPE_TEST_DATA`, or
//! `../shared/data` beside the repository.

use std::path::PathBuf;

use export::ModelFile;
use graph::{Architecture, Executor, Graph, Weights};

use crate::networks::{Random, info, largest_difference};

fn weights() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data = std::env::var_os("TINTYPE_TEST_DATA").map_or_else(|| beside.into(), PathBuf::from);
    let path = data.join("weights/mobilenet_v2.safetensors");
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn mobilenet_holds_in_every_format_and_int8_is_small() {
    let Some(path) = weights() else { return };
    let architecture: Architecture = "mobilenet_v2".parse().unwrap();
    let graph = Graph::build(architecture, &Weights::read(&path).unwrap(), 224).unwrap();
    let mut info = info();
    info.input = architecture.input_spec();
    info.labels = (0..1000).map(|class| format!("class {class}")).collect();
    // Grey noise in large squares: no photo, but neither flat nor white noise.
    let photo = |seed| {
        let squares = Random(seed).values(16 * 16 * 3, 0.5);
        let value = |at: usize| {
            let (y, x, c) = (at / 3 / 224 / 14, at / 3 % 224 / 14, at % 3);
            ((squares[(y * 16 + x) * 3 + c] + 0.5) * 255.0).round() / 255.0
        };
        (0..224 * 224 * 3).map(value).collect::<Vec<f32>>()
    };
    let photos = (50..58).map(|seed| crate::networks::normalised(&photo(seed), &info));
    let calibration = crate::networks::measured(&graph, &photos.collect::<Vec<_>>());
    let mut executor = Executor::new(&graph).unwrap();
    let mut sizes = Vec::new();
    for file in ModelFile::ALL {
        let bytes = file.write(&graph, &info, &calibration).unwrap();
        let mut model = file.read(&bytes).unwrap();
        let most = match file {
            ModelFile::TfliteInt8 => 2.5,
            ModelFile::TfliteFloat16 => 0.1,
            _ => 1e-3,
        };
        for seed in 0..4 {
            let photo = photo(seed);
            let input = crate::networks::normalised(&photo, &info);
            let expected = executor.run(&input).unwrap().logits;
            let difference = largest_difference(model.logits(&photo).unwrap(), expected);
            assert!(difference < most, "{file:?}, photo {seed}: {difference}");
        }
        sizes.push(bytes.len());
    }
    let [_, float32, float16, int8, _] = sizes[..] else {
        unreachable!()
    };
    assert!(int8 as f64 <= 0.28 * float32 as f64, "{int8} of {float32}");
    assert!(
        float16 as f64 <= 0.51 * float32 as f64,
        "{float16} of {float32}"
    );
    println!("real weights: 5 files, 4 pictures each, int8 {int8} of {float32} bytes");
}
