//! Models: each made once by one training, listed, fetched, and deleted.

use schemas::training::Model;
use schemas::{DatasetId, ModelId, TrainingId};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::database::Change;
use crate::datasets::may_see;
use crate::error::Doing;
use crate::{Catalog, CatalogError, Principal};

/// Models on a page.
const MAX_LISTED: i64 = 200;

impl Catalog {
    /// Enters a model. A training makes one: if it is there already, nothing changes, and
    /// the id that counts comes back.
    ///
    /// # Errors
    /// The database fails.
    pub async fn add_model(&self, owner: &str, model: &Model) -> Result<ModelId, CatalogError> {
        let (owner, model) = (owner.to_owned(), model.clone());
        self.write("add_model", Change::None, move |db| {
            Box::pin(async move {
                let doing = || format!("entering model {}", model.id);
                let body = serde_json::to_string(&model).expect("a model has a JSON form");
                sqlx::query(
                    "INSERT INTO models (id, owner, dataset_id, training_id, body, created_at_us) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                )
                .bind(model.id.to_string())
                .bind(owner)
                .bind(model.dataset.as_str())
                .bind(model.training.to_string())
                .bind(body)
                .bind(model.created_at.timestamp_micros())
                .execute(&mut *db)
                .await
                .doing(doing)?;
                let id: String = sqlx::query_scalar("SELECT id FROM models WHERE training_id = $1")
                    .bind(model.training.to_string())
                    .fetch_one(db)
                    .await
                    .doing(doing)?;
                id.parse().map_err(|fault| damaged(&id, &fault))
            })
        })
        .await
    }

    /// The model that a training has made, if it has.
    ///
    /// # Errors
    /// The database fails.
    pub async fn model_of_training(
        &self,
        training: TrainingId,
    ) -> Result<Option<Model>, CatalogError> {
        let found = sqlx::query("SELECT id, body FROM models WHERE training_id = $1");
        let row = found.bind(training.to_string());
        let row = row.fetch_optional(self.readers());
        let row = self.read("model_of_training", row).await?;
        row.as_ref().map(read_model).transpose()
    }

    /// The model with this id, if the caller may see it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_model(
        &self,
        principal: &Principal,
        id: ModelId,
    ) -> Result<Option<Model>, CatalogError> {
        let found = sqlx::query("SELECT id, body FROM models WHERE id = $1 AND owner = $2");
        let row = found.bind(id.to_string()).bind(&principal.owner);
        let row = row.fetch_optional(self.readers());
        let row = self.read("find_model", row).await?;
        let model = row.as_ref().map(read_model).transpose()?;
        Ok(model.filter(|model| may_see(principal, &model.dataset)))
    }

    /// The newest models that the caller may see, of one dataset or of all.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list_models(
        &self,
        principal: &Principal,
        dataset: Option<&DatasetId>,
    ) -> Result<Vec<Model>, CatalogError> {
        let found = sqlx::query(
            "SELECT id, body FROM models WHERE owner = $1 \
             AND ($2 = '' OR dataset_id = $2) ORDER BY id DESC LIMIT $3",
        );
        let only = dataset.or(principal.dataset.as_ref());
        let found = found
            .bind(&principal.owner)
            .bind(only.map_or("", DatasetId::as_str))
            .bind(MAX_LISTED);
        let rows = self.read("list_models", found.fetch_all(self.readers()));
        let models: Vec<Model> = rows
            .await?
            .iter()
            .map(read_model)
            .collect::<Result<_, CatalogError>>()?;
        let visible = |model: &Model| may_see(principal, &model.dataset);
        Ok(models.into_iter().filter(visible).collect())
    }

    /// Forgets a model. Its files go first: until then it can be deleted again.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_model(&self, id: ModelId) -> Result<(), CatalogError> {
        self.write("forget_model", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query("DELETE FROM models WHERE id = $1")
                    .bind(id.to_string())
                    .execute(db)
                    .await
                    .doing(|| format!("forgetting model {id}"))?;
                Ok(())
            })
        })
        .await
    }
}

fn read_model(row: &AnyRow) -> Result<Model, CatalogError> {
    let doing = || "reading a model".into();
    let id: String = row.try_get("id").doing(doing)?;
    let body: String = row.try_get("body").doing(doing)?;
    serde_json::from_str(&body).map_err(|fault| damaged(&id, &fault))
}

fn damaged(id: &str, fault: &dyn std::fmt::Display) -> CatalogError {
    CatalogError::Damaged {
        what: "model",
        id: id.into(),
        fault: fault.to_string(),
    }
}
