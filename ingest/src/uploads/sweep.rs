//! The end of uploads: those whose time is over are removed, first their bytes, then
//! what the catalog knows of them.

use catalog::Upload;
use metrics::counter;
use tracing::{info, warn};

use crate::metrics::UPLOADS;
use crate::service::Service;
use crate::uploads::parts;

/// Uploads removed in one round. More would keep the store busy behind the living.
const SWEPT_PER_ROUND: u32 = 200;

/// Removes uploads whose time is over; how many.
pub(crate) async fn sweep(service: &Service) -> Result<u64, catalog::CatalogError> {
    let mut num_removed = 0;
    for upload in service.catalog.expired_uploads(SWEPT_PER_ROUND).await? {
        if remove(service, &upload).await {
            if upload.answer.is_none() {
                counter!(UPLOADS, "event" => "expired").increment(1);
            }
            num_removed += 1;
        }
    }
    if num_removed > 0 {
        info!(num_removed, "uploads whose time was over are removed");
    }
    Ok(num_removed)
}

/// Removes an upload that is over; whether nothing of it is left.
pub(crate) async fn remove(service: &Service, upload: &Upload) -> bool {
    if let Err(error) = parts::delete_all(service.store.as_ref(), upload).await {
        warn!(%error, upload = %upload.id, "an upload's bytes were not removed; the next sweep tries again");
        return false;
    }
    // Last: as long as the catalog knows it, an interrupted removal is done again.
    if let Err(error) = service.catalog.forget_upload(upload.id).await {
        warn!(%error, upload = %upload.id, "an upload was not forgotten; the next sweep tries again");
        return false;
    }
    true
}
