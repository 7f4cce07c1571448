//! The app's models: fetched file by file from the server, each verified by its hash, put in
//! place all at once, and taken back if they turn out bad. With them the preprocessing that
//! training uses, and the check that this device computes what training computed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use schemas::ModelId;
use schemas::training::ModelList;
use serde::{Deserialize, Serialize};

use crate::TintypeError;
use crate::queue::write_whole;
use crate::settings::{check_key, check_server, url};
use crate::transport::{self, HttpRequest, HttpResponse, Transport};
use crate::upload::problem;

mod fetch;

mod files;
use files::Manifest;

mod preprocess;
pub use preprocess::{InputOrder, Preprocessor};

mod check;
pub use check::{CheckReport, ModelRuntime};

/// Which model an app wants.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum ModelChoice {
    /// The newest of a dataset, by name or id.
    NewestOf {
        /// The dataset.
        dataset: String,
    },
    /// This one.
    Model {
        /// Its id.
        id: String,
    },
}

/// A model on this device, whole and verified.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct InstalledModel {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it tells apart, in class order.
    pub labels: Vec<String>,
    /// The folder of its files. It stays until another model has taken its place twice.
    pub folder: String,
    /// The names of its files that were fetched.
    pub files: Vec<String>,
}

/// What an update found.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ModelUpdate {
    /// The model to be used now.
    pub model: InstalledModel,
    /// Whether it is another one than before.
    pub is_new: bool,
}

/// The store: one for each folder.
#[derive(uniffi::Object)]
pub struct Models {
    folder: PathBuf,
    server: String,
    key: String,
    transport: Arc<dyn Transport>,
    /// One change at a time; the pointer as it stands in the folder.
    pointer: Mutex<Pointer>,
}

/// `models.json`: which model is in use. Changing it is the swap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Pointer {
    current: Option<ModelId>,
    previous: Option<ModelId>,
    /// Models that were taken back: an update passes over them.
    #[serde(default)]
    bad: Vec<ModelId>,
}

/// Models that were taken back and are remembered. More than an app sees in years.
const MAX_BAD: usize = 100;

#[uniffi::export]
impl Models {
    /// Opens the store in a folder, or makes an empty one there.
    #[uniffi::constructor]
    pub fn open(
        folder: String,
        server: String,
        key: String,
        transport: Option<Arc<dyn Transport>>,
    ) -> Result<Arc<Self>, TintypeError> {
        check_server(&server)?;
        check_key(&key)?;
        let folder = PathBuf::from(folder);
        std::fs::create_dir_all(&folder)
            .map_err(|error| TintypeError::io("making the folder", &folder, &error))?;
        let pointer = read_pointer(&folder)?;
        files::sweep(&folder, &pointer.kept());
        Ok(Arc::new(Self {
            folder,
            server,
            key,
            transport: transport::of_host(transport)?,
            pointer: Mutex::new(pointer),
        }))
    }

    /// Fetches the model if it is not here yet: manifest, labels, preprocessing, golden
    /// answers and these files, such as `model.tflite`. Nothing changes unless all of them
    /// have the hash that the manifest says; a cut connection or a kill leaves the model
    /// that was in use.
    pub fn update(
        &self,
        choice: ModelChoice,
        files: Vec<String>,
    ) -> Result<ModelUpdate, TintypeError> {
        let mut pointer = self.pointer.lock().unwrap_or_else(PoisonError::into_inner);
        let id = self.resolve(&choice, &pointer)?;
        if pointer.current == Some(id)
            && let Ok(model) = self.installed(id, &files)
        {
            return Ok(ModelUpdate {
                model,
                is_new: false,
            });
        }
        self.fetch(id, &files)?;
        let model = self.installed(id, &files)?;
        let is_new = pointer.current != Some(id);
        if is_new {
            let mut next = pointer.clone();
            next.previous = next.current.replace(id);
            self.swap(&mut pointer, next)?;
        }
        Ok(ModelUpdate { model, is_new })
    }

    /// The model in use, verified anew; nothing if none was fetched yet. A file that has
    /// changed since it was fetched is an error: fetch again, or take the model back.
    pub fn current(&self) -> Result<Option<InstalledModel>, TintypeError> {
        let pointer = self.pointer.lock().unwrap_or_else(PoisonError::into_inner);
        pointer
            .current
            .map(|id| self.installed(id, &[]))
            .transpose()
    }

