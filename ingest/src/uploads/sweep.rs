//! The end of uploads: those whose time is over are removed, first their bytes, then
//! what the catalog knows of them.

use catalog::Upload;
use metrics::counter;
use tracing::{info, warn};

use crate::metrics::UPLOADS;
use crate::service::Service;
use crate::uploads::parts;

/// Uploads that are looked up at a time. More take memory for a backlog; fewer ask the catalog
/// more often.
const PER_ROUND: u32 = 200;

/// Removes every upload whose time is over, one after the other: a backlog keeps the store
/// no busier than one client does.
pub(crate) async fn sweep(service: &Service) -> Result<(), catalog::CatalogError> {
    let mut num_removed = 0;
    loop {
        let mut num_of_round = 0;
        for upload in service.catalog.expired_uploads(PER_ROUND).await? {
            if remove(service, &upload).await {
                if upload.answer.is_none() {
                    counter!(UPLOADS, "event" => "expired").increment(1);
                }
                num_of_round += 1;
            }
        }
        num_removed += num_of_round;
        // Else what could not be removed would be tried again at once.
        if num_of_round < PER_ROUND {
            break;
        }
    }
    if num_removed > 0 {
        info!(num_removed, "uploads whose time was over are removed");
    }
    Ok(())
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
