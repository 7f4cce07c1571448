//! Real ImageNet weights give the logits that torchvision gives with them
//! (`benches/reference/logits.py --golden` wrote them, in float64).

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use graph::{Architecture, Executor, Graph, Weights};

/// The folder with the published weights: `TINTYPE_TEST_DATA`, or `shared/data` beside
/// the repository.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("TINTYPE_TEST_DATA").map_or(beside, PathBuf::from);
    if !folder.is_dir() {
        println!("no case ran: no test data at {}", folder.display());
        return None;
    }
    Some(folder)
}

/// The script's picture: two gradients and a chequer of 16 pixels.
fn drawn(width: usize, height: usize) -> Vec<u8> {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let chequer = 255 * ((x / 16 + y / 16) % 2);
            rgb.extend([x * 255 / width, y * 255 / height, chequer].map(|value| value as u8));
        }
    }
    rgb
}

#[test]
fn real_weights_give_torchvisions_logits() {
    let Some(data) = data() else { return };
    let golden: BTreeMap<String, Vec<f32>> =
        serde_json::from_str(include_str!("data/golden.json")).unwrap();
    let mut num_cases = 0;
    for (name, expected) in &golden {
        let architecture: Architecture = name.parse().unwrap();
        let weights = Weights::read(&data.join(format!("weights/{name}.safetensors"))).unwrap();
        let graph = Graph::build(architecture, &weights, 224).unwrap();
        let input = architecture
            .input_spec()
            .preprocess(&drawn(300, 260), 300, 260)
            .unwrap();
        let mut executor = Executor::new(&graph).unwrap();
        let results = executor.run(&input).unwrap();
        assert_eq!(results.logits.len(), expected.len());
        let largest = expected
            .iter()
            .fold(0f32, |largest, v| largest.max(v.abs()));
        for (class, (found, expected)) in results.logits.iter().zip(expected).enumerate() {
            // Float32 sums in another order differ by about 1e-6 of the largest.
            let error = (found - expected).abs() / largest;
            assert!(
                error < 1e-4,
                "{name}, class {class}: {found}, expected {expected}"
            );
        }
        num_cases += 1;
    }
    println!("{num_cases} networks");
    assert_eq!(num_cases, 2);
}
