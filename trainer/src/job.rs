//! One training from its beginning, or from its last checkpoint, to a model in the
//! catalog. Read from top to bottom, this is what a training does.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::{Standing, TrainingLease};
use export::{Export, ModelInfo, Sample};
use graph::{Architecture, Weights};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use schemas::training::{Model, ModelFile, TrainingMode, TrainingSpec};
use schemas::{InputSpec, ModelId, ObjectKey, Sha256, Split};
use tokio::runtime::Handle;

use crate::checkpoint;
use crate::error::TrainerError;
use crate::evaluate::{self, Evaluation, Judged};
use crate::finetune::{self, EpochReport};
use crate::head::{self, Examples};
use crate::network::{self, SPEC_FILE, WEIGHTS_FILE};
use crate::reporter::{Reporter, Stop};
use crate::table::Photos;
use crate::worker::WorkerSettings;
use crate::{card, features, photo};

/// Photos that an export is proven on, where there are so many.
const PROOF_PHOTOS: usize = 200;
/// Photos that int8 is calibrated on.
const CALIBRATION_PHOTOS: usize = 200;
/// Above this many photos the split that leaks is not tried as well: it costs a second fit.
const RANDOM_SPLIT_PHOTOS: usize = 20_000;
/// How often it is tried: one small test set alone says little.
const RANDOM_SPLITS: u64 = 5;

/// What learning gave, whichever way.
pub struct Trained {
    /// The backbone under torchvision's names, and the head's layers.
    pub weights: Weights,
    /// The trained network's logits of all photos, in the order of the table.
    pub logits: Vec<f32>,
    /// Epoch by epoch, if there were any.
    pub history: Vec<EpochReport>,
    /// Test accuracy on a split that leaks.
    pub random_split_accuracy: Option<f32>,
    /// How it was done, for the card: a few sentences.
    pub how: String,
}

/// What a job has.
struct Job<'a> {
    settings: &'a WorkerSettings,
    lease: &'a TrainingLease,
    reporter: &'a Reporter,
    runtime: &'a Handle,
    spec: TrainingSpec,
    architecture: Architecture,
    input: InputSpec,
}

/// Does a training; blocks until it is done, refused or stopped.
///
/// # Errors
/// Why there is no model.
pub fn run(
    settings: &WorkerSettings,
    lease: &TrainingLease,
    reporter: &Reporter,
    runtime: &Handle,
) -> Result<ModelId, TrainerError> {
    // An attempt before this one may have died between the model and the end.
    let known = settings.catalog.model_of_training(lease.training.id);
    if let Some(model) = runtime.block_on(known)? {
        return Ok(model.id);
    }
    reporter.update(|progress| progress.notes = lease.training.progress.notes.clone());
    let spec = lease.training.spec.clone();
    let invalid = |fault: &dyn std::fmt::Display| {
        TrainerError::refused("invalid_spec", format!("architecture: {fault}"))
    };
    let architecture: Architecture = spec.architecture.parse().map_err(|fault| invalid(&fault))?;
    let input = architecture
        .input_spec_at(spec.input_size as usize)
        .map_err(|fault| invalid(&fault))?;
    let mut job = Job {
        settings,
        lease,
        reporter,
        runtime,
        spec,
        architecture,
        input,
    };
    let photos = job.read_photos()?;
    let trained = match job.spec.mode {
        TrainingMode::Head => job.fit_head(&photos)?,
        TrainingMode::Finetune | TrainingMode::Scratch => job.finetune(&photos)?,
    };
    let evaluation = job.evaluate(&photos, &trained);
    job.publish(&photos, &trained, evaluation)
}

