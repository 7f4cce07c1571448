//! The demo's training: the photos that were accepted become a model. With pretrained
//! weights at hand that is a head on their features, in seconds; without, a small
//! network learns from nothing, and that is said.

use schemas::training::{Model, Training, TrainingState};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::cli::{Exit, Failure, Global};
use crate::client::Client;
use crate::train;

/// What came of it.
pub struct Trained {
    /// The model.
    pub model: Model,
    /// From asking for it to having it.
    pub seconds: f64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Trains on the dataset's photos; `None` if interrupted, or if there is too little to
/// learn from.
///
/// # Errors
/// The server fails, or the training does.
pub async fn train(
    global: &Global,
    client: &Client,
    dataset: &str,
    interrupt: &CancellationToken,
) -> anyhow::Result<Option<Trained>> {
    super::tell(global, "training a classifier on the accepted photos");
    let mut spec = json!({"preset": "fast"});
    loop {
        let begun_at = std::time::Instant::now();
        let asked = client.train(dataset, &object(&spec)).await?;
        let training = tokio::select! {
            training = train::watch(global, client, asked.id) => training?,
            () = interrupt.cancelled() => {
                client.cancel_training(asked.id).await?;
                return Ok(None);
            }
        };
        if let (TrainingState::Succeeded, Some(id)) = (training.state, training.model_id) {
            return Ok(Some(Trained {
                model: client.model(id).await?,
                seconds: begun_at.elapsed().as_secs_f64(),
                notes: training.progress.notes,
            }));
        }
        match fault(&training) {
            ("no_weights", _) if spec["mode"].is_null() => {
                super::tell(
                    global,
                    "there are no pretrained weights here: a small network learns from nothing \
                     instead",
                );
                spec = from_scratch();
            }
            ("too_few_classes" | "too_few_photos", detail) => {
                super::tell(global, &format!("no training: {detail}"));
                return Ok(None);
            }
            (_, detail) => {
                let message = format!("the training {}: {detail}", training.state);
                return Err(Failure::new(Exit::Failed, "training_failed", message).into());
            }
        }
    }
}

/// The narrowest network on the smallest photos: within two minutes on two cores.
fn from_scratch() -> Value {
    json!({
        "preset": "best",
        "mode": "scratch",
        "architecture": "mobilenet_v2_0.35",
        "input_size": 96,
        "batch_size": 16,
        "ema": 0.0,
        "early_stop": 0,
        "phases": [{
            "epochs": 16,
            "train": "all",
            "optimizer": {"kind": "adamw"},
            "learning_rate": 0.003,
            "backbone_rate": 1.0,
            "weight_decay": 0.02,
            "schedule": {"kind": "cosine", "warmup_epochs": 1.0},
        }],
    })
}

fn fault(training: &Training) -> (&str, &str) {
    let error = training.error.as_ref();
    error.map_or(("", "it was called off"), |error| {
        (&error.code, &error.detail)
    })
}

fn object(spec: &Value) -> Map<String, Value> {
    spec.as_object().cloned().unwrap_or_default()
}
