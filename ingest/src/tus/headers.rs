//! The headers in which tus clients describe an upload: text comes in, checked values
//! go out.

use axum::http::HeaderMap;
use catalog::http::ApiError;
use data_encoding::BASE64;
use schemas::UploadId;

use crate::fields::Fields;
use crate::refusal;
use crate::uploads::Check;

/// Uploads that one may be joined of. More are no parallel upload of a photo.
const MAX_JOINED: usize = 64;

/// What `Upload-Concat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Concat {
    /// This upload is a piece.
    Partial,
    /// This upload is made of these.
    Final {
        text: String,
        uploads: Vec<UploadId>,
    },
}

/// Reads `Upload-Concat`.
pub(super) fn concat_of(headers: &HeaderMap) -> Result<Option<Concat>, ApiError> {
    let Some(value) = headers.get("upload-concat") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if text == "partial" {
        return Ok(Some(Concat::Partial));
    }
    let urls = text.strip_prefix("final;").unwrap_or_default();
    let id_of = |url: &str| url.rsplit('/').next()?.parse().ok();
    let uploads: Option<Vec<UploadId>> = urls.split_whitespace().map(id_of).collect();
    match uploads {
        Some(uploads) if (1..=MAX_JOINED).contains(&uploads.len()) => {
            let text = text.to_owned();
            Ok(Some(Concat::Final { text, uploads }))
        }
        _ => {
            let detail = "Upload-Concat is `partial`, or `final;` and 1 to 64 addresses of uploads";
            Err(ApiError::bad_request("invalid_concat", detail))
        }
    }
}

/// The digest in `Upload-Checksum`.
pub(super) fn check_of(headers: &HeaderMap) -> Result<Option<Check>, ApiError> {
    let Some(value) = headers.get("upload-checksum") else {
        return Ok(None);
    };
    let (algorithm, base64) = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().split_once(' '))
        .unwrap_or_default();
    let digest = BASE64.decode(base64.trim().as_bytes()).ok();
    let check = match (algorithm, digest) {
        ("sha1", Some(digest)) => digest.try_into().ok().map(Check::Sha1),
        ("sha256", Some(digest)) => digest.try_into().ok().map(Check::Raw256),
        _ => None,
    };
    let rule = "sha1 or sha256, a space, and the digest in base64";
    check
        .map(Some)
        .ok_or_else(|| refusal::invalid_digest("Upload-Checksum", rule))
}

/// What the headers of a whole upload say, and over them what `Upload-Metadata` does.
pub(super) fn fields_of(headers: &HeaderMap) -> Result<Fields, ApiError> {
    let mut fields = Fields::from_headers(headers)?;
    let metadata = headers.get("upload-metadata");
    let text = metadata.map_or("", |value| value.to_str().unwrap_or("?"));
    for pair in text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let (key, base64) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = BASE64.decode(base64.trim().as_bytes()).ok();
        let value = value.and_then(|bytes| String::from_utf8(bytes).ok());
        let value = value.ok_or_else(|| {
            let rule = "each value is UTF-8 text in base64";
            refusal::invalid_field("Upload-Metadata", rule)
        })?;
        match key {
            "filename" | "name" if !value.is_empty() => fields.set_file_name(value),
            key if Fields::is_part(key) => fields.set_part(key, &value)?,
            // Clients add what they like, such as `filetype`, which the bytes tell better.
            _ => {}
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn metadata_tells_the_label_and_else_the_file_name_does() {
        let label = |text: &str| {
            let fields = fields_of(&headers("upload-metadata", text)).map_err(|r| r.code)?;
            let details = fields.finish().map_err(|r| r.code)?;
            Ok::<_, &str>(details.label.to_string())
        };
        // cat.1.jpg, image/jpeg, dog
        let name = "filename Y2F0LjEuanBn,filetype aW1hZ2UvanBlZw==";
        assert_eq!(label(name).as_deref(), Ok("cat"));
        assert_eq!(label(&format!("{name}, label ZG9n")).as_deref(), Ok("dog"));
        assert_eq!(label("is_confidential"), Err("label_missing"));
        assert_eq!(label("label *"), Err("invalid_field"));
    }

    #[test]
    fn concat_is_partial_or_a_list_of_uploads() {
        let read = |text| concat_of(&headers("upload-concat", text)).map_err(|r| r.code);
        let id = UploadId::new();
        assert_eq!(read("partial"), Ok(Some(Concat::Partial)));
        let text = format!("final;/v1/datasets/d/tus/{id} https://host/x/{id}");
        let uploads = vec![id, id];
        let joined = Concat::Final {
            text: text.clone(),
            uploads,
        };
        assert_eq!(read(&text), Ok(Some(joined)));
        for bad in ["", "final;", "final;/x/y", "whole"] {
            assert_eq!(read(bad), Err("invalid_concat"), "{bad}");
        }
    }

    #[test]
    fn checksums_of_other_algorithms_or_lengths_are_refused() {
        let read = |text| check_of(&headers("upload-checksum", text)).map_err(|r| r.code);
        assert!(matches!(
            read("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="),
            Ok(Some(Check::Sha1(_)))
        ));
        for bad in [
            "md5 AAAA",
            "sha1",
            "sha1 AAAA",
            "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        ] {
            assert_eq!(read(bad).unwrap_err(), "invalid_digest", "{bad}");
        }
    }
}
