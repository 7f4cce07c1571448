//! What makes an upload last: a complete photo comes in; the original goes into the
//! object store, its event to the topic, its row into the catalog, and only then
//! does the receipt go out. It runs to its end even if the client goes away.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use catalog::http::ApiError;
use catalog::{NewCapture, StoredAnswer};
use chrono::{DateTime, Utc};
use prost::Message as _;
use schemas::events::CaptureReceived;
use schemas::http::{CaptureReceipt, Dataset};
use schemas::{CaptureId, ObjectKey, Status, planted};
use tracing::warn;

use crate::admission::Place;
use crate::fields::{Details, Standing};
use crate::lease::Ticket;
use crate::metrics::Step;
use crate::photo::Photo;
use crate::publish::PublishError;
use crate::refusal;
use crate::service::Service;

/// The pauses between tries to record a capture whose event is in the topic. More keep
/// the client waiting for a row that the verdict brings anyway.
const RECORD_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// A complete upload.
pub(crate) struct Upload {
    pub dataset: Dataset,
    pub details: Details,
    pub standing: Standing,
    pub photo: Photo,
    pub ticket: Ticket,
    pub received_at: DateTime<Utc>,
    /// Held until the answer is known.
    pub place: Place,
}

/// The answer to an upload that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub status: StatusCode,
    pub body: CaptureReceipt,
}

/// An upload that was not taken in.
enum NotTaken {
    /// Nothing of it will ever arrive.
    Refused(ApiError),
    /// Its event may yet arrive.
    Unconfirmed(ApiError),
}

