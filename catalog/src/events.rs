//! The log of events as a client follows it: by dataset, in the order of the commits,
//! from any number on that is still kept.

use schemas::DatasetId;
use schemas::http::Capture;
use sqlx::Row;
use tokio::sync::watch;

use crate::captures::read_capture;
use crate::error::Doing;
use crate::{Catalog, CatalogError};

/// The numbers of a dataset's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventRange {
    /// The oldest that is kept; one above `newest` if none is.
    pub(crate) oldest: i64,
    /// The newest; 0 if there was none yet.
    pub(crate) newest: i64,
}

impl Catalog {
    /// Up to `limit` events with a number above `seq`, the oldest first, each with its
    /// capture as it stands now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn events_after(
        &self,
        dataset: &DatasetId,
        seq: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Capture)>, CatalogError> {
        let found = sqlx::query(
            "SELECT capture_events.seq, captures.* FROM capture_events \
             JOIN captures ON captures.id = capture_events.capture_id \
             WHERE capture_events.dataset_id = $1 AND capture_events.seq > $2 \
             ORDER BY capture_events.seq LIMIT $3",
        );
        let found = found
            .bind(dataset.as_str())
            .bind(seq)
            .bind(i64::from(limit));
        let rows = self
            .read("events_after", found.fetch_all(self.readers()))
            .await?;
        let events = rows.iter().map(|row| {
            let seq = row.try_get("seq").doing(|| "reading an event".into())?;
            Ok((seq, read_capture(row)?))
        });
        events.collect()
    }

    /// Which events are kept; none if the dataset is gone.
    pub(crate) async fn event_range(
        &self,
        dataset: &DatasetId,
    ) -> Result<Option<EventRange>, CatalogError> {
        let found = sqlx::query(
            "SELECT last_event_seq, COALESCE((SELECT MIN(seq) FROM capture_events \
             WHERE dataset_id = $1), last_event_seq + 1) AS oldest \
             FROM datasets WHERE id = $1 AND deleted_at_us IS NULL",
        );
        let found = found.bind(dataset.as_str()).fetch_optional(self.readers());
        let row = self.read("event_range", found).await?;
        let doing = || format!("reading the events of {dataset}");
        let range = row.map(|row| {
            Ok(EventRange {
                oldest: row.try_get("oldest").doing(doing)?,
                newest: row.try_get("last_event_seq").doing(doing)?,
            })
        });
        range.transpose()
    }

    /// Changes whenever this process has committed events, of whatever dataset.
    pub(crate) fn events_committed(&self) -> watch::Receiver<u64> {
        self.inner.caches.events.subscribe()
    }

    /// Changes whenever this process has changed keys or datasets.
    pub(crate) fn access_changed(&self) -> watch::Receiver<u64> {
        self.inner.caches.access.subscribe()
    }
}
