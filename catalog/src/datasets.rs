//! Datasets: names, labels and policies, within one owner. A deleted one is found by
//! nobody, takes no photos and no verdicts, and its name is free.

use std::collections::HashMap;
use std::time::Instant;

use schemas::http::{CreateDataset, Dataset, DatasetPolicy, PatchDataset};
use schemas::{DatasetId, Label};
use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::catalog::time;
use crate::database::Change;
use crate::error::Doing;
use crate::{Catalog, CatalogError, Principal};

/// Datasets of one owner. All of them stand in one answer of the API.
pub(crate) const MAX_DATASETS: u64 = 1_000;
/// Labels of one dataset: every upload is checked against them, and no phone tells
/// more classes apart.
pub(crate) const MAX_LABELS: u64 = 10_000;
/// Labels of one owner; with [`MAX_DATASETS`] they bound the list of datasets to 25 MB.
pub(crate) const MAX_OWNER_LABELS: u64 = 100_000;

impl Catalog {
    /// Makes a dataset.
    ///
    /// # Errors
    /// The name is taken or breaks its rule; there are too many datasets or labels;
    /// the policy's distances are beyond the length of the hashes; the database fails.
    pub async fn create_dataset(
        &self,
        owner: &str,
        create: &CreateDataset,
    ) -> Result<Dataset, CatalogError> {
        let id = DatasetId::for_name(&create.name).map_err(|_| CatalogError::Invalid {
            what: "dataset name",
            given: create.name.clone(),
            rule: "1 to 64 of a-z, 0-9, '-' and '_' are needed, beginning with a letter or a \
                   digit"
                .into(),
        })?;
        check_policy(&create.policy)?;
        let mut labels = create.labels.clone();
        labels.sort();
        labels.dedup();
        let dataset = Dataset {
            id,
            name: create.name.clone(),
            labels,
            policy: create.policy.clone(),
            created_at: time(self.now_us()),
        };
        let (owner, row) = (owner.to_owned(), dataset.clone());
        let inserted = self.write("create_dataset", Change::Datasets, move |db| {
            Box::pin(async move { insert_dataset(db, &owner, &row).await })
        });
        inserted.await?;
        Ok(dataset)
    }

