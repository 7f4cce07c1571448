//! Photos that wait for their label: they are whole and durable, and become captures once
//! somebody says what they show. They do not expire, for they were acknowledged.

use std::sync::Arc;

use catalog::Principal;
use schemas::{DatasetId, UploadId};

use crate::photo::Photo;
use crate::service::Service;
use crate::uploads::append::Tail;
use crate::uploads::{Head, Trouble, open};

/// Keeps a photo until its label is told.
pub(crate) async fn hold(
    service: &Arc<Service>,
    principal: &Principal,
    dataset: &DatasetId,
    head: &Head,
    photo: Photo,
) -> Result<UploadId, Trouble> {
    let length = Some(photo.num_bytes);
    let id = open(service, principal, dataset, head, length, Vec::new()).await?;
    let upload = service.catalog.take_upload(id).await?;
    let upload = upload.ok_or_else(Trouble::unknown)?;
    let fence = upload.fence;
    let mut tail = Tail::empty(upload, service.admission.room(0).await?);
    tail.num_bytes = photo.num_bytes;
    for piece in &photo.pieces {
        tail.pieces.keep(piece.clone());
    }
    tail.flush(service).await?;
    service.catalog.keep_upload(id).await?;
    service.catalog.release_upload(id, fence).await?;
    Ok(id)
}
