//! A trained network in, the files of a model out: written, read back, proven, hashed. A
//! file that is not close enough is not among them and is named with the reason.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use graph::Graph;
use schemas::{Golden, GoldenPhoto, InputSpec, Layout, golden_picture, input_sha256};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::ReadModel;
use crate::{
    Calibration, Certificate, ExportError, Interpreter, LABELS_FILE, ModelFile, ModelInfo,
    PhotoSource, Sample, parity,
};

/// What an export is made of.
pub struct Export<'a> {
    /// The network with batch norm folded and its head on.
    pub graph: &'a Graph,
    /// What it says about itself.
    pub info: &'a ModelInfo,
    /// Photos to calibrate int8 on, normalised as the network takes them; 100 to 500,
    /// of the validation split.
    pub calibration: PhotoSource<'a, Vec<f32>>,
    /// Photos to prove the files with, at least 200 where there are so many.
    pub proof: PhotoSource<'a, Sample>,
    /// Photos that are run at a time.
    pub num_threads: usize,
}

/// The files of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// Those that hold, and those beside them; the manifest comes last, with
    /// [`Bundle::finish`].
    pub files: Vec<BundleFile>,
    /// Those that do not hold.
    pub refused: Vec<Refused>,
    name: String,
    version: String,
    architecture: String,
    num_classes: usize,
    network_input: InputSpec,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct BundleFile {
    /// Its name, without a folder.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// How close it is to the trained network, if it is a model.
    pub certificate: Option<Certificate>,
}

/// A file that is not published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Its name.
    pub name: String,
    /// What it misses, and by how much.
    pub reason: String,
    /// What was measured.
    pub parity: Certificate,
}

/// `manifest.json`: what a model consists of. Written last: where it is, all is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1
    pub format: u32,
    /// The model's name.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// The network, such as `mobilenet_v2`.
    pub architecture: String,
    /// How many classes it tells apart.
    pub num_classes: usize,
    /// What the network of `weights.safetensors` takes. The other files take what
    /// `preprocess.json` says.
    pub network_input: InputSpec,
    /// Every other file.
    pub files: Vec<FileEntry>,
    /// Files that were written and found wanting.
    pub refused: Vec<Refused>,
    /// What the publisher adds, such as the dataset and its version.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// A file in the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name beside the manifest.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// The proof that it is the trained network, if it is a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Certificate>,
}

/// Calibrates, writes every file, reads each back, and proves it on the given photos.
///
/// The bundle has the model files, `labels.txt`, `preprocess.json` and `golden.json`;
/// weights and card are added by whoever has them, then [`Bundle::finish`] adds the
/// manifest.
///
/// # Errors
///
/// A network or an info that cannot be exported, photos that cannot be had or of another
/// size. A file that is not close enough is no error: see [`Bundle::refused`].
pub fn export(job: Export<'_>) -> Result<Bundle, ExportError> {
    let Export { graph, info, .. } = job;
    let calibration = Calibration::measure(graph, &job.calibration, job.num_threads)?;
    let mut models: Vec<ReadModel> = Vec::new();
    let mut written = Vec::new();
    for file in ModelFile::ALL {
        let bytes = file.write(graph, info, &calibration)?;
        let model = file.read(&bytes)?;
        let known = models.iter().position(|known| known.is_same(&model));
        let place = known.unwrap_or(models.len());
        if known.is_none() {
            models.push(model);
        }
        written.push((file, bytes, place));
    }
    let num_values = graph.input.height * graph.input.width * graph.input.channels;
    let certificates = parity::certify(&models, info, num_values, &job.proof, job.num_threads)?;
    let mut bundle = Bundle {
        files: Vec::new(),
        refused: Vec::new(),
        name: info.name.clone(),
        version: info.version.clone(),
        architecture: graph.name.clone(),
        num_classes: info.labels.len(),
        network_input: info.input.clone(),
    };
    for (file, bytes, place) in written {
        bundle.judge(file, bytes, certificates[place]);
    }
    bundle.add(LABELS_FILE, info.labels_txt().into_bytes());
    let preprocess = info.file_input(Layout::Nhwc);
    bundle.add("preprocess.json", json("preprocess.json", &preprocess)?);
    let golden = golden(graph, info)?;
    bundle.add("golden.json", json("golden.json", &golden)?);
    Ok(bundle)
}

