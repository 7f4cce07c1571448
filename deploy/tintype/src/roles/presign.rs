//! Requests that a phone may make to S3 by itself: which object, how many bytes and what they
//! hash to stand in the signature, so that S3 takes nothing else, and nothing twice.
//!
//! `object_store` signs addresses too, but binds no headers. Address, region and credentials
//! are taken from it; the signature (AWS Signature Version 4, in the query) is made here.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, Mac as _};
use ingest::{DirectPut, SignPut, SignedPut};
use object_store::aws::{AmazonS3, AwsCredential};
use object_store::path::Path;
use object_store::signer::Signer as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use url::{Position, Url};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What a query may have unencoded in the form that is signed.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Signs for one folder of a bucket.
pub struct Presigner {
    s3: Arc<AmazonS3>,
    folder: Path,
    public: Option<Url>,
}

impl Presigner {
    /// `root` is the address of our folder, as `s3://bucket/folder/`; `public` is where phones
    /// reach the same S3 server, if not where we do.
    ///
    /// # Errors
    /// The folder's name is none that S3 takes.
    pub fn new(s3: Arc<AmazonS3>, root: &Url, public: Option<Url>) -> anyhow::Result<Self> {
        let folder = Path::from_url_path(root.path())?;
        Ok(Self { s3, folder, public })
    }

    /// The same object, as phones name it.
    fn seen_by_phones(&self, url: &Url) -> Url {
        let mut seen = self.public.as_ref().unwrap_or(url).clone();
        seen.set_path(url.path());
        seen
    }
}

#[async_trait]
impl SignPut for Presigner {
    async fn sign(&self, put: &DirectPut) -> Result<SignedPut, Box<dyn Error + Send + Sync>> {
        let object = Path::from(put.object.to_string());
        let whole = Path::from_iter(self.folder.parts().chain(object.parts()));
        let plain = self.s3.signed_url(Method::PUT, &whole, put.valid_for);
        let plain = plain.await?;
        let credential = self.s3.credentials().get_credential().await?;
        let now = Utc::now();
        let headers = BTreeMap::from([
            ("content-length".into(), put.num_bytes.to_string()),
            // Written once: whoever finds it there already has written it.
            ("if-none-match".into(), "*".into()),
            (
                "x-amz-checksum-sha256".into(),
                BASE64.encode(put.sha256.as_bytes()),
            ),
        ]);
        let request = Request {
            method: "PUT",
            region: region(&plain).ok_or("object_store's signature names no region")?,
            headers: &headers,
            at: now,
            valid_s: put.valid_for.as_secs(),
        };
        Ok(SignedPut {
            url: request
                .sign(self.seen_by_phones(&plain), &credential)
                .into(),
            headers,
            expires_at: now + put.valid_for,
        })
    }
}

/// The region that stands in a signed address.
fn region(signed: &Url) -> Option<String> {
    let (_, scope) = signed
        .query_pairs()
        .find(|(name, _)| name == "X-Amz-Credential")?;
    let mut parts = scope.rsplit('/').skip(2);
    parts.next().map(String::from)
}

/// A request that is to be signed.
struct Request<'a> {
    method: &'a str,
    region: String,
    /// In lower case; beside `host`.
    headers: &'a BTreeMap<String, String>,
    at: DateTime<Utc>,
    valid_s: u64,
}

