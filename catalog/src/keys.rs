//! API keys: who may do what with whose things.
//!
//! A token is `tt_` and 40 characters that stand for 200 random bits. With so many a
//! plain SHA-256 keeps it as safe at rest as any slow hash keeps a password: there is
//! nothing to guess. A look-up by that hash needs no constant time for the same reason.

use std::time::Instant;

use data_encoding::BASE32_NOPAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use schemas::http::{CreatedKey, Key, Scope};
use schemas::{DatasetId, Sha256};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use crate::catalog::time;
use crate::database::Change;
use crate::error::Doing;
use crate::{Catalog, CatalogError};

/// The owner who runs the installation: the first key is theirs, and they make the
/// first key of every other owner.
pub const OPERATOR: &str = "main";

/// Keys that an owner may have in use. More than a fleet of services needs; without a
/// bound a stolen admin key could fill the disk.
const MAX_KEYS: u64 = 1_000;

/// Revoked keys that are remembered for an owner, the newest ones.
const MAX_REVOKED_KEYS: i64 = 1_000;

/// Who asks: what a valid key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key's id, for logs.
    pub key_id: String,
    /// Whose data it opens.
    pub owner: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only dataset it may touch; every one of the owner's if absent.
    pub dataset: Option<DatasetId>,
}

impl Principal {
    /// Whether this key may act for the whole installation: the operator's own, with
    /// the scope `admin`, and bound to no dataset.
    pub fn is_operator(&self) -> bool {
        self.owner == OPERATOR && self.dataset.is_none() && self.has(Scope::Admin)
    }

    /// Whether the key may do this; `admin` may do everything.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What it is for, 1 to 100 characters.
    pub name: String,
    /// Whose data it opens.
    pub owner: String,
    /// What it may do, at least one thing.
    pub scopes: Vec<Scope>,
    /// The only dataset it may touch.
    pub dataset: Option<DatasetId>,
}

