//! Datasets that were deleted come in from the catalog, and nothing of them stays: their
//! originals and tables are removed, then what the catalog still knew of them.

use std::time::Duration;

use catalog::Catalog;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use schemas::{DatasetId, SNAPSHOTS};
use tokio_util::sync::CancellationToken;

use crate::objects::ObjectRoot;

/// How long after its deletion a dataset's files go: long enough that whatever was on its
/// way through the stages has arrived, so that nothing writes behind the broom.
const REST: Duration = Duration::from_secs(600);

/// How often to look.
const EVERY: Duration = Duration::from_secs(60);

/// Runs until `shutdown`. A failure is logged and tried again on the next round.
pub async fn run(catalog: &Catalog, objects: &ObjectRoot, shutdown: &CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = purge(catalog, objects.store().as_ref(), REST).await {
            tracing::warn!(%error, "removing deleted datasets failed; trying again in a minute");
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Removes every dataset that was deleted at least `rest` ago.
async fn purge(catalog: &Catalog, store: &dyn ObjectStore, rest: Duration) -> Result<(), Failure> {
    for dataset in catalog.deleted_datasets(rest).await? {
        let num_objects = remove_objects(store, &dataset).await?;
        // Last: as long as the catalog knows it, an interrupted purge is done again.
        catalog.forget_dataset(&dataset).await?;
        tracing::info!(%dataset, num_objects, "deleted dataset removed");
    }
    Ok(())
}

async fn remove_objects(store: &dyn ObjectStore, dataset: &DatasetId) -> Result<u64, Failure> {
    let mut num_objects = 0;
    for folder in ["originals", "tables", "uploads", SNAPSHOTS] {
        let mut listed = store.list(Some(&Path::from(format!("{folder}/{dataset}"))));
        while let Some(object) = listed.try_next().await? {
            match store.delete(&object.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => num_objects += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(num_objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::local::LocalFileSystem;
    use schemas::http::CreateDataset;

    #[tokio::test]
    async fn a_deleted_dataset_leaves_nothing_and_its_neighbour_everything() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&catalog::sqlite_url(&folder.path().join("catalog.db")))
            .await
            .unwrap();
        let objects = folder.path().join("objects");
        std::fs::create_dir(&objects).unwrap();
        let store = LocalFileSystem::new_with_prefix(&objects).unwrap();
        let mut datasets = Vec::new();
        for name in ["gone", "stays"] {
            let new = CreateDataset {
                name: name.into(),
                labels: vec![],
                policy: Default::default(),
            };
            let dataset = catalog.create_dataset("main", &new).await.unwrap().id;
            for key in [
                "originals/{}/ab/cd",
                "tables/{}/photos/x.parquet",
                "uploads/{}/x/0-1",
                "snapshots/{}/0-x",
            ] {
                let key = Path::from(key.replace("{}", dataset.as_str()));
                store.put(&key, "x".into()).await.unwrap();
            }
            datasets.push(dataset);
        }
        catalog.delete_dataset(&datasets[0]).await.unwrap();
        purge(&catalog, &store, REST).await.unwrap();
        assert_eq!(
            store
                .list(None)
                .try_collect::<Vec<_>>()
                .await
                .unwrap()
                .len(),
            8,
            "too early"
        );
        purge(&catalog, &store, Duration::ZERO).await.unwrap();
        let left: Vec<_> = store
            .list(None)
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(left.len(), 4);
        assert!(
            left.iter()
                .all(|key| key.as_ref().contains(datasets[1].as_str())),
            "{left:?}"
        );
        assert!(
            catalog
                .deleted_datasets(Duration::ZERO)
                .await
                .unwrap()
                .is_empty()
        );
    }
}
