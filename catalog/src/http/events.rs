//! `/v1/datasets/{dataset}/events`: verdicts as they fall, as server-sent events.
//!
//! Each event has its number in the dataset as `id`, so that a client that comes back
//! with `Last-Event-ID` misses nothing and gets nothing twice. Whoever cannot be served
//! without a gap is told so.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use schemas::DatasetId;
use schemas::http::{Capture, Problem, Scope};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Api, ApiError, ApiPath, ApiQuery, authorize, require_dataset};
use crate::events::EventRange;
use crate::{CatalogError, Principal, metrics as names};

/// Clients that follow at a time. Each costs a connection and five small queries a
/// second; more of them would be felt by the uploads.
pub(super) const MAX_SUBSCRIBERS: usize = 256;
/// When a client that found no place comes back.
const SUBSCRIBER_RETRY_S: u32 = 10;
/// Events of other processes are seen after this at the latest.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// A burst of commits is one look: shorter costs queries, longer delays the second
/// of two verdicts.
const MIN_LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Events read at once; they wait in memory for a slow client.
const EVENTS_PER_LOOK: u32 = 100;
/// How long a key is believed that another process has revoked since, or a dataset
/// that it has deleted. What this process does is seen at once.
const ACCESS_INTERVAL: Duration = Duration::from_secs(5);
/// A comment is sent after so long a silence, so that no proxy hangs up.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How long a client waits before it comes back.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);

/// The places for clients that follow.
#[derive(Clone)]
pub(super) struct Subscribers(Arc<Semaphore>);

impl Subscribers {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_SUBSCRIBERS)))
    }

    fn enter(&self) -> Result<Place, ApiError> {
        let permit = self.0.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{MAX_SUBSCRIBERS} clients follow events already");
            ApiError::unavailable("too_many_subscribers", detail, SUBSCRIBER_RETRY_S)
        })?;
        metrics::gauge!(names::SUBSCRIBERS).increment(1);
        Ok(Place { _permit: permit })
    }
}

/// One of the places, free again when dropped.
struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!(names::SUBSCRIBERS).decrement(1);
    }
}

/// Where to begin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FollowQuery {
    after: Option<String>,
}

/// Follows a dataset's verdicts: `event: capture`, with the capture as `data`.
#[utoipa::path(
    get, path = "/v1/datasets/{dataset}/events", tag = "captures",
    params(
        ("dataset" = String, Path, description = "name or id"),
        ("after" = Option<i64>, Query, description = "begin after this event; with now, if absent"),
        ("Last-Event-ID" = Option<i64>, Header, description = "the same; wins over `after`"),
    ),
    responses(
        (status = 200, body = Capture, content_type = "text/event-stream"),
        (status = 404, body = Problem, description = "no such dataset"),
        (status = 410, body = Problem, description = "events after that one are no longer kept"),
        (status = 503, body = Problem, description = "too many clients follow"),
    ),
)]
pub(super) async fn follow(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(dataset): ApiPath<String>,
    ApiQuery(query): ApiQuery<FollowQuery>,
) -> Result<Response, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Read).await?;
    let dataset = require_dataset(&api.catalog, &principal, &dataset).await?;
    let wanted = wanted_start(&headers, &query)?;
    let place = api.subscribers.enter()?;
    // Before the look at what there is: nothing falls between the two.
    let commits = api.catalog.events_committed();
    let access = api.catalog.access_changed();
    let range = api.catalog.event_range(&dataset.id).await?;
    let after = start(wanted, range)?;
    let follower = Follower {
        api,
        principal,
        dataset: dataset.id,
        after,
        is_new: true,
        events: VecDeque::new(),
        commits,
        access,
        looked_at: None,
        admitted_at: Instant::now(),
        _place: place,
    };
    let events = stream::unfold(follower, Follower::next);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
    // Proxies that collect answers before they pass them on must not do so here.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(keep_alive)).into_response())
}

