//! The bucket of an S3 address: made if it is not there, with the rules by which what
//! somebody left half done goes away by itself. What an owner has set otherwise stays, and is
//! told.
//!
//! Making buckets and reading their rules is all that is needed of S3 beyond `object_store`,
//! so that its own signer is used for it, and no second client.

use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::http::{Method, StatusCode, header};
use data_encoding::BASE64;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer};
use object_store::client::{HttpRequest, HttpRequestBody};
use sha2::{Digest as _, Sha256};
use url::Url;

/// How long the server may take for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Days after which the parts of an upload to S3 that was never finished go. Longer than any
/// write of ours takes by far; S3 lists them nowhere else and bills them for ever.
const ABANDONED_DAYS: u32 = 7;

/// Days after which what the storage gate has left goes.
const PROBES_DAYS: u32 = 1;

/// Makes the bucket of `address` and its rules, and says so, a line each; nothing if the address
/// is not S3's: containers of other clouds are made by their own tools.
///
/// # Errors
/// The server does not answer, or does not let us.
pub async fn prepare(address: &Url) -> anyhow::Result<Vec<String>> {
    if !matches!(address.scheme(), "s3" | "s3a") {
        return Ok(Vec::new());
    }
    let bucket = Bucket::of(address)?;
    let mut lines = Vec::new();
    match bucket.call(Method::HEAD, "", Vec::new()).await?.0 {
        StatusCode::OK => lines.push(format!("bucket {}: there already", bucket.name)),
        StatusCode::NOT_FOUND => {
            bucket.make().await?;
            lines.push(format!("bucket {}: made", bucket.name));
        }
        StatusCode::FORBIDDEN => bail!(
            "bucket {} is somebody else's, or these credentials may not see it",
            bucket.name
        ),
        status => bail!("asked for bucket {}, S3 answered {status}", bucket.name),
    }
    lines.append(&mut bucket.prepare_rules(&folder(address)).await?);
    Ok(lines)
}

/// The folder of the address within its bucket, ending in `/` unless it is empty.
fn folder(address: &Url) -> String {
    let folder = address.path().trim_matches('/');
    match folder {
        "" => String::new(),
        folder => format!("{folder}/"),
    }
}

/// A bucket, and how to ask for it.
struct Bucket {
    name: String,
    url: Url,
    region: String,
    store: object_store::aws::AmazonS3,
    client: reqwest::Client,
}

