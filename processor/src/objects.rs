//! The object store as the processor sees it: one root, addressed by a URL such as
//! `file:///var/lib/tintype/objects/`, for our own keys and for Delta alike.

use std::sync::Arc;

use deltalake_core::DeltaResult;
use deltalake_core::logstore::{
    LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories,
};
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use schemas::ObjectKey;
use url::Url;

/// Where everything lies.
#[derive(Clone)]
pub struct ObjectRoot {
    /// Rooted at the bucket, or at `/` of the file system: what Delta wants.
    outer: Arc<dyn ObjectStore>,
    /// Rooted at our own folder.
    inner: Arc<dyn ObjectStore>,
    url: Url,
}

impl ObjectRoot {
    /// `outer` is rooted at the bucket or at `/`; `url` names our folder in it, and ends in `/`.
    pub fn new(outer: Arc<dyn ObjectStore>, url: Url) -> Self {
        let_delta_use(&url);
        #[cfg(feature = "failpoints")]
        let outer: Arc<dyn ObjectStore> = Arc::new(failpoints::FailingStore::new(outer));
        let prefix = Path::from_url_path(url.path()).unwrap_or_default();
        let inner = Arc::new(PrefixStore::new(outer.clone(), prefix));
        Self { outer, inner, url }
    }

    /// The store, rooted at our folder.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    /// The store rooted at the bucket, for Delta.
    pub fn outer(&self) -> Arc<dyn ObjectStore> {
        self.outer.clone()
    }

    /// The full address of our folder, ending in `/`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The full address of a table, ending in `/`.
    pub fn table_url(&self, table: &ObjectKey) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{table}/", self.url.path()));
        url
    }
}

/// Delta's log by create-only PUT, which every store has that passes the storage gate.
struct CreateOnlyLog;

impl LogStoreFactory for CreateOnlyLog {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(
            prefixed_store,
            root_store,
            location,
            options,
        ))
    }
}

/// Delta knows local folders only; other schemes it must be told of once in a process,
/// though it is handed the store with each table.
fn let_delta_use(url: &Url) {
    if let Ok(scheme) = Url::parse(&format!("{}://", url.scheme())) {
        logstore_factories()
            .entry(scheme)
            .or_insert_with(|| Arc::new(CreateOnlyLog));
    }
}
