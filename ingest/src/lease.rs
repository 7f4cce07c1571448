//! The right to work on an `Idempotency-Key`: held by one upload at a time, renewed
//! while it runs, settled with its answer. An upload that is refused or whose client
//! goes away gives the key back; one that dies leaves it to run out.

use std::sync::Arc;
use std::time::Duration;

use catalog::http::ApiError;
use catalog::{Begun, Catalog, RequestScope, StoredAnswer};
use schemas::{CaptureId, Sha256};
use sha2::Digest as _;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::warn;

use crate::refusal;

/// A third of the catalog's lease. Longer lets one slow renewal lose the lease;
/// shorter only writes more.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// What a key turned out to be.
pub(crate) enum Claim {
    /// Go on under this capture id.
    Fresh(Ticket),
    /// It was answered before.
    Answered {
        fingerprint: Sha256,
        answer: StoredAnswer,
    },
}

/// The right to a capture id, with its lease if the upload came with a key.
pub(crate) struct Ticket {
    id: CaptureId,
    is_retry: bool,
    lease: Option<Lease>,
}

struct Lease {
    catalog: Catalog,
    scope: Arc<RequestScope>,
    capture: CaptureId,
    /// Where giving the key back goes on when nobody is left to wait for it.
    tasks: TaskTracker,
    _renewal: AbortOnDropHandle<()>,
    settled: bool,
}

impl Claim {
    /// An upload without a key is always fresh.
    pub(crate) fn unnamed() -> Self {
        Self::Fresh(Ticket {
            id: CaptureId::new(),
            is_retry: false,
            lease: None,
        })
    }

    /// Takes the lease of a key, or tells what became of the upload that had it.
    pub(crate) async fn of(
        scope: RequestScope,
        catalog: &Catalog,
        tasks: &TaskTracker,
    ) -> Result<Self, ApiError> {
        let (capture, is_retry) = match catalog.begin_request(&scope).await? {
            Begun::Fresh(capture) => (capture, false),
            Begun::TakenOver(capture) => (capture, true),
            Begun::InProgress => return Err(refusal::request_in_progress()),
            Begun::Done {
                fingerprint,
                answer,
            } => {
                return Ok(Self::Answered {
                    fingerprint,
                    answer,
                });
            }
        };
        let scope = Arc::new(scope);
        let renewal = renew(catalog.clone(), Arc::clone(&scope), capture);
        let lease = Lease {
            catalog: catalog.clone(),
            scope,
            capture,
            tasks: tasks.clone(),
            _renewal: AbortOnDropHandle::new(tokio::spawn(renewal)),
            settled: false,
        };
        Ok(Self::Fresh(Ticket {
            id: capture,
            is_retry,
            lease: Some(lease),
        }))
    }

    /// After a refusal: the key is free again.
    pub(crate) async fn give_back(self) {
        if let Self::Fresh(ticket) = self {
            ticket.give_back().await;
        }
    }
}

impl Ticket {
    /// Whether an earlier try of this upload died, who knows where.
    pub(crate) fn is_retry(&self) -> bool {
        self.is_retry
    }

    /// The id that the upload with this fingerprint goes under.
    ///
    /// Who takes a key over from a try that died has its id, so that the stream drops a
    /// second event as a replay. It must not drop another photo, sent under the same key
    /// by mistake: hence the id of an upload with a key is made of both.
    pub(crate) fn capture(&self, fingerprint: Sha256) -> CaptureId {
        match self.lease {
            None => self.id,
            Some(_) => bind(self.id, fingerprint),
        }
    }

    /// Keeps the answer for whoever asks again. An answer that cannot be kept is given
    /// all the same: a repetition will find the same capture and answer alike.
    pub(crate) async fn settle(self, fingerprint: Sha256, answer: &StoredAnswer) {
        let Some(mut lease) = self.lease else { return };
        lease.settled = true;
        let finished = lease
            .catalog
            .finish_request(&lease.scope, lease.capture, fingerprint, answer)
            .await;
        if let Err(error) = finished {
            let capture = lease.capture;
            warn!(%error, %capture, "an upload's answer was given but not kept for repetitions");
        }
    }

    /// After a refusal: the key is free again.
    pub(crate) async fn give_back(self) {
        if let Some(mut lease) = self.lease {
            lease.settled = true;
            abandon(&lease.catalog, &lease.scope, lease.capture).await;
        }
    }

    /// Lets the lease run out: only then may the upload be tried again, under the same
    /// capture id, because the event of this try may yet arrive.
    pub(crate) fn leave(self) {
        if let Some(mut lease) = self.lease {
            lease.settled = true;
        }
    }
}

/// The same time, and random bits that are those of this id and fingerprint together.
fn bind(id: CaptureId, fingerprint: Sha256) -> CaptureId {
    let both = sha2::Sha256::new()
        .chain_update(id.as_bytes())
        .chain_update(fingerprint.as_bytes())
        .finalize();
    let mut bytes = *id.as_bytes();
    bytes[6..].copy_from_slice(&both[..10]);
    let uuid = uuid::Builder::from_bytes(bytes)
        .with_version(uuid::Version::SortRand)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid();
    let id = uuid.hyphenated().to_string().parse();
    id.expect("a UUID is written as a capture id is read")
}

async fn renew(catalog: Catalog, scope: Arc<RequestScope>, capture: CaptureId) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        if let Err(error) = catalog.renew_request(&scope, capture).await {
            warn!(%error, %capture, "an upload's lease was not renewed");
        }
    }
}

async fn abandon(catalog: &Catalog, scope: &RequestScope, capture: CaptureId) {
    if let Err(error) = catalog.abandon_request(scope, capture).await {
        warn!(%error, %capture, "a refused upload's key was not given back; it runs out");
    }
}

/// The connection broke, and with it the future that held the lease.
impl Drop for Lease {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (catalog, scope, capture) =
            (self.catalog.clone(), Arc::clone(&self.scope), self.capture);
        self.tasks
            .spawn(async move { abandon(&catalog, &scope, capture).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_a_photo_have_one_id_and_another_photo_has_another() {
        let id = CaptureId::new();
        let (cat, dog) = (Sha256::of(b"cat"), Sha256::of(b"dog"));
        assert_eq!(bind(id, cat), bind(id, cat));
        assert_ne!(bind(id, cat), bind(id, dog));
        assert_ne!(bind(id, cat), bind(CaptureId::new(), cat));
        assert_eq!(bind(id, cat).as_bytes()[..6], id.as_bytes()[..6]);
        assert_eq!(bind(id, cat).to_string().as_bytes()[14], b'7');
    }
}
