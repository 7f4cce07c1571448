//! The broker's database, seen past the broker: what Tansu has no request for. Out go which
//! incarnation of the topics this is and how far each consumer is; and records that their
//! consumer has passed are deleted, so that the file holds a backlog and no history.

use std::path::Path;

use anyhow::Context as _;
use libsql::Connection;
use schemas::topics;

/// The group that reads each topic. What it has passed is in the tables, in the catalog, or
/// in the next topic, and nobody reads it again.
const READERS: [(&str, &str); 3] = [
    (topics::CAPTURES, "prepare"),
    (topics::PREPARED, "organize"),
    (topics::OUTCOMES, "record"),
];

/// Records deleted in one transaction, about 10 MB: producers wait for it.
const TRIM_RECORDS: u64 = 256;

/// Free pages given back to the file system in one transaction, 8 MB.
const SHRINK_PAGES: u64 = 2048;

/// A connection of our own to the database.
pub(super) struct Database {
    connection: Connection,
}

impl Database {
    /// Opens the database, made if it is not there. Tansu's `path` and this one name one file.
    pub(super) async fn open(path: &Path) -> anyhow::Result<Self> {
        let doing = || format!("opening the broker's database {}", path.display());
        let database = libsql::Builder::new_local(path)
            .build()
            .await
            .with_context(doing)?;
        let connection = database.connect().with_context(doing)?;
        Ok(Self { connection })
    }

    /// To be called before Tansu opens it: lets the file shrink. SQLite only takes this for
    /// a new database, or by writing an old one anew, once.
    pub(super) async fn let_it_shrink(&self) -> anyhow::Result<()> {
        const INCREMENTAL: i64 = 2;
        if self.number("PRAGMA auto_vacuum").await? != INCREMENTAL {
            self.run("PRAGMA auto_vacuum = INCREMENTAL").await?;
            self.run("VACUUM").await?;
        }
        Ok(())
    }

    /// A name for these topics and their offsets. Offsets that a table remembers mean
    /// something in the incarnation that they come from only: one ends when the database is
    /// made anew, and also when the machine was started anew, since a power cut may have
    /// taken the last records and their offsets are then given to others.
    pub(super) async fn incarnation(&self, boot: &str) -> anyhow::Result<String> {
        self.run(
            "CREATE TABLE IF NOT EXISTS tintype_incarnation (id TEXT NOT NULL, boot TEXT NOT NULL)",
        )
        .await?;
        let select = "SELECT id, boot FROM tintype_incarnation";
        let mut rows = self.connection.query(select, ()).await?;
        if let Some(row) = rows.next().await? {
            let (id, of_boot) = (row.get::<String>(0)?, row.get::<String>(1)?);
            if of_boot == boot {
                return Ok(id);
            }
        }
        drop(rows);
        let id = uuid::Uuid::now_v7().simple().to_string();
        let changed = self.connection.transaction().await?;
        changed
            .execute("DELETE FROM tintype_incarnation", ())
            .await?;
        let row = (id.as_str(), boot);
        changed
            .execute(
                "INSERT INTO tintype_incarnation (id, boot) VALUES (?1, ?2)",
                row,
            )
            .await?;
        changed.commit().await?;
        Ok(id)
    }

    /// The offset after the last record of each partition of a topic.
    pub(super) async fn ends(&self, topic: &str) -> anyhow::Result<Vec<(i64, i64)>> {
        let sql = "SELECT tp.partition, coalesce(w.high, 0) FROM topic t \
                   JOIN topition tp ON tp.topic = t.id JOIN watermark w ON w.topition = tp.id \
                   WHERE t.name = ?1";
        self.pairs(sql, topic).await
    }

