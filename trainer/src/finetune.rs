//! Fine-tuning and training from scratch: the network itself learns.
//!
//! Photos and weights come in, weights come out. The run is a sequence of steps that
//! depends on the spec, the table and the weights alone; it stops between two of them
//! when it is told to, with a checkpoint, and goes on from there as if nothing had been.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use graph::{Architecture, Weights};
use model::{Batch, Network, Settings, StepReport, Trainer, TrainerState};
use schemas::training::TrainingSpec;
use schemas::{InputSpec, Sha256, Split};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::error::TrainerError;
use crate::evaluate;
use crate::head::softmax;
use crate::loader::{Recipe, each_batch, order};
use crate::reporter::Reporter;
use crate::table::Photos;

mod settings;

/// Photos that are judged at a time.
const JUDGED_BATCH: usize = 32;

/// What fine-tuning works on.
pub struct Run<'a> {
    /// What was asked for.
    pub spec: &'a TrainingSpec,
    /// The network's shape.
    pub architecture: Architecture,
    /// What it takes.
    pub input: &'a InputSpec,
    /// The photos.
    pub photos: &'a Photos,
    /// Told and asked.
    pub reporter: &'a Reporter,
}

/// What came of it.
pub struct Finetuned {
    /// The best weights, by torchvision's names.
    pub weights: Weights,
    /// The logits of all photos, in the order of the table.
    pub logits: Vec<f32>,
    /// Epoch by epoch.
    pub history: Vec<EpochReport>,
}

/// How an epoch went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Which phase, from 0.
    pub phase: usize,
    /// Which epoch of it, from 0.
    pub epoch: u32,
    /// Mean loss of its steps.
    pub loss: f32,
    /// The part of its photos that were right when they were learnt from.
    pub accuracy: f32,
    /// Mean cross entropy on the validation photos.
    pub validation_loss: Option<f32>,
    /// The part of the validation photos that are right.
    pub validation_accuracy: Option<f32>,
    /// Of a phase's last epoch: SHA-256 over all that the run would go on with (weights,
    /// optimiser, schedule, average). Two runs that agree here agree in every bit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_sha256: Option<Sha256>,
}

/// Where a run stands: between two steps.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    phase: usize,
    epoch: u32,
    /// Batches of the epoch that are done.
    batch: usize,
    /// Sums over them; the loss in bits, for JSON would round it.
    loss_bits: u64,
    num_correct: u64,
    num_seen: u64,
    /// The lowest validation loss, in bits.
    best_bits: Option<u32>,
    epochs_without_better: u32,
    history: Vec<EpochReport>,
}

/// The parts of a checkpoint.
const STATE: &str = "state";
const RECORD: &str = "record";
const BEST: &str = "best";

/// Runs, or goes on, to the end. `initial` is asked for weights only if there is no
/// checkpoint to go on from; none means random ones.
///
/// # Errors
/// The device is not to be had, a photo cannot be read, the loss is no number any more, a
/// checkpoint cannot be written, or the reporter says stop: a checkpoint is there then.
pub fn run(
    run: &Run<'_>,
    checkpoints: &mut Checkpoints,
    found: Option<Checkpoint<Position>>,
    initial: impl FnOnce() -> Result<Option<Weights>, TrainerError>,
) -> Result<Finetuned, TrainerError> {
    let device = settings::open_device(run)?;
    let num_classes = run.photos.labels.len();
    let (position, state, best) = match found {
        Some(mut checkpoint) => {
            let state = read_state(&mut checkpoint.parts)?;
            let best = checkpoint.parts.remove(BEST);
            (checkpoint.position, Some(state), best)
        }
        None => (Position::default(), None, None),
    };
    let initial = if state.is_some() { None } else { initial()? };
    let network = match &initial {
        Some(weights) => Network::from_weights(
            run.architecture,
            weights,
            num_classes,
            run.spec.seed,
            &device,
        ),
        None => Network::random(run.architecture, num_classes, run.spec.seed, &device),
    };
    let mut learning = Learning {
        run,
        checkpoints,
        position,
        best,
        written_at: Instant::now(),
        begun_at: Instant::now(),
        num_learnt: 0,
        train: run.photos.of_split(Split::Train),
        validation: run.photos.of_split(Split::Validation),
    };
    let network = learning.phases(network.map_err(of_model)?, state)?;
    let (best, history) = (learning.best.take(), learning.position.history.clone());
    let weights = match &best {
        Some(best) => read_weights(best)?,
        None => network.to_weights().map_err(of_model)?,
    };
    let network = Network::from_weights(run.architecture, &weights, num_classes, 0, &device);
    let all: Vec<usize> = (0..run.photos.all().len()).collect();
    run.reporter.stage("judging photos", all.len() as u64);
    let logits = judge(run, &network.map_err(of_model)?, &all, true)?;
    Ok(Finetuned {
        weights,
        logits,
        history,
    })
}

