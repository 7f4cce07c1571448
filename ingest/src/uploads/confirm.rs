//! Uploads whose bytes the client writes into the object store itself. They count once they
//! are confirmed: read back, and found to be what was declared. From there on they are taken
//! in as any others, so that the object is never the original itself.

use std::sync::Arc;

use catalog::{Principal, StoredAnswer, Upload, UploadPart};
use chrono::Utc;
use schemas::{DatasetId, ObjectKey, UploadId};
use tracing::{error, warn};

use crate::refusal;
use crate::service::Service;
use crate::uploads::append::Outcome;
use crate::uploads::complete::{complete_now, conclude, stored};
use crate::uploads::{Head, Kind, Trouble, parts};

/// Where the client of a direct upload writes.
pub(crate) fn direct_object(dataset: &DatasetId, id: UploadId) -> ObjectKey {
    direct_part(id, 0).object(dataset)
}

/// All bytes of a direct upload. No turn has the number 0: nothing of ours is written there.
fn direct_part(id: UploadId, num_bytes: u64) -> UploadPart {
    UploadPart {
        upload: id,
        first_byte: 0,
        num_bytes,
        fence: 0,
    }
}

/// Takes in what the client has written, or answers as it was answered before. It runs to its
/// end though the client may be gone.
pub(crate) async fn confirm(
    service: &Arc<Service>,
    principal: &Principal,
    upload: Upload,
) -> Result<StoredAnswer, Trouble> {
    let work = take(Arc::clone(service), principal.clone(), upload);
    let working = service.tasks.spawn(work);
    working.await.unwrap_or_else(|join_error| {
        error!(%join_error, "confirming an upload failed");
        Err(refusal::internal().into())
    })
}

async fn take(
    service: Arc<Service>,
    principal: Principal,
    upload: Upload,
) -> Result<StoredAnswer, Trouble> {
    let head = Head::of(&upload)?;
    if head.kind != Kind::Direct {
        return Err(Trouble::not_direct());
    }
    if let Some(answer) = upload.answer {
        return Ok(answer);
    }
    let id = upload.id;
    let turn = service.turns.take(id).await;
    let _turn = turn.ok_or_else(|| Trouble::taken_over(None))?;
    let upload = service.catalog.take_upload(id).await?;
    let upload = upload.ok_or_else(Trouble::unknown)?;
    let fence = upload.fence;
    let answer = bring_in(&service, &principal, upload, head).await;
    if answer.is_err()
        && let Err(error) = service.catalog.release_upload(id, fence).await
    {
        warn!(%error, upload = %id, "the turn at an upload was not given back; the next request takes it");
    }
    answer
}

async fn bring_in(
    service: &Arc<Service>,
    principal: &Principal,
    mut upload: Upload,
    head: Head,
) -> Result<StoredAnswer, Trouble> {
    if let Some(answer) = upload.answer {
        return Ok(answer);
    }
    if upload.expires_at <= Utc::now() {
        return Err(Trouble::expired());
    }
    let declared = upload.length_bytes.unwrap_or_default();
    let part = direct_part(upload.id, declared);
    let size = parts::size(service.store.as_ref(), &upload.dataset, &part).await;
    let size = size.map_err(|error| {
        warn!(%error, upload = %upload.id, "a direct upload was not found or missed in the store");
        Trouble::from(refusal::store_unavailable("reading failed"))
    })?;
    let size = size.ok_or_else(Trouble::not_uploaded)?;
    upload.parts = vec![part];
    // Before it is read: the store may not have enforced what was signed.
    if size != declared {
        let detail = format!("{declared} bytes were declared and {size} are in the store");
        let answer = stored(&Trouble::length(detail).refusal);
        conclude(service, upload, declared, &answer).await;
        return Ok(answer);
    }
    upload.received_bytes = size;
    match complete_now(service, principal, upload, head).await? {
        Outcome::Complete { answer, .. } => Ok(answer),
        Outcome::Grown { .. } => Err(refusal::internal().into()),
    }
}
