//! A `multipart/form-data` upload: one part `file` and a few small ones, in any
//! order, come in; the fields and the photo go out. The photo is hashed and
//! sniffed as it passes, like a raw body.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest as _, Request};
use axum::http::{HeaderMap, header, request};
use catalog::http::ApiError;

use crate::fields::Fields;
use crate::meter::{FormRefused, Meter};
use crate::photo::{Photo, PhotoReader};
use crate::refusal;

/// The largest part that is not the file, in bytes. Larger holds no field that the
/// rules allow; smaller refuses metadata at its limit.
const MAX_PART_BYTES: usize = 8 * 1024;

/// Whether the request is a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let text = content_type.and_then(|value| value.to_str().ok());
    let essence = text.and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("multipart/form-data"))
}

/// Reads a form to its end.
pub(crate) async fn read(
    request: &request::Parts,
    meter: Meter,
    mut fields: Fields,
    reader: PhotoReader,
) -> Result<(Fields, Photo), ApiError> {
    let photo_bytes = Arc::new(AtomicU64::new(0));
    let body = Body::from_stream(meter.into_form_stream(Arc::clone(&photo_bytes)));
    let request = Request::from_parts(request.clone(), body);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|rejection| refusal::invalid_form(rejection.body_text()))?;

    let mut reader = Some(reader);
    let mut photo = None;
    while let Some(part) = form.next_field().await.map_err(refused)? {
        match part.name() {
            Some("file") => {
                let Some(reader) = reader.take() else {
                    return Err(refusal::invalid_form("the form has more than one part `file`"));
                };
                if let Some(name) = part.file_name() {
                    fields.set_file_name(name.to_owned());
                }
                photo = Some(read_file(part, reader, &photo_bytes).await?);
            }
            Some(name) if Fields::is_part(name) => {
                let name = name.to_owned();
                let text = read_text(part, &name).await?;
                fields.set_part(&name, &text)?;
            }
            Some(name) => {
                let detail = format!("{name:?} is no part of an upload");
                return Err(refusal::invalid_form(detail));
            }
            None => return Err(refusal::invalid_form("a part has no name")),
        }
    }
    match photo {
        Some(photo) => Ok((fields, photo)),
        None => Err(refusal::invalid_form("the form has no part `file`")),
    }
}

async fn read_file(
    mut part: Field<'_>,
    mut reader: PhotoReader,
    photo_bytes: &AtomicU64,
) -> Result<Photo, ApiError> {
    while let Some(chunk) = part.chunk().await.map_err(refused)? {
        reader.push(chunk).await?;
        photo_bytes.store(reader.num_bytes(), Ordering::Relaxed);
    }
    reader.finish()
}

async fn read_text(mut part: Field<'_>, name: &str) -> Result<String, ApiError> {
    let mut text = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(refused)? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_PART_BYTES {
            return Err(refusal::invalid_form(format!(
                "the part {name:?} has more than 8 KiB"
            )));
        }
    }
    String::from_utf8(text).map_err(|_| refusal::invalid_field(name, "UTF-8 is needed"))
}

/// Our own refusal if that is what ended the form, or else the parser's complaint.
fn refused(error: MultipartError) -> ApiError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(FormRefused(refusal)) = error.downcast_ref() {
            return refusal.clone();
        }
        cause = error.source();
    }
    refusal::invalid_form(error.body_text())
}
