//! The description of these routes for `/openapi.json`.

use utoipa::OpenApi;

use super::{events, models, predict, trainings};

#[derive(OpenApi)]
#[openapi(
    paths(
        trainings::create,
        trainings::list,
        trainings::show,
        trainings::cancel,
        events::follow,
        models::list,
        models::show,
        models::file,
        models::delete,
        predict::predict,
    ),
    components(schemas(schemas::http::Problem, schemas::training::TrainingSpec))
)]
struct Description;

/// The description of the trainer's routes, to be merged with those of other crates.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}
