//! One training from its beginning, or from its last checkpoint, to a model in the
//! catalog. [`run`], read from top to bottom, is what a training does; fitting a head and
//! publishing have files of their own.

use std::time::{Duration, Instant};

use bytes::Bytes;
use catalog::{Standing, TrainingLease};
use graph::{Architecture, Backbone, EmbeddingModel, Weights};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use schemas::training::{TrainingMode, TrainingSpec};
use schemas::{DatasetId, InputSpec, ModelId, ObjectKey, Split};
use tokio::runtime::Handle;

use crate::checkpoint;
use crate::error::TrainerError;
use crate::evaluate::{self, Evaluation, Judged};
use crate::finetune::{self, EpochReport};
use crate::network::{self, WEIGHTS_FILE};
use crate::reporter::{Reporter, Stop};
use crate::table::Photos;
use crate::worker::WorkerSettings;

mod fit;

mod publish;

/// How long a training waits for accepted photos to come into the table: a shard is 15 s
/// old when it is committed, unless a setting says otherwise. Longer holds up trainings of
/// datasets that never rest; shorter trains on less than the person has sent.
const MAX_SHARD_WAIT: Duration = Duration::from_secs(20);
/// How often it looks.
const SHARD_LOOK_INTERVAL: Duration = Duration::from_millis(500);

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

/// What a training begins from.
struct Initial {
    /// None are random ones.
    weights: Option<Weights>,
    /// In words.
    origin: String,
    /// What the table calls the features that it computes, if tables may hold them.
    embedding_model: Option<EmbeddingModel>,
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
        let dataset = &self.lease.training.dataset;
        if self.spec.table_version.is_none() {
            self.reporter.stage("waiting for the last photos", 0);
            self.runtime.block_on(self.wait_for_shards(dataset))?;
        }
        self.reporter.stage("reading the table", 0);
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

    /// Waits until what is accepted is in the table, within reason: photos that came just
    /// before the training are meant to be in it.
    async fn wait_for_shards(&self, dataset: &DatasetId) -> Result<(), TrainerError> {
        let begun = Instant::now();
        loop {
            let waiting = self
                .settings
                .catalog
                .dataset_stats(dataset)
                .await?
                .awaiting_shard;
            if waiting == 0 {
                return Ok(());
            }
            if begun.elapsed() >= MAX_SHARD_WAIT {
                self.reporter.note(format!(
                    "{waiting} accepted photos are not in the table yet and are not learnt from"
                ));
                return Ok(());
            }
            if !self.reporter.go_on() {
                return Err(TrainerError::Stopped);
            }
            tokio::time::sleep(SHARD_LOOK_INTERVAL).await;
        }
    }

    /// The weights that the spec begins from, with a head for these labels where it has one.
    fn initial_weights(&self, labels: &[String]) -> Result<Initial, TrainerError> {
        self.reporter.stage("loading weights", 0);
        if self.spec.mode == TrainingMode::Scratch || self.spec.weights == "none" {
            return Ok(Initial {
                weights: None,
                origin: "random weights".into(),
                embedding_model: None,
            });
        }
        if let Ok(parent) = self.spec.weights.parse::<ModelId>() {
            return Ok(Initial {
                weights: Some(self.model_weights(parent, labels)?),
                origin: format!("the weights of model {parent}"),
                embedding_model: None,
            });
        }
        let pretrained = self.settings.weights.pretrained(self.architecture);
        let pretrained = self.runtime.block_on(pretrained)?;
        let origin = format!(
            "ImageNet weights, {} (SHA-256 {})",
            pretrained.name,
            &pretrained.sha256.to_string()[..12]
        );
        let backbone = Backbone {
            architecture: self.architecture,
            side: self.spec.input_size as usize,
        };
        Ok(Initial {
            weights: Some(pretrained.weights),
            origin,
            embedding_model: Some(backbone.with_weights(pretrained.sha256)),
        })
    }

    fn model_weights(&self, model: ModelId, labels: &[String]) -> Result<Weights, TrainerError> {
        let (of, bytes) = self.model_file(model, WEIGHTS_FILE)?;
        let weights = Weights::from_bytes(&bytes).map_err(|fault| TrainerError::Damaged {
            what: of,
            fault: fault.to_string(),
        })?;
        let (of, bytes) = self.model_file(model, export::LABELS_FILE)?;
        let known = std::str::from_utf8(&bytes).map_err(|fault| TrainerError::Damaged {
            what: of,
            fault: fault.to_string(),
        })?;
        let known: Vec<String> = known.lines().map(str::to_owned).collect();
        Ok(network::with_labels(
            self.architecture,
            &weights,
            &known,
            labels,
        ))
    }

    /// A file of another model, with the key that it lies under.
    fn model_file(&self, model: ModelId, name: &str) -> Result<(String, Bytes), TrainerError> {
        let key = ObjectKey::ModelFile {
            model,
            name: name.into(),
        };
        let path = Path::from(key.to_string());
        let read = self.runtime.block_on(async {
            let object = self.settings.stores.objects.get(&path).await?;
            object.bytes().await
        });
        match read {
            Ok(bytes) => Ok((key.to_string(), bytes)),
            Err(object_store::Error::NotFound { .. }) => {
                let detail = format!("the model {model} to continue from is gone");
                Err(TrainerError::refused("unknown_model", detail))
            }
            Err(error) => Err(TrainerError::store(format!("reading {key}"))(error)),
        }
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
            let Initial {
                weights, origin, ..
            } = self.initial_weights(&photos.labels)?;
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
}