struct Learning<'a> {
    run: &'a Run<'a>,
    checkpoints: &'a mut Checkpoints,
    position: Position,
    /// The best weights so far, as a file.
    best: Option<Bytes>,
    written_at: Instant,
    /// When this attempt began to learn, and from how many photos it has since.
    begun_at: Instant,
    num_learnt: u64,
    train: Vec<usize>,
    validation: Vec<usize>,
}

impl Learning<'_> {
    fn phases(
        &mut self,
        mut network: Network,
        mut state: Option<TrainerState>,
    ) -> Result<Network, TrainerError> {
        let phases = &self.run.spec.phases;
        let total: u32 = phases.iter().map(|phase| phase.epochs).sum();
        while let Some(phase) = phases.get(self.position.phase) {
            let settings = self.settings();
            let mut trainer = Trainer::new(network, settings).map_err(of_model)?;
            if let Some(state) = state.take() {
                trainer.load_state(&state).map_err(of_model)?;
            }
            while self.position.epoch < phase.epochs && !self.is_stale() {
                self.epoch(&mut trainer, total)?;
            }
            if self.is_stale() {
                self.run.reporter.note(format!(
                    "stopped after epoch {}: {} epochs brought nothing better",
                    self.epochs_done(),
                    self.run.spec.early_stop
                ));
            }
            self.seal(&trainer)?;
            network = match trainer.averaged() {
                Some(averaged) => averaged,
                None => trainer.into_network(),
            };
            self.position.phase += 1;
            self.position.epoch = 0;
            self.position.epochs_without_better = 0;
        }
        Ok(network)
    }

    /// Notes what the phase ended with, in its last epoch.
    fn seal(&mut self, trainer: &Trainer) -> Result<(), TrainerError> {
        if let Some(last) = self.position.history.last_mut() {
            let state = trainer.save_state().map_err(of_model)?;
            let mut bytes = state.tensors.to_safetensors(&BTreeMap::new());
            bytes.extend_from_slice(state.json.as_bytes());
            last.state_sha256 = Some(Sha256::of(&bytes));
        }
        Ok(())
    }

    /// Whether the last phase goes on for nothing. It depends on the position alone, so
    /// that a run that goes on from a checkpoint stops where it would have stopped.
    fn is_stale(&self) -> bool {
        let spec = self.run.spec;
        let is_last = self.position.phase + 1 == spec.phases.len();
        is_last && spec.early_stop > 0 && self.position.epochs_without_better >= spec.early_stop
    }

    fn epochs_done(&self) -> u32 {
        let before = self.run.spec.phases.iter().take(self.position.phase);
        before.map(|phase| phase.epochs).sum::<u32>() + self.position.epoch
    }

    fn epoch(&mut self, trainer: &mut Trainer, total: u32) -> Result<(), TrainerError> {
        let run = self.run;
        let batch_size = run.spec.batch_size as usize;
        let done = self.epochs_done();
        let num_batches = self.train.len().div_ceil(batch_size);
        run.reporter.stage("training", num_batches as u64);
        run.reporter.update(|progress| {
            progress.epoch = Some(done);
            progress.epochs = Some(total);
        });
        let order = order(&self.train, run.spec.seed, u64::from(done));
        let recipe = Recipe {
            input: run.input,
            augment: Some((&run.spec.augment, run.spec.seed, u64::from(done))),
        };
        let skip = self.position.batch;
        each_batch(run.photos, &order, batch_size, skip, recipe, |batch| {
            self.step(trainer, &batch)?;
            Ok(true)
        })?;
        self.end_of_epoch(trainer)?;
        // A short epoch is not worth a checkpoint of its own, a long one is.
        if self.is_due() {
            self.save(trainer)?;
        }
        Ok(())
    }

    fn step(&mut self, trainer: &mut Trainer, batch: &Batch) -> Result<(), TrainerError> {
        if !self.run.reporter.go_on() {
            self.save(trainer)?;
            return Err(TrainerError::Stopped);
        }
        let report = self.learn(trainer, batch)?;
        let position = &mut self.position;
        position.batch += 1;
        let loss = f64::from_bits(position.loss_bits) + report.loss * report.count as f64;
        position.loss_bits = loss.to_bits();
        position.num_correct += report.correct as u64;
        position.num_seen += report.count as u64;
        let done = position.batch as u64;
        self.num_learnt += report.count as u64;
        let images_per_s = self.num_learnt as f32 / self.begun_at.elapsed().as_secs_f32();
        let photos_left = self.photos_left();
        self.run.reporter.update(|progress| {
            progress.done = Some(done);
            progress.loss = Some(report.loss as f32);
            progress.images_per_s = Some(images_per_s);
            progress.seconds_left = Some(photos_left as f32 / images_per_s);
        });
        if self.is_due() {
            self.save(trainer)?;
        }
        Ok(())
    }

    /// One step; a device that has too little memory for the batch gets it in twice as many
    /// parts, whose gradients are summed up, from then on.
    fn learn(&self, trainer: &mut Trainer, batch: &Batch) -> Result<StepReport, TrainerError> {
        loop {
            let parts = trainer.settings().accumulate;
            match trainer.step(batch) {
                Err(fault) if fault.is_out_of_memory() && parts < batch.labels.len() => {
                    let parts = parts * 2;
                    self.run.reporter.note(format!(
                        "the device has too little memory for a batch of {}: it is computed in \
                         {parts} parts",
                        batch.labels.len()
                    ));
                    trainer.set_accumulate(parts).map_err(of_model)?;
                }
                done => return done.map_err(of_model),
            }
        }
    }

    /// Photos of this epoch and of those to come.
    fn photos_left(&self) -> u64 {
        let epochs: u32 = self.run.spec.phases.iter().map(|phase| phase.epochs).sum();
        let all = u64::from(epochs) * self.train.len() as u64;
        let done = u64::from(self.epochs_done()) * self.train.len() as u64;
        all.saturating_sub(done + self.position.num_seen)
    }

    fn end_of_epoch(&mut self, trainer: &Trainer) -> Result<(), TrainerError> {
        let run = self.run;
        let averaged = trainer.averaged();
        let network = averaged.as_ref().unwrap_or(trainer.network());
        let classes = self.classes(&self.validation);
        let num_classes = run.photos.labels.len();
        let mut loss = None;
        let mut accuracy = None;
        if !classes.is_empty() {
            let logits = judge(run, network, &self.validation, false)?;
            loss = Some(softmax::mean_cross_entropy(&logits, &classes, num_classes));
            accuracy = evaluate::accuracy(&logits, &classes, num_classes);
        }
        let position = &mut self.position;
        let best = position.best_bits.map(f32::from_bits);
        // Without validation photos the last weights are the best that is known.
        let is_better = loss.is_none_or(|loss| best.is_none_or(|best| loss < best));
        if is_better {
            let weights = network.to_weights().map_err(of_model)?;
            self.best = Some(weights.to_safetensors(&BTreeMap::new()).into());
            position.best_bits = loss.map(f32::to_bits);
            position.epochs_without_better = 0;
        } else {
            position.epochs_without_better += 1;
        }
        let seen = position.num_seen.max(1) as f64;
        position.history.push(EpochReport {
            phase: position.phase,
            epoch: position.epoch,
            loss: (f64::from_bits(position.loss_bits) / seen) as f32,
            accuracy: (position.num_correct as f64 / seen) as f32,
            validation_loss: loss,
            validation_accuracy: accuracy,
            state_sha256: None,
        });
        position.epoch += 1;
        position.batch = 0;
        position.loss_bits = 0;
        position.num_correct = 0;
        position.num_seen = 0;
        run.reporter
            .update(|progress| progress.validation_accuracy = accuracy);
        Ok(())
    }

    fn is_due(&self) -> bool {
        let every = Duration::from_secs(u64::from(self.run.spec.checkpoint_every_s));
        self.written_at.elapsed() >= every
    }

    fn settings(&self) -> Settings {
        let classes = self.classes(&self.train);
        let num_classes = self.run.photos.labels.len();
        settings::settings(self.run.spec, self.position.phase, &classes, num_classes)
    }

    fn classes(&self, places: &[usize]) -> Vec<u32> {
        let photos = self.run.photos.all();
        places.iter().map(|at| photos[*at].class).collect()
    }

    fn save(&mut self, trainer: &Trainer) -> Result<(), TrainerError> {
        let state = trainer.save_state().map_err(of_model)?;
        let mut parts = BTreeMap::from([
            (
                STATE.to_owned(),
                Bytes::from(state.tensors.to_safetensors(&BTreeMap::new())),
            ),
            (RECORD.to_owned(), Bytes::from(state.json)),
        ]);
        if let Some(best) = &self.best {
            parts.insert(BEST.to_owned(), best.clone());
        }
        self.checkpoints.write(&self.position, &parts)?;
        self.written_at = Instant::now();
        Ok(())
    }
}

