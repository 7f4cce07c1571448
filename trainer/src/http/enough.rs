//! Whether a dataset has what a spec asks for, before a training is queued: its version,
//! enough classes, and enough photos of each. What can only be known from the rows
//! themselves, the worker says.

use std::collections::BTreeMap;

use catalog::Catalog;
use catalog::http::ApiError;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use schemas::training::TrainingSpec;
use schemas::{DatasetId, ObjectKey, Status};

/// Labels that an error's text names; its field `shortfall` has all.
const MAX_NAMED: usize = 8;

/// Checks it by the catalog's counts, which are seconds ahead of the table.
///
/// # Errors
/// `unknown_version`, `too_few_classes` or `too_few_photos`; the catalog or the store fails.
pub(super) async fn check(
    catalog: &Catalog,
    objects: &dyn ObjectStore,
    dataset: &DatasetId,
    spec: &TrainingSpec,
) -> Result<(), ApiError> {
    if let Some(version) = spec.table_version {
        // The counts are those of today, not of then.
        return check_version(objects, dataset, version).await;
    }
    let stats = catalog.dataset_stats(dataset).await?;
    let accepted = |label: &str| {
        let statuses = stats.labels.get(label)?;
        statuses.get(Status::Accepted.as_str()).copied()
    };
    let counts: BTreeMap<&str, u64> = if spec.classes.is_empty() {
        let labels = stats.labels.keys().map(String::as_str);
        let counted = labels.filter_map(|label| Some((label, accepted(label)?)));
        counted.filter(|(_, count)| *count > 0).collect()
    } else {
        let labels = spec.classes.iter().map(schemas::Label::as_str);
        labels
            .map(|label| (label, accepted(label).unwrap_or(0)))
            .collect()
    };
    check_counts(&counts, spec.min_photos_per_class)
}

fn check_counts(counts: &BTreeMap<&str, u64>, min: u32) -> Result<(), ApiError> {
    if counts.len() < 2 {
        let detail = match counts.keys().next() {
            None => "the dataset has no accepted photos yet".to_owned(),
            Some(label) => format!("every accepted photo has the label {label:?}"),
        };
        return Err(ApiError::unprocessable("too_few_classes", detail)
            .hint("a classifier needs photos of at least two labels: upload some"));
    }
    let min = u64::from(min);
    let short = counts.iter().filter(|(_, count)| **count < min);
    let shortfall: BTreeMap<String, u64> = short
        .map(|(label, count)| ((*label).to_owned(), min - count))
        .collect();
    if shortfall.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = shortfall
        .iter()
        .take(MAX_NAMED)
        .map(|(label, missing)| format!("{label:?} has {} and needs {missing} more", min - missing))
        .collect();
    if shortfall.len() > MAX_NAMED {
        named.push(format!("{} others lack some", shortfall.len() - MAX_NAMED));
    }
    let detail = format!(
        "at least {min} accepted photos of each label are needed: {}",
        named.join("; ")
    );
    let mut error = ApiError::unprocessable("too_few_photos", detail).hint(
        "upload more photos of them, leave them out with classes, or lower min_photos_per_class",
    );
    error.shortfall = Some(Box::new(shortfall));
    Err(error)
}

/// Whether the table's log has that version, as a commit or a checkpoint.
async fn check_version(
    objects: &dyn ObjectStore,
    dataset: &DatasetId,
    version: i64,
) -> Result<(), ApiError> {
    let table = ObjectKey::PhotosTable {
        dataset: dataset.clone(),
    };
    for end in ["json", "checkpoint.parquet"] {
        let path = Path::from(format!("{table}/_delta_log/{version:020}.{end}"));
        match objects.head(&path).await {
            Ok(_) => return Ok(()),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, %path, "looking for a table version failed");
                let detail = "the object store does not answer";
                return Err(ApiError::unavailable("store_unavailable", detail, 5));
            }
        }
    }
    let detail = format!("table_version: the table has no version {version}");
    Err(ApiError::unprocessable("unknown_version", detail)
        .hint("GET the dataset's stats for its newest version, or leave table_version out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortfall_is_told_label_by_label() {
        let counts = BTreeMap::from([("cat", 5), ("dog", 3), ("owl", 0)]);
        let error = check_counts(&counts, 5).unwrap_err();
        assert_eq!((error.status.as_u16(), error.code), (422, "too_few_photos"));
        let expected = BTreeMap::from([("dog".to_owned(), 2), ("owl".to_owned(), 5)]);
        assert_eq!(error.problem().shortfall, expected);
        assert!(error.detail.contains("\"dog\" has 3 and needs 2 more"));
        assert!(check_counts(&counts, 1).is_err());
        assert!(check_counts(&BTreeMap::from([("cat", 5), ("dog", 5)]), 5).is_ok());
    }

    #[test]
    fn one_label_is_no_question() {
        for counts in [BTreeMap::new(), BTreeMap::from([("cat", 900)])] {
            assert_eq!(
                check_counts(&counts, 1).unwrap_err().code,
                "too_few_classes"
            );
        }
    }
}
