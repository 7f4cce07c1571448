//! The object store that a URL names: S3, Google Cloud, Azure or a local folder. The
//! credentials come from the variables that each cloud's own tools read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use processor::ObjectRoot;
use url::Url;

use crate::up;

/// How long one request may take: a shard of 64 MiB over a poor line. Longer hides a store
/// that does not answer; shorter fails on honest work.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// How often, and for how long, the client itself repeats what is safe to repeat. Those who
/// write have their own retries, which begin with a read.
const MAX_RETRIES: usize = 3;
const RETRY_WITHIN: Duration = Duration::from_secs(20);

/// An object store, opened; nothing has been asked of it yet.
pub struct Objects {
    /// Our folder in it.
    pub root: ObjectRoot,
    /// The local folder that it is, if it is one.
    pub folder: Option<PathBuf>,
    /// S3 itself, to sign requests with that `object_store` does not make.
    pub s3: Option<Arc<AmazonS3>>,
}

impl Objects {
    /// Opens the store at `address`.
    ///
    /// # Errors
    /// The address is none, or the credentials are not complete.
    pub fn open(address: &str) -> anyhow::Result<Self> {
        let mut url = Url::parse(address).with_context(|| {
            format!("{address:?} is no address of an object store, such as s3://bucket/folder")
        })?;
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let opening = || format!("cannot use the object store {url}");
        let retry = RetryConfig {
            max_retries: MAX_RETRIES,
            retry_timeout: RETRY_WITHIN,
            ..RetryConfig::default()
        };
        // AWS_ALLOW_HTTP and its like go into the builder's own options.
        let mut s3 = None;
        let outer: Arc<dyn ObjectStore> = match url.scheme() {
            "file" => {
                let folder = url.to_file_path().ok().with_context(opening)?;
                std::fs::create_dir_all(&folder).with_context(opening)?;
                let folder = folder.canonicalize().with_context(opening)?;
                return Ok(Self {
                    root: up::object_root(&folder)?,
                    folder: Some(folder),
                    s3: None,
                });
            }
            "s3" | "s3a" => {
                let http = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true");
                let store = AmazonS3Builder::from_env()
                    .with_url(url.as_str())
                    .with_client_options(client_options().with_allow_http(http))
                    .with_retry(retry)
                    .with_conditional_put(S3ConditionalPut::ETagMatch)
                    .build();
                let store = Arc::new(store.with_context(opening)?);
                s3 = Some(store.clone());
                store
            }
            "gs" => {
                let store = GoogleCloudStorageBuilder::from_env()
                    .with_url(url.as_str())
                    .with_client_options(client_options())
                    .with_retry(retry)
                    .build();
                Arc::new(store.with_context(opening)?)
            }
            "az" | "abfs" | "abfss" => {
                let store = MicrosoftAzureBuilder::from_env()
                    .with_url(url.as_str())
                    .with_client_options(client_options())
                    .with_retry(retry)
                    .build();
                Arc::new(store.with_context(opening)?)
            }
            other => bail!("{other:?} is no object store; use s3://, gs://, az:// or file:///"),
        };
        Ok(Self {
            root: ObjectRoot::new(outer, url),
            folder: None,
            s3,
        })
    }
}

fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_timeout(REQUEST_WITHIN)
        .with_connect_timeout(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_told_with_what_would_be_one() {
        for (address, told) in [
            ("photos", "s3://bucket/folder"),
            ("ftp://host/photos", "gs://"),
        ] {
            let error = Objects::open(address).err().unwrap();
            assert!(format!("{error:#}").contains(told), "{error:#}");
        }
    }

    #[test]
    fn a_local_folder_is_made_and_known_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("a").join("b");
        let address = Url::from_file_path(&wanted).unwrap();
        let objects = Objects::open(address.as_str()).unwrap();
        assert!(wanted.is_dir());
        assert!(objects.folder.is_some() && objects.s3.is_none());
        assert!(objects.root.url().path().ends_with("/b/"));
    }
}
