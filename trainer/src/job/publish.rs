//! From what was learnt to a model that can be fetched: the files are written, each is
//! proven equal to the trained network, they are stored, and last the model is entered.
//! Until then nobody sees any of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use export::{Export, ModelInfo, PhotoSource, Sample};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use schemas::training::{Model, ModelFile};
use schemas::{ModelId, ObjectKey, Sha256, Split};

use super::{Job, Trained};
use crate::error::TrainerError;
use crate::evaluate::Evaluation;
use crate::network::{self, SPEC_FILE, WEIGHTS_FILE};
use crate::table::Photos;
use crate::{card, photo};

/// Photos that an export is proven on, where there are so many.
const PROOF_PHOTOS: usize = 200;
/// Photos that int8 is calibrated on.
const CALIBRATION_PHOTOS: usize = 200;

impl Job<'_> {
    /// Writes every file, proves each, stores them, and enters the model.
    pub(super) fn publish(
        &self,
        photos: &Photos,
        trained: &Trained,
        evaluation: Evaluation,
    ) -> Result<ModelId, TrainerError> {
        let training = &self.lease.training;
        let id = ModelId::of_attempt(training.id, training.attempts);
        let network = |doing: &'static str| TrainerError::network(doing);
        let (graph, _) = network::graph_of(&self.spec, &trained.weights)
            .map_err(|fault| network("folding the network")(fault.into()))?;
        let headline = evaluation.headline().map(|(_, part)| part.accuracy);
        let info = self.info(id, photos, &evaluation);
        let bundle = self.export(photos, trained, &graph, &info)?;
        for refused in &bundle.refused {
            tracing::warn!(training = %self.lease.training.id, file = refused.name,
                reason = refused.reason, "a file is not published");
            self.reporter.note(format!(
                "{} is not published: {}",
                refused.name, refused.reason
            ));
        }
        let mut bundle = bundle;
        // Nothing of this run alone: equal weights are equal files.
        let architecture = ("architecture".to_owned(), self.spec.architecture.clone());
        let metadata = BTreeMap::from([architecture]);
        bundle.add(WEIGHTS_FILE, trained.weights.to_safetensors(&metadata));
        bundle.add(SPEC_FILE, pretty(&self.spec));
        bundle.add("evaluation.json", pretty(&evaluation));
        if !trained.history.is_empty() {
            bundle.add("history.json", pretty(&trained.history));
        }
        let card = card::write(&card::Facts {
            id,
            name: &info.name,
            training: &self.lease.training,
            spec: &self.spec,
            photos,
            trained,
            evaluation: &evaluation,
            files: &bundle.files,
            refused: &bundle.refused,
        });
        bundle.add("card.md", card.into_bytes());
        let extra = BTreeMap::from([
            ("model".to_owned(), serde_json::json!(id)),
            (
                "dataset".to_owned(),
                serde_json::json!(self.lease.training.dataset),
            ),
            (
                "table_version".to_owned(),
                serde_json::json!(photos.version),
            ),
            ("accuracy".to_owned(), serde_json::json!(headline)),
        ]);
        let files = bundle
            .finish(extra)
            .map_err(|fault| network("writing the manifest")(Box::new(fault)))?;
        self.store(id, photos, evaluation, headline, info.name, files)
    }

    fn info(&self, id: ModelId, photos: &Photos, evaluation: &Evaluation) -> ModelInfo {
        let dataset = &self.lease.training.dataset;
        let born = dataset
            .as_str()
            .rsplit_once('-')
            .map_or("model", |(name, _)| name);
        ModelInfo {
            name: self.spec.name.clone().unwrap_or_else(|| born.to_owned()),
            version: id.to_string(),
            description: format!("Tells {} classes of {born} apart.", photos.labels.len()),
            author: "Tintype".into(),
            license: "see the photos' owner".into(),
            labels: photos.labels.clone(),
            input: self.input.clone(),
            temperature: evaluation.temperature,
            extra: BTreeMap::from([
                ("dataset".to_owned(), dataset.to_string()),
                ("table_version".to_owned(), photos.version.to_string()),
                ("training".to_owned(), self.lease.training.id.to_string()),
            ]),
        }
    }

    fn export(
        &self,
        photos: &Photos,
        trained: &Trained,
        graph: &graph::Graph,
        info: &ModelInfo,
    ) -> Result<export::Bundle, TrainerError> {
        // Validation photos first; where they are few, others make the number up.
        let mut places = photos.of_split(Split::Validation);
        places.extend(photos.of_split(Split::Test));
        places.extend(photos.of_split(Split::Train));
        let num_classes = photos.labels.len();
        let num_proof = places.len().min(PROOF_PHOTOS);
        self.reporter
            .stage("proving the exported files", num_proof as u64);
        let (reporter, spec) = (&self.reporter, &self.input);
        let input = |number: usize| {
            if !reporter.go_on() {
                return Err(TrainerError::Stopped);
            }
            let picture = photo::decode(&photos.jpeg(&photos.all()[places[number]])?)?;
            photo::input(&picture, spec)
        };
        let boxed = |error: TrainerError| -> export::SourceError { Box::new(error) };
        let num_done = AtomicU64::new(0);
        let sample = |number: usize| {
            let place = places[number];
            let input = input(number).map_err(boxed)?;
            reporter.done(num_done.fetch_add(1, Ordering::Relaxed) + 1);
            let logits = &trained.logits[place * num_classes..(place + 1) * num_classes];
            Ok(Sample {
                input,
                logits: logits.to_vec(),
                class: Some(photos.all()[place].class as usize),
            })
        };
        let exported = export::export(Export {
            graph,
            info,
            calibration: PhotoSource {
                count: places.len().min(CALIBRATION_PHOTOS),
                get: &|number| input(number).map_err(boxed),
            },
            proof: PhotoSource {
                count: num_proof,
                get: &sample,
            },
            num_threads: std::thread::available_parallelism().map_or(1, usize::from),
        });
        exported.map_err(|fault| match self.reporter.go_on() {
            true => TrainerError::network("exporting the model")(Box::new(fault)),
            false => TrainerError::Stopped,
        })
    }

    fn store(
        &self,
        id: ModelId,
        photos: &Photos,
        evaluation: Evaluation,
        accuracy: Option<f32>,
        name: String,
        files: Vec<export::BundleFile>,
    ) -> Result<ModelId, TrainerError> {
        self.reporter.stage("storing the model", files.len() as u64);
        let mut listed = Vec::new();
        for (i, file) in files.into_iter().enumerate() {
            let key = ObjectKey::ModelFile {
                model: id,
                name: file.name.clone(),
            };
            listed.push(ModelFile {
                name: file.name,
                bytes: file.bytes.len() as u64,
                sha256: Sha256::of(&file.bytes).to_string(),
            });
            let path = Path::from(key.to_string());
            let put = self.settings.stores.objects.put(&path, file.bytes.into());
            self.runtime
                .block_on(put)
                .map_err(TrainerError::store(format!("writing {key}")))?;
            self.reporter.done(i as u64 + 1);
        }
        let model = Model {
            id,
            name,
            dataset: self.lease.training.dataset.clone(),
            training: self.lease.training.id,
            parent: self.spec.weights.parse().ok(),
            architecture: self.spec.architecture.clone(),
            table_version: photos.version,
            labels: photos.labels.clone(),
            accuracy,
            evaluation: serde_json::to_value(evaluation).expect("an evaluation has a JSON form"),
            files: listed,
            created_at: chrono::Utc::now(),
        };
        let entered = self.settings.catalog.add_model(&self.lease.owner, &model);
        let entered = self.runtime.block_on(entered)?;
        self.reporter.stage("done", 0);
        Ok(entered)
    }
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("numbers and texts have a JSON form")
}
