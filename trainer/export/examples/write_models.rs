//! A network's weights and photos in, a bundle of files out, with the executor's logits
//! beside it: what `benches/export` hands to the real runtimes.
//!
//! `write_models ARCHITECTURE WEIGHTS LABELS CALIBRATION PROOF CLASSES OUT`, where the
//! photos are files of RGB bytes, one photo after the other, `LABELS` has a label a line
//! and `CLASSES` the class of each proof photo, a number a line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use export::{Export, ModelFile, ModelInfo, PhotoSource, Sample, export};
use graph::{Architecture, Executor, Graph, Weights};

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

    let proof_path = PathBuf::from(proof);
    let num_values = graph.input.num_values();
    let proof = photos(&proof_path, &info)?;
    let mut executor = Executor::new(&graph)?;
    let started = Instant::now();
    let mut samples = Vec::new();
    for (input, &class) in proof.zip(&classes) {
        samples.push(Sample {
            logits: executor.run(&input)?.logits.to_vec(),
            input,
            class: Some(class),
        });
    }
    println!(
        "{} photos at {:.1} ms",
        samples.len(),
        started.elapsed().as_secs_f64() * 1e3 / samples.len() as f64
    );
    let logits = samples.iter().flat_map(|sample| &sample.logits);
    let logits: Vec<u8> = logits.flat_map(|logit| logit.to_le_bytes()).collect();
    std::fs::write(out.join("logits.f32"), logits)?;

    let calibration: Vec<_> = photos(Path::new(calibration), &info)?.collect();
    let started = Instant::now();
    let bundle = export(Export {
        graph: &graph,
        info: &info,
        calibration: PhotoSource {
            count: calibration.len(),
            get: &|number| Ok(calibration[number].clone()),
        },
        proof: PhotoSource {
            count: samples.len(),
            get: &|number| Ok(samples[number].clone()),
        },
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
    if let Some(file) = bundle
        .files
        .iter()
        .find(|f| f.name == ModelFile::TfliteInt8.name())
    {
        let mut model = ModelFile::TfliteInt8.read(&file.bytes)?;
        let mut logits = Vec::new();
        for photo in plain(&proof_path)?.chunks_exact(num_values) {
            logits.extend(model.logits(photo)?.iter().flat_map(|l| l.to_le_bytes()));
        }
        std::fs::write(out.join("logits-int8.f32"), logits)?;
    }
    for file in bundle.finish(BTreeMap::new())? {
        std::fs::write(out.join(&file.name), &file.bytes)?;
    }
    Ok(())
}

/// The photos of a file of RGB bytes, normalised.
fn photos(path: &Path, info: &ModelInfo) -> Result<impl Iterator<Item = Vec<f32>>, Failure> {
    let values = plain(path)?;
    let size = info.input.size as usize;
    let num_values = size * size * 3;
    let (mean, std) = (info.input.mean, info.input.std);
    Ok((0..values.len() / num_values).map(move |photo| {
        let photo = values[photo * num_values..][..num_values]
            .iter()
            .enumerate();
        photo
            .map(|(at, value)| (value - mean[at % 3]) / std[at % 3])
            .collect()
    }))
}

/// The photos as files take them, in 0..=1.
fn plain(path: &Path) -> Result<Vec<f32>, Failure> {
    let bytes = std::fs::read(path)?;
    Ok(bytes
        .into_iter()
        .map(|byte| f32::from(byte) / 255.0)
        .collect())
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