impl Bundle {
    fn judge(&mut self, file: ModelFile, bytes: Vec<u8>, parity: Certificate) {
        let name = file.name().to_owned();
        match file.objection(&parity) {
            Some(reason) => self.refused.push(Refused {
                name,
                reason,
                parity,
            }),
            None => self.files.push(BundleFile {
                name,
                bytes,
                certificate: Some(parity),
            }),
        }
    }

    /// Adds another file, such as `weights.safetensors` or `card.md`.
    pub fn add(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.push(BundleFile {
            name: name.to_owned(),
            bytes,
            certificate: None,
        });
    }

    /// All files, with `manifest.json` as the last: to be written in this order.
    ///
    /// # Errors
    ///
    /// An `extra` that JSON cannot hold.
    pub fn finish(
        self,
        extra: BTreeMap<String, serde_json::Value>,
    ) -> Result<Vec<BundleFile>, ExportError> {
        let entry = |file: &BundleFile| FileEntry {
            name: file.name.clone(),
            bytes: file.bytes.len() as u64,
            sha256: HEXLOWER.encode(&Sha256::digest(&file.bytes)),
            parity: file.certificate,
        };
        let manifest = Manifest {
            format: 1,
            name: self.name,
            version: self.version,
            architecture: self.architecture,
            num_classes: self.num_classes,
            network_input: self.network_input,
            files: self.files.iter().map(entry).collect(),
            refused: self.refused,
            extra,
        };
        let mut files = self.files;
        files.push(BundleFile {
            name: "manifest.json".to_owned(),
            bytes: json("manifest.json", &manifest)?,
            certificate: None,
        });
        Ok(files)
    }
}

/// The answers of `golden.json`: of a picture of the input's own size, and of one that must
/// be resized first.
fn golden(graph: &Graph, info: &ModelInfo) -> Result<Golden, ExportError> {
    let (height, width) = (graph.input.height, graph.input.width);
    let file_input = info.file_input(Layout::Nhwc);
    let mut interpreter = Interpreter::new(graph)?;
    let mut logits_of = |plain: &[f32]| -> Result<Vec<f32>, ExportError> {
        let channels = info.input.mean.iter().zip(&info.input.std).cycle();
        let normal = plain.iter().zip(channels);
        let input: Vec<f32> = normal
            .map(|(value, (mean, std))| (value - mean) / std)
            .collect();
        Ok(interpreter.run(&input).to_vec())
    };
    let pixels = golden_picture(width, height);
    let plain: Vec<f32> = pixels.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let logits = logits_of(&plain)?;
    let (photo_width, photo_height) = GoldenPhoto::SIZE;
    let photo = golden_picture(photo_width, photo_height);
    let photo_input = file_input
        .preprocess(&photo, photo_width, photo_height)
        .map_err(|error| ExportError::Info(error.to_string()))?;
    Ok(Golden {
        width,
        height,
        pixels: BASE64.encode(&pixels),
        probabilities: softmax(&logits, info.temperature),
        photo: Some(GoldenPhoto {
            width: photo_width,
            height: photo_height,
            input_sha256: input_sha256(&photo_input),
            logits: logits_of(&photo_input)?,
        }),
        logits,
    })
}

fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits
        .iter()
        .map(|logit| ((logit - largest) / temperature).exp());
    let sum: f32 = powers.clone().sum();
    powers.map(|power| power / sum).collect()
}

fn json(name: &'static str, value: &impl Serialize) -> Result<Vec<u8>, ExportError> {
    let text = serde_json::to_vec_pretty(value);
    text.map_err(|source| ExportError::Json { name, source })
}
