//! Why a request to an upload was not carried out, in one place for all protocols: the
//! refusal itself, and what they tell beside it in their own ways.

use axum::http::StatusCode;
use catalog::CatalogError;
use catalog::http::ApiError;

use crate::refusal;

/// When to come back if too much is open, in seconds: uploads complete within minutes.
const RETRY_FULL_S: u32 = 60;
/// When to go on with an upload that broke off, in seconds.
const RETRY_INTERRUPTED_S: u32 = 1;

/// What kind of refusal it is, as far as protocols tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes do not begin where the upload ends.
    Offset,
    /// Lengths disagree.
    Length,
    /// It is complete already.
    Completed,
    /// The bytes do not have their digest.
    Checksum,
    /// Anything else.
    Other,
}

/// A request that was not carried out, and how the upload stands.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// In a box, since it is long and most requests have none.
    pub refusal: Box<ApiError>,
    pub fault: Fault,
    /// How many bytes are durable, if that is known.
    pub offset: Option<u64>,
    /// Where the client would have gone on.
    pub provided: Option<u64>,
}

impl Trouble {
    fn new(fault: Fault, refusal: ApiError) -> Self {
        Self {
            refusal: Box::new(refusal),
            fault,
            offset: None,
            provided: None,
        }
    }

    /// The same, telling how much is durable.
    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(crate) fn unknown() -> Self {
        let refusal = ApiError::not_found("unknown_upload", "there is no such upload")
            .hint("begin a new one; an upload can be continued only with the key that began it");
        Self::new(Fault::Other, refusal)
    }

    pub(crate) fn expired() -> Self {
        let refusal = ApiError::new(
            StatusCode::GONE,
            "upload_expired",
            "the upload was not continued in time",
        )
        .hint("begin a new one");
        Self::new(Fault::Other, refusal)
    }

    pub(crate) fn lost() -> Self {
        let refusal = ApiError::new(
            StatusCode::GONE,
            "upload_lost",
            "bytes of this upload are not in the store any more",
        )
        .hint("begin a new one");
        Self::new(Fault::Other, refusal)
    }

    pub(crate) fn offset(right: u64, provided: u64) -> Self {
        let detail = format!("the upload has {right} bytes; the request goes on at {provided}");
        let refusal = ApiError::conflict("mismatching_upload_offset", detail)
            .hint("go on at the offset in Upload-Offset");
        Self {
            provided: Some(provided),
            ..Self::new(Fault::Offset, refusal).at(right)
        }
    }

    pub(crate) fn length(detail: impl Into<String>) -> Self {
        let refusal = ApiError::bad_request("inconsistent_upload_length", detail)
            .hint("the length of an upload is told once and does not change");
        Self::new(Fault::Length, refusal)
    }

    pub(crate) fn not_direct() -> Self {
        let detail = "the bytes of this upload come in requests to it, not from the object store";
        let refusal = ApiError::conflict("not_direct", detail)
            .hint("its last PATCH completes it; only what was presigned is confirmed");
        Self::new(Fault::Other, refusal)
    }

    pub(crate) fn direct() -> Self {
        let detail = "the bytes of this upload go to its presigned address";
        let refusal = ApiError::conflict("direct_upload", detail)
            .hint("PUT them there and confirm; or begin another upload, to send them here");
        Self::new(Fault::Other, refusal)
    }

    pub(crate) fn not_uploaded() -> Self {
        let detail = "the object store does not have the bytes of this upload";
        let refusal = ApiError::conflict("not_uploaded", detail)
            .hint("PUT them to the presigned address first; once it has expired, ask for another");
        Self::new(Fault::Other, refusal)
    }

    pub(crate) fn completed(length: u64) -> Self {
        let refusal = ApiError::bad_request(
            "completed_upload",
            format!("the upload is complete with {length} bytes"),
        )
        .hint("ask for its offset: the answer's headers tell the capture");
        Self::new(Fault::Completed, refusal).at(length)
    }

    pub(crate) fn checksum(refusal: ApiError) -> Self {
        Self::new(Fault::Checksum, refusal)
    }

    pub(crate) fn too_large(limit_bytes: u64) -> Self {
        refusal::body_too_large(limit_bytes).into()
    }

    pub(crate) fn too_many(detail: String) -> Self {
        let refusal = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads", detail)
            .hint("complete or cancel some; what is not continued for a day goes by itself")
            .retry_after(RETRY_FULL_S);
        refusal.into()
    }

    pub(crate) fn too_many_parts() -> Self {
        let refusal = ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_many_parts",
            "the upload was cut into more pieces than are kept",
        )
        .hint("cancel it and begin a new one, with larger pieces");
        refusal.into()
    }

    pub(crate) fn taken_over(offset: Option<u64>) -> Self {
        let refusal = ApiError::conflict(
            "upload_taken_over",
            "a newer request for this upload has ended this one",
        )
        .hint("ask for the offset and go on there; send one request at a time");
        Self {
            offset,
            ..Self::new(Fault::Other, refusal)
        }
    }

    pub(crate) fn interrupted(cause: &ApiError, offset: u64) -> Self {
        let detail = format!(
            "{offset} bytes are kept; {}",
            cause.detail.replace("; nothing was stored", "")
        );
        let refusal = ApiError::unavailable("upload_interrupted", detail, RETRY_INTERRUPTED_S)
            .hint("ask for the offset and go on there");
        Self::new(Fault::Other, refusal).at(offset)
    }
}

impl From<ApiError> for Trouble {
    fn from(refusal: ApiError) -> Self {
        Self::new(Fault::Other, refusal)
    }
}

impl From<CatalogError> for Trouble {
    fn from(error: CatalogError) -> Self {
        ApiError::from(error).into()
    }
}
