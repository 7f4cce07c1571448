//! Uploads that arrive in several requests, whatever protocol brings them.
//!
//! Bytes come in; what is acknowledged lies in the object store, in parts, and stands in
//! the catalog, so that any process can go on with any upload. Once an upload is
//! complete it is read back, compared with what was declared, and taken in as any photo.

mod head;
pub(crate) use head::{Head, Kind};

mod trouble;
pub(crate) use trouble::{Fault, Trouble};

mod turns;
pub(crate) use turns::Turns;

mod parts;

mod append;
pub(crate) use append::{Append, Check, End, Outcome, append};

mod complete;
pub(crate) use complete::complete_now;

mod confirm;
pub(crate) use confirm::{confirm, direct_object};

mod hold;
pub(crate) use hold::hold;

mod sweep;
pub(crate) use sweep::{remove, sweep};

use std::sync::Arc;
use std::time::Duration;

use catalog::{NewUpload, Opened, Principal, Upload, UploadLimits, UploadPart};
use chrono::Utc;
use metrics::counter;
use schemas::{DatasetId, UploadId};
use tracing::warn;

use crate::metrics::UPLOADS;
use crate::service::Service;

/// How long an upload may be continued, in seconds, as clients are told it.
pub(crate) const LIFE_S: i64 = catalog::UPLOAD_LIFE.as_secs().cast_signed();

/// Begins an upload; its id.
pub(crate) async fn open(
    service: &Service,
    principal: &Principal,
    dataset: &DatasetId,
    head: &Head,
    length_bytes: Option<u64>,
    parts: Vec<UploadPart>,
) -> Result<UploadId, Trouble> {
    let settings = &service.settings;
    if length_bytes.is_some_and(|length| length > settings.max_body_bytes) {
        return Err(Trouble::too_large(settings.max_body_bytes));
    }
    let new = NewUpload {
        id: UploadId::new(),
        dataset: dataset.clone(),
        key_id: principal.key_id.clone(),
        head: head.to_text(),
        length_bytes,
        parts,
    };
    let limits = UploadLimits {
        max_open_per_key: settings.max_open_uploads_per_key,
        max_bytes_per_dataset: settings.max_open_bytes_per_dataset,
        unknown_length_bytes: settings.max_body_bytes,
    };
    match service.catalog.open_upload(&new, limits).await? {
        Opened::Yes => {
            counter!(UPLOADS, "event" => "opened").increment(1);
            Ok(new.id)
        }
        Opened::KeyFull => Err(Trouble::too_many(format!(
            "this key has {} uploads open, and may not have more",
            settings.max_open_uploads_per_key
        ))),
        Opened::DatasetFull => Err(Trouble::too_many(format!(
            "the uploads to this dataset that are open may take {} bytes together",
            settings.max_open_bytes_per_dataset
        ))),
    }
}

/// The upload, if it is this key's and not over.
pub(crate) async fn find(
    service: &Service,
    principal: &Principal,
    id: &str,
) -> Result<Upload, Trouble> {
    let id: UploadId = id.parse().map_err(|_| Trouble::unknown())?;
    let upload = service.catalog.find_upload(principal, id).await?;
    let upload = upload.ok_or_else(Trouble::unknown)?;
    if upload.expires_at <= Utc::now() {
        return Err(Trouble::expired());
    }
    Ok(upload)
}

/// How the upload stands, once nobody writes any more: what is told stays true until the
/// next bytes come.
pub(crate) async fn stand(
    service: &Arc<Service>,
    principal: &Principal,
    id: &str,
) -> Result<Upload, Trouble> {
    let upload = find(service, principal, id).await?;
    if upload.answer.is_some() {
        return Ok(upload);
    }
    let turn = service.turns.take(upload.id).await;
    let _turn = turn.ok_or_else(|| Trouble::taken_over(None))?;
    let upload = find(service, principal, id).await?;
    if !upload.is_written {
        return Ok(upload);
    }
    // Its writer is another process, or died.
    let halted = service.catalog.halt_upload(upload.id).await?;
    halted.ok_or_else(Trouble::unknown)
}

/// How long a client's own request to the object store may take once it was signed: an hour
/// (`SIGNED_FOR` in `direct.rs`) until it begins, and a slow line's time. Shorter leaves what a cancelled upload's client
/// writes after all; longer only keeps a row in the catalog.
const DIRECT_PUT_WITHIN: Duration = Duration::from_secs(3 * 3600);

/// Ends an upload before its time, and removes its bytes.
pub(crate) async fn cancel(
    service: &Arc<Service>,
    principal: &Principal,
    id: &str,
) -> Result<(), Trouble> {
    let upload = find(service, principal, id).await?;
    let _turn = service.turns.take(upload.id).await;
    let cancelled = counter!(UPLOADS, "event" => "cancelled");
    if Head::of(&upload).is_ok_and(|head| head.kind == Kind::Direct) {
        // No refusal of ours stops what goes to the store by itself; the sweep takes it away.
        let until = Utc::now() + DIRECT_PUT_WITHIN;
        service.catalog.disown_upload(upload.id, until).await?;
        cancelled.increment(1);
        if let Err(error) = parts::delete_all(service.store.as_ref(), &upload).await {
            warn!(%error, upload = %upload.id, "a cancelled upload's bytes wait for the sweep");
        }
        return Ok(());
    }
    service.catalog.expire_upload(upload.id).await?;
    cancelled.increment(1);
    remove(service, &upload).await;
    Ok(())
}
