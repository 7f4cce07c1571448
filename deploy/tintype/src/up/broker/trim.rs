//! Keeps the broker's database small: every few seconds, what its readers have passed is
//! deleted, and when nothing is left to delete, the space goes back to the file system, and
//! with it the small pictures of datasets that are gone.

use std::time::Duration;

use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use super::database::Database;

/// How often it looks. Oftener finds little; rarer lets the file grow by what an import
/// brings meanwhile, about 20 KB a photo.
const EVERY: Duration = Duration::from_secs(5);

/// Runs until `stop`. `gate` keeps the broker's own writes out while a transaction of ours runs.
pub(super) async fn run(database: &Database, gate: &RwLock<()>, stop: &CancellationToken) {
    let mut is_tidy = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let tidied = round(database, gate, stop, &mut is_tidy).await;
        if let Err(error) = tidied {
            tracing::warn!(%error, "the broker's database was not trimmed; trying again");
        }
    }
}

async fn round(
    database: &Database,
    gate: &RwLock<()>,
    stop: &CancellationToken,
    is_tidy: &mut bool,
) -> anyhow::Result<()> {
    let mut num_trimmed = 0;
    while !stop.is_cancelled() {
        // Let go of between transactions: a produce never waits for more than one.
        let _closed = gate.write().await;
        match database.trim().await? {
            0 => break,
            trimmed => num_trimmed += trimmed,
        }
    }
    if num_trimmed > 0 {
        *is_tidy = false;
        tracing::debug!(num_trimmed, "records that were passed are deleted");
        return Ok(());
    }
    // A quiet moment: nobody needs the free pages soon.
    while !*is_tidy && !stop.is_cancelled() {
        let _closed = gate.write().await;
        if !database.shrink().await? {
            database.empty_the_log().await?;
            *is_tidy = true;
        }
    }
    Ok(())
}
