//! `multipart/form-data`: parts in any order come in one after the other. An upload has
//! one part `file` and a few small ones; the fields and the photo go out. The photo is
//! hashed and sniffed as it passes, like a raw body.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest as _, Request};
use axum::http::{HeaderMap, header, request};
use bytes::Bytes;
use catalog::http::ApiError;
use futures::stream;

use crate::fields::Fields;
use crate::meter::Meter;
use crate::photo::{Photo, PhotoReader};
use crate::refusal;
use crate::settings::FORM_OVERHEAD_BYTES;

/// The largest part that is not the file, in bytes. Larger holds no field that the
/// rules allow; smaller refuses metadata at its limit.
const MAX_PART_BYTES: usize = 8 * 1024;

/// How much the parser is given at a time, in bytes. Larger lets it hold more than it
/// needs; smaller costs a turn of the loop each.
const SLICE_BYTES: usize = 64 * 1024;
/// What the parser may hold without handing it on: everything beside the file, and a
/// few slices that it takes ahead. It searches all that it holds again and again, so
/// larger lets a form without end cost time that grows with the square of its length.
const MAX_HELD_BYTES: u64 = FORM_OVERHEAD_BYTES + 4 * SLICE_BYTES as u64;

/// Whether the request is a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let text = content_type.and_then(|value| value.to_str().ok());
    let essence = text.and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("multipart/form-data"))
}

/// Reads the form of an upload to its end.
pub(crate) async fn read(
    request: &request::Parts,
    meter: Meter,
    mut fields: Fields,
    reader: PhotoReader,
) -> Result<(Fields, Photo), ApiError> {
    let mut form = Form::open(request, meter).await?;
    let mut reader = Some(reader);
    let mut photo = None;
    while let Some(part) = form.next().await? {
        match part.name() {
            Some("file") => {
                let Some(reader) = reader.take() else {
                    return Err(refusal::invalid_form(
                        "the form has more than one part `file`",
                    ));
                };
                if let Some(name) = part.file_name() {
                    fields.set_file_name(name.to_owned());
                }
                photo = Some(part.photo(reader).await?);
            }
            Some(name) if Fields::is_part(name) => {
                let name = name.to_owned();
                let text = part.text().await?;
                fields.set_part(&name, &text)?;
            }
            Some(name) => return Err(refusal::unknown_part(name)),
            None => return Err(refusal::invalid_form("a part has no name")),
        }
    }
    match photo {
        Some(photo) => Ok((fields, photo)),
        None => Err(refusal::invalid_form("the form has no part `file`")),
    }
}

/// A form that is arriving.
pub(crate) struct Form {
    parts: Multipart,
    /// How much of it has come out as photos.
    photo_bytes: Arc<AtomicU64>,
}

/// A part of it.
pub(crate) struct Part<'a> {
    field: Field<'a>,
    photo_bytes: Arc<AtomicU64>,
}

impl Form {
    pub(crate) async fn open(request: &request::Parts, meter: Meter) -> Result<Self, ApiError> {
        let photo_bytes = Arc::new(AtomicU64::new(0));
        let slices = Slices {
            meter,
            rest: Bytes::new(),
            num_handed: 0,
            photo_bytes: Arc::clone(&photo_bytes),
        };
        let slices = stream::try_unfold(slices, async |mut slices| {
            let slice = slices.next().await.map_err(Refused)?;
            Ok::<_, Refused>(slice.map(|slice| (slice, slices)))
        });
        let request = Request::from_parts(request.clone(), Body::from_stream(slices));
        let parts = Multipart::from_request(request, &())
            .await
            .map_err(|rejection| refusal::invalid_form(rejection.body_text()))?;
        Ok(Self { parts, photo_bytes })
    }

    /// The next part; none once the form is complete.
    pub(crate) async fn next(&mut self) -> Result<Option<Part<'_>>, ApiError> {
        let photo_bytes = Arc::clone(&self.photo_bytes);
        let field = self.parts.next_field().await.map_err(refused)?;
        Ok(field.map(|field| Part { field, photo_bytes }))
    }
}

impl Part<'_> {
    pub(crate) fn name(&self) -> Option<&str> {
        self.field.name()
    }

    pub(crate) fn file_name(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// The photo in this part. A bad one is read to its end, so that others can follow it.
    pub(crate) async fn photo(mut self, reader: PhotoReader) -> Result<Photo, ApiError> {
        let mut reader = Ok(reader);
        while let Some(chunk) = self.field.chunk().await.map_err(refused)? {
            let num_bytes = chunk.len() as u64;
            if let Ok(reading) = &mut reader
                && let Err(refusal) = reading.push(chunk).await
            {
                reader = Err(refusal);
            }
            self.photo_bytes.fetch_add(num_bytes, Ordering::Relaxed);
        }
        reader?.finish()
    }

    /// The text in this part.
    pub(crate) async fn text(mut self) -> Result<String, ApiError> {
        let name = self.name().unwrap_or_default().to_owned();
        let mut text = Vec::new();
        while let Some(chunk) = self.field.chunk().await.map_err(refused)? {
            text.extend_from_slice(&chunk);
            if text.len() > MAX_PART_BYTES {
                return Err(refusal::invalid_form(format!(
                    "the part {name:?} has more than 8 KiB"
                )));
            }
        }
        String::from_utf8(text).map_err(|_| refusal::invalid_field(&name, "UTF-8 is needed"))
    }
}
/// The body as the parser gets it.
struct Slices {
    meter: Meter,
    rest: Bytes,
    num_handed: u64,
    /// How much of it has come out as the photo.
    photo_bytes: Arc<AtomicU64>,
}

impl Slices {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        // The parser takes all that is ready before it hands anything on; so one slice
        // is ready at a time.
        tokio::task::yield_now().await;
        if self.rest.is_empty() {
            match self.meter.next().await? {
                Some(chunk) => self.rest = chunk,
                None => return Ok(None),
            }
        }
        let slice = self.rest.split_to(SLICE_BYTES.min(self.rest.len()));
        self.num_handed += slice.len() as u64;
        let photo_bytes = self.photo_bytes.load(Ordering::Relaxed);
        if self.num_handed - photo_bytes > MAX_HELD_BYTES {
            let detail = "the form has more than 64 KiB beside its file";
            return Err(refusal::invalid_form(detail));
        }
        Ok(Some(slice))
    }
}

/// A refusal on its way through the parser.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.detail)]
struct Refused(ApiError);

/// Our own refusal if that is what ended the form, or else the parser's complaint.
fn refused(error: MultipartError) -> ApiError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(Refused(refusal)) = error.downcast_ref() {
            return refusal.clone();
        }
        cause = error.source();
    }
    refusal::invalid_form(error.body_text())
}