    /// The dataset with this name or id, if the caller may see it. An id wins over an
    /// equal name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_dataset(
        &self,
        principal: &Principal,
        name_or_id: &str,
    ) -> Result<Option<Dataset>, CatalogError> {
        let datasets = &self.inner.caches.datasets;
        let key = (principal.owner.clone(), name_or_id.to_owned());
        let dataset = match datasets.get(&key, Instant::now()) {
            Ok(dataset) => dataset,
            Err(generation) => {
                let Some(dataset) = self.load_dataset(&principal.owner, name_or_id).await? else {
                    return Ok(None);
                };
                let weight = 1 + dataset.labels.len();
                datasets.put(generation, key, dataset.clone(), weight, Instant::now());
                dataset
            }
        };
        Ok(Some(dataset).filter(|dataset| may_see(principal, &dataset.id)))
    }

    /// The datasets that the caller may see, by name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list_datasets(&self, principal: &Principal) -> Result<Vec<Dataset>, CatalogError> {
        let found = sqlx::query(
            "SELECT id, name, policy, created_at_us FROM datasets \
             WHERE owner = $1 AND deleted_at_us IS NULL ORDER BY name",
        );
        let rows = found.bind(&principal.owner).fetch_all(self.readers());
        let rows = self.read("list_datasets", rows).await?;
        let labels = sqlx::query(
            "SELECT labels.dataset_id, labels.label FROM labels \
             JOIN datasets ON datasets.id = labels.dataset_id \
             WHERE datasets.owner = $1 AND datasets.deleted_at_us IS NULL",
        );
        let labels = labels.bind(&principal.owner).fetch_all(self.readers());
        let mut labels_by_dataset: HashMap<String, Vec<Label>> = HashMap::new();
        for row in self.read("list_labels", labels).await? {
            let doing = || "reading a label".into();
            let dataset: String = row.try_get("dataset_id").doing(doing)?;
            let label: String = row.try_get("label").doing(doing)?;
            let label = read_label(&dataset, &label)?;
            labels_by_dataset.entry(dataset).or_default().push(label);
        }
        let datasets = rows.iter().map(|row| {
            let mut dataset = read_dataset(row)?;
            dataset.labels = labels_by_dataset
                .remove(dataset.id.as_str())
                .unwrap_or_default();
            dataset.labels.sort();
            Ok(dataset)
        });
        let datasets: Vec<Dataset> = datasets.collect::<Result<_, CatalogError>>()?;
        let visible = |dataset: &Dataset| may_see(principal, &dataset.id);
        Ok(datasets.into_iter().filter(visible).collect())
    }

    /// The names of the datasets that the caller may see.
    pub(crate) async fn dataset_names(
        &self,
        principal: &Principal,
    ) -> Result<Vec<String>, CatalogError> {
        let found = sqlx::query(
            "SELECT id, name FROM datasets WHERE owner = $1 AND deleted_at_us IS NULL \
             AND ($2 = '' OR id = $2)",
        );
        let bound_to = principal.dataset.as_ref().map_or("", DatasetId::as_str);
        let found = found.bind(&principal.owner).bind(bound_to);
        let rows = self
            .read("dataset_names", found.fetch_all(self.readers()))
            .await?;
        let names = rows.iter().map(|row| row.try_get("name"));
        names
            .collect::<Result<_, _>>()
            .doing(|| "reading the names of datasets".into())
    }

    /// Adds labels to the list and replaces the policy, if given.
    ///
    /// # Errors
    /// There would be too many labels; the policy breaks its rule; the database fails.
    pub async fn patch_dataset(
        &self,
        dataset: &DatasetId,
        patch: &PatchDataset,
    ) -> Result<(), CatalogError> {
        let policy = patch.policy.as_ref().map(|policy| {
            check_policy(policy)?;
            Ok(write_policy(policy))
        });
        let policy: Option<String> = policy.transpose()?;
        let (dataset, labels) = (dataset.clone(), patch.add_labels.clone());
        self.write("patch_dataset", Change::Datasets, move |db| {
            Box::pin(async move {
                insert_labels(db, &dataset, &labels).await?;
                let Some(policy) = policy else { return Ok(()) };
                sqlx::query("UPDATE datasets SET policy = $2 WHERE id = $1")
                    .bind(dataset.as_str())
                    .bind(policy)
                    .execute(db)
                    .await
                    .doing(|| format!("changing the policy of {dataset}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Adds labels to the list; those that stand there already stay. A deleted
    /// dataset gets none.
    ///
    /// # Errors
    /// There would be more than 10,000, or 100,000 over the owner's datasets; the
    /// database fails.
    pub async fn add_labels(
        &self,
        dataset: &DatasetId,
        labels: &[Label],
    ) -> Result<(), CatalogError> {
        let patch = PatchDataset {
            add_labels: labels.to_vec(),
            policy: None,
        };
        self.patch_dataset(dataset, &patch).await
    }

    async fn load_dataset(
        &self,
        owner: &str,
        name_or_id: &str,
    ) -> Result<Option<Dataset>, CatalogError> {
        let found = sqlx::query(
            "SELECT id, name, policy, created_at_us FROM datasets WHERE owner = $1 \
             AND deleted_at_us IS NULL AND (id = $2 OR name = $2) ORDER BY id = $2 DESC LIMIT 1",
        );
        let found = found.bind(owner).bind(name_or_id);
        let found = self
            .read("find_dataset", found.fetch_optional(self.readers()))
            .await?;
        let Some(row) = found else { return Ok(None) };
        let mut dataset = read_dataset(&row)?;
        let labels =
            sqlx::query_scalar::<_, String>("SELECT label FROM labels WHERE dataset_id = $1");
        let labels = labels.bind(dataset.id.as_str()).fetch_all(self.readers());
        let labels = self.read("find_labels", labels).await?;
        let labels = labels
            .iter()
            .map(|text| read_label(dataset.id.as_str(), text));
        dataset.labels = labels.collect::<Result<_, _>>()?;
        // In the order of Rust, not of the database's language: callers search in it.
        dataset.labels.sort();
        Ok(Some(dataset))
    }
}

/// Whether the caller's key is good for this dataset of the caller's owner.
pub(crate) fn may_see(principal: &Principal, dataset: &DatasetId) -> bool {
    principal
        .dataset
        .as_ref()
        .is_none_or(|only| only == dataset)
}

/// Whether verdicts and photos for this dataset are still wanted.
pub(crate) async fn is_living(
    db: &mut AnyConnection,
    dataset: &DatasetId,
) -> Result<bool, CatalogError> {
    let found = sqlx::query_scalar::<_, i64>(
        "SELECT COUNT(*) FROM datasets WHERE id = $1 AND deleted_at_us IS NULL",
    );
    let count = found.bind(dataset.as_str()).fetch_one(db).await;
    Ok(count.doing(|| format!("finding dataset {dataset}"))? > 0)
}

async fn insert_dataset(
    db: &mut AnyConnection,
    owner: &str,
    dataset: &Dataset,
) -> Result<(), CatalogError> {
    let doing = || format!("making dataset {}", dataset.id);
    let num_datasets = sqlx::query_scalar::<_, i64>(
        "SELECT COUNT(*) FROM datasets WHERE owner = $1 AND deleted_at_us IS NULL",
    );
    let num_datasets = num_datasets.bind(owner).fetch_one(&mut *db).await;
    if num_datasets.doing(doing)? >= MAX_DATASETS.cast_signed() {
        return Err(CatalogError::Limit {
            owner: "an owner",
            limit: MAX_DATASETS,
            things: "datasets",
        });
    }
    let inserted = sqlx::query(
        "INSERT INTO datasets (id, owner, name, policy, created_at_us) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(dataset.id.as_str())
    .bind(owner)
    .bind(&dataset.name)
    .bind(write_policy(&dataset.policy))
    .bind(dataset.created_at.timestamp_micros())
    .execute(&mut *db)
    .await
    .doing(doing)?;
    if inserted.rows_affected() == 0 {
        return Err(CatalogError::NameTaken {
            name: dataset.name.clone(),
        });
    }
    insert_labels(db, &dataset.id, &dataset.labels).await
}

async fn insert_labels(
    db: &mut AnyConnection,
    dataset: &DatasetId,
    labels: &[Label],
) -> Result<(), CatalogError> {
    if labels.is_empty() || !is_living(db, dataset).await? {
        return Ok(());
    }
    let doing = || format!("adding labels to {dataset}");
    let mut num_new = 0;
    for label in labels {
        let inserted = sqlx::query(
            "INSERT INTO labels (dataset_id, label) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(dataset.as_str())
        .bind(label.as_str())
        .execute(&mut *db)
        .await;
        num_new += inserted.doing(doing)?.rows_affected();
        // Told at once: a request with a million labels must not hold the others up.
        if num_new > MAX_LABELS {
            return Err(too_many_labels("a dataset", MAX_LABELS));
        }
    }
    let of_dataset =
        sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM labels WHERE dataset_id = $1");
    let of_dataset = of_dataset.bind(dataset.as_str()).fetch_one(&mut *db).await;
    if of_dataset.doing(doing)? > MAX_LABELS.cast_signed() {
        return Err(too_many_labels("a dataset", MAX_LABELS));
    }
    let of_owner = sqlx::query_scalar::<_, i64>(
        "SELECT COUNT(*) FROM labels JOIN datasets ON datasets.id = labels.dataset_id \
         WHERE datasets.deleted_at_us IS NULL \
         AND datasets.owner = (SELECT owner FROM datasets WHERE id = $1)",
    );
    let of_owner = of_owner.bind(dataset.as_str()).fetch_one(&mut *db).await;
    if of_owner.doing(doing)? > MAX_OWNER_LABELS.cast_signed() {
        return Err(too_many_labels("an owner's datasets", MAX_OWNER_LABELS));
    }
    Ok(())
}

fn too_many_labels(owner: &'static str, limit: u64) -> CatalogError {
    CatalogError::Limit {
        owner,
        limit,
        things: "labels",
    }
}

fn check_policy(policy: &DatasetPolicy) -> Result<(), CatalogError> {
    let percent = policy.min_label_score_percent;
    if percent > 100 {
        return Err(CatalogError::Invalid {
            what: "min_label_score_percent",
            given: percent.to_string(),
            rule: "a number from 0 to 100 is needed".into(),
        });
    }
    let distances = [
        ("max_phash_distance", policy.max_phash_distance, 64),
        ("max_pdq_distance", policy.max_pdq_distance, 256),
    ];
    for (what, distance, num_bits) in distances {
        if distance > num_bits {
            return Err(CatalogError::Invalid {
                what,
                given: distance.to_string(),
                rule: format!("a number of bits from 0 to {num_bits} is needed"),
            });
        }
    }
    Ok(())
}

fn write_policy(policy: &DatasetPolicy) -> String {
    serde_json::to_string(policy).expect("enums and numbers have a JSON form")
}

fn read_dataset(row: &AnyRow) -> Result<Dataset, CatalogError> {
    let doing = || "reading a dataset".into();
    let id: String = row.try_get("id").doing(doing)?;
    let policy: String = row.try_get("policy").doing(doing)?;
    Ok(Dataset {
        policy: serde_json::from_str(&policy).map_err(|fault| damaged(&id, fault))?,
        id: read_id(&id)?,
        name: row.try_get("name").doing(doing)?,
        labels: Vec::new(),
        created_at: time(row.try_get("created_at_us").doing(doing)?),
    })
}

pub(crate) fn read_id(id: &str) -> Result<DatasetId, CatalogError> {
    id.parse().map_err(|fault| damaged(id, fault))
}

fn read_label(dataset: &str, text: &str) -> Result<Label, CatalogError> {
    text.parse().map_err(|fault| damaged(dataset, fault))
}

pub(crate) fn damaged(id: &str, fault: impl ToString) -> CatalogError {
    CatalogError::Damaged {
        what: "dataset",
        id: id.into(),
        fault: fault.to_string(),
    }
}

#[cfg(test)]
mod tests;