impl Catalog {
    /// Makes the operator's admin key if there is no key at all.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ensure_first_key(&self) -> Result<Option<CreatedKey>, CatalogError> {
        let created = self.new_key(NewKey {
            name: "first key".into(),
            owner: OPERATOR.into(),
            scopes: vec![Scope::Admin],
            dataset: None,
        })?;
        let first = created.clone();
        let is_first = self.write("ensure_first_key", Change::Keys, move |db| {
            Box::pin(async move {
                let doing = || "making the first key".into();
                let any = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM keys");
                let is_first = any.fetch_one(&mut *db).await.doing(doing)? == 0;
                if is_first {
                    insert_key(db, &first).await.doing(doing)?;
                }
                Ok(is_first)
            })
        });
        Ok(is_first.await?.then_some(created))
    }

    /// Makes a key; the answer is the only place where its token ever stands.
    ///
    /// # Errors
    /// The name, owner or scopes break their rule; the owner has 1,000 keys; the
    /// database fails.
    pub async fn create_key(&self, new: NewKey) -> Result<CreatedKey, CatalogError> {
        let created = self.new_key(new)?;
        let row = created.clone();
        let inserted = self.write("create_key", Change::Keys, move |db| {
            Box::pin(async move {
                let doing = || format!("making key {}", row.key.id);
                let num_keys = sqlx::query_scalar::<_, i64>(
                    "SELECT COUNT(*) FROM keys WHERE owner = $1 AND revoked_at_us IS NULL",
                );
                let num_keys = num_keys.bind(&row.key.owner).fetch_one(&mut *db).await;
                if num_keys.doing(doing)? >= MAX_KEYS.cast_signed() {
                    return Err(CatalogError::Limit {
                        owner: "an owner",
                        limit: MAX_KEYS,
                        things: "keys in use",
                    });
                }
                insert_key(db, &row).await.doing(doing)
            })
        });
        inserted.await?;
        Ok(created)
    }

    /// Who this token stands for; none if it is unknown or revoked.
    ///
    /// # Errors
    /// The database fails.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Principal>, CatalogError> {
        if !is_token(token) {
            return Ok(None);
        }
        let hash = Sha256::of(token.as_bytes()).to_string();
        let keys = &self.inner.caches.keys;
        let generation = match keys.get(&hash, Instant::now()) {
            Ok(principal) => return Ok(Some(principal)),
            Err(generation) => generation,
        };
        let found = sqlx::query(
            "SELECT id, name, owner, scopes, dataset_id, created_at_us, revoked_at_us \
             FROM keys WHERE token_sha256 = $1 AND revoked_at_us IS NULL",
        );
        let row = found.bind(&hash).fetch_optional(self.readers());
        let Some(row) = self.read("authenticate", row).await? else {
            return Ok(None);
        };
        let key = read_key(&row)?;
        let principal = Principal {
            key_id: key.id,
            owner: key.owner,
            scopes: key.scopes,
            dataset: key.dataset,
        };
        keys.put(generation, hash, principal.clone(), 1, Instant::now());
        Ok(Some(principal))
    }

    /// Whether the key that a long-lived request came with is still in use.
    ///
    /// # Errors
    /// The database fails.
    pub async fn is_key_in_use(&self, key_id: &str) -> Result<bool, CatalogError> {
        let found = sqlx::query_scalar::<_, i64>(
            "SELECT COUNT(*) FROM keys WHERE id = $1 AND revoked_at_us IS NULL",
        );
        let count = found.bind(key_id).fetch_one(self.readers());
        Ok(self.read("is_key_in_use", count).await? > 0)
    }

    /// The owner's keys, the newest first; a key that is bound to a dataset sees only
    /// those bound to the same.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list_keys(&self, principal: &Principal) -> Result<Vec<Key>, CatalogError> {
        let found = sqlx::query(
            "SELECT id, name, owner, scopes, dataset_id, created_at_us, revoked_at_us FROM keys \
             WHERE owner = $1 AND ($2 = '' OR dataset_id = $2) ORDER BY created_at_us DESC, id",
        );
        let rows = found
            .bind(&principal.owner)
            .bind(bound_to(principal))
            .fetch_all(self.readers());
        let rows = self.read("list_keys", rows).await?;
        rows.iter().map(read_key).collect()
    }

    /// Revokes a key, which is of no use from then on. The answer is whether the
    /// caller has such a key; one that is revoked already stays so.
    ///
    /// # Errors
    /// It is the owner's last admin key; the database fails.
    pub async fn revoke_key(
        &self,
        principal: &Principal,
        key_id: &str,
    ) -> Result<bool, CatalogError> {
        let (owner, bound_to) = (principal.owner.clone(), bound_to(principal).to_owned());
        let (id, now_us) = (key_id.to_owned(), self.now_us());
        self.write("revoke_key", Change::Keys, move |db| {
            Box::pin(async move { revoke(db, &owner, &bound_to, &id, now_us).await })
        })
        .await
    }

    fn new_key(&self, new: NewKey) -> Result<CreatedKey, CatalogError> {
        let name = new.name.trim();
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(CatalogError::Invalid {
                what: "key name",
                given: new.name,
                rule: "1 to 100 characters of one line are needed".into(),
            });
        }
        // The rule is that of dataset names; a second one would only be mixed up with it.
        if DatasetId::for_name(&new.owner).is_err() {
            return Err(CatalogError::Invalid {
                what: "owner",
                given: new.owner,
                rule: "1 to 64 of a-z, 0-9, '-' and '_' are needed, beginning with a letter or \
                       a digit"
                    .into(),
            });
        }
        let mut scopes = new.scopes;
        scopes.sort();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(CatalogError::Invalid {
                what: "list of scopes",
                given: "[]".into(),
                rule: "at least one of upload, read, train and admin is needed".into(),
            });
        }
        Ok(CreatedKey {
            key: Key {
                id: format!("key_{}", random_text::<10>()),
                name: name.to_owned(),
                owner: new.owner,
                scopes,
                dataset: new.dataset,
                created_at: time(self.now_us()),
                revoked_at: None,
            },
            token: format!("tt_{}", random_text::<25>()),
        })
    }
}

/// The dataset that the key is bound to, or nothing.
fn bound_to(principal: &Principal) -> &str {
    principal.dataset.as_ref().map_or("", DatasetId::as_str)
}

/// Random bytes from the operating system, in lower-case base32: 8 characters for 5 bytes.
fn random_text<const NUM_BYTES: usize>() -> String {
    let mut bytes = [0; NUM_BYTES];
    OsRng
        .try_fill_bytes(&mut bytes)
        .expect("an operating system that gives no random bytes cannot run a server");
    BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
}