impl Request<'_> {
    /// The address with this request's signature in its query, and nothing else in it.
    fn sign(&self, mut url: Url, credential: &AwsCredential) -> Url {
        let date = self.at.format("%Y%m%d").to_string();
        let time = self.at.format("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("{date}/{}/s3/aws4_request", self.region);

        let mut headers = self.headers.clone();
        let host = &url[Position::BeforeHost..Position::AfterPort];
        headers.insert("host".into(), host.to_owned());
        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        let names = names.join(";");

        // In the order of their names, as they are signed.
        let mut query = String::new();
        let key = format!("{}/{scope}", credential.key_id);
        let valid = self.valid_s.to_string();
        for (name, value) in [
            ("X-Amz-Algorithm", Some(ALGORITHM)),
            ("X-Amz-Credential", Some(&key)),
            ("X-Amz-Date", Some(&time)),
            ("X-Amz-Expires", Some(&valid)),
            ("X-Amz-Security-Token", credential.token.as_deref()),
            ("X-Amz-SignedHeaders", Some(&names)),
        ] {
            if let Some(value) = value {
                let separator = if query.is_empty() { "" } else { "&" };
                let value = utf8_percent_encode(value, ENCODED);
                let _ = write!(query, "{separator}{name}={value}");
            }
        }

        let mut lines = String::new();
        for (name, value) in &headers {
            let _ = writeln!(lines, "{name}:{value}");
        }
        let (method, path) = (self.method, url.path());
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD");
        let hash = HEXLOWER.encode(&Sha256::digest(canonical));
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{hash}");

        let first = format!("AWS4{}", credential.secret_key).into_bytes();
        let steps = [date.as_str(), &self.region, "s3", "aws4_request", &to_sign];
        let signature = steps.iter().fold(first, |key, step| hmac(&key, step));
        let _ = write!(query, "&X-Amz-Signature={}", HEXLOWER.encode(&signature));
        url.set_query(Some(&query));
        url
    }
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::aws::AmazonS3Builder;
    use schemas::{DatasetId, ObjectKey, UploadId};

    use super::*;

    fn credential(token: Option<&str>) -> AwsCredential {
        AwsCredential {
            key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: token.map(String::from),
        }
    }

    #[test]
    fn the_example_of_the_s3_manual_gets_the_signature_that_the_manual_has() {
        let headers = BTreeMap::new();
        let request = Request {
            method: "GET",
            region: "us-east-1".into(),
            headers: &headers,
            at: DateTime::from_timestamp(1_369_353_600, 0).unwrap(),
            valid_s: 86_400,
        };
        let url = Url::parse("https://examplebucket.s3.amazonaws.com/test.txt").unwrap();
        let signed = request.sign(url, &credential(None));
        assert_eq!(
            signed.as_str(),
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[tokio::test]
    async fn length_hash_and_once_only_stand_in_the_signature_and_the_secret_nowhere() {
        let s3 = AmazonS3Builder::new()
            .with_bucket_name("photos")
            .with_region("eu-central-1")
            .with_endpoint("http://127.0.0.1:9000")
            .with_allow_http(true)
            .with_access_key_id("ours")
            .with_secret_access_key("secret")
            .with_token("session/token")
            .build()
            .unwrap();
        let root = Url::parse("s3://photos/a%20folder/").unwrap();
        let s3 = Arc::new(s3);
        let presigner = Presigner::new(s3.clone(), &root, None).unwrap();
        let upload = UploadId::new();
        let put = DirectPut {
            object: ObjectKey::UploadPart {
                dataset: DatasetId::for_name("cats").unwrap(),
                upload,
                first_byte: 0,
                fence: 0,
            },
            num_bytes: 3,
            sha256: schemas::Sha256::of(b"abc"),
            valid_for: Duration::from_secs(600),
        };
        let signed = presigner.sign(&put).await.unwrap();
        let url = Url::parse(&signed.url).unwrap();
        assert!(url.path().starts_with("/photos/a%20folder/uploads/cats-"));
        assert!(url.path().ends_with(&format!("/{upload}/0-0")));
        let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(
            query["X-Amz-SignedHeaders"],
            "content-length;host;if-none-match;x-amz-checksum-sha256"
        );
        assert!(query["X-Amz-Credential"].ends_with("/eu-central-1/s3/aws4_request"));
        assert_eq!(query["X-Amz-Expires"], "600");
        assert_eq!(query["X-Amz-Security-Token"], "session/token");
        assert_eq!(query["X-Amz-Signature"].len(), 64);
        assert_eq!(signed.headers["content-length"], "3");
        assert_eq!(signed.headers["if-none-match"], "*");
        assert_eq!(
            signed.headers["x-amz-checksum-sha256"],
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
        );
        assert!(!signed.url.contains("secret"));

        let public = Url::parse("https://photos.example.org").unwrap();
        let presigner = Presigner::new(s3, &root, Some(public)).unwrap();
        let outside = Url::parse(&presigner.sign(&put).await.unwrap().url).unwrap();
        assert_eq!(outside.host_str(), Some("photos.example.org"));
        assert_eq!((outside.scheme(), outside.path()), ("https", url.path()));
        assert_ne!(outside.query(), url.query(), "the host is signed");
    }
}
