//! A bundle: what is in it, what its manifest says, and what is kept out of it.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use export::{Bundle, Export, Manifest, ModelFile, ModelInfo, PhotoSource, Sample, export};
use graph::Graph;
use sha2::{Digest, Sha256};

use crate::networks::{info, largest_difference, logits, network, normalised, photo};

/// 40 photos whose class is what the network says, after `change` of its logits.
fn samples(graph: &Graph, info: &ModelInfo, change: fn(&mut Sample)) -> Vec<Sample> {
    let sample = |seed| {
        let photo = photo(seed);
        let logits = logits(graph, info, &photo);
        let class = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        let mut sample = Sample {
            input: normalised(&photo, info),
            logits,
            class,
        };
        change(&mut sample);
        sample
    };
    (0..40).map(sample).collect()
}

fn bundle(samples: Vec<Sample>, num_threads: usize) -> Bundle {
    let (graph, info) = (network(11), info());
    export(Export {
        graph: &graph,
        info: &info,
        calibration: PhotoSource {
            count: 30,
            get: &|number| Ok(normalised(&photo(100 + number as u64), &info)),
        },
        proof: PhotoSource {
            count: samples.len(),
            get: &|number| Ok(samples[number].clone()),
        },
        num_threads,
    })
    .unwrap()
}

#[test]
fn a_bundle_has_every_file_and_a_manifest_that_says_what_they_are() {
    let mut bundle = bundle(samples(&network(11), &info(), |_| ()), 2);
    assert_eq!(bundle.refused, []);
    bundle.add("card.md", b"# kinds".to_vec());
    let extra = BTreeMap::from([("dataset".to_owned(), "none".into())]);
    let files = bundle.finish(extra).unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "model.onnx",
            "model.tflite",
            "model-float16.tflite",
            "model-int8.tflite",
            "model.mlmodel",
            "labels.txt",
            "preprocess.json",
            "golden.json",
            "card.md",
            "manifest.json",
        ]
    );
    let (last, others) = files.split_last().unwrap();
    let manifest: Manifest = serde_json::from_slice(&last.bytes).unwrap();
    assert_eq!(
        (manifest.files.len(), manifest.num_classes),
        (others.len(), 5)
    );
    assert_eq!(manifest.extra["dataset"], "none");
    assert_eq!(manifest.network_input, info().input);
    for (file, entry) in others.iter().zip(&manifest.files) {
        let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&file.bytes));
        assert_eq!(
            (&entry.name, entry.bytes),
            (&file.name, file.bytes.len() as u64)
        );
        assert_eq!(entry.sha256, sha256);
        assert_eq!(entry.parity.is_some(), file.name.starts_with("model"));
    }
    let parity = manifest.files[0].parity.unwrap();
    assert_eq!((parity.num_photos, parity.top1_agreement), (40, 1.0));
    assert_eq!(parity.top1_loss, Some(0.0));
    assert!(parity.max_logit_difference < 1e-4);
}

#[test]
fn threads_change_no_file_and_no_certificate() {
    let of = |num_threads| bundle(samples(&network(11), &info(), |_| ()), num_threads);
    assert!(of(1) == of(3));
}

#[test]
fn a_file_that_is_not_the_trained_network_is_kept_out() {
    // The trained network is another one by a little: only exact files object.
    let bundle = bundle(samples(&network(11), &info(), |s| s.logits[0] += 2e-3), 2);
    let refused: Vec<&str> = bundle.refused.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(refused, ["model.onnx", "model.tflite", "model.mlmodel"]);
    assert!(bundle.refused[0].reason.starts_with("a logit is 0.002"));
    assert!(
        bundle
            .files
            .iter()
            .all(|file| !refused.contains(&file.name.as_str()))
    );
}

#[test]
fn a_file_that_loses_photos_is_kept_out() {
    // The trained network is right where the files are not.
    let wrong = |sample: &mut Sample| {
        sample.logits.rotate_left(1);
        sample.class = sample.class.map(|class| (class + 4) % 5);
    };
    let bundle = bundle(samples(&network(11), &info(), wrong), 2);
    assert_eq!(bundle.refused.len(), 5);
    let int8 = &bundle.refused[3];
    assert_eq!(
        (int8.name.as_str(), int8.parity.top1_loss),
        ("model-int8.tflite", Some(100.0))
    );
    assert_eq!(
        int8.reason,
        "of 40 photos it tells 40 fewer right than the trained network; at most 1 is allowed"
    );
}

#[test]
fn the_golden_picture_gives_the_golden_logits() {
    let bundle = bundle(samples(&network(11), &info(), |_| ()), 2);
    let file = |name: &str| {
        &bundle
            .files
            .iter()
            .find(|file| file.name == name)
            .unwrap()
            .bytes
    };
    let golden: serde_json::Value = serde_json::from_slice(file("golden.json")).unwrap();
    let pixels = BASE64
        .decode(golden["pixels"].as_str().unwrap().as_bytes())
        .unwrap();
    assert_eq!(pixels.len(), 37 * 37 * 3);
    let input: Vec<f32> = pixels.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let numbers = |key: &str| -> Vec<f32> { serde_json::from_value(golden[key].clone()).unwrap() };
    for model in [ModelFile::Onnx, ModelFile::Tflite, ModelFile::CoreMl] {
        let mut model = model.read(file(model.name())).unwrap();
        let difference = largest_difference(model.logits(&input).unwrap(), &numbers("logits"));
        assert!(difference < 1e-4, "{difference}");
    }
    let sum: f32 = numbers("probabilities").iter().sum();
    assert!((sum - 1.0).abs() < 1e-5);
    let preprocess: schemas::InputSpec = serde_json::from_slice(file("preprocess.json")).unwrap();
    assert_eq!((preprocess.mean, preprocess.std), ([0.0; 3], [1.0; 3]));
}
