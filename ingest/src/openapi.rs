//! The captures route as OpenAPI describes it, to be merged with the other crates'.

use schemas::http::{
    CaptureReceipt, CheckCaptures, CheckedCaptures, PresignCapture, PresignedCapture, Problem,
};
use utoipa::{OpenApi, ToSchema};

/// The description of the captures route.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

#[derive(OpenApi)]
#[openapi(
    paths(
        post_capture,
        check_captures,
        upload_offset,
        append_to_upload,
        cancel_upload,
        presign_capture,
        confirm_upload
    ),
    components(schemas(
        CaptureReceipt,
        CheckCaptures,
        CheckedCaptures,
        PresignCapture,
        PresignedCapture,
        Problem,
        CaptureForm
    ))
)]
struct Api;

/// An upload as a form; the parts may come in any order.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it only describes what `form` reads")]
struct CaptureForm {
    /// The photo, exactly once.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// What it shows: 1 to 256 bytes of UTF-8 on one line. Without it, the file's name
    /// up to its first dot.
    label: Option<String>,
    /// When it was taken, RFC 3339.
    captured_at: Option<String>,
    /// Which device took it, at most 128 bytes.
    device_id: Option<String>,
    /// A JSON object of texts: at most 32 entries and 4 KiB.
    metadata: Option<String>,
}

/// Send a photo.
///
/// The body is the picture itself, and everything else stands in headers; or it is a
/// form. The type is told by the bytes, not by `Content-Type`. `PUT` does the same.
/// Header texts are percent-encoded UTF-8, or else taken as they stand.
///
/// A receipt means that the photo is durable and will be judged: ask
/// `GET /v1/captures/{id}`, or listen to the dataset's events. The same is in the
/// headers `Location`, `X-Capture-Id` and `X-Capture-Status`.
#[utoipa::path(
    post,
    path = "/v1/datasets/{dataset}/captures",
    tag = "captures",
    security(("key" = [])),
    params(
        ("dataset" = String, Path, description = "Name or id of the dataset"),
        ("X-Label" = Option<String>, Header, description = "What the photo shows"),
        ("X-File-Name" = Option<String>, Header, description = "Tells the label, up to its first dot, if nothing else does"),
        ("X-Captured-At" = Option<String>, Header, description = "When it was taken, RFC 3339"),
        ("X-Device-Id" = Option<String>, Header, description = "Which device took it, at most 128 bytes"),
        ("X-Metadata" = Option<String>, Header, description = "A JSON object of texts: at most 32 entries and 4 KiB"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names this upload: the same key and upload get the same answer, however often they are sent"),
        ("Repr-Digest" = Option<String>, Header, description = "sha-256 of the photo (RFC 9530); a photo that arrives otherwise is refused"),
        ("Content-Digest" = Option<String>, Header, description = "The same for a body that is the photo itself")
    ),
    request_body(
        description = "The photo, or a form around it",
        content(
            (Vec<u8> = "image/*"),
            (Vec<u8> = "application/octet-stream"),
            (CaptureForm = "multipart/form-data")
        )
    ),
    responses(
        (status = 202, description = "Durable, and on its way to a verdict", body = CaptureReceipt),
        (status = 200, description = "The dataset has these bytes already; nothing was stored again", body = CaptureReceipt),
        (status = 400, description = "A header, a part or the body is malformed or incomplete, or a digest does not match", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid key", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key may not upload", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such dataset", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body stalled", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "An upload with this Idempotency-Key is still running", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than the largest photo", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The first bytes are of no picture, or there are none", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The label is missing, invalid or unknown, or the Idempotency-Key was used otherwise", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Overloaded, or the store, the broker or the catalog is away; Retry-After tells when to come back", body = Problem, content_type = "application/problem+json")
    )
)]
#[allow(
    dead_code,
    reason = "it only carries the description of `route::receive`"
)]
fn post_capture() {}

/// Ask which files are known.
///
/// Hashes first, bytes only if they are not known: one answer for each hash, in the order asked.
#[utoipa::path(
    post,
    path = "/v1/datasets/{dataset}/captures/check",
    tag = "captures",
    security(("key" = [])),
    params(("dataset" = String, Path, description = "Name or id of the dataset")),
    request_body = CheckCaptures,
    responses(
        (status = 200, description = "Which are known", body = CheckedCaptures),
        (status = 404, description = "No such dataset", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not 1 to 1,000 hashes", body = Problem, content_type = "application/problem+json")
    )
)]
#[allow(
    dead_code,
    reason = "it only carries the description of `known::check`"
)]
fn check_captures() {}

