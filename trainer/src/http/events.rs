//! `/v1/trainings/{id}/events`: where a training stands, whenever that changes, as
//! server-sent events; the last one is its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use catalog::Principal;
use catalog::http::{ApiError, ApiPath, authorize_any};
use futures::stream;
use schemas::TrainingId;
use schemas::http::{Problem, Scope};
use schemas::training::Training;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Api, trainings};

/// Clients that follow at a time: each costs a connection and a query a second.
const MAX_FOLLOWERS: usize = 256;
/// How often the catalog is asked; workers report once a second.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A comment is sent after so long a silence, so that no proxy hangs up.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The places for clients that follow.
#[derive(Clone)]
pub(super) struct Followers(Arc<Semaphore>);

impl Followers {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_FOLLOWERS)))
    }
}

/// Follows a training: `event: training`, with the training as `data`, until it is over.
#[utoipa::path(
    get, path = "/v1/trainings/{id}/events", tag = "trainings",
    params(("id" = TrainingId, Path, description = "the id that it was made with")),
    responses(
        (status = 200, body = Training, content_type = "text/event-stream"),
        (status = 404, body = Problem, description = "no such training"),
        (status = 503, body = Problem, description = "too many clients follow"),
    ),
)]
pub(super) async fn follow(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(id): ApiPath<String>,
) -> Result<Response, ApiError> {
    let principal = authorize_any(&api.catalog, &headers, &[Scope::Read, Scope::Train]).await?;
    let training = trainings::find(&api, &principal, &id).await?;
    let place = api.followers.0.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{MAX_FOLLOWERS} clients follow trainings already");
        ApiError::unavailable("too_many_subscribers", detail, 10)
    })?;
    let follower = Follower {
        api,
        principal,
        told: None,
        next: Some(training),
        _place: place,
    };
    let events = stream::unfold(follower, Follower::next);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
    // Proxies that collect answers before they pass them on must not do so here.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(keep_alive)).into_response())
}

struct Follower {
    api: Api,
    principal: Principal,
    told: Option<Training>,
    next: Option<Training>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(training) = self.next.take()
                && self.told.as_ref() != Some(&training)
            {
                let event = Event::default()
                    .event("training")
                    .json_data(&training)
                    .expect("a training has a JSON form");
                self.told = Some(training);
                return Some((Ok(event), self));
            }
            let told = self.told.as_ref()?;
            if told.state.is_final() || self.api.shutdown.is_cancelled() {
                return None;
            }
            tokio::select! {
                () = self.api.shutdown.cancelled() => return None,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            // A key that was revoked meanwhile sees nothing more; an error ends the
            // stream, and the client comes back.
            let key = &self.principal.key_id;
            if !self.api.catalog.is_key_in_use(key).await.ok()? {
                return None;
            }
            let found = self
                .api
                .catalog
                .find_training(&self.principal, told.id)
                .await;
            self.next = Some(found.ok()??);
        }
    }
}