    /// Whether the reader of a topic has passed these offsets.
    pub(super) async fn has_passed(
        &self,
        topic: &str,
        ends: &[(i64, i64)],
    ) -> anyhow::Result<bool> {
        let sql = "SELECT tp.partition, co.committed_offset FROM topic t \
                   JOIN topition tp ON tp.topic = t.id \
                   JOIN consumer_offset co ON co.topition = tp.id \
                   JOIN consumer_group cg ON cg.id = co.consumer_group \
                   WHERE t.name = ?1 AND cg.name = ?2";
        let reader = READERS.iter().find(|(name, _)| *name == topic);
        let reader = reader.map_or("", |(_, reader)| *reader);
        let mut rows = self.connection.query(sql, (topic, reader)).await?;
        let mut positions = Vec::new();
        while let Some(row) = rows.next().await? {
            positions.push((row.get::<i64>(0)?, row.get::<i64>(1)?));
        }
        Ok(ends.iter().all(|(partition, end)| {
            let position = positions.iter().find(|(number, _)| number == partition);
            *end == 0 || position.is_some_and(|(_, position)| position >= end)
        }))
    }

    /// Deletes some of the records that were passed; how many.
    pub(super) async fn trim(&self) -> anyhow::Result<u64> {
        let sql = "DELETE FROM record WHERE (topition, offset_id) IN (\
                     SELECT r.topition, r.offset_id FROM topic t \
                     JOIN topition tp ON tp.topic = t.id \
                     JOIN consumer_offset co ON co.topition = tp.id \
                     JOIN consumer_group cg ON cg.id = co.consumer_group \
                     JOIN record r ON r.topition = tp.id AND r.offset_id < co.committed_offset \
                     WHERE t.name = ?1 AND cg.name = ?2 LIMIT ?3)";
        for (topic, reader) in READERS {
            let limit = i64::try_from(TRIM_RECORDS).unwrap_or(i64::MAX);
            let trimmed = self.connection.execute(sql, (topic, reader, limit)).await?;
            if trimmed > 0 {
                return Ok(trimmed);
            }
        }
        Ok(0)
    }

    /// Gives some of the free space back to the file system; whether there was any.
    pub(super) async fn shrink(&self) -> anyhow::Result<bool> {
        if self.number("PRAGMA freelist_count").await? == 0 {
            return Ok(false);
        }
        self.run(&format!("PRAGMA incremental_vacuum({SHRINK_PAGES})"))
            .await?;
        Ok(true)
    }

    /// Empties the write-ahead log, which still holds what was deleted.
    pub(super) async fn empty_the_log(&self) -> anyhow::Result<()> {
        self.run("PRAGMA wal_checkpoint(TRUNCATE)").await
    }

    async fn run(&self, sql: &str) -> anyhow::Result<()> {
        let mut rows = self.connection.query(sql, ()).await?;
        while rows.next().await?.is_some() {}
        Ok(())
    }

    async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let mut rows = self.connection.query(sql, ()).await?;
        let row = rows.next().await?.context("SQLite gave no number")?;
        Ok(row.get(0)?)
    }

    async fn pairs(&self, sql: &str, topic: &str) -> anyhow::Result<Vec<(i64, i64)>> {
        let mut rows = self.connection.query(sql, [topic]).await?;
        let mut pairs = Vec::new();
        while let Some(row) = rows.next().await? {
            pairs.push((row.get(0)?, row.get(1)?));
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_incarnation_lasts_until_the_machine_or_the_database_is_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.db");
        let first = Database::open(&path).await.unwrap();
        first.let_it_shrink().await.unwrap();
        let id = first.incarnation("boot 1").await.unwrap();
        drop(first);
        let again = Database::open(&path).await.unwrap();
        again.let_it_shrink().await.unwrap();
        assert_eq!(again.incarnation("boot 1").await.unwrap(), id);
        let other = again.incarnation("boot 2").await.unwrap();
        assert_ne!(other, id);
        assert_eq!(again.incarnation("boot 2").await.unwrap(), other);
        let elsewhere = Database::open(&folder.path().join("new.db")).await.unwrap();
        assert_ne!(elsewhere.incarnation("boot 2").await.unwrap(), other);
    }
}
