//! Parts of uploads in the object store: bytes go in and are durable when this returns,
//! and come back as they were.

use bytes::Bytes;
use catalog::{Upload, UploadPart};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use schemas::DatasetId;
use tracing::warn;

use crate::originals::{StoreError, put_once};

/// How long one part may take to be written, retries included.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(25);

pub(super) async fn put(
    store: &dyn ObjectStore,
    dataset: &DatasetId,
    part: &UploadPart,
    pieces: &[Bytes],
) -> Result<(), StoreError> {
    let at = Path::from(part.object(dataset).to_string());
    let put = put_once(store, &at, pieces, part.num_bytes);
    let done = tokio::time::timeout(DEADLINE, put).await;
    done.unwrap_or(Err(StoreError::Deadline))
}

/// The bytes of a part; an error of the kind `NotFound` if it is gone.
pub(super) async fn get(
    store: &dyn ObjectStore,
    dataset: &DatasetId,
    part: &UploadPart,
) -> Result<impl Stream<Item = Result<Bytes, object_store::Error>> + use<>, object_store::Error> {
    let at = Path::from(part.object(dataset).to_string());
    Ok(store.get(&at).await?.into_stream())
}

/// How many bytes a part has in the store; none if it is not there.
pub(super) async fn size(
    store: &dyn ObjectStore,
    dataset: &DatasetId,
    part: &UploadPart,
) -> Result<Option<u64>, object_store::Error> {
    let at = Path::from(part.object(dataset).to_string());
    match store.head(&at).await {
        Ok(object) => Ok(Some(object.size)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes one part; what stays for a failure goes with the sweep.
pub(super) async fn delete(store: &dyn ObjectStore, dataset: &DatasetId, part: &UploadPart) {
    let at = Path::from(part.object(dataset).to_string());
    match store.delete(&at).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => {
            warn!(%error, object = %at, "a part of an upload was not removed; a sweep will")
        }
    }
}

/// Removes every object of the upload, those that no turn has claimed included.
pub(super) async fn delete_all(
    store: &dyn ObjectStore,
    upload: &Upload,
) -> Result<(), object_store::Error> {
    let folder = Path::from(format!("uploads/{}/{}", upload.dataset, upload.id));
    let objects: Vec<_> = store
        .list(Some(&folder))
        .map_ok(|object| object.location)
        .collect()
        .await;
    for object in objects {
        match store.delete(&object?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