fn wanted_start(headers: &HeaderMap, query: &FollowQuery) -> Result<Option<i64>, ApiError> {
    let header = headers
        .get("last-event-id")
        .filter(|value| !value.is_empty());
    let (name, text) = match (header, &query.after) {
        (Some(value), _) => ("Last-Event-ID", value.to_str().unwrap_or("?")),
        (None, Some(text)) => ("after", text.as_str()),
        (None, None) => return Ok(None),
    };
    match text.parse::<i64>() {
        Ok(seq) if seq >= 0 => Ok(Some(seq)),
        _ => {
            let detail = format!("{name} is not the number of an event");
            Err(ApiError::bad_request("invalid_query", detail))
        }
    }
}

fn start(wanted: Option<i64>, range: Option<EventRange>) -> Result<i64, ApiError> {
    let Some(range) = range else {
        let detail = "the dataset was deleted this moment";
        return Err(ApiError::not_found("unknown_dataset", detail));
    };
    match wanted {
        Some(after) if after < range.oldest - 1 => {
            let detail = format!("events up to {} are no longer kept", range.oldest - 1);
            Err(
                ApiError::new(StatusCode::GONE, "events_expired", detail).hint(
                    "read GET /v1/datasets/{dataset}/captures, then follow without Last-Event-ID",
                ),
            )
        }
        // A number that was never given can only be of a catalog before a restore.
        Some(after) => Ok(after.min(range.newest)),
        None => Ok(range.newest),
    }
}

/// One client that follows one dataset.
struct Follower {
    api: Api,
    principal: Principal,
    dataset: DatasetId,
    after: i64,
    is_new: bool,
    events: VecDeque<(i64, Capture)>,
    commits: watch::Receiver<u64>,
    access: watch::Receiver<u64>,
    looked_at: Option<Instant>,
    admitted_at: Instant,
    _place: Place,
}

impl Follower {
    /// The next event, or the end: at shutdown, without access, or where going on
    /// would leave a gap. The client then comes back with the last number it saw.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.is_new {
            self.is_new = false;
            // A number without data: a client that loses the connection before the
            // first event still comes back to this very place.
            let first = Event::default()
                .id(self.after.to_string())
                .retry(RECONNECT_WAIT);
            return Some((Ok(first), self));
        }
        loop {
            if let Some((seq, capture)) = self.events.pop_front() {
                self.after = seq;
                let event = Event::default().id(seq.to_string()).event("capture");
                let event = event
                    .json_data(&capture)
                    .expect("a capture has a JSON form");
                return Some((Ok(event), self));
            }
            if self.api.shutdown.is_cancelled() {
                return None;
            }
            match self.look().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    tracing::warn!(%error, dataset = %self.dataset, "following events failed");
                    return None;
                }
            }
        }
    }

    /// Reads what is new, or waits for it; whether to go on.
    async fn look(&mut self) -> Result<bool, CatalogError> {
        if let Some(looked_at) = self.looked_at {
            tokio::time::sleep(MIN_LOOK_INTERVAL.saturating_sub(looked_at.elapsed())).await;
        }
        let may_have_ended = self.access.has_changed().unwrap_or(true)
            || self.admitted_at.elapsed() >= ACCESS_INTERVAL;
        if may_have_ended && !self.is_admitted().await? {
            return Ok(false);
        }
        // Seen before the look: a commit during it wakes the wait below.
        self.commits.borrow_and_update();
        self.looked_at = Some(Instant::now());
        let catalog = &self.api.catalog;
        let events = catalog.events_after(&self.dataset, self.after, EVENTS_PER_LOOK);
        self.events = events.await?.into();
        if let Some((seq, _)) = self.events.front() {
            // Numbers have no gaps: this client was so slow that events were removed
            // before it took them.
            return Ok(*seq == self.after + 1);
        }
        tokio::select! {
            _ = self.commits.changed() => {}
            _ = self.access.changed() => self.access.mark_changed(),
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = self.api.shutdown.cancelled() => {}
        }
        Ok(true)
    }

    async fn is_admitted(&mut self) -> Result<bool, CatalogError> {
        // Seen before the questions: a change during them is asked about again.
        self.access.borrow_and_update();
        let catalog = &self.api.catalog;
        let is_admitted = catalog.is_key_in_use(&self.principal.key_id).await?
            && catalog.event_range(&self.dataset).await?.is_some();
        self.admitted_at = Instant::now();
        Ok(is_admitted)
    }
}