impl Bucket {
    fn of(address: &Url) -> anyhow::Result<Self> {
        let name = address.host_str().context("the address names no bucket")?;
        let builder = AmazonS3Builder::from_env().with_url(address.as_str());
        let set = |key: AmazonS3ConfigKey| builder.get_config_value(&key);
        let region = set(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".into());
        let url = match set(AmazonS3ConfigKey::Endpoint) {
            // Path-style, which every server knows.
            Some(endpoint) => format!("{}/{name}", endpoint.trim_end_matches('/')),
            None => format!("https://s3.{region}.amazonaws.com/{name}"),
        };
        let http = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true");
        let options = object_store::ClientOptions::new().with_allow_http(http);
        Ok(Self {
            name: name.to_owned(),
            url: Url::parse(&url).with_context(|| format!("{url} is no address of S3"))?,
            region,
            store: builder.with_client_options(options).build()?,
            client: reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?,
        })
    }

    /// One signed request, its status and its answer.
    async fn call(
        &self,
        method: Method,
        query: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<(StatusCode, String)> {
        let doing = || format!("cannot ask S3 for bucket {} at {}", self.name, self.url);
        let mut url = self.url.clone();
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let mut request = HttpRequest::new(HttpRequestBody::from(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.as_str().parse().with_context(doing)?;
        if !body.is_empty() {
            // Asked for by S3 where rules are set.
            let digest = BASE64.encode(&Sha256::digest(&body)).parse()?;
            request
                .headers_mut()
                .insert("x-amz-checksum-sha256", digest);
        }
        let credential = self.store.credentials().get_credential().await;
        let credential = credential.with_context(doing)?;
        AwsAuthorizer::new(&credential, "s3", &self.region).authorize(&mut request, None);
        let mut headers = request.headers().clone();
        // Set by the client itself, to the same.
        headers.remove(header::HOST);
        let sent = self.client.request(method, url).headers(headers).body(body);
        let answer = sent.send().await.with_context(doing)?;
        let status = answer.status();
        Ok((status, answer.text().await.with_context(doing)?))
    }

    async fn make(&self) -> anyhow::Result<()> {
        // The first region has no name here.
        let body = match self.region.as_str() {
            "us-east-1" => String::new(),
            region => format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            ),
        };
        let (status, answer) = self.call(Method::PUT, "", body.into_bytes()).await?;
        // Somebody was faster with the same.
        if status.is_success() || answer.contains("BucketAlreadyOwnedByYou") {
            return Ok(());
        }
        bail!(
            "cannot make bucket {}: {status} {}",
            self.name,
            code(&answer)
        )
    }

    /// Sets the rules if there are none; tells what differs if there are.
    async fn prepare_rules(&self, folder: &str) -> anyhow::Result<Vec<String>> {
        let wanted = Rule::wanted(folder);
        let name = &self.name;
        let (status, answer) = self.call(Method::GET, "lifecycle", Vec::new()).await?;
        if status == StatusCode::NOT_FOUND {
            let (status, answer) = self
                .call(Method::PUT, "lifecycle", written(&wanted).into_bytes())
                .await?;
            return match status.is_success() {
                true => Ok(wanted
                    .iter()
                    .map(|rule| format!("bucket {name}: rule {} made, {}", rule.id, rule.words()))
                    .collect()),
                false => Ok(vec![none(name, status, &answer)]),
            };
        }
        if !status.is_success() {
            return Ok(vec![none(name, status, &answer)]);
        }
        Ok(wanted
            .iter()
            .map(|rule| match rule.is_in(&answer) {
                true => format!("bucket {name}: rule {} is there", rule.id),
                false => format!(
                    "bucket {name}: has rules of its own, and not {}; init would make it: {}",
                    rule.id,
                    rule.words()
                ),
            })
            .collect())
    }
}

/// A server without lifecycle rules works all the same.
fn none(bucket: &str, status: StatusCode, answer: &str) -> String {
    format!(
        "bucket {bucket}: no lifecycle rules, the server answered {status} {}; uploads that were \
         abandoned are removed by the ingest role alone",
        code(answer)
    )
}

/// A rule by which objects go.
struct Rule {
    id: &'static str,
    prefix: String,
    days: u32,
    /// Whether it is about unfinished multipart uploads, not about objects.
    is_of_parts: bool,
}

impl Rule {
    /// What lies under `uploads/` is not for the bucket to remove: among it are photos that were
    /// acknowledged and wait for their label, however long that takes.
    fn wanted(folder: &str) -> [Self; 2] {
        let rule = |id, prefix: String, days, is_of_parts| Self {
            id,
            prefix,
            days,
            is_of_parts,
        };
        [
            rule(
                "tintype-unfinished",
                folder.to_owned(),
                ABANDONED_DAYS,
                true,
            ),
            rule(
                "tintype-probes",
                format!("{folder}probes/"),
                PROBES_DAYS,
                false,
            ),
        ]
    }

    fn action(&self) -> String {
        match self.is_of_parts {
            true => format!(
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>{}</DaysAfterInitiation>\
                 </AbortIncompleteMultipartUpload>",
                self.days
            ),
            false => format!("<Expiration><Days>{}</Days></Expiration>", self.days),
        }
    }

    fn xml(&self) -> String {
        format!(
            "<Rule><ID>{}</ID><Filter><Prefix>{}</Prefix></Filter><Status>Enabled</Status>{}</Rule>",
            self.id,
            self.prefix,
            self.action()
        )
    }

    /// Whether an answer, whose order and spaces are the server's own, has it as it should be.
    fn is_in(&self, answer: &str) -> bool {
        let plain: String = answer.chars().filter(|c| !c.is_whitespace()).collect();
        let rules = plain.split("<Rule>").skip(1);
        let id = format!("<ID>{}</ID>", self.id);
        rules
            .filter_map(|rule| rule.split("</Rule>").next())
            .any(|rule| {
                rule.contains(&id)
                    && rule.contains("<Status>Enabled</Status>")
                    && rule.contains(&self.action())
                    && (self.prefix.is_empty()
                        || rule.contains(&format!("<Prefix>{}</Prefix>", self.prefix)))
            })
    }

    fn words(&self) -> String {
        match self.is_of_parts {
            true => format!("unfinished multipart uploads go after {} days", self.days),
            false => format!(
                "what lies under {} goes after {} days",
                self.prefix, self.days
            ),
        }
    }
}

fn written(rules: &[Rule]) -> String {
    let rules: String = rules.iter().map(Rule::xml).collect();
    format!(
        "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rules}\
         </LifecycleConfiguration>"
    )
}

/// S3's own word for what went wrong.
fn code(answer: &str) -> &str {
    let code = answer.split("<Code>").nth(1);
    code.and_then(|rest| rest.split("</Code>").next())
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_known_again_however_the_server_writes_it() {
        let rules = Rule::wanted("tintype/");
        let written = written(&rules);
        assert!(rules.iter().all(|rule| rule.is_in(&written)), "{written}");
        let pretty = written.replace("><", ">\n  <");
        assert!(rules.iter().all(|rule| rule.is_in(&pretty)));
        let other_days = written.replace("<Days>1<", "<Days>90<");
        let known: Vec<bool> = rules.iter().map(|rule| rule.is_in(&other_days)).collect();
        assert_eq!(known, [true, false]);
        let off = written.replace("Enabled", "Disabled");
        assert!(!rules.iter().any(|rule| rule.is_in(&off)));
    }

    #[test]
    fn rules_are_of_our_folder_alone() {
        let address = Url::parse("s3://photos/a/b").unwrap();
        assert_eq!(folder(&address), "a/b/");
        assert_eq!(folder(&Url::parse("s3://photos").unwrap()), "");
        let written = written(&Rule::wanted("a/b/"));
        assert_eq!(written.matches("<Prefix>a/b/").count(), 2);
    }
}
