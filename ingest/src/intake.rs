//! From a complete photo to its receipt, whichever way the photo came: its claim tells
//! whether it is new or was answered before.

use std::sync::Arc;

use catalog::http::ApiError;
use chrono::{DateTime, Utc};
use schemas::http::Dataset;
use tracing::error;

use crate::accept::{Receipt, Upload, accept};
use crate::admission::Place;
use crate::fields::{Details, Standing};
use crate::lease::Claim;
use crate::photo::Photo;
use crate::refusal;
use crate::service::Service;

/// A photo that has arrived whole, with what was said of it.
pub(crate) struct Arrival {
    pub dataset: Dataset,
    pub details: Details,
    pub standing: Standing,
    pub photo: Photo,
    pub received_at: DateTime<Utc>,
    /// Held until the answer is known.
    pub place: Place,
}

/// Takes the photo in, or answers as it was answered before.
pub(crate) async fn take_in(
    service: &Arc<Service>,
    claim: Claim,
    arrival: Arrival,
) -> Result<Receipt, ApiError> {
    let Arrival {
        dataset,
        details,
        standing,
        photo,
        received_at,
        place,
    } = arrival;
    match claim {
        Claim::Fresh(ticket) => {
            let upload = Upload {
                dataset,
                details,
                standing,
                photo,
                ticket,
                received_at,
                place,
            };
            // A task of its own, because this future is dropped with its connection.
            let accepting = service.tasks.spawn(accept(Arc::clone(service), upload));
            accepting.await.unwrap_or_else(|join_error| {
                error!(%join_error, "taking an upload in failed");
                Err(refusal::internal())
            })
        }
        Claim::Answered {
            fingerprint,
            answer,
        } => {
            if details.fingerprint(photo.sha256) != fingerprint {
                return Err(refusal::idempotency_key_reused());
            }
            Receipt::from_stored(&answer).ok_or_else(|| {
                error!(?answer, "a kept answer is no receipt");
                refusal::internal()
            })
        }
    }
}
