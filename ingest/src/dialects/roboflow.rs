//! Roboflow's `POST /dataset/{project}/upload`, and `.../annotate/{image}` which then tells
//! the class. Between the two a photo is kept without being a capture. The key stands in
//! the query. With the address `.../roboflow`, its Python package finds a workspace and
//! projects there: the datasets.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use catalog::Principal;
use catalog::http::{ApiError, read_json, require_dataset};
use schemas::CaptureId;
use schemas::http::Dataset;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{UNLABELLED, principal_of};
use crate::body::RequestBody;
use crate::fields::{Details, Fields};
use crate::form::Form;
use crate::meter::{Limits, Meter};
use crate::photo::PhotoReader;
use crate::refusal;
use crate::service::Service;
use crate::uploads::{self, Head, Kind, Outcome, Trouble};

pub(super) fn router(service: Arc<Service>) -> Router {
    let uploads = Router::new()
        .route("/dataset/{project}/upload", post(upload))
        .route("/dataset/{project}/annotate/{image}", post(annotate));
    let package = uploads
        .clone()
        .route("/", post(workspace_of_key))
        .route("/{workspace}", get(workspace))
        .route("/{workspace}/{project}", get(project));
    // `nest` gives `/roboflow` but not `/roboflow/`, which the package asks.
    let slash = Router::new().route("/roboflow/", post(workspace_of_key));
    let all = uploads.merge(slash).nest("/roboflow", package);
    all.with_state(service)
}

/// What stands in the address. A query may have more; it is left aside.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    api_key: Option<String>,
    name: Option<String>,
    split: Option<String>,
    batch: Option<String>,
    /// A picture for the server to fetch.
    image: Option<String>,
}

async fn upload(
    State(service): State<Arc<Service>>,
    Path(project): Path<String>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    let (request, body) = request.into_parts();
    let body = RequestBody::new(body);
    if asked.image.is_some() {
        // Whoever lets a server fetch what others name opens its network to them.
        let words = "Could not fetch image URL: this server fetches none; send the file";
        return (StatusCode::BAD_REQUEST, words).into_response();
    }
    match take_file(&service, &project, asked, &request, body.clone()).await {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(trouble) => body.linger(refuse(&trouble.refusal), &request),
    }
}

async fn take_file(
    service: &Arc<Service>,
    project: &str,
    asked: Asked,
    request: &request::Parts,
    body: RequestBody,
) -> Result<Value, Trouble> {
    let principal = principal_of(service, asked.api_key.as_deref()).await?;
    let dataset = require_dataset(&service.catalog, &principal, project).await?;
    let _place = service.admission.enter().await?;
    let limits = Limits::of(&request.headers, true, &service.settings)?;
    let mut form = Form::open(request, Meter::new(body, limits)).await?;
    let (mut name, mut split) = (asked.name, asked.split);
    let mut fields = Fields::default();
    let mut photo = None;
    while let Some(part) = form.next().await? {
        match part.name() {
            Some("file") if photo.is_none() => {
                let room = service.admission.room(0).await?;
                let reader = PhotoReader::new(service.settings.max_body_bytes, room);
                photo = Some(part.photo(reader).await?);
            }
            Some("name") => name = Some(part.text().await?),
            Some("split") => split = Some(part.text().await?),
            Some("metadata") => fields.set_part("metadata", &part.text().await?)?,
            _ => {}
        }
    }
    let photo = photo.ok_or_else(|| refusal::invalid_form("the form has no part `file`"))?;
    let hashes = [photo.sha256];
    let known = crate::known::known(&service.catalog, &dataset.id, &hashes).await?;
    if let Some(twin) = known.get(&photo.sha256) {
        return Ok(json!({"duplicate": true, "id": twin}));
    }
    fields.set_part("label", UNLABELLED)?;
    let mut details = fields.finish()?;
    for (key, value) in [("name", name), ("split", split), ("batch", asked.batch)] {
        if let Some(value) = value {
            details.metadata.insert(format!("roboflow.{key}"), value);
        }
    }
    let head = Head {
        kind: Kind::Unlabelled,
        details: Some(details),
        idempotency_key: None,
        sha256: Some(photo.sha256.to_string()),
        tus_metadata: None,
    };
    let id = uploads::hold(service, &principal, &dataset.id, &head, photo).await?;
    Ok(json!({"success": true, "id": id}))
}

#[derive(Debug, Deserialize)]
struct Annotation {
    #[serde(rename = "annotationFile")]
    file: Value,
}