    /// Goes back to the model before this one, which is not installed again: later updates
    /// wait for a newer one. The model then in use.
    pub fn roll_back(&self) -> Result<InstalledModel, TintypeError> {
        let mut pointer = self.pointer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(previous) = pointer.previous else {
            return Err(TintypeError::model("there is no model to go back to"));
        };
        let model = self.installed(previous, &[])?;
        let mut next = pointer.clone();
        next.bad.extend(next.current);
        let over = next.bad.len().saturating_sub(MAX_BAD);
        next.bad.drain(..over);
        next.current = Some(previous);
        next.previous = None;
        self.swap(&mut pointer, next)?;
        Ok(model)
    }

    /// The preprocessing of the model in use.
    pub fn preprocessor(&self) -> Result<Arc<Preprocessor>, TintypeError> {
        let folder = self.current_folder()?;
        let spec = files::read_json(&folder.join("preprocess.json"))?;
        Preprocessor::of(spec)
    }

    /// Lets the app's runtime answer the golden pictures with the model in use. `file` is
    /// the one that it has loaded, such as `model.tflite`: what differences are allowed
    /// depends on it.
    pub fn check(
        &self,
        file: String,
        order: InputOrder,
        runtime: Arc<dyn ModelRuntime>,
    ) -> Result<CheckReport, TintypeError> {
        let folder = self.current_folder()?;
        let manifest: Manifest = files::read_json(&folder.join("manifest.json"))?;
        let golden = files::read_json(&folder.join("golden.json"))?;
        let spec = files::read_json(&folder.join("preprocess.json"))?;
        let tolerance = manifest.tolerance(&file)?;
        check::check(&golden, &spec, order, tolerance, runtime.as_ref())
    }
}

impl Models {
    /// The model that is meant.
    fn resolve(&self, choice: &ModelChoice, pointer: &Pointer) -> Result<ModelId, TintypeError> {
        match choice {
            ModelChoice::Model { id } => id
                .parse()
                .map_err(|_| TintypeError::settings(format!("{id:?} is no model's id"))),
            ModelChoice::NewestOf { dataset } => {
                let path = format!("/v1/models?dataset={dataset}");
                let response = self.get(HttpRequest::new("GET", url(&self.server, &path)))?;
                let list: ModelList = serde_json::from_slice(&response.body).map_err(|error| {
                    TintypeError::model(format!("the server's list of models: {error}"))
                })?;
                let mut ids = list.models.iter().map(|model| model.id);
                let id = ids.find(|id| !pointer.bad.contains(id));
                id.or(pointer.current).ok_or_else(|| {
                    let detail = format!("dataset {dataset} has no model yet");
                    TintypeError::model(detail)
                })
            }
        }
    }

    /// Sends a request with the key; answers that are none of 200 and 304 are errors.
    fn get(&self, request: HttpRequest) -> Result<HttpResponse, TintypeError> {
        let response = self.transport.send(request.authorized(&self.key))?;
        if matches!(response.status, 200 | 304) {
            return Ok(response);
        }
        let reason = problem(&response);
        Err(TintypeError::Server {
            status: response.status,
            code: reason.code,
            detail: reason.detail,
        })
    }

    fn place(&self, id: ModelId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn current_folder(&self) -> Result<PathBuf, TintypeError> {
        let pointer = self.pointer.lock().unwrap_or_else(PoisonError::into_inner);
        let id = pointer.current;
        let id = id.ok_or_else(|| TintypeError::model("no model was fetched yet"))?;
        Ok(self.place(id))
    }

    /// A model whose files all are as the manifest says; of these names each must be there.
    fn installed(&self, id: ModelId, wanted: &[String]) -> Result<InstalledModel, TintypeError> {
        files::verify(&self.place(id), id, wanted)
    }

    /// The swap: from here on the next start sees the other model as well.
    fn swap(&self, pointer: &mut Pointer, next: Pointer) -> Result<(), TintypeError> {
        let path = pointer_path(&self.folder);
        let json = serde_json::to_vec_pretty(&next).unwrap_or_default();
        write_whole(&path, &json).map_err(|error| TintypeError::io("writing", &path, &error))?;
        *pointer = next;
        files::sweep(&self.folder, &pointer.kept());
        Ok(())
    }
}

impl Pointer {
    fn kept(&self) -> Vec<String> {
        let ids = self.current.iter().chain(&self.previous);
        ids.map(ToString::to_string).collect()
    }
}

fn pointer_path(folder: &Path) -> PathBuf {
    folder.join("models.json")
}

/// A pointer that cannot be read points at nothing: the next update fetches again.
fn read_pointer(folder: &Path) -> Result<Pointer, TintypeError> {
    let path = pointer_path(folder);
    match std::fs::read(&path) {
        Ok(json) => Ok(serde_json::from_slice(&json).unwrap_or_default()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Pointer::default()),
        Err(error) => Err(TintypeError::io("reading", &path, &error)),
    }
}