impl<E: Into<ApiError>> From<E> for NotTaken {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Takes an upload in, and settles its `Idempotency-Key` accordingly.
pub(crate) async fn accept(service: Arc<Service>, upload: Upload) -> Result<Receipt, ApiError> {
    let Upload {
        dataset,
        details,
        standing,
        photo,
        ticket,
        received_at,
        place: _place,
    } = upload;
    let fingerprint = details.fingerprint(photo.sha256);
    let capture = NewCapture {
        id: ticket.capture(fingerprint),
        dataset: dataset.id.clone(),
        label: details.label.clone(),
        sha256: photo.sha256,
        received_at,
    };
    let event = event_of(&capture, &dataset, details, standing, photo.num_bytes);
    match take_in(&service, &capture, &event, photo, ticket.is_retry()).await {
        Ok(receipt) => {
            if standing == Standing::New && receipt.body.status == Status::Queued {
                list_label(&service, &capture).await;
            }
            ticket.settle(fingerprint, &receipt.stored()).await;
            Ok(receipt)
        }
        Err(NotTaken::Refused(refusal)) => {
            ticket.give_back().await;
            Err(refusal)
        }
        Err(NotTaken::Unconfirmed(refusal)) => {
            ticket.leave();
            Err(refusal)
        }
    }
}

async fn take_in(
    service: &Service,
    capture: &NewCapture,
    event: &CaptureReceived,
    photo: Photo,
    is_retry: bool,
) -> Result<Receipt, NotTaken> {
    let (dataset, sha256) = (&capture.dataset, capture.sha256);
    match service.catalog.find_by_hash(dataset, sha256).await? {
        // The event of a try that died may be in the stream, ahead of the twin's: then the
        // stream calls this one the first. It alone may judge; a second event is a replay.
        Some(twin) if twin != capture.id && !is_retry => {
            let recorded = service.catalog.record_known(capture, twin);
            Step::Record.measure(recorded).await?;
            Ok(Receipt::duplicate(capture, twin))
        }
        // An earlier try of this very upload came this far.
        Some(known) if known == capture.id => Ok(Receipt::queued(capture)),
        _ => {
            if planted::is("pointer-before-bytes") {
                publish(service, capture, event).await?;
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            store(service, capture, photo).await?;
            publish(service, capture, event).await?;
            Step::Record.measure(record(service, capture, event)).await;
            Ok(Receipt::queued(capture))
        }
    }
}

async fn store(service: &Service, capture: &NewCapture, photo: Photo) -> Result<(), ApiError> {
    let key = ObjectKey::Original {
        dataset: capture.dataset.clone(),
        sha256: capture.sha256,
    };
    let put = Step::Put.measure(service.originals.put(&key, photo)).await;
    put.map_err(|error| {
        let words = error.to_string();
        let error = &error as &dyn Error;
        warn!(error, capture = %capture.id, object = %key, "an original was not stored");
        refusal::store_unavailable(&words)
    })
}

fn event_of(
    capture: &NewCapture,
    dataset: &Dataset,
    details: Details,
    standing: Standing,
    num_bytes: u64,
) -> CaptureReceived {
    CaptureReceived {
        capture_id: capture.id.to_string(),
        dataset_id: capture.dataset.to_string(),
        label: capture.label.to_string(),
        sha256: capture.sha256.as_bytes().to_vec(),
        num_bytes,
        received_at_us: capture.received_at.timestamp_micros(),
        captured_at_us: details.captured_at.map(|at| at.timestamp_micros()),
        device: details.device,
        metadata: details.metadata.into_iter().collect(),
        policy: Some((&dataset.policy).into()),
        unknown_label: standing == Standing::Review,
    }
}

async fn publish(
    service: &Service,
    capture: &NewCapture,
    event: &CaptureReceived,
) -> Result<(), NotTaken> {
    let published = service.publisher.publish(event);
    Step::Publish.measure(published).await.map_err(|error| {
        let cause = &error as &dyn Error;
        warn!(error = cause, capture = %capture.id, "a capture was not published");
        match error {
            PublishError::Full => NotTaken::Refused(refusal::stream_full()),
            PublishError::Unconfirmed(_) => {
                NotTaken::Unconfirmed(refusal::stream_unavailable("it is away or refuses"))
            }
            PublishError::Deadline => {
                NotTaken::Unconfirmed(refusal::stream_unavailable("it did not answer in time"))
            }
        }
    })
}

/// Writes the capture's row. If the catalog is away, the photo is safe all the same:
/// its event is durable, and its verdict brings the row. To refuse now would make the
/// client send again what is not lost; so it is told `queued`, and until the verdict
/// `GET /v1/captures/{id}` does not know the id.
async fn record(service: &Service, capture: &NewCapture, event: &CaptureReceived) {
    let event = event.encode_to_vec();
    let mut pauses = RECORD_PAUSES.into_iter();
    while let Err(error) = service.catalog.record_queued(capture, &event).await {
        let Some(pause) = pauses.next() else {
            let (error, id) = (&error as &dyn Error, capture.id);
            warn!(error, capture = %id, "a queued capture has no row until its verdict");
            return;
        };
        tokio::time::sleep(pause).await;
    }
}

async fn list_label(service: &Service, capture: &NewCapture) {
    let labels = std::slice::from_ref(&capture.label);
    if let Err(error) = service.catalog.add_labels(&capture.dataset, labels).await {
        let error = &error as &dyn Error;
        warn!(error, label = %capture.label, dataset = %capture.dataset, "a new label was not listed");
    }
}

impl Receipt {
    fn queued(capture: &NewCapture) -> Self {
        Self {
            status: StatusCode::ACCEPTED,
            body: CaptureReceipt {
                id: capture.id,
                status: Status::Queued,
                sha256: capture.sha256.to_string(),
                duplicate_of: None,
            },
        }
    }

    fn duplicate(capture: &NewCapture, twin: CaptureId) -> Self {
        Self {
            status: StatusCode::OK,
            body: CaptureReceipt {
                id: capture.id,
                status: Status::Duplicate,
                sha256: capture.sha256.to_string(),
                duplicate_of: Some(twin),
            },
        }
    }

    /// As it is kept for repetitions.
    pub(crate) fn stored(&self) -> StoredAnswer {
        StoredAnswer {
            status: self.status.as_u16(),
            body: serde_json::to_string(&self.body).unwrap_or_default(),
        }
    }

    /// As it was kept.
    pub(crate) fn from_stored(answer: &StoredAnswer) -> Option<Self> {
        Some(Self {
            status: StatusCode::from_u16(answer.status).ok()?,
            body: serde_json::from_str(&answer.body).ok()?,
        })
    }
}