impl Job<'_> {
    /// Reads the table, and fixes its version for every attempt to come.
    fn read_photos(&mut self) -> Result<Photos, TrainerError> {
        self.reporter.stage("reading the table", 0);
        let dataset = &self.lease.training.dataset;
        let scratch = &self.settings.scratch;
        std::fs::create_dir_all(scratch)
            .map_err(TrainerError::io(format!("making {}", scratch.display())))?;
        let read = Photos::read(&self.settings.stores, dataset, &self.spec, scratch);
        let photos = self.runtime.block_on(read)?;
        if self.spec.table_version != Some(photos.version) {
            self.spec.table_version = Some(photos.version);
            let pinned = self.settings.catalog.pin_training(self.lease, &self.spec);
            if self.runtime.block_on(pinned)? != Standing::Held {
                self.reporter.stop(Stop::Lost);
                return Err(TrainerError::Stopped);
            }
        }
        let num_test = photos.of_split(Split::Test).len();
        let num_validation = photos.of_split(Split::Validation).len();
        if num_test == 0 || num_validation == 0 {
            self.reporter.note(format!(
                "of {} photos {num_validation} are for validation and {num_test} for the test: \
                 with more photos the figures would say more",
                photos.all().len()
            ));
        }
        Ok(photos)
    }

    /// The weights that the spec begins from; none are random ones.
    fn initial_weights(&self) -> Result<(Option<Weights>, String), TrainerError> {
        self.reporter.stage("loading weights", 0);
        if self.spec.mode == TrainingMode::Scratch || self.spec.weights == "none" {
            return Ok((None, "random weights".into()));
        }
        if let Ok(parent) = self.spec.weights.parse::<ModelId>() {
            let weights = self.model_weights(parent)?;
            return Ok((Some(weights), format!("the weights of model {parent}")));
        }
        let pretrained = self.settings.weights.pretrained(self.architecture);
        let pretrained = self.runtime.block_on(pretrained)?;
        let origin = format!(
            "ImageNet weights, {} (SHA-256 {})",
            pretrained.name,
            &pretrained.sha256[..12]
        );
        Ok((Some(pretrained.weights), origin))
    }

    fn model_weights(&self, model: ModelId) -> Result<Weights, TrainerError> {
        let key = ObjectKey::ModelFile {
            model,
            name: WEIGHTS_FILE.into(),
        };
        let path = Path::from(key.to_string());
        let read = self.runtime.block_on(async {
            let object = self.settings.stores.objects.get(&path).await?;
            object.bytes().await
        });
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(object_store::Error::NotFound { .. }) => {
                let detail = format!("the model {model} to continue from is gone");
                return Err(TrainerError::refused("unknown_model", detail));
            }
            Err(error) => return Err(TrainerError::store(format!("reading {key}"))(error)),
        };
        Weights::from_bytes(&bytes).map_err(|fault| TrainerError::Damaged {
            what: key.to_string(),
            fault: fault.to_string(),
        })
    }

    /// `mode: head`: features of every photo, then a head on those of the training photos.
    fn fit_head(&self, photos: &Photos) -> Result<Trained, TrainerError> {
        let (weights, origin) = self.initial_weights()?;
        let backbone = match weights {
            Some(weights) => weights,
            None => {
                self.reporter.note(
                    "the features are those of random weights: `fast` is good with pretrained ones",
                );
                Weights::random(self.architecture, 1, self.spec.seed)
            }
        };
        let network = |fault: String| TrainerError::refused("bad_weights", fault);
        let graph = network::backbone(self.architecture, &backbone, self.spec.input_size)
            .map_err(network)?;
        let features = features::compute(&graph, photos, &self.input, self.reporter)?;
        let width = features.len() / photos.all().len().max(1);
        let all: Vec<usize> = (0..photos.all().len()).collect();
        let table = FeatureTable {
            features: &features,
            width,
            photos,
        };
        self.reporter.stage("fitting the head", 0);
        let [train, validation] =
            [Split::Train, Split::Validation].map(|split| table.pick(&photos.of_split(split)));
        let num_classes = photos.labels.len();
        let go_on = || self.reporter.go_on();
        let (train, validation) = (train.examples(width), validation.examples(width));
        let fitted = head::fit(train, validation, num_classes, &self.spec, go_on)?;
        let logits = head::logits(&fitted.layers, &features, width);
        self.reporter.stage("trying splits that leak", 0);
        let random_split_accuracy = self.random_split(&table, &all, fitted.regularisation)?;
        let how = format!(
            "A {} on the {width} pooled features of {} ({origin}); C = {}, {} iterations.",
            match self.spec.head.hidden {
                0 => "logistic regression".into(),
                hidden => format!("head with {hidden} hidden units"),
            },
            self.architecture,
            fitted.regularisation,
            fitted.iterations,
        );
        Ok(Trained {
            weights: network::with_head(&backbone, &fitted.layers),
            logits,
            history: Vec::new(),
            random_split_accuracy,
            how,
        })
    }

    /// The test accuracy, had photos been dealt out one by one instead of by group.
    fn random_split(
        &self,
        table: &FeatureTable<'_>,
        all: &[usize],
        strength: f32,
    ) -> Result<Option<f32>, TrainerError> {
        let num_test = table.photos.of_split(Split::Test).len();
        if num_test == 0 || all.len() > RANDOM_SPLIT_PHOTOS {
            return Ok(None);
        }
        let mut spec = self.spec.clone();
        spec.head.regularisation = vec![strength];
        let num_classes = table.photos.labels.len();
        let nothing = Examples {
            features: &[],
            num_features: table.width,
            classes: &[],
        };
        let mut sum = 0.0;
        for shuffle in 0..RANDOM_SPLITS {
            let shuffled = crate::loader::order(all, self.spec.seed, u64::MAX - shuffle);
            let (test, train) = shuffled.split_at(num_test);
            let (train, test) = (table.pick(train), table.pick(test));
            let go_on = || self.reporter.go_on();
            let examples = train.examples(table.width);
            let fitted = head::fit(examples, nothing, num_classes, &spec, go_on)?;
            let logits = head::logits(&fitted.layers, &test.features, table.width);
            sum += evaluate::accuracy(&logits, &test.classes, num_classes).unwrap_or_default();
        }
        Ok(Some(sum / RANDOM_SPLITS as f32))
    }

    /// `mode: finetune` and `scratch`: the network itself learns, and can be interrupted.
    fn finetune(&self, photos: &Photos) -> Result<Trained, TrainerError> {
        let objects = self.settings.stores.objects.clone();
        let id = self.lease.training.id;
        let mut opened = checkpoint::open(objects, id, self.runtime.clone())?;
        for damage in opened.damaged {
            tracing::error!(training = %id, %damage, "a checkpoint is passed over");
            self.reporter.note(format!("passed over: {damage}"));
        }
        let run = finetune::Run {
            spec: &self.spec,
            architecture: self.architecture,
            input: &self.input,
            photos,
            reporter: self.reporter,
        };
        let initial = || {
            let (weights, origin) = self.initial_weights()?;
            if weights.is_none() {
                self.reporter
                    .note("training from scratch: no pretrained weights are used");
            }
            tracing::info!(training = %id, %origin, "weights");
            Ok(weights)
        };
        let done = finetune::run(&run, &mut opened.checkpoints, opened.found, initial)?;
        let begun_from = match self.spec.weights.as_str() {
            _ if self.spec.mode == TrainingMode::Scratch => "random weights".to_owned(),
            "none" => "random weights".to_owned(),
            "imagenet" => "ImageNet weights".to_owned(),
            parent => format!("the weights of model {parent}"),
        };
        let how = format!(
            "{} from {begun_from}, {} epochs in {} phases.",
            self.architecture,
            done.history.len(),
            self.spec.phases.len()
        );
        let layer =
            network::torchvision_head(self.architecture, &done.weights).map_err(|fault| {
                TrainerError::Network {
                    doing: "reading the trained head".into(),
                    fault,
                }
            })?;
        Ok(Trained {
            weights: network::with_head(&done.weights, &[layer]),
            logits: done.logits,
            history: done.history,
            random_split_accuracy: None,
            how,
        })
    }

    /// Judges all splits at the temperature that the validation photos ask for.
    fn evaluate(&self, photos: &Photos, trained: &Trained) -> Evaluation {
        self.reporter.stage("evaluating", 0);
        let num_classes = photos.labels.len();
        let of_split = |split| {
            let places = photos.of_split(split);
            let rows = places
                .iter()
                .flat_map(|at| &trained.logits[at * num_classes..(at + 1) * num_classes]);
            let logits: Vec<f32> = rows.copied().collect();
            let classes: Vec<u32> = places.iter().map(|at| photos.all()[*at].class).collect();
            let ids: Vec<String> = places
                .iter()
                .map(|at| photos.all()[*at].id.to_string())
                .collect();
            (logits, classes, ids)
        };
        let [train, validation, test] =
            [Split::Train, Split::Validation, Split::Test].map(of_split);
        let temperature = evaluate::fit_temperature(&validation.0, &validation.1, num_classes);
        let judge = |(logits, classes, ids): &(Vec<f32>, Vec<u32>, Vec<String>)| {
            let judged = Judged {
                logits,
                classes,
                ids,
            };
            evaluate::evaluate(&judged, &photos.labels, temperature)
        };
        Evaluation {
            labels: photos.labels.clone(),
            temperature,
            train: judge(&train),
            validation: judge(&validation),
            test: judge(&test),
            random_split_accuracy: trained.random_split_accuracy,
        }
    }

    /// Writes every file, proves each, stores them, and enters the model.
    fn publish(
        &self,
        photos: &Photos,
        trained: &Trained,
        evaluation: Evaluation,
    ) -> Result<ModelId, TrainerError> {
        let id = ModelId::new();
        let network = |doing: &'static str| TrainerError::network(doing);
        let (graph, _) = network::graph_of(&self.spec, &trained.weights)
            .map_err(|fault| network("folding the network")(fault.into()))?;
        let headline = evaluation.headline().map(|(_, part)| part.accuracy);
        let info = self.info(id, photos, &evaluation);
        let bundle = self.export(photos, trained, &graph, &info)?;
        for refused in &bundle.refused {
            tracing::error!(training = %self.lease.training.id, file = refused.name,
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
        let input = |place: usize| {
            if !self.reporter.go_on() {
                return Err(TrainerError::Stopped);
            }
            let picture = photo::decode(&photos.jpeg(&photos.all()[place])?)?;
            photo::input(&picture, &self.input)
        };
        let boxed = |error: TrainerError| -> export::SourceError { Box::new(error) };
        let mut calibration = places
            .iter()
            .take(CALIBRATION_PHOTOS)
            .map(|place| input(*place).map_err(boxed));
        let mut done = 0;
        let mut proof = places.iter().take(PROOF_PHOTOS).map(|place| {
            done += 1;
            self.reporter.done(done);
            let logits = &trained.logits[place * num_classes..(place + 1) * num_classes];
            Ok(Sample {
                input: input(*place).map_err(boxed)?,
                logits: logits.to_vec(),
                class: Some(photos.all()[*place].class as usize),
            })
        });
        let exported = export::export(Export {
            graph,
            info,
            calibration: &mut calibration,
            proof: &mut proof,
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
        // What is left of them is only in the way.
        let objects: Arc<_> = self.settings.stores.objects.clone();
        let opened = checkpoint::open::<serde_json::Value>(
            objects,
            self.lease.training.id,
            self.runtime.clone(),
        );
        if let Err(error) = opened.and_then(|opened| opened.checkpoints.clear()) {
            tracing::warn!(training = %self.lease.training.id, %error, "checkpoints are left over");
        }
        self.reporter.stage("done", 0);
        Ok(entered)
    }
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("numbers and texts have a JSON form")
}

/// All features, with the photos that they are of.
struct FeatureTable<'a> {
    features: &'a [f32],
    width: usize,
    photos: &'a Photos,
}

/// Some rows of a table, copied together.
struct Picked {
    features: Vec<f32>,
    classes: Vec<u32>,
}

impl FeatureTable<'_> {
    fn pick(&self, places: &[usize]) -> Picked {
        let row = |at: &usize| &self.features[at * self.width..(at + 1) * self.width];
        Picked {
            features: places.iter().flat_map(row).copied().collect(),
            classes: places
                .iter()
                .map(|at| self.photos.all()[*at].class)
                .collect(),
        }
    }
}

impl Picked {
    fn examples(&self, num_features: usize) -> Examples<'_> {
        Examples {
            features: &self.features,
            num_features,
            classes: &self.classes,
        }
    }
}
