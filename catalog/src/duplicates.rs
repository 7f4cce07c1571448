//! Groups of copies: which captures are the same photo, or nearly, and how one knows.

use std::fmt;
use std::str::FromStr;

use schemas::http::DuplicateGroup;
use schemas::{CaptureId, DatasetId};
use sqlx::Row as _;

use crate::captures::read_capture;
use crate::error::Doing as _;
use crate::{Catalog, CatalogError};

/// A part of a dataset's copies, group by group, the oldest group first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicatePage {
    /// Only those behind this place, which ended the page before.
    pub after: Option<DuplicatePlace>,
    /// How many captures at most, over all groups.
    pub limit: u32,
}

/// A place in the list: `GROUP:CAPTURE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicatePlace {
    group: CaptureId,
    capture: CaptureId,
}

impl fmt::Display for DuplicatePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.group, self.capture)
    }
}

/// The text names no place.
#[derive(Debug, thiserror::Error)]
#[error("two capture ids with a colon between them are needed")]
pub struct NoPlace;

impl FromStr for DuplicatePlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (group, capture) = text.split_once(':').ok_or(NoPlace)?;
        Ok(Self {
            group: group.parse().map_err(|_| NoPlace)?,
            capture: capture.parse().map_err(|_| NoPlace)?,
        })
    }
}

impl Catalog {
    /// A page of the dataset's copies: captures that were found to be duplicates, and accepted
    /// ones that joined a group. And the place where the next page goes on.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list_duplicates(
        &self,
        dataset: &DatasetId,
        page: DuplicatePage,
    ) -> Result<(Vec<DuplicateGroup>, Option<DuplicatePlace>), CatalogError> {
        // The twin may have been answered at the door before it was judged a copy itself.
        let found = sqlx::query(
            "SELECT * FROM (SELECT copies.*, COALESCE(copies.group_id, twins.group_id, \
             firsts.group_id, twins.twin_id, copies.twin_id) AS copied_group FROM captures copies \
             LEFT JOIN captures twins ON twins.id = copies.twin_id \
             LEFT JOIN captures firsts ON firsts.id = twins.twin_id \
             WHERE copies.dataset_id = $1 AND (copies.status = 'duplicate' \
             AND copies.twin_id IS NOT NULL OR copies.status = 'accepted' \
             AND copies.group_id <> copies.id)) AS found \
             WHERE copied_group > $2 OR copied_group = $2 AND id > $3 \
             ORDER BY copied_group, id LIMIT $4",
        );
        let text = |id: CaptureId| id.to_string();
        let found = found
            .bind(dataset.as_str())
            .bind(
                page.after
                    .map_or_else(String::new, |place| text(place.group)),
            )
            .bind(
                page.after
                    .map_or_else(String::new, |place| text(place.capture)),
            )
            .bind(i64::from(page.limit));
        let rows = self
            .read("list_duplicates", found.fetch_all(self.readers()))
            .await?;
        let mut groups: Vec<DuplicateGroup> = Vec::new();
        let mut last = None;
        for row in &rows {
            let copy = read_capture(row)?;
            let group: String = row
                .try_get("copied_group")
                .doing(|| format!("reading the group of {}", copy.id))?;
            let group: CaptureId = group.parse().map_err(|fault| CatalogError::Damaged {
                what: "capture",
                id: copy.id.to_string(),
                fault: format!("group {group:?}: {fault}"),
            })?;
            last = Some(DuplicatePlace {
                group,
                capture: copy.id,
            });
            match groups.last_mut().filter(|known| known.group_id == group) {
                Some(known) => known.copies.push(copy),
                None => groups.push(DuplicateGroup {
                    group_id: group,
                    copies: vec![copy],
                }),
            }
        }
        let is_full = rows.len() == page.limit as usize;
        Ok((groups, last.filter(|_| is_full)))
    }
}