/// Whether the text has a token's form; others never reach the database.
fn is_token(text: &str) -> bool {
    text.strip_prefix("tt_").is_some_and(|secret| {
        secret.len() == 40 && secret.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

async fn insert_key(db: &mut AnyConnection, created: &CreatedKey) -> Result<(), sqlx::Error> {
    let CreatedKey { key, token } = created;
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    sqlx::query(
        "INSERT INTO keys (id, token_sha256, name, owner, scopes, dataset_id, created_at_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&key.id)
    .bind(Sha256::of(token.as_bytes()).to_string())
    .bind(&key.name)
    .bind(&key.owner)
    .bind(scopes.join(" "))
    .bind(key.dataset.as_ref().map(DatasetId::as_str))
    .bind(key.created_at.timestamp_micros())
    .execute(db)
    .await?;
    Ok(())
}

async fn revoke(
    db: &mut AnyConnection,
    owner: &str,
    bound_to: &str,
    id: &str,
    now_us: i64,
) -> Result<bool, CatalogError> {
    let doing = || format!("revoking key {id}");
    let found = sqlx::query(
        "SELECT id, name, owner, scopes, dataset_id, created_at_us, revoked_at_us FROM keys \
         WHERE id = $1 AND owner = $2 AND ($3 = '' OR dataset_id = $3)",
    );
    let found = found.bind(id).bind(owner).bind(bound_to);
    let Some(row) = found.fetch_optional(&mut *db).await.doing(doing)? else {
        return Ok(false);
    };
    let key = read_key(&row)?;
    if key.revoked_at.is_some() {
        return Ok(true);
    }
    if key.scopes.contains(&Scope::Admin) && key.dataset.is_none() {
        let others = sqlx::query_scalar::<_, String>(
            "SELECT scopes FROM keys WHERE owner = $1 AND id <> $2 AND dataset_id IS NULL \
             AND revoked_at_us IS NULL",
        );
        let others = others.bind(owner).bind(id).fetch_all(&mut *db).await;
        let is_admin = |scopes: &String| scopes.split(' ').any(|s| s == Scope::Admin.as_str());
        if !others.doing(doing)?.iter().any(is_admin) {
            return Err(CatalogError::LastAdminKey { id: id.into() });
        }
    }
    sqlx::query("UPDATE keys SET revoked_at_us = $2 WHERE id = $1")
        .bind(id)
        .bind(now_us)
        .execute(&mut *db)
        .await
        .doing(doing)?;
    sqlx::query(AssertSqlSafe(format!(
        "DELETE FROM keys WHERE id IN (SELECT id FROM keys WHERE owner = $1 \
         AND revoked_at_us IS NOT NULL ORDER BY revoked_at_us DESC LIMIT 1000000 \
         OFFSET {MAX_REVOKED_KEYS})"
    )))
    .bind(owner)
    .execute(&mut *db)
    .await
    .doing(doing)?;
    Ok(true)
}

fn read_key(row: &AnyRow) -> Result<Key, CatalogError> {
    let doing = || "reading a key".into();
    let id: String = row.try_get("id").doing(doing)?;
    let damaged = |fault: String| CatalogError::Damaged {
        what: "key",
        id: id.clone(),
        fault,
    };
    let scopes: String = row.try_get("scopes").doing(doing)?;
    let scopes = scopes.split(' ').map(|name| {
        Scope::from_name(name).ok_or_else(|| damaged(format!("{name:?} is not a scope")))
    });
    let dataset: Option<String> = row.try_get("dataset_id").doing(doing)?;
    let dataset = dataset.map(|text| text.parse::<DatasetId>());
    let revoked_at: Option<i64> = row.try_get("revoked_at_us").doing(doing)?;
    Ok(Key {
        scopes: scopes.collect::<Result<_, _>>()?,
        dataset: dataset.transpose().map_err(|e| damaged(e.to_string()))?,
        name: row.try_get("name").doing(doing)?,
        owner: row.try_get("owner").doing(doing)?,
        created_at: time(row.try_get("created_at_us").doing(doing)?),
        revoked_at: revoked_at.map(time),
        id,
    })
}

#[cfg(test)]
mod tests;