/// The logits of photos as they are, without augmentation.
fn judge(
    run: &Run<'_>,
    network: &Network,
    places: &[usize],
    tells: bool,
) -> Result<Vec<f32>, TrainerError> {
    let recipe = Recipe {
        input: run.input,
        augment: None,
    };
    let mut evaluator = network.evaluator();
    let mut logits = Vec::new();
    let mut done = 0;
    each_batch(run.photos, places, JUDGED_BATCH, 0, recipe, |batch| {
        // Judging is short, and repeated as a whole: nothing of it is worth a checkpoint.
        if tells && !run.reporter.go_on() {
            return Err(TrainerError::Stopped);
        }
        logits.extend(evaluator.logits(&batch.images).map_err(of_model)?);
        done += batch.labels.len() as u64;
        if tells {
            run.reporter.done(done);
        }
        Ok(true)
    })?;
    Ok(logits)
}

fn read_state(parts: &mut BTreeMap<String, Bytes>) -> Result<TrainerState, TrainerError> {
    let mut part = |name: &str| {
        parts.remove(name).ok_or_else(|| TrainerError::Damaged {
            what: "a checkpoint".into(),
            fault: format!("it has no part {name}"),
        })
    };
    let (tensors, record) = (part(STATE)?, part(RECORD)?);
    let json = String::from_utf8(record.to_vec()).map_err(|fault| TrainerError::Damaged {
        what: "a checkpoint".into(),
        fault: fault.to_string(),
    })?;
    Ok(TrainerState {
        tensors: read_weights(&tensors)?,
        json,
    })
}

fn read_weights(bytes: &[u8]) -> Result<Weights, TrainerError> {
    Weights::from_bytes(bytes).map_err(|fault| TrainerError::Damaged {
        what: "a checkpoint".into(),
        fault: fault.to_string(),
    })
}

fn diverged(what: String) -> TrainerError {
    TrainerError::refused("diverged", format!("{what}: the run has diverged"))
        .hint("lower learning_rate, or set clip_norm to 1")
}

fn of_model(fault: model::ModelError) -> TrainerError {
    match fault {
        model::ModelError::Diverged { step, loss } => {
            diverged(format!("the loss became {loss} at step {step}"))
        }
        // The last step of an epoch has no loss after it that would tell.
        model::ModelError::Frozen { reason } => diverged(reason),
        fault => TrainerError::Network {
            doing: "training".into(),
            fault: fault.to_string(),
        },
    }
}
