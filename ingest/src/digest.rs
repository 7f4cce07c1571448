//! `Repr-Digest` and `Content-Digest` (RFC 9530): what the client says its bytes
//! hash to. Headers come in, SHA-256 values to compare go out; other algorithms
//! are left aside, as the RFC has it.

use axum::http::HeaderMap;
use catalog::http::ApiError;
use data_encoding::BASE64;
use schemas::Sha256;

use crate::refusal;

/// A digest that the photo must have, and the header that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Declared {
    header: &'static str,
    sha256: Sha256,
}

impl Declared {
    /// Reads both headers. In a form `Repr-Digest` is that of the part `file`;
    /// `Content-Digest` would be that of the whole form, which nobody hashes.
    pub(crate) fn from_headers(headers: &HeaderMap, is_form: bool) -> Result<Vec<Self>, ApiError> {
        if is_form && headers.contains_key("content-digest") {
            let rule = "in a form, the digest of the photo goes into Repr-Digest";
            return Err(refusal::invalid_digest("Content-Digest", rule));
        }
        let mut declared = Vec::new();
        for header in ["Repr-Digest", "Content-Digest"] {
            for value in headers.get_all(header) {
                let text = value.to_str().unwrap_or("?");
                let found =
                    sha256_in(text).map_err(|rule| refusal::invalid_digest(header, rule))?;
                declared.extend(found.map(|sha256| Self { header, sha256 }));
            }
        }
        Ok(declared)
    }

    /// What the whole photo must hash to, and what the body of this request must.
    pub(crate) fn of_parts(headers: &HeaderMap) -> Result<(Option<Sha256>, Vec<Self>), ApiError> {
        let (whole, body): (Vec<_>, Vec<_>) = Self::from_headers(headers, false)?
            .into_iter()
            .partition(|declared| declared.header == "Repr-Digest");
        Ok((whole.first().map(|declared| declared.sha256), body))
    }

    /// Compares with what arrived.
    pub(crate) fn check(&self, received: Sha256, num_bytes: u64) -> Result<(), ApiError> {
        if self.sha256 == received {
            Ok(())
        } else {
            Err(refusal::digest_mismatch(self.header, received, num_bytes))
        }
    }
}

/// A dictionary of RFC 8941 whose values are byte sequences: `sha-256=:base64:, ...`.
fn sha256_in(dictionary: &str) -> Result<Option<Sha256>, &'static str> {
    let mut found = None;
    for member in dictionary.split(',') {
        let (key, value) = member
            .trim()
            .split_once('=')
            .ok_or("each digest is algorithm=:base64:")?;
        let value = value.split(';').next().unwrap_or(value).trim_end();
        let base64 = value
            .strip_prefix(':')
            .and_then(|rest| rest.strip_suffix(':'))
            .ok_or("the base64 of a digest stands between two colons")?;
        if key == "sha-256" {
            let bytes = BASE64.decode(base64.as_bytes()).ok();
            let sha256 = bytes.and_then(|bytes| Sha256::try_from(&bytes[..]).ok());
            found = Some(sha256.ok_or("a sha-256 is the base64 of 32 bytes")?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_found_among_others_and_anything_malformed_is_told() {
        let abc = Sha256::of(b"abc");
        let good = format!("sha-256=:{}:", BASE64.encode(abc.as_bytes()));
        for text in [
            good.clone(),
            format!("sha-512=:AAAA:, {good}"),
            format!("{good};p=1,md5=:AAAA:"),
        ] {
            assert_eq!(sha256_in(&text), Ok(Some(abc)), "{text}");
        }
        assert_eq!(sha256_in("sha-512=:AAAA:"), Ok(None));
        for bad in [
            "",
            "sha-256",
            "sha-256=abc",
            "sha-256=:AAAA:",
            "sha-256=:*:",
            "x=:A:,",
        ] {
            assert!(sha256_in(bad).is_err(), "{bad:?}");
        }
    }
}
