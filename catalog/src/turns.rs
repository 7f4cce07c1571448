//! Rounds of work that one process at a time does, however many there are.
//!
//! A turn is a lease with a number. Whoever holds it renews it; one that is not renewed in
//! time is another's to take, and what its former holder says under the old number changes
//! nothing. The row remembers when a round ended, so that all processes together do one
//! round an interval.

use std::time::Duration;

use crate::catalog::before;
use crate::database::Change;
use crate::error::Doing;
use crate::{Catalog, CatalogError};

/// How long a turn is believed to go on without a renewal. Longer leaves the work undone for
/// that long after a kill; shorter takes it from a process that only waits for its database.
pub const TURN_LEASE: Duration = Duration::from_secs(60);

/// The right to do a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    name: &'static str,
    fence: i64,
}

impl Catalog {
    /// Takes the turn, unless somebody has it or a round ended less than `every` ago.
    ///
    /// # Errors
    /// The database fails.
    pub async fn take_turn(
        &self,
        name: &'static str,
        holder: &str,
        every: Duration,
    ) -> Result<Option<Turn>, CatalogError> {
        let (holder, now_us) = (holder.to_owned(), self.now_us());
        let due_us = before(now_us, every);
        let fence = self.write("take_turn", Change::None, move |db| {
            Box::pin(async move {
                let doing = || format!("taking the turn of {name}");
                sqlx::query(
                    "INSERT INTO turns (name, holder, fence, lease_until_us, ended_at_us) \
                     VALUES ($1, '', 0, 0, 0) ON CONFLICT DO NOTHING",
                )
                .bind(name)
                .execute(&mut *db)
                .await
                .doing(doing)?;
                // A lease or an end far in the future was written before the clock was set
                // back; without this the work would rest until the clock catches up.
                sqlx::query_scalar::<_, i64>(
                    "UPDATE turns SET holder = $2, fence = fence + 1, lease_until_us = $3 \
                     WHERE name = $1 \
                     AND (lease_until_us <= $4 OR lease_until_us > $4 + 2 * ($3 - $4)) \
                     AND (ended_at_us <= $5 OR ended_at_us > $4 + 2 * ($3 - $4)) \
                     RETURNING fence",
                )
                .bind(name)
                .bind(&holder)
                .bind(now_us + lease_us())
                .bind(now_us)
                .bind(due_us)
                .fetch_optional(&mut *db)
                .await
                .doing(doing)
            })
        });
        Ok(fence.await?.map(|fence| Turn { name, fence }))
    }

    /// Holds the turn for another minute; whether it is still ours.
    ///
    /// # Errors
    /// The database fails.
    pub async fn renew_turn(&self, turn: &Turn) -> Result<bool, CatalogError> {
        let lease_until_us = self.now_us() + lease_us();
        let turn = turn.clone();
        self.write("renew_turn", Change::None, move |db| {
            Box::pin(async move {
                let renewed = sqlx::query(
                    "UPDATE turns SET lease_until_us = $3 WHERE name = $1 AND fence = $2",
                )
                .bind(turn.name)
                .bind(turn.fence)
                .bind(lease_until_us)
                .execute(db)
                .await
                .doing(|| format!("renewing the turn of {}", turn.name))?;
                Ok(renewed.rows_affected() > 0)
            })
        })
        .await
    }

    /// Gives the turn back: after a whole round, the next one comes after the interval; after
    /// one that broke off, whoever asks next may begin.
    ///
    /// # Errors
    /// The database fails; the lease then runs out by itself.
    pub async fn end_turn(&self, turn: Turn, is_whole: bool) -> Result<(), CatalogError> {
        let ended_at_us = is_whole.then(|| self.now_us());
        self.write("end_turn", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE turns SET lease_until_us = 0, \
                     ended_at_us = COALESCE($3, ended_at_us) WHERE name = $1 AND fence = $2",
                )
                .bind(turn.name)
                .bind(turn.fence)
                .bind(ended_at_us)
                .execute(db)
                .await
                .doing(|| format!("ending the turn of {}", turn.name))?;
                Ok(())
            })
        })
        .await
    }

    /// Who had the turn last, or has it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn turn_holder(&self, name: &'static str) -> Result<Option<String>, CatalogError> {
        let found = sqlx::query_scalar::<_, String>("SELECT holder FROM turns WHERE name = $1");
        let found = found.bind(name).fetch_optional(self.readers());
        self.read("turn_holder", found).await
    }
}

fn lease_us() -> i64 {
    i64::try_from(TURN_LEASE.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestCatalog;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn one_has_the_turn_and_a_whole_round_is_done_once_an_interval() {
        let test = TestCatalog::open().await;
        let catalog = &test.catalog;
        let take = |who: &'static str| catalog.take_turn("broom", who, HOUR);
        let turn = take("a").await.unwrap().unwrap();
        assert_eq!(take("b").await.unwrap(), None);
        assert_eq!(
            catalog.turn_holder("broom").await.unwrap().as_deref(),
            Some("a")
        );
        catalog.end_turn(turn, false).await.unwrap();
        let turn = take("b").await.unwrap().unwrap();
        catalog.end_turn(turn, true).await.unwrap();
        assert_eq!(take("a").await.unwrap(), None);
        test.clock.advance(HOUR);
        assert!(take("a").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_holder_that_was_silent_for_too_long_changes_nothing_any_more() {
        let test = TestCatalog::open().await;
        let catalog = &test.catalog;
        let old = catalog.take_turn("broom", "a", HOUR).await.unwrap();
        let old = old.unwrap();
        test.clock.advance(TURN_LEASE / 2);
        assert!(catalog.renew_turn(&old).await.unwrap());
        test.clock.advance(TURN_LEASE + Duration::from_secs(1));
        let new = catalog.take_turn("broom", "b", HOUR).await.unwrap();
        let new = new.unwrap();
        assert!(!catalog.renew_turn(&old).await.unwrap());
        catalog.end_turn(old, true).await.unwrap();
        assert!(catalog.renew_turn(&new).await.unwrap());
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_stop_the_rounds() {
        let test = TestCatalog::open().await;
        let turn = test.catalog.take_turn("broom", "a", HOUR).await.unwrap();
        test.catalog.end_turn(turn.unwrap(), true).await.unwrap();
        test.clock.set_back(24 * HOUR);
        let turn = test.catalog.take_turn("broom", "b", HOUR).await.unwrap();
        assert!(turn.is_some());
    }
}
