//! Every answer of the captures route that is not a receipt, in one place: its
//! status, its code, and words for whoever meets it.

use axum::http::StatusCode;
use catalog::http::ApiError;
use schemas::{Format, InvalidLabel, Label, MAX_LABEL_BYTES, Sha256};

/// When an overloaded server may be asked again, in seconds. Sooner keeps it
/// overloaded; later wastes a burst's end.
const RETRY_OVERLOADED_S: u32 = 2;
/// When to ask again while a part behind us is away, in seconds.
const RETRY_UNAVAILABLE_S: u32 = 5;
/// When to ask again after an event whose fate is unknown, in seconds: by then the
/// `Idempotency-Key` is free, and the retry goes under the same capture id.
const RETRY_UNCONFIRMED_S: u32 = 15;
/// When to ask again while the same upload is still running, in seconds.
const RETRY_IN_PROGRESS_S: u32 = 3;

/// The longest name that an answer repeats, in characters.
const MAX_ECHO_CHARS: usize = 64;

pub(crate) fn overloaded(detail: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
        .hint("nothing was stored; send the photo again after the time in Retry-After")
        .retry_after(RETRY_OVERLOADED_S)
}

pub(crate) fn body_too_large(limit_bytes: u64) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the photo has more than {limit_bytes} bytes, the limit of this server"),
    )
    .hint("send a smaller picture; nothing is gained from more than about 12 megapixels")
}

pub(crate) fn invalid_content_length() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "invalid_content_length",
        "Content-Length is not a number of bytes",
    )
}

pub(crate) fn too_slow(received: u64) -> ApiError {
    ApiError::new(
        StatusCode::REQUEST_TIMEOUT,
        "too_slow",
        format!("the body stalled after {received} bytes; nothing was stored"),
    )
    .hint("send the photo again when the connection is better")
}

pub(crate) fn incomplete_body(received: u64, declared: Option<u64>) -> ApiError {
    let of = declared.map_or_else(String::new, |declared| format!(" of {declared}"));
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "incomplete_body",
        format!("the body ended after {received}{of} bytes; nothing was stored"),
    )
    .hint("send the photo again")
}

pub(crate) fn empty_body() -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "empty_body",
        "the body is empty; a photo is needed",
    )
    .hint("check that the file has been downloaded to the device before it is sent")
}

pub(crate) fn not_an_image(format: Option<Format>) -> ApiError {
    let what = match format {
        Some(format) => format!("this is a {} file, not a picture", format.title()),
        None => "the file does not begin as any picture format does".into(),
    };
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_an_image", what).hint(
        "send the bytes of a JPEG, PNG, WebP, GIF or BMP picture, without any encoding around it",
    )
}

pub(crate) fn label_missing() -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "label_missing",
        "the upload says nothing of what the photo shows",
    )
    .hint(
        "give the label in the header X-Label (percent-encoded UTF-8) or the part `label`, \
         or a file name that begins with it, as in cat.123.jpg",
    )
}

pub(crate) fn invalid_label(source: &'static str, error: &InvalidLabel) -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_label",
        format!("{source}: {error}"),
    )
    .hint(format!(
        "any script is welcome: 1 to {MAX_LABEL_BYTES} bytes of UTF-8 on one line, without \
         control characters"
    ))
}

pub(crate) fn unknown_label(label: &Label, dataset: &str, nearest: &[&str]) -> ApiError {
    let refusal = ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "unknown_label",
        format!("the dataset {dataset:?} does not list the label {label:?}, and takes no others"),
    );
    if nearest.is_empty() {
        refusal.hint("add the label to the dataset first")
    } else {
        let names: Vec<String> = nearest.iter().map(|name| format!("{name:?}")).collect();
        refusal.hint(format!(
            "the nearest of its labels: {}; or add the label to the dataset first",
            names.join(", ")
        ))
    }
}

pub(crate) fn invalid_field(source: &str, rule: &str) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "invalid_field",
        format!("{source}: {rule}"),
    )
}

pub(crate) fn invalid_form(detail: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_form", detail).hint(
        "a form has exactly one part `file`, and may have `label`, `captured_at`, `device_id` \
         and `metadata`, of at most 8 KiB each",
    )
}

pub(crate) fn unknown_part(name: &str) -> ApiError {
    let name: String = name.chars().take(MAX_ECHO_CHARS).collect();
    invalid_form(format!("{name:?} is no part of an upload"))
}

pub(crate) fn invalid_digest(header: &str, rule: &str) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "invalid_digest",
        format!("{header}: {rule}"),
    )
    .hint("RFC 9530 has it: sha-256=:<base64 of the 32 bytes>:")
}

pub(crate) fn digest_mismatch(header: &str, received: Sha256, bytes: u64) -> ApiError {
    let base64 = data_encoding::BASE64.encode(received.as_bytes());
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "digest_mismatch",
        format!(
            "{header} does not match the {bytes} bytes that arrived, which have \
             sha-256=:{base64}: ({received}); nothing was stored"
        ),
    )
    .hint("hash the file again; if the digest was right, send the photo again")
}

pub(crate) fn invalid_idempotency_key() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "invalid_idempotency_key",
        "Idempotency-Key must be 1 to 255 visible ASCII characters",
    )
}

pub(crate) fn request_in_progress() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "request_in_progress",
        "an upload with this Idempotency-Key is still running",
    )
    .hint("ask again after the time in Retry-After; it will be answered as that upload is")
    .retry_after(RETRY_IN_PROGRESS_S)
}

pub(crate) fn idempotency_key_reused() -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_key_reused",
        "this Idempotency-Key was used for another photo, or with other words about it",
    )
    .hint("a key names one upload with all its fields; take a new one, such as a UUID")
}

pub(crate) fn store_unavailable(trouble: &str) -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "store_unavailable",
        format!("the object store cannot take the photo: {trouble}"),
    )
    .hint("the photo is not stored; send it again after the time in Retry-After")
    .retry_after(RETRY_UNAVAILABLE_S)
}

pub(crate) fn stream_full() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "stream_full",
        "too many photos wait for the Kafka broker",
    )
    .hint("the photo is not queued; send it again after the time in Retry-After")
    .retry_after(RETRY_OVERLOADED_S)
}

pub(crate) fn stream_unavailable(trouble: &str) -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "stream_unavailable",
        format!("the Kafka broker did not confirm the photo: {trouble}"),
    )
    .hint("send the photo again after the time in Retry-After; with the same Idempotency-Key it cannot count twice")
    .retry_after(RETRY_UNCONFIRMED_S)
}

pub(crate) fn internal() -> ApiError {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the server failed in a way that it should not; the log says how",
    )
}