async fn annotate(
    State(service): State<Arc<Service>>,
    Path((project, image)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    let annotated = async {
        let principal = principal_of(&service, asked.api_key.as_deref()).await?;
        let dataset = require_dataset(&service.catalog, &principal, &project).await?;
        let annotation: Annotation = read_json(request).await?;
        let Some(class) = annotation.file.as_str() else {
            let detail = "the annotation of a photo is its class, one text";
            return Err(ApiError::bad_request("invalid_annotation", detail).into());
        };
        label(&service, &principal, &dataset, &image, class).await
    };
    match annotated.await {
        Ok(answer) => answer,
        Err(trouble) => refuse(&trouble.refusal),
    }
}

/// Takes a photo that waited in under its label.
async fn label(
    service: &Arc<Service>,
    principal: &Principal,
    dataset: &Dataset,
    image: &str,
    class: &str,
) -> Result<Response, Trouble> {
    if let Ok(id) = image.parse::<CaptureId>()
        && service.catalog.find_capture(principal, id).await?.is_some()
    {
        return Ok(already_annotated());
    }
    let upload = uploads::find(service, principal, image).await?;
    let mut head = Head::of(&upload)?;
    if upload.dataset != dataset.id || head.kind != Kind::Unlabelled {
        return Err(Trouble::unknown());
    }
    if upload.answer.is_some() {
        return Ok(already_annotated());
    }
    let mut fields = Fields::default();
    fields.set_part("label", class)?;
    let told = fields.finish()?;
    head.details = head.details.map(|details| Details {
        label: told.label,
        ..details
    });
    match uploads::complete_now(service, principal, upload, head).await? {
        Outcome::Complete { answer, .. } if answer.status < 300 => {
            Ok(axum::Json(json!({"success": true})).into_response())
        }
        Outcome::Complete { answer, .. } => Ok(crate::draft::last_answer(&answer)),
        Outcome::Grown { .. } => Err(refusal::internal().into()),
    }
}

/// Its clients take this for no error.
fn already_annotated() -> Response {
    let body = json!({"error": {"message": "Image was already annotated."}});
    (StatusCode::CONFLICT, axum::Json(body)).into_response()
}

async fn workspace_of_key(
    State(service): State<Arc<Service>>,
    Query(asked): Query<Asked>,
) -> Response {
    match principal_of(&service, asked.api_key.as_deref()).await {
        Ok(principal) => axum::Json(json!({"workspace": principal.owner})).into_response(),
        Err(refusal) => refuse(&refusal),
    }
}

async fn workspace(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let listed = async {
        let principal = principal_of(&service, asked.api_key.as_deref()).await?;
        let datasets = service.catalog.list_datasets(&principal).await?;
        let projects = datasets.iter().map(|dataset| described(&name, dataset));
        let projects: Vec<_> = projects.collect();
        Ok(json!({"workspace": {"name": name, "url": name, "projects": projects}}))
    };
    answer(listed.await)
}

async fn project(
    State(service): State<Arc<Service>>,
    Path((workspace, project)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    let found = async {
        let principal = principal_of(&service, asked.api_key.as_deref()).await?;
        let dataset = require_dataset(&service.catalog, &principal, &project).await?;
        let name = json!({"name": workspace, "url": workspace});
        Ok(json!({"workspace": name, "project": described(&workspace, &dataset), "versions": []}))
    };
    answer(found.await)
}

/// A dataset as a project. What is counted elsewhere is not counted here.
fn described(workspace: &str, dataset: &Dataset) -> Value {
    let classes: serde_json::Map<_, _> = dataset
        .labels
        .iter()
        .map(|label| (label.to_string(), json!(0)))
        .collect();
    let created = dataset.created_at.timestamp();
    json!({
        "id": format!("{workspace}/{}", dataset.name), "name": dataset.name,
        "type": "classification", "annotation": dataset.name, "multilabel": false,
        "classes": classes, "colors": {}, "splits": {}, "images": 0, "unannotated": 0,
        "public": false, "created": created, "updated": created,
    })
}

fn answer(answer: Result<Value, ApiError>) -> Response {
    match answer {
        Ok(body) => axum::Json(body).into_response(),
        Err(refusal) => refuse(&refusal),
    }
}

fn refuse(refusal: &ApiError) -> Response {
    let error = json!({"message": refusal.detail, "type": refusal.code, "hint": refusal.hint});
    let mut response = (refusal.status, axum::Json(json!({"error": error}))).into_response();
    if let Some(seconds) = refusal.retry_after_s {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
