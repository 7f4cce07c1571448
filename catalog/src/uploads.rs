//! Uploads that arrive in several requests: which bytes are durable and where, who may
//! write next, and what was answered at the end.
//!
//! Any process may go on with any upload. Whoever wants to write takes a turn and gets
//! its number; what is written under an older number is refused. So a writer that was
//! taken for dead and wakes up changes nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use schemas::{DatasetId, ObjectKey, UploadId};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::catalog::{before, time};
use crate::database::Change;
use crate::error::Doing;
use crate::requests::StoredAnswer;
use crate::{Catalog, CatalogError, Principal, datasets};

/// How long an upload may be continued after its last byte: a phone that is offline for a
/// night goes on in the morning. Longer keeps the bytes of those who never come back.
pub const UPLOAD_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long after its creation it ends in any case: a client that sends a byte a day
/// would else hold its place for ever.
const LONGEST_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The end of the calendar, in the year 9999.
const NEVER_US: i64 = 253_402_300_799_000_000;

/// The answer to an upload that belongs to nobody: it is told to nobody.
const GONE: i64 = 410;

const COLUMNS: &str = "id, dataset_id, key_id, head, length_bytes, received_bytes, parts, fence, \
                       writing, status, body, expires_at_us";

/// An upload that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    /// Its id.
    pub id: UploadId,
    /// The dataset it is sent to.
    pub dataset: DatasetId,
    /// The key that it belongs to.
    pub key_id: String,
    /// What the client said of the photo; the catalog does not read it.
    pub head: String,
    /// How many bytes it will have, if that is known.
    pub length_bytes: Option<u64>,
    /// What it begins with: the parts of others, when it is made of them.
    pub parts: Vec<UploadPart>,
}

/// Some bytes of an upload, durable in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadPart {
    /// The upload that brought them.
    pub upload: UploadId,
    /// Where in it they begin.
    pub first_byte: u64,
    /// How many they are.
    pub num_bytes: u64,
    /// The turn under which they were written.
    pub fence: u64,
}

/// An upload as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// The dataset it is sent to.
    pub dataset: DatasetId,
    /// The key that it belongs to.
    pub key_id: String,
    /// What the client said of the photo.
    pub head: String,
    /// How many bytes it will have, if that is known.
    pub length_bytes: Option<u64>,
    /// How many are durable.
    pub received_bytes: u64,
    /// Where they are, in their order.
    pub parts: Vec<UploadPart>,
    /// The number of the present turn.
    pub fence: u64,
    /// Whether somebody has the turn.
    pub is_written: bool,
    /// The last answer, once it is complete.
    pub answer: Option<StoredAnswer>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// How much may be open at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// Uploads of one key.
    pub max_open_per_key: u64,
    /// Bytes of one dataset, received and announced.
    pub max_bytes_per_dataset: u64,
    /// What an upload of unknown length counts for.
    pub unknown_length_bytes: u64,
}

/// Whether an upload could begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It has.
    Yes,
    /// Its key has as many open as it may.
    KeyFull,
    /// The open uploads of the dataset are as many bytes as they may be.
    DatasetFull,
}

impl UploadPart {
    /// Where the bytes lie.
    pub fn object(&self, dataset: &DatasetId) -> ObjectKey {
        ObjectKey::UploadPart {
            dataset: dataset.clone(),
            upload: self.upload,
            first_byte: self.first_byte,
            fence: self.fence,
        }
    }
}

