//! A model answers what is on a photo. A few models stay in memory, each with a thread
//! that takes all photos that wait, up to a batch; what waits in all is bounded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use graph::{Executor, Graph, Weights};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use schemas::training::{Guess, Model, Prediction, TrainingSpec};
use schemas::{InputSpec, ModelId, ObjectKey};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::evaluate;
use crate::metrics as names;
use crate::network::{self, SPEC_FILE, WEIGHTS_FILE};
use crate::photo;

/// Models in memory: some 20 MB each with a MobileNetV2, 120 MB with a ResNet-50. The one
/// that was not asked for the longest goes.
const MAX_MODELS: usize = 4;
/// Photos that wait or are worked on, each with its body in memory: at the default limit
/// of a body at most 16 x 32 MiB, and mostly a few MB.
const MAX_WAITING: usize = 16;
/// Photos that a model takes at once. More delays the first of them.
const MAX_BATCH: usize = 8;

/// Makes of any file the JPEG that the table would hold, so that a photo to predict goes
/// the same way as those that were learnt from.
pub trait PhotoPreparer: Send + Sync {
    /// The prepared JPEG, or why there is none.
    fn prepare(&self, file: Bytes) -> BoxFuture<'_, Result<Bytes, Unusable>>;
}

/// A file that is no usable photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// A stable word, such as `truncated`.
    pub reason: String,
    /// The same for a person.
    pub detail: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum PredictError {
    /// The body is no photo that can be used.
    NoPhoto {
        /// A stable word.
        reason: String,
        /// For a person.
        detail: String,
    },
    /// Too many wait.
    Busy,
    /// The model cannot be read or run.
    Failed(String),
}

/// The models in memory.
#[derive(Clone)]
pub struct Predictor {
    objects: Arc<dyn ObjectStore>,
    preparer: Arc<dyn PhotoPreparer>,
    turns: Arc<Semaphore>,
    /// The one that was asked for last comes last.
    models: Arc<Mutex<Vec<Slot>>>,
}

type Slot = (ModelId, Arc<OnceCell<Loaded>>);

/// The right to bring a photo.
pub struct Turn(OwnedSemaphorePermit);

impl Predictor {
    /// Models are read from `objects`; files are made pictures by `preparer`.
    pub fn new(objects: Arc<dyn ObjectStore>, preparer: Arc<dyn PhotoPreparer>) -> Self {
        Self {
            objects,
            preparer,
            turns: Arc::new(Semaphore::new(MAX_WAITING)),
            models: Arc::default(),
        }
    }

    /// A place in the queue; to be taken before the photo is read.
    ///
    /// # Errors
    /// Too many wait.
    pub fn turn(&self) -> Result<Turn, PredictError> {
        let permit = self.turns.clone().try_acquire_owned();
        permit.map(Turn).map_err(|_| PredictError::Busy)
    }

    /// The most probable labels of a photo.
    ///
    /// # Errors
    /// It is no photo, or the model cannot be used.
    pub async fn predict(
        &self,
        turn: Turn,
        model: &Model,
        file: Bytes,
        top: usize,
    ) -> Result<Prediction, PredictError> {
        let begun_at = Instant::now();
        let answer = self.answer(model, file, top).await;
        drop(turn.0);
        let name = match &answer {
            Ok(_) => "prediction",
            Err(PredictError::NoPhoto { .. }) => "no_photo",
            Err(PredictError::Busy) => "busy",
            Err(PredictError::Failed(_)) => "failed",
        };
        metrics::counter!(names::PREDICTIONS, "answer" => name).increment(1);
        metrics::histogram!(names::PREDICT_SECONDS).record(begun_at.elapsed());
        answer
    }

    async fn answer(
        &self,
        model: &Model,
        file: Bytes,
        top: usize,
    ) -> Result<Prediction, PredictError> {
        let jpeg = self
            .preparer
            .prepare(file)
            .await
            .map_err(|unusable| PredictError::NoPhoto {
                reason: unusable.reason,
                detail: unusable.detail,
            })?;
        let slot = self.slot(model.id);
        let load = || async { Loaded::read(self.objects.as_ref(), model).await };
        let loaded = slot
            .get_or_try_init(load)
            .await
            .map_err(PredictError::Failed)?;
        let probabilities = loaded.ask(jpeg).await.map_err(PredictError::Failed)?;
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
        order.truncate(top);
        let guess = |class: usize| Guess {
            label: model.labels[class].clone(),
            probability: probabilities[class],
        };
        Ok(Prediction {
            model_id: model.id,
            predictions: order.into_iter().map(guess).collect(),
        })
    }

