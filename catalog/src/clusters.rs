//! Kinds of photo: which there are in a dataset, what labels their photos have, and which
//! photos show best what they are. Photos come with their kind; later ones may make it another.

use schemas::events::CaptureDecided;
use schemas::http::{CapturePlace, Cluster, ClusterLabel};
use schemas::{CaptureId, DatasetId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use crate::error::Doing as _;
use crate::{Catalog, CatalogError};

/// Kinds in one answer. A dataset has tens.
const MAX_CLUSTERS: usize = 1_000;
/// Labels told of each kind, and photos that show it.
const MAX_LABELS: usize = 10;
const NUM_REPRESENTATIVES: i64 = 5;

/// An accepted photo that belongs elsewhere by now.
pub(crate) struct Relocation {
    pub(crate) dataset: DatasetId,
    id: CaptureId,
    place: CapturePlace,
}

/// What an outcome says of the photo's kind.
pub(crate) fn place(event: &CaptureDecided) -> Option<CapturePlace> {
    Some(CapturePlace {
        cluster_id: event.cluster_id?,
        distance: event
            .cluster_distance
            .map_or(0.0, f64::from)
            .clamp(0.0, 2.0),
        outlier: event.outlier.unwrap_or_default(),
    })
}

/// An outcome that says nothing but the photo's kind.
pub(crate) fn parse_relocation(event: &CaptureDecided) -> Result<Relocation, String> {
    Ok(Relocation {
        dataset: event.dataset_id.parse().map_err(|e| format!("{e}"))?,
        id: event.capture_id.parse().map_err(|e| format!("{e}"))?,
        place: place(event).ok_or("it names no kind of photo")?,
    })
}

/// Writes down where an accepted photo belongs. One that is not on record is left out.
pub(crate) async fn relocate(
    db: &mut AnyConnection,
    relocation: &Relocation,
) -> Result<(), CatalogError> {
    let Relocation { dataset, id, place } = relocation;
    let relocated = sqlx::query(
        "UPDATE captures SET cluster_id = $3, cluster_distance = $4, outlier = $5 \
         WHERE id = $1 AND dataset_id = $2 AND status = 'accepted'",
    );
    let relocated = relocated
        .bind(id.to_string())
        .bind(dataset.as_str())
        .bind(place.cluster_id)
        .bind(place.distance)
        .bind(i64::from(place.outlier))
        .execute(db)
        .await;
    relocated.doing(|| format!("recording the kind of capture {id}"))?;
    Ok(())
}

impl Catalog {
    /// The dataset's kinds of photo, the largest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list_clusters(&self, dataset: &DatasetId) -> Result<Vec<Cluster>, CatalogError> {
        let counted = sqlx::query(
            "SELECT cluster_id, label, COUNT(*) AS num, COUNT(CASE WHEN outlier <> 0 THEN 1 END) \
             AS num_odd FROM captures WHERE dataset_id = $1 AND cluster_id IS NOT NULL \
             GROUP BY cluster_id, label ORDER BY cluster_id, num DESC, label",
        );
        let counted = counted.bind(dataset.as_str()).fetch_all(self.readers());
        let rows = self.read("list_clusters", counted).await?;
        let doing = || format!("reading the kinds of photo of {dataset}");
        let mut clusters: Vec<Cluster> = Vec::new();
        for row in &rows {
            let cluster_id: i64 = row.try_get("cluster_id").doing(doing)?;
            let label: String = row.try_get("label").doing(doing)?;
            let (num, num_odd) = (number(row, "num", doing)?, number(row, "num_odd", doing)?);
            if clusters
                .last()
                .is_none_or(|last| last.cluster_id != cluster_id)
            {
                clusters.push(Cluster {
                    cluster_id,
                    num_photos: 0,
                    num_outliers: 0,
                    labels: Vec::new(),
                    representatives: Vec::new(),
                });
            }
            if let Some(cluster) = clusters.last_mut() {
                cluster.num_photos += num;
                cluster.num_outliers += num_odd;
                if cluster.labels.len() < MAX_LABELS {
                    let num_photos = num;
                    cluster.labels.push(ClusterLabel { label, num_photos });
                }
            }
        }
        self.add_representatives(dataset, &mut clusters).await?;
        clusters.sort_by_key(|cluster| (u64::MAX - cluster.num_photos, cluster.cluster_id));
        clusters.truncate(MAX_CLUSTERS);
        Ok(clusters)
    }

    /// Expects the clusters in the order of their ids.
    async fn add_representatives(
        &self,
        dataset: &DatasetId,
        clusters: &mut [Cluster],
    ) -> Result<(), CatalogError> {
        let found = sqlx::query(
            "SELECT cluster_id, id FROM (SELECT cluster_id, id, ROW_NUMBER() OVER \
             (PARTITION BY cluster_id ORDER BY outlier, cluster_distance, id) AS place \
             FROM captures WHERE dataset_id = $1 AND cluster_id IS NOT NULL) AS placed \
             WHERE place <= $2 ORDER BY cluster_id, place",
        );
        let found = found
            .bind(dataset.as_str())
            .bind(NUM_REPRESENTATIVES)
            .fetch_all(self.readers());
        let rows = self.read("list_representatives", found).await?;
        let doing = || format!("reading the kinds of photo of {dataset}");
        for row in &rows {
            let cluster_id: i64 = row.try_get("cluster_id").doing(doing)?;
            let id: String = row.try_get("id").doing(doing)?;
            let id: CaptureId = id.parse().map_err(|fault| CatalogError::Damaged {
                what: "capture",
                id: id.clone(),
                fault: format!("{fault}"),
            })?;
            // A photo may have come between the two questions.
            if let Ok(at) = clusters.binary_search_by_key(&cluster_id, |c| c.cluster_id) {
                clusters[at].representatives.push(id);
            }
        }
        Ok(())
    }
}

fn number(row: &AnyRow, column: &str, doing: impl FnOnce() -> String) -> Result<u64, CatalogError> {
    let num: i64 = row.try_get(column).doing(doing)?;
    Ok(num.cast_unsigned())
}
