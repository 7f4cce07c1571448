//! What is read back from a file computes what was written.

use export::{ModelFile, ModelInfo};
use graph::Graph;

use crate::networks::{calibration, info, largest_difference, logits, network, photo};

/// The largest difference over some photos, and how many get the same answer.
fn compare(file: ModelFile, graph: &Graph, info: &ModelInfo) -> (f32, usize, usize) {
    let bytes = file.write(graph, info, &calibration(graph, info)).unwrap();
    let mut model = file.read(&bytes).unwrap();
    let best = |values: &[f32]| (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut worst = 0.0_f32;
    let mut num_same = 0;
    for seed in 0..50 {
        let photo = photo(seed);
        let expected = logits(graph, info, &photo);
        let found = model.logits(&photo).unwrap();
        worst = worst.max(largest_difference(found, &expected));
        num_same += usize::from(best(found) == best(&expected));
    }
    (worst, num_same, bytes.len())
}

#[test]
fn float_files_give_the_logits_of_the_network() {
    for seed in 0..4 {
        for file in [ModelFile::Onnx, ModelFile::Tflite, ModelFile::CoreMl] {
            let (difference, num_same, _) = compare(file, &network(seed), &info());
            assert!(difference < 1e-4, "{file:?} of {seed}: {difference}");
            assert_eq!(num_same, 50);
        }
    }
}

#[test]
fn an_input_without_mean_needs_no_step_for_it() {
    let mut info = info();
    info.input.mean = [0.0; 3];
    info.input.std = [1.0; 3];
    for file in ModelFile::ALL {
        let (difference, ..) = compare(file, &network(1), &info);
        let most = if file == ModelFile::TfliteInt8 {
            0.3
        } else {
            2e-2
        };
        assert!(difference < most, "{file:?}: {difference}");
    }
}

#[test]
fn a_temperature_changes_no_logit() {
    let mut info = info();
    info.temperature = 1.7;
    for file in [ModelFile::Onnx, ModelFile::Tflite, ModelFile::CoreMl] {
        let (difference, ..) = compare(file, &network(2), &info);
        assert!(difference < 1e-4, "{file:?}: {difference}");
    }
}

#[test]
fn small_numbers_are_close_and_their_files_small() {
    let graph = network(4);
    let (_, _, float_bytes) = compare(ModelFile::Tflite, &graph, &info());
    let (difference, num_same, bytes) = compare(ModelFile::TfliteFloat16, &graph, &info());
    assert!(
        difference < 1e-2 && num_same >= 49,
        "float16: {difference}, {num_same}"
    );
    assert!(bytes < float_bytes);
    let (difference, num_same, _) = compare(ModelFile::TfliteInt8, &graph, &info());
    assert!(
        difference < 0.3 && num_same >= 45,
        "int8: {difference}, {num_same}"
    );
    assert!(difference > 1e-4, "int8 is not float");
}

#[test]
fn the_same_network_gives_the_same_bytes() {
    let (graph, info) = (network(5), info());
    let calibration = calibration(&graph, &info);
    for file in ModelFile::ALL {
        let write = || file.write(&graph, &info, &calibration).unwrap();
        assert!(write() == write(), "{file:?}");
    }
}

#[test]
fn what_a_model_says_of_itself_is_in_every_file() {
    let (graph, info) = (network(6), info());
    let calibration = calibration(&graph, &info);
    let mut num_found = 0;
    for file in ModelFile::ALL {
        let bytes = file.write(&graph, &info, &calibration).unwrap();
        let texts = [
            &info.version,
            &info.author,
            &info.license,
            &info.name,
            &info.description,
        ];
        for text in texts.into_iter().chain(&info.labels) {
            let found = bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes());
            assert!(found, "{file:?} lacks {text}");
            num_found += 1;
        }
    }
    assert_eq!(num_found, 5 * 10);
}

#[test]
fn a_tflite_file_ends_with_its_labels_uncompressed() {
    let (graph, info) = (network(6), info());
    let bytes = ModelFile::Tflite
        .write(&graph, &info, &calibration(&graph, &info))
        .unwrap();
    assert_eq!(&bytes[4..8], b"TFL3");
    let labels = "ant\nbee\ncrème brûlée\n猫\ne, e\n";
    assert_eq!(info.labels_txt(), labels);
    let tail = &bytes[bytes.len() - 22 - 46 - 10 - labels.len()..];
    assert!(
        tail.starts_with(labels.as_bytes()),
        "the archive's only entry is stored as it is"
    );
    assert_eq!(&bytes[bytes.len() - 22..][..4], b"PK\x05\x06");
}
