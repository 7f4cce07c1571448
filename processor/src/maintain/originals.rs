//! Removes originals when the dataset's policy says so: some days after their photo is in the
//! table.
//!
//! Only what can never be missed goes: the original of an accepted photo or of a duplicate. The
//! same bytes, sent again, are a duplicate of that row whatever lies here. The original of
//! a rejected photo stays, since the same bytes may be sent again at any moment and are then
//! judged anew from this very object; that of one that waits for a look is looked at.

use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use schemas::{DatasetId, ObjectKey};
use tokio_util::sync::CancellationToken;

use super::{MaintainSettings, Mode};
use crate::error::ProcessorError;

/// Removes a dataset's originals whose photo has been in the table for `older_than`; how many.
pub(super) async fn remove(
    settings: &MaintainSettings,
    dataset: &DatasetId,
    older_than: Duration,
    mode: Mode,
    stop: &CancellationToken,
) -> Result<u64, ProcessorError> {
    let folder = Path::from(format!("originals/{dataset}"));
    let age = chrono::TimeDelta::from_std(older_than).unwrap_or(chrono::TimeDelta::MAX);
    let cutoff = chrono::Utc::now() - age;
    let store = settings.objects.store();
    let mut listed = store.list(Some(&folder));
    let mut num_removed = 0;
    let listing = || ProcessorError::store(format!("listing {folder}"));
    while let Some(object) = listed.try_next().await.map_err(listing())? {
        if stop.is_cancelled() {
            break;
        }
        // Written a moment ago, it belongs to a photo that is on its way, whatever was before.
        if object.last_modified > cutoff {
            continue;
        }
        let Ok(ObjectKey::Original { sha256, .. }) = object.location.as_ref().parse() else {
            continue;
        };
        let catalog = &settings.catalog;
        if !catalog
            .is_original_done(dataset, sha256, older_than)
            .await?
        {
            continue;
        }
        if mode == Mode::Act {
            match store.delete(&object.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    let doing = format!("removing {}", object.location);
                    return Err(ProcessorError::store(doing)(error));
                }
            }
        }
        num_removed += 1;
    }
    Ok(num_removed)
}