    /// Takes a model out of memory.
    pub fn forget(&self, id: ModelId) {
        self.lock().retain(|(known, _)| *known != id);
    }

    fn slot(&self, id: ModelId) -> Arc<OnceCell<Loaded>> {
        let mut models = self.lock();
        let slot = match models.iter().position(|(known, _)| *known == id) {
            Some(place) => models.remove(place).1,
            None => {
                if models.len() == MAX_MODELS {
                    models.remove(0);
                }
                Arc::default()
            }
        };
        models.push((id, slot.clone()));
        metrics::gauge!(names::LOADED_MODELS).set(models.len() as f64);
        slot
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Slot>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Question {
    jpeg: Bytes,
    answer: oneshot::Sender<Result<Vec<f32>, String>>,
}

/// A model in memory; its thread ends when the last asker lets go.
struct Loaded {
    questions: mpsc::Sender<Question>,
}

impl Loaded {
    async fn read(objects: &dyn ObjectStore, model: &Model) -> Result<Self, String> {
        let file = async |name: &str| {
            let key = ObjectKey::ModelFile {
                model: model.id,
                name: name.into(),
            };
            let read = async {
                let object = objects.get(&Path::from(key.to_string())).await?;
                object.bytes().await
            };
            read.await
                .map_err(|error| format!("reading {key}: {error}"))
        };
        let spec = file(SPEC_FILE).await?;
        let spec: TrainingSpec =
            serde_json::from_slice(&spec).map_err(|fault| format!("{SPEC_FILE}: {fault}"))?;
        let weights = file(WEIGHTS_FILE).await?;
        let temperature = model.evaluation.get("temperature");
        let temperature = temperature
            .and_then(serde_json::Value::as_f64)
            .unwrap_or(1.0);
        let id = model.id;
        let built = tokio::task::spawn_blocking(move || {
            let weights = Weights::from_bytes(&weights).map_err(|fault| fault.to_string())?;
            let (graph, input) = network::graph_of(&spec, &weights)?;
            Self::start(id, &graph, input, temperature as f32)
        });
        built.await.map_err(|fault| fault.to_string())?
    }

    fn start(
        id: ModelId,
        graph: &Graph,
        input: InputSpec,
        temperature: f32,
    ) -> Result<Self, String> {
        let executor = Executor::new(graph).map_err(|fault| fault.to_string())?;
        let (questions, queue) = mpsc::channel(MAX_WAITING);
        let answerer = Answerer {
            executor,
            input,
            temperature,
        };
        std::thread::Builder::new()
            .name(format!("model {id}"))
            .spawn(move || answerer.run(queue))
            .map_err(|fault| fault.to_string())?;
        Ok(Self { questions })
    }

    async fn ask(&self, jpeg: Bytes) -> Result<Vec<f32>, String> {
        let (answer, answered) = oneshot::channel();
        let ended = || "its thread has ended".to_owned();
        let question = Question { jpeg, answer };
        self.questions.send(question).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

struct Answerer {
    executor: Executor,
    input: InputSpec,
    temperature: f32,
}

impl Answerer {
    fn run(mut self, mut queue: mpsc::Receiver<Question>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while let Some(question) = queue.blocking_recv() {
            batch.push(question);
            while batch.len() < MAX_BATCH
                && let Ok(question) = queue.try_recv()
            {
                batch.push(question);
            }
            self.answer(&mut batch);
        }
    }

    fn answer(&mut self, batch: &mut Vec<Question>) {
        let mut inputs = Vec::new();
        let mut asked = Vec::new();
        for question in batch.drain(..) {
            let read = photo::decode(&question.jpeg)
                .and_then(|picture| photo::input(&picture, &self.input));
            match read {
                Ok(input) => {
                    inputs.extend(input);
                    asked.push(question.answer);
                }
                // Whoever asked may be gone.
                Err(error) => drop(question.answer.send(Err(error.to_string()))),
            }
        }
        if asked.is_empty() {
            return;
        }
        let num_classes = self.executor.num_outputs();
        match self.executor.run(&inputs) {
            Ok(results) => {
                for (row, answer) in results.logits.chunks_exact(num_classes).zip(asked) {
                    let probabilities = evaluate::probabilities(row, self.temperature);
                    drop(answer.send(Ok(probabilities)));
                }
            }
            Err(error) => {
                for answer in asked {
                    drop(answer.send(Err(error.to_string())));
                }
            }
        }
    }
}