impl Catalog {
    /// Begins an upload, if the limits allow it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn open_upload(
        &self,
        new: &NewUpload,
        limits: UploadLimits,
    ) -> Result<Opened, CatalogError> {
        let (new, now_us) = (new.clone(), self.now_us());
        self.write("open_upload", Change::None, move |db| {
            Box::pin(async move { open(db, &new, limits, now_us).await })
        })
        .await
    }

    /// The upload, if it is this key's.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_upload(
        &self,
        principal: &Principal,
        id: UploadId,
    ) -> Result<Option<Upload>, CatalogError> {
        let sql = format!("SELECT {COLUMNS} FROM uploads WHERE id = $1 AND key_id = $2");
        let found = sqlx::query(AssertSqlSafe(sql));
        let found = found.bind(id.to_string()).bind(&principal.key_id);
        let row = found.fetch_optional(self.readers());
        let row = self.read("find_upload", row).await?;
        row.as_ref().map(read_upload).transpose()
    }

    /// Takes the turn to write from whoever has it; the upload as it is from then on. None
    /// if it is gone.
    ///
    /// # Errors
    /// The database fails.
    pub async fn take_upload(&self, id: UploadId) -> Result<Option<Upload>, CatalogError> {
        self.turn(id, 1).await
    }

    /// Takes the turn from whoever has it and leaves it to nobody: how much is durable then
    /// does not change by itself.
    ///
    /// # Errors
    /// The database fails.
    pub async fn halt_upload(&self, id: UploadId) -> Result<Option<Upload>, CatalogError> {
        self.turn(id, 0).await
    }

    async fn turn(&self, id: UploadId, writing: i64) -> Result<Option<Upload>, CatalogError> {
        self.write("take_upload", Change::None, move |db| {
            Box::pin(async move {
                let doing = || format!("taking upload {id}");
                sqlx::query(
                    "UPDATE uploads SET fence = fence + 1, writing = $2 \
                     WHERE id = $1 AND status IS NULL",
                )
                .bind(id.to_string())
                .bind(writing)
                .execute(&mut *db)
                .await
                .doing(doing)?;
                row_of(db, id).await
            })
        })
        .await
    }

    /// Says how long the upload will be. The answer is whether the turn `fence` is still
    /// the present one and the length not another already.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_upload_length(
        &self,
        id: UploadId,
        fence: u64,
        length_bytes: u64,
    ) -> Result<bool, CatalogError> {
        self.write("set_upload_length", Change::None, move |db| {
            Box::pin(async move {
                let set = sqlx::query(
                    "UPDATE uploads SET length_bytes = $3 WHERE id = $1 AND fence = $2 \
                     AND (length_bytes IS NULL OR length_bytes = $3)",
                )
                .bind(id.to_string())
                .bind(fence.cast_signed())
                .bind(length_bytes.cast_signed())
                .execute(db)
                .await
                .doing(|| format!("setting the length of upload {id}"))?;
                Ok(set.rows_affected() == 1)
            })
        })
        .await
    }

    /// Adds bytes that are durable in the object store. The answer is whether the turn under
    /// which they were written is still the present one; if not, nothing has changed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn append_to_upload(
        &self,
        id: UploadId,
        part: &UploadPart,
    ) -> Result<bool, CatalogError> {
        let (part, now_us) = (part.clone(), self.now_us());
        self.write("append_to_upload", Change::None, move |db| {
            Box::pin(async move { append(db, id, part, now_us).await })
        })
        .await
    }

    /// Gives the turn `fence` back.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_upload(&self, id: UploadId, fence: u64) -> Result<(), CatalogError> {
        self.write("release_upload", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query("UPDATE uploads SET writing = 0 WHERE id = $1 AND fence = $2")
                    .bind(id.to_string())
                    .bind(fence.cast_signed())
                    .execute(db)
                    .await
                    .doing(|| format!("releasing upload {id}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Keeps the last answer; nothing can be added from then on. The first answer stays.
    /// The parts are not needed any more: removing their objects is the caller's.
    ///
    /// # Errors
    /// The database fails.
    pub async fn answer_upload(
        &self,
        id: UploadId,
        length_bytes: u64,
        answer: &StoredAnswer,
    ) -> Result<(), CatalogError> {
        let (answer, now_us) = (answer.clone(), self.now_us());
        self.write("answer_upload", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE uploads SET status = $2, body = $3, length_bytes = $4, \
                     received_bytes = $4, parts = '[]', writing = 0, fence = fence + 1, \
                     expires_at_us = $5 WHERE id = $1 AND status IS NULL",
                )
                .bind(id.to_string())
                .bind(i64::from(answer.status))
                .bind(&answer.body)
                .bind(length_bytes.cast_signed())
                .bind(after(now_us, UPLOAD_LIFE))
                .execute(db)
                .await
                .doing(|| format!("keeping the answer of upload {id}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Ends an upload now: nobody can go on with it, and the next sweep finds it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn expire_upload(&self, id: UploadId) -> Result<(), CatalogError> {
        self.write("expire_upload", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE uploads SET expires_at_us = 0, writing = 0, fence = fence + 1 \
                     WHERE id = $1",
                )
                .bind(id.to_string())
                .execute(db)
                .await
                .doing(|| format!("ending upload {id}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Takes an upload from its key, for which it is gone then, and counts it among the open
    /// ones no longer; its time is over at `until`. For uploads whose bytes may still come
    /// when they have been cancelled: they are removed with it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn disown_upload(
        &self,
        id: UploadId,
        until: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        self.write("disown_upload", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE uploads SET key_id = '', status = $2, body = '', writing = 0, \
                     fence = fence + 1, expires_at_us = $3 WHERE id = $1",
                )
                .bind(id.to_string())
                .bind(GONE)
                .bind(until.timestamp_micros())
                .execute(db)
                .await
                .doing(|| format!("disowning upload {id}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Lets an upload live until somebody completes or cancels it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keep_upload(&self, id: UploadId) -> Result<(), CatalogError> {
        self.write("keep_upload", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query("UPDATE uploads SET expires_at_us = $2 WHERE id = $1")
                    .bind(id.to_string())
                    .bind(NEVER_US)
                    .execute(db)
                    .await
                    .doing(|| format!("keeping upload {id}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Uploads whose time is over, the oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn expired_uploads(&self, limit: u32) -> Result<Vec<Upload>, CatalogError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM uploads WHERE expires_at_us <= $1 \
             ORDER BY expires_at_us LIMIT $2"
        );
        let found = sqlx::query(AssertSqlSafe(sql));
        let found = found.bind(self.now_us()).bind(i64::from(limit));
        let rows = found.fetch_all(self.readers());
        let rows = self.read("expired_uploads", rows).await?;
        rows.iter().map(read_upload).collect()
    }

    /// Forgets an upload whose time is over; to be called once its objects are gone.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_upload(&self, id: UploadId) -> Result<(), CatalogError> {
        let now_us = self.now_us();
        self.write("forget_upload", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query("DELETE FROM uploads WHERE id = $1 AND expires_at_us <= $2")
                    .bind(id.to_string())
                    .bind(now_us)
                    .execute(db)
                    .await
                    .doing(|| format!("forgetting upload {id}"))?;
                Ok(())
            })
        })
        .await
    }
}

async fn open(
    db: &mut AnyConnection,
    new: &NewUpload,
    limits: UploadLimits,
    now_us: i64,
) -> Result<Opened, CatalogError> {
    let doing = || format!("opening an upload to {}", new.dataset);
    if !datasets::is_living(db, &new.dataset).await? {
        return Ok(Opened::DatasetFull);
    }
    let of_key = sqlx::query_scalar::<_, i64>(
        "SELECT COUNT(*) FROM uploads WHERE key_id = $1 AND status IS NULL AND expires_at_us > $2",
    );
    let of_key = of_key.bind(&new.key_id).bind(now_us).fetch_one(&mut *db);
    if of_key.await.doing(doing)?.cast_unsigned() >= limits.max_open_per_key {
        return Ok(Opened::KeyFull);
    }
    let in_dataset = sqlx::query_scalar::<_, i64>(
        "SELECT CAST(COALESCE(SUM(CASE WHEN length_bytes IS NULL THEN $2 ELSE length_bytes END), \
         0) AS BIGINT) FROM uploads WHERE dataset_id = $1 AND status IS NULL",
    );
    let unknown = limits.unknown_length_bytes;
    let in_dataset = in_dataset
        .bind(new.dataset.as_str())
        .bind(unknown.cast_signed());
    let in_dataset = in_dataset.fetch_one(&mut *db).await.doing(doing)?;
    let wanted = new.length_bytes.unwrap_or(unknown);
    if in_dataset.cast_unsigned() + wanted > limits.max_bytes_per_dataset {
        return Ok(Opened::DatasetFull);
    }
    let received: u64 = new.parts.iter().map(|part| part.num_bytes).sum();
    sqlx::query(
        "INSERT INTO uploads (id, dataset_id, key_id, head, length_bytes, received_bytes, parts, \
         created_at_us, expires_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(new.id.to_string())
    .bind(new.dataset.as_str())
    .bind(&new.key_id)
    .bind(&new.head)
    .bind(new.length_bytes.map(u64::cast_signed))
    .bind(received.cast_signed())
    .bind(json(&new.parts))
    .bind(now_us)
    .bind(after(now_us, UPLOAD_LIFE))
    .execute(db)
    .await
    .doing(doing)?;
    Ok(Opened::Yes)
}

async fn append(
    db: &mut AnyConnection,
    id: UploadId,
    part: UploadPart,
    now_us: i64,
) -> Result<bool, CatalogError> {
    let doing = || format!("adding to upload {id}");
    let Some(mut upload) = row_of(&mut *db, id).await? else {
        return Ok(false);
    };
    let (fence, received) = (part.fence, upload.received_bytes + part.num_bytes);
    upload.parts.push(part);
    let added = sqlx::query(
        "UPDATE uploads SET parts = $3, received_bytes = $4, expires_at_us = CASE \
         WHEN created_at_us + $6 < $5 THEN created_at_us + $6 ELSE $5 END \
         WHERE id = $1 AND fence = $2 AND status IS NULL",
    )
    .bind(id.to_string())
    .bind(fence.cast_signed())
    .bind(json(&upload.parts))
    .bind(received.cast_signed())
    .bind(after(now_us, UPLOAD_LIFE))
    .bind(after(0, LONGEST_LIFE))
    .execute(db)
    .await
    .doing(doing)?;
    Ok(added.rows_affected() == 1)
}

async fn row_of(db: &mut AnyConnection, id: UploadId) -> Result<Option<Upload>, CatalogError> {
    let sql = format!("SELECT {COLUMNS} FROM uploads WHERE id = $1");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string());
    let row = found.fetch_optional(db).await;
    let row = row.doing(|| format!("reading upload {id}"))?;
    row.as_ref().map(read_upload).transpose()
}

fn read_upload(row: &AnyRow) -> Result<Upload, CatalogError> {
    let doing = || "reading an upload".into();
    let id: String = row.try_get("id").doing(doing)?;
    let damaged = |fault: String| CatalogError::Damaged {
        what: "upload",
        id: id.clone(),
        fault,
    };
    let number = |name: &str| -> Result<u64, CatalogError> {
        Ok(row.try_get::<i64, _>(name).doing(doing)?.cast_unsigned())
    };
    let dataset: String = row.try_get("dataset_id").doing(doing)?;
    let parts: String = row.try_get("parts").doing(doing)?;
    let length: Option<i64> = row.try_get("length_bytes").doing(doing)?;
    let status: Option<i64> = row.try_get("status").doing(doing)?;
    let body: Option<String> = row.try_get("body").doing(doing)?;
    let expires_at_us: i64 = row.try_get("expires_at_us").doing(doing)?;
    let answer = match (status, body) {
        (Some(status), Some(body)) => Some(StoredAnswer {
            status: u16::try_from(status).map_err(|e| damaged(e.to_string()))?,
            body,
        }),
        _ => None,
    };
    Ok(Upload {
        dataset: datasets::read_id(&dataset)?,
        key_id: row.try_get("key_id").doing(doing)?,
        head: row.try_get("head").doing(doing)?,
        length_bytes: length.map(i64::cast_unsigned),
        received_bytes: number("received_bytes")?,
        parts: serde_json::from_str(&parts).map_err(|e| damaged(e.to_string()))?,
        fence: number("fence")?,
        is_written: number("writing")? == 1,
        answer,
        expires_at: time(expires_at_us),
        id: id
            .parse()
            .map_err(|e: schemas::InvalidId| damaged(e.to_string()))?,
    })
}

fn json(parts: &[UploadPart]) -> String {
    serde_json::to_string(parts).expect("ids and numbers have a JSON form")
}

fn after(now_us: i64, duration: Duration) -> i64 {
    now_us.saturating_add(before(0, duration).saturating_neg())
}

#[cfg(test)]
mod tests;
