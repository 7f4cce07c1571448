//! The end of an upload: all its bytes are there, so they are read back, compared with
//! what was declared, and taken in as those of any photo. The answer is kept.

use std::sync::Arc;

use axum::http::StatusCode;
use bytes::Bytes;
use catalog::http::ApiError;
use catalog::{Principal, RequestScope, StoredAnswer, Upload};
use chrono::Utc;
use futures::StreamExt as _;
use metrics::counter;
use schemas::http::Dataset;
use tracing::warn;

use crate::accept::Receipt;
use crate::admission::{Place, Room};
use crate::fields::Standing;
use crate::intake::{self, Arrival};
use crate::lease::Claim;
use crate::metrics::UPLOADS;
use crate::photo::{Photo, PhotoReader};
use crate::refusal;
use crate::service::Service;
use crate::uploads::append::{Outcome, Tail};
use crate::uploads::{Head, Kind, Trouble, parts};

/// Completes an upload all of whose bytes are durable already.
pub(crate) async fn complete_now(
    service: &Arc<Service>,
    principal: &Principal,
    upload: Upload,
    head: Head,
) -> Result<Outcome, Trouble> {
    let place = service.admission.enter().await?;
    let room = service.admission.room(upload.received_bytes).await?;
    let tail = Tail::empty(upload, room);
    complete(service, principal, tail, head, place).await
}

/// Completes an upload with the bytes that are in memory yet. If that fails for a reason
/// that passes, those are made durable, so that nothing has to be sent again.
pub(super) async fn complete(
    service: &Arc<Service>,
    principal: &Principal,
    mut tail: Tail,
    head: Head,
    place: Place,
) -> Result<Outcome, Trouble> {
    let length = tail.total();
    let pieces = tail.pieces.take();
    let room = std::mem::replace(&mut tail.room, service.admission.room(0).await?);
    let assembly = Assembly {
        principal,
        upload: &tail.upload,
        pieces: &pieces,
        head,
    };
    let answer = match assembly.take_in(service, room, place).await {
        Ok(receipt) => receipt.stored(),
        Err(trouble) if is_verdict(&trouble.refusal) => stored(&trouble.refusal),
        Err(trouble) => {
            pieces.into_iter().for_each(|piece| tail.pieces.keep(piece));
            tail.flush(service).await?;
            return Err(trouble.at(tail.upload.received_bytes));
        }
    };
    conclude(service, tail.upload, length, &answer).await;
    Ok(Outcome::Complete { length, answer })
}

/// Ends an upload with its answer, which is kept; its parts are not needed any more.
pub(super) async fn conclude(
    service: &Arc<Service>,
    upload: Upload,
    length: u64,
    answer: &StoredAnswer,
) {
    // Without it the next request finds the answer under the upload's claim.
    let kept = service.catalog.answer_upload(upload.id, length, answer);
    if let Err(error) = kept.await {
        warn!(%error, upload = %upload.id, "the answer of an upload was given but not kept");
    } else {
        remove_parts(service, upload);
    }
    counter!(UPLOADS, "event" => "completed").increment(1);
}

/// Whether a refusal is about the photo, so that sending its bytes again changes nothing.
fn is_verdict(refusal: &ApiError) -> bool {
    let passes = [
        StatusCode::CONFLICT,
        StatusCode::NOT_FOUND,
        StatusCode::GONE,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    refusal.status.is_client_error() && !passes.contains(&refusal.status)
}

/// A refusal as it is kept.
pub(super) fn stored(refusal: &ApiError) -> StoredAnswer {
    StoredAnswer {
        status: refusal.status.as_u16(),
        body: serde_json::to_string(&refusal.problem()).unwrap_or_default(),
    }
}

/// Removes the bytes of an upload that is answered; those of others that it is joined of
/// are theirs.
fn remove_parts(service: &Arc<Service>, upload: Upload) {
    let task_service = Arc::clone(service);
    service.tasks.spawn(async move {
        let own = upload.parts.iter().filter(|part| part.upload == upload.id);
        for part in own {
            parts::delete(task_service.store.as_ref(), &upload.dataset, part).await;
        }
    });
}

/// Everything that makes a photo of an upload.
struct Assembly<'a> {
    principal: &'a Principal,
    upload: &'a Upload,
    /// What is in memory only.
    pieces: &'a [Bytes],
    head: Head,
}

impl Assembly<'_> {
    async fn take_in(
        self,
        service: &Arc<Service>,
        room: Room,
        place: Place,
    ) -> Result<Receipt, Trouble> {
        let received_at = Utc::now();
        let dataset = self.dataset(service).await?;
        let photo = self.photo(service, room).await?;
        if let Some(declared) = self.head.sha256()
            && declared != photo.sha256
        {
            let told_in = match self.head.kind {
                Kind::Direct => "sha256",
                _ => "Repr-Digest",
            };
            let refusal = refusal::digest_mismatch(told_in, photo.sha256, photo.num_bytes);
            return Err(refusal.into());
        }
        let details = self.head.details.ok_or_else(refusal::label_missing)?;
        let standing = Standing::of(&details.label, &dataset)?;
        // A space keeps it apart from the keys of clients.
        let own_key = || format!("upload {}", self.upload.id);
        let key = self.head.idempotency_key.unwrap_or_else(own_key);
        let scope = RequestScope {
            dataset: dataset.id.clone(),
            key,
        };
        let claim = Claim::of(scope, &service.catalog, &service.tasks).await?;
        let arrival = Arrival {
            dataset,
            details,
            standing,
            photo,
            received_at,
            place,
        };
        Ok(intake::take_in(service, claim, arrival).await?)
    }

    /// The dataset as it is now: the upload may have begun long ago.
    async fn dataset(&self, service: &Service) -> Result<Dataset, Trouble> {
        let name = self.upload.dataset.as_str();
        let found = service.catalog.find_dataset(self.principal, name).await?;
        found.ok_or_else(Trouble::unknown)
    }

    async fn photo(&self, service: &Service, mut room: Room) -> Result<Photo, Trouble> {
        let in_memory: u64 = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        room.grow_to(self.upload.received_bytes + in_memory).await?;
        let mut reader = PhotoReader::new(service.settings.max_body_bytes, room);
        for part in &self.upload.parts {
            let before = reader.num_bytes();
            let unreadable = |error: object_store::Error| {
                if matches!(error, object_store::Error::NotFound { .. }) {
                    return Trouble::lost();
                }
                warn!(%error, upload = %self.upload.id, "a part of an upload was not read");
                refusal::store_unavailable("reading failed").into()
            };
            let bytes = parts::get(service.store.as_ref(), &self.upload.dataset, part).await;
            let mut bytes = bytes.map_err(unreadable)?;
            while let Some(chunk) = bytes.next().await {
                reader.push(chunk.map_err(unreadable)?).await?;
            }
            if reader.num_bytes() - before != part.num_bytes {
                return Err(Trouble::lost());
            }
        }
        for piece in self.pieces {
            reader.push(piece.clone()).await?;
        }
        Ok(reader.finish()?)
    }
}
