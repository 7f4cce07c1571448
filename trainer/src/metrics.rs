//! The names of the trainer's metrics.

/// Trainings that ended, by `end`: `succeeded`, `failed`, `cancelled`.
pub const TRAININGS: &str = "trainer_trainings_total";
/// Photos that a model was asked about, by `answer`.
pub const PREDICTIONS: &str = "trainer_predictions_total";
/// Seconds from a photo's arrival at a loaded model to its answer.
pub const PREDICT_SECONDS: &str = "trainer_predict_seconds";
/// Models in memory.
pub const LOADED_MODELS: &str = "trainer_loaded_models";

/// Describes them.
pub fn describe() {
    metrics::describe_counter!(TRAININGS, "Trainings that ended");
    metrics::describe_counter!(PREDICTIONS, "Photos that a model was asked about");
    metrics::describe_histogram!(
        PREDICT_SECONDS,
        metrics::Unit::Seconds,
        "From a photo's arrival at a loaded model to its answer"
    );
    metrics::describe_gauge!(LOADED_MODELS, "Models in memory");
}