/// Ask how far an upload is.
///
/// An upload begins with a `POST` to the captures route that says `Upload-Complete: ?0`;
/// the `Location` of its answer, 201, is this path.
#[utoipa::path(
    head,
    path = "/v1/uploads/{upload}",
    tag = "uploads",
    security(("key" = [])),
    params(("upload" = String, Path, description = "The upload's id")),
    responses(
        (status = 204, description = "Upload-Offset, Upload-Complete, Upload-Length and Upload-Limit tell it; once it is complete X-Capture-Id and X-Capture-Status too"),
        (status = 404, description = "No such upload of this key"),
        (status = 410, description = "It was not continued in time")
    )
)]
#[allow(
    dead_code,
    reason = "it only carries the description of `draft::stand`"
)]
fn upload_offset() {}

/// Go on with an upload.
///
/// `Upload-Complete: ?1` says that these are its last bytes: the answer is that of a whole upload.
#[utoipa::path(
    patch,
    path = "/v1/uploads/{upload}",
    tag = "uploads",
    security(("key" = [])),
    params(
        ("upload" = String, Path, description = "The upload's id"),
        ("Upload-Offset" = u64, Header, description = "Where the bytes belong"),
        ("Upload-Complete" = String, Header, description = "?1 with the last bytes, else ?0"),
        ("Content-Digest" = Option<String>, Header, description = "sha-256 of this body; if it does not match, none of it is kept")
    ),
    request_body(content = Vec<u8>, content_type = "application/partial-upload"),
    responses(
        (status = 204, description = "The bytes are durable; more is to come"),
        (status = 202, description = "The photo is durable, and on its way to a verdict", body = CaptureReceipt),
        (status = 200, description = "The dataset has these bytes already", body = CaptureReceipt),
        (status = 409, description = "The bytes do not begin where the upload ends: Upload-Offset tells where; or a newer request took over", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The body broke off, and what came is kept; or a part behind the server is away", body = Problem, content_type = "application/problem+json")
    )
)]
#[allow(
    dead_code,
    reason = "it only carries the description of `draft::patch`"
)]
fn append_to_upload() {}

/// Give an upload up.
#[utoipa::path(
    delete,
    path = "/v1/uploads/{upload}",
    tag = "uploads",
    security(("key" = [])),
    params(("upload" = String, Path, description = "The upload's id")),
    responses((status = 204, description = "Nothing of it is left"))
)]
#[allow(
    dead_code,
    reason = "it only carries the description of `draft::cancel`"
)]
fn cancel_upload() {}

/// Send a photo to the object store directly.
///
/// For large originals, where the store is S3. What the photo will be is declared here and
/// signed into one request, which goes to the store and brings the bytes, and no others, once.
/// After that it is confirmed; before, it does not count.
#[utoipa::path(
    post,
    path = "/v1/datasets/{dataset}/captures/presign",
    tag = "uploads",
    security(("key" = [])),
    params(
        ("dataset" = String, Path, description = "Name or id of the dataset"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names this upload, as on the captures route")
    ),
    request_body = PresignCapture,
    responses(
        (status = 201, description = "The request to make, within the hour", body = PresignedCapture),
        (status = 404, description = "No such dataset", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "This server's store is not S3: POST the photo instead", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than the largest photo", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The label is missing, invalid or unknown, or the hash is none", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many uploads are open", body = Problem, content_type = "application/problem+json")
    )
)]
#[allow(
    dead_code,
    reason = "it only carries the description of `direct::presign`"
)]
fn presign_capture() {}

/// Say that the object store has the photo.
///
/// It is read back and compared with what was declared, and then taken in as any other. Asked
/// again, it answers the same.
#[utoipa::path(
    post,
    path = "/v1/uploads/{upload}/confirm",
    tag = "uploads",
    security(("key" = [])),
    params(("upload" = String, Path, description = "The upload's id")),
    responses(
        (status = 202, description = "The photo is durable, and on its way to a verdict", body = CaptureReceipt),
        (status = 200, description = "The dataset has these bytes already", body = CaptureReceipt),
        (status = 400, description = "The store has other bytes than were declared; they are removed, and the upload is over", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such upload of this key", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The store does not have the bytes yet; or a newer request took over", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "It was not confirmed in time", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The first bytes are of no picture", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Overloaded, or the store, the broker or the catalog is away; Retry-After tells when to come back", body = Problem, content_type = "application/problem+json")
    )
)]
#[allow(
    dead_code,
    reason = "it only carries the description of `direct::confirm`"
)]
fn confirm_upload() {}

#[cfg(test)]
mod tests {
    #[test]
    fn the_description_has_the_route_with_both_bodies() {
        let api = serde_json::to_value(super::openapi()).unwrap();
        let post = &api["paths"]["/v1/datasets/{dataset}/captures"]["post"];
        let bodies = post["requestBody"]["content"].as_object().unwrap();
        assert!(bodies.contains_key("image/*") && bodies.contains_key("multipart/form-data"));
        assert_eq!(
            post["responses"]["503"]["content"]["application/problem+json"]["schema"]["$ref"],
            "#/components/schemas/Problem"
        );
    }
}
