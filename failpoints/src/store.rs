//! An object store with points around every call, named by what the key is: one wrapper for
//! originals, for data files and for the Delta log.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use crate::{Injected, after, before};

/// The store beneath, with points.
#[derive(Debug, Clone)]
pub struct FailingStore(Arc<dyn ObjectStore>);

impl FailingStore {
    /// Puts points around `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self(inner)
    }
}

impl fmt::Display for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with failpoints", self.0)
    }
}

/// What a key names, whatever folder everything lies in.
fn kind(key: &Path) -> &'static str {
    let parts: Vec<_> = key.parts().collect();
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    let is_log = parts.contains(&"_delta_log");
    let last_of = |name: &str| parts.iter().rposition(|part| *part == name);
    match last_of("tables").and_then(|at| parts.get(at + 2)).copied() {
        Some("photos") if is_log => return "photos_log",
        Some("photos") => return "photos",
        Some("rejections") if is_log => return "rejections_log",
        Some("rejections") => return "rejections",
        _ => {}
    }
    match last_of("originals") {
        Some(at) if parts.len() == at + 4 => "original",
        _ => "other",
    }
}

fn told(injected: Injected) -> Error {
    Error::Generic {
        store: "failpoints",
        source: Box::new(injected),
    }
}

/// Makes a call between its two points.
async fn between<T>(call: &str, key: &Path, made: impl Future<Output = Result<T>>) -> Result<T> {
    let what = kind(key);
    before(call, what).await.map_err(told)?;
    let done = made.await?;
    after(call, what).await.map_err(told)?;
    Ok(done)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for FailingStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let put = self.0.put_opts(location, payload, options);
        between("store.put", location, put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let get = self.0.get_opts(location, options);
        between("store.get", location, get).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let get = self.0.get_ranges(location, ranges);
        between("store.get", location, get).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        listed(prefix, self.0.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        listed(prefix, self.0.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copy = self.0.copy_opts(from, to, options);
        between("store.put", to, copy).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let rename = self.0.rename_opts(from, to, options);
        between("store.put", to, rename).await
    }
}

/// A listing with its two points: before its first entry and after its last.
fn listed(
    prefix: Option<&Path>,
    entries: BoxStream<'static, Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let what = prefix.map_or("other", kind);
    let point = |side: &'static str| {
        futures::stream::once(async move {
            match side {
                "before" => before("store.list", what).await,
                _ => after("store.list", what).await,
            }
        })
        .filter_map(async |reached| reached.err().map(|injected| Err(told(injected))))
    };
    let begins = point("before");
    begins.chain(entries).chain(point("after")).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_what_it_is_in_whatever_folder() {
        for (key, expected) in [
            ("tables/cats-1/photos/prepared-0.parquet", "photos"),
            (
                "a/tables/b/tables/cats-1/photos/_delta_log/0.json",
                "photos_log",
            ),
            ("x/tables/cats-1/rejections/_delta_log", "rejections_log"),
            ("x/tables/cats-1/rejections/p.parquet", "rejections"),
            ("x/originals/cats-1/ab/abcd", "original"),
            ("x/models/1/model.onnx", "other"),
        ] {
            assert_eq!(kind(&Path::from(key)), expected, "{key}");
        }
    }
}
