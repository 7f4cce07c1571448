//! A network's weights and photos in, a bundle of files out, with the executor's logits
//! beside it: what `benches/export` hands to the real runtimes.
//!
//! `write_models ARCHITECTURE WEIGHTS LABELS CALIBRATION PROOF CLASSES OUT`, where the
//! photos are files of RGB bytes, one photo after the other, `LABELS` has a label a line
//! and `CLASSES` the class of each proof photo, a number a line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use export::{Export, Interpreter, ModelInfo, Sample, SourceError, export};
use graph::{Architecture, Graph, Weights};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [
        architecture,
        weights,
        labels,
        calibration,
        proof,
        classes,
        out,
    ] = &arguments[..]
    else {
        return Err("see the first lines of examples/write_models.rs".into());
    };
    let architecture: Architecture = architecture.parse()?;
    let weights = Weights::read(Path::new(weights))?;
    let input = architecture.input_spec();
    let graph = Graph::build(architecture, &weights, input.size as usize)?;
    let info = ModelInfo {
        name: architecture.to_string(),
        version: "1".to_owned(),
        description: "an ImageNet classifier".to_owned(),
        author: "Tintype".to_owned(),
        license: "see the weights".to_owned(),
        labels: unique(&std::fs::read_to_string(labels)?),
        input,
        temperature: 1.0,
        extra: BTreeMap::from([("dataset".to_owned(), "imagenet".to_owned())]),
    };
    let classes: Vec<usize> = std::fs::read_to_string(classes)?
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let out = PathBuf::from(out);
    std::fs::create_dir_all(&out)?;

    let proof = photos(Path::new(proof), &info)?;
    let mut interpreter = Interpreter::new(&graph)?;
    let started = Instant::now();
    let samples: Vec<Sample> = proof
        .zip(&classes)
        .map(|(input, &class)| Sample {
            logits: interpreter.run(&input).to_vec(),
            input,
            class: Some(class),
        })
        .collect();
    println!(
        "{} photos at {:.1} ms",
        samples.len(),
        started.elapsed().as_secs_f64() * 1e3 / samples.len() as f64
    );
    let logits = samples.iter().flat_map(|sample| &sample.logits);
    let logits: Vec<u8> = logits.flat_map(|logit| logit.to_le_bytes()).collect();
    std::fs::write(out.join("logits.f32"), logits)?;

    let started = Instant::now();
    let bundle = export(Export {
        graph: &graph,
        info: &info,
        calibration: &mut photos(Path::new(calibration), &info)?.map(Ok::<_, SourceError>),
        proof: &mut samples.into_iter().map(Ok::<_, SourceError>),
        num_threads: 2,
    })?;
    println!("exported in {:.1} s", started.elapsed().as_secs_f64());
    for file in &bundle.files {
        println!(
            "{:22} {:>10} bytes {:?}",
            file.name,
            file.bytes.len(),
            file.certificate
        );
    }
    for refused in &bundle.refused {
        println!(
            "{:22} refused: {} {:?}",
            refused.name, refused.reason, refused.parity
        );
    }
    for file in bundle.finish(BTreeMap::new())? {
        std::fs::write(out.join(&file.name), &file.bytes)?;
    }
    Ok(())
}

/// The photos of a file of RGB bytes, normalised.
fn photos(path: &Path, info: &ModelInfo) -> Result<impl Iterator<Item = Vec<f32>>, Failure> {
    let bytes = std::fs::read(path)?;
    let size = info.input.size as usize;
    let num_bytes = size * size * 3;
    let (mean, std) = (info.input.mean, info.input.std);
    Ok((0..bytes.len() / num_bytes).map(move |photo| {
        let photo = &bytes[photo * num_bytes..][..num_bytes];
        let values = photo.iter().enumerate();
        values
            .map(|(at, &byte)| (f32::from(byte) / 255.0 - mean[at % 3]) / std[at % 3])
            .collect()
    }))
}

/// ImageNet has two cranes and two maillots; a model's labels are all different.
fn unique(labels: &str) -> Vec<String> {
    let mut known = BTreeSet::new();
    let mut labels: Vec<String> = labels
        .lines()
        .map(|label| label.trim().to_owned())
        .collect();
    for label in &mut labels {
        while !known.insert(label.clone()) {
            label.push_str(" (2)");
        }
    }
    labels
}
