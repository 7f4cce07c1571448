//! One request's bytes on their way into an upload: they come in from the connection, and
//! what is acknowledged is durable. A body that breaks off leaves what came of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::http::ApiError;
use catalog::{Principal, StoredAnswer, Upload, UploadPart};
use chrono::{DateTime, Utc};
use schemas::Format;
use sha2::Digest as _;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::admission::{Place, Room};
use crate::body::RequestBody;
use crate::digest::Declared;
use crate::meter::{Limits, Meter};
use crate::photo::{Pieces, judge_head};
use crate::refusal;
use crate::service::Service;
use crate::uploads::complete::complete;
use crate::uploads::turns::Turn;
use crate::uploads::{Head, Kind, Trouble, parts};

/// How much of a running request may be in memory only, in bytes. Larger costs a phone that
/// much when the server dies; smaller makes more objects, each with its flush of the disk.
const PART_BYTES: u64 = 4 << 20;
/// How long bytes may be in memory only: a slow phone would else lose minutes of sending.
const PART_AGE: Duration = Duration::from_secs(5);
/// Parts of one upload: each is an entry in its row and a read at the end. Fewer end the
/// uploads of phones that lose the connection all the time.
const MAX_PARTS: usize = 2_000;

/// What a request says of the bytes that it brings.
#[derive(Debug, Clone)]
pub(crate) struct Append {
    /// Where they begin.
    pub offset: u64,
    /// How long the upload will be, if the request says so.
    pub length: Option<u64>,
    /// Whether the upload ends with them.
    pub end: End,
    /// What they must hash to; nothing of them is kept before that is known.
    pub checks: Vec<Check>,
}

/// Whether an upload ends with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// More will come.
    Later,
    /// These are the last bytes.
    Here,
    /// If the length is reached.
    AtLength,
}

/// A digest of a body.
#[derive(Debug, Clone)]
pub(crate) enum Check {
    /// As `Content-Digest` has it.
    Sha256(Declared),
    /// As `Upload-Checksum` has it.
    Raw256([u8; 32]),
    /// As `Upload-Checksum` has it.
    Sha1([u8; 20]),
}

/// What became of a request.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// All its bytes are durable.
    Grown {
        offset: u64,
        expires_at: DateTime<Utc>,
    },
    /// The upload is complete, and this is its answer.
    Complete { length: u64, answer: StoredAnswer },
}

/// Takes a request's bytes. It runs to its end though the client may be gone, so that
/// what has come is kept.
pub(crate) async fn append(
    service: &Arc<Service>,
    principal: &Principal,
    upload: Upload,
    append: Append,
    body: RequestBody,
    limits: Limits,
) -> Result<Outcome, Trouble> {
    let work = take(
        Arc::clone(service),
        principal.clone(),
        upload,
        append,
        body,
        limits,
    );
    let working = service.tasks.spawn(work);
    working.await.unwrap_or_else(|join_error| {
        error!(%join_error, "taking a part of an upload failed");
        Err(refusal::internal().into())
    })
}

async fn take(
    service: Arc<Service>,
    principal: Principal,
    upload: Upload,
    append: Append,
    body: RequestBody,
    limits: Limits,
) -> Result<Outcome, Trouble> {
    if let Some(answer) = upload.answer {
        return after_the_end(upload.received_bytes, answer, &append, limits.declared);
    }
    agreed_length(&service, &upload, &append, limits.declared)?;
    let id = upload.id;
    let turn = service.turns.take(id).await;
    let turn = turn.ok_or_else(|| Trouble::taken_over(None))?;
    let place = service.admission.enter().await?;
    let room = service.admission.room(0).await?;
    let upload = service.catalog.take_upload(id).await?;
    let upload = upload.ok_or_else(Trouble::unknown)?;
    let fence = upload.fence;
    let work = Work {
        upload,
        append,
        room,
        place,
    };
    let outcome = work.run(&service, &principal, &turn, body, limits).await;
    if !matches!(outcome, Ok(Outcome::Complete { .. }))
        && let Err(error) = service.catalog.release_upload(id, fence).await
    {
        warn!(%error, upload = %id, "the turn at an upload was not given back; the next request takes it");
    }
    outcome
}

/// A complete upload takes nothing more; an empty request for its end is answered again.
fn after_the_end(
    length: u64,
    answer: StoredAnswer,
    append: &Append,
    declared: Option<u64>,
) -> Result<Outcome, Trouble> {
    if append.offset != length {
        return Err(Trouble::offset(length, append.offset));
    }
    if append.end == End::Later || declared != Some(0) {
        return Err(Trouble::completed(length));
    }
    Ok(Outcome::Complete { length, answer })
}

/// How long the upload will be, as far as anybody has said; refuses what disagrees.
fn agreed_length(
    service: &Service,
    upload: &Upload,
    append: &Append,
    declared: Option<u64>,
) -> Result<Option<u64>, Trouble> {
    let until = declared.map(|declared| append.offset.saturating_add(declared));
    let by_body = until.filter(|_| append.end == End::Here);
    let mut length = None;
    for told in [upload.length_bytes, append.length, by_body] {
        match (length, told) {
            (Some(length), Some(told)) if length != told => {
                return Err(Trouble::length(format!(
                    "the upload was to have {length} bytes, and now {told}"
                )));
            }
            (None, told) => length = told,
            _ => {}
        }
    }
    let max = service.settings.max_body_bytes;
    if length.or(until).is_some_and(|bytes| bytes > max) {
        return Err(Trouble::too_large(max));
    }
    if let (Some(length), Some(until)) = (length, until)
        && until > length
    {
        return Err(Trouble::length(format!(
            "the upload has {length} bytes, and the request goes on to {until}"
        )));
    }
    Ok(length)
}

/// One request at work, under its turn.
struct Work {
    upload: Upload,
    append: Append,
    room: Room,
    place: Place,
}

impl Work {
    async fn run(
        self,
        service: &Arc<Service>,
        principal: &Principal,
        turn: &Turn,
        body: RequestBody,
        limits: Limits,
    ) -> Result<Outcome, Trouble> {
        let Self {
            mut upload,
            append,
            room,
            place,
        } = self;
        if let Some(answer) = upload.answer.take() {
            return after_the_end(upload.received_bytes, answer, &append, limits.declared);
        }
        if upload.expires_at <= Utc::now() {
            return Err(Trouble::expired());
        }
        let head = Head::of(&upload)?;
        if head.kind == Kind::Direct {
            return Err(Trouble::direct());
        }
        if append.offset != upload.received_bytes {
            return Err(Trouble::offset(upload.received_bytes, append.offset));
        }
        let length = agreed_length(service, &upload, &append, limits.declared)?;
        if let Some(length) = length
            && upload.length_bytes.is_none()
        {
            let (id, fence) = (upload.id, upload.fence);
            if !service.catalog.set_upload_length(id, fence, length).await? {
                return Err(Trouble::taken_over(None));
            }
            upload.length_bytes = Some(length);
        }
        let mut tail = Tail {
            upload,
            room,
            pieces: Pieces::default(),
            num_bytes: 0,
            since: Instant::now(),
            waits: !append.checks.is_empty(),
            hashes: Hashes::of(&append.checks),
        };
        let max = service.settings.max_body_bytes;
        let read = tail.read(service, turn, Meter::new(body, limits), max);
        let read = read.await.and_then(|()| tail.hashes.check(tail.num_bytes));
        if let Err(trouble) = read {
            return Err(tail.keep_what_came(service, trouble).await);
        }
        tail.waits = false;
        let total = tail.total();
        let is_complete = match append.end {
            End::Later => false,
            End::Here => true,
            End::AtLength => length == Some(total),
        };
        if is_complete && length.is_some_and(|length| length != total) {
            let detail = format!("the upload was to have {length:?} bytes and ends with {total}");
            let trouble = Trouble::length(detail);
            return Err(tail.keep_what_came(service, trouble).await);
        }
        if is_complete && !matches!(head.kind, Kind::Piece | Kind::Unlabelled) {
            return complete(service, principal, tail, head, place).await;
        }
        tail.flush(service).await?;
        Ok(Outcome::Grown {
            offset: total,
            expires_at: tail.upload.expires_at,
        })
    }
}

/// The end of an upload that is in memory only.
pub(super) struct Tail {
    pub upload: Upload,
    pub room: Room,
    pub pieces: Pieces,
    pub num_bytes: u64,
    /// Since when the first of them waits.
    since: Instant,
    /// Whether nothing may be kept before all is there.
    waits: bool,
    hashes: Hashes,
}

impl Tail {
    /// An end without bytes.
    pub(super) fn empty(upload: Upload, room: Room) -> Self {
        Self {
            upload,
            room,
            pieces: Pieces::default(),
            num_bytes: 0,
            since: Instant::now(),
            waits: false,
            hashes: Hashes::of(&[]),
        }
    }

    /// How many bytes the upload has with these.
    pub(super) fn total(&self) -> u64 {
        self.upload.received_bytes + self.num_bytes
    }

    async fn read(
        &mut self,
        service: &Service,
        turn: &Turn,
        mut meter: Meter,
        max_bytes: u64,
    ) -> Result<(), Trouble> {
        loop {
            let chunk = tokio::select! {
                biased;
                () = turn.over() => return Err(Trouble::taken_over(None)),
                chunk = meter.next() => chunk,
            };
            let chunk = match chunk {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(()),
                Err(cause) if cause.code == "body_too_large" => return Err(cause.into()),
                Err(cause) => return Err(Trouble::interrupted(&cause, self.total())),
            };
            let total = self.total() + chunk.len() as u64;
            if let Some(length) = self.upload.length_bytes
                && total > length
            {
                service.catalog.expire_upload(self.upload.id).await?;
                let detail =
                    format!("more came than the {length} bytes of the upload; it is ended");
                return Err(Trouble::length(detail));
            }
            if total > max_bytes {
                return Err(Trouble::too_large(max_bytes));
            }
            self.room
                .grow_to(self.num_bytes + chunk.len() as u64)
                .await?;
            if self.num_bytes == 0 {
                self.since = Instant::now();
            }
            self.num_bytes += chunk.len() as u64;
            self.hashes.update(&chunk);
            self.pieces.keep(chunk);
            let is_due = self.num_bytes >= PART_BYTES || self.since.elapsed() >= PART_AGE;
            if is_due && !self.waits {
                self.flush(service).await?;
            }
        }
    }

    /// After trouble: what came is kept if it may be, and the trouble tells how much is.
    async fn keep_what_came(&mut self, service: &Service, trouble: Trouble) -> Trouble {
        if !self.waits
            && let Err(error) = self.flush(service).await
        {
            warn!(error = %error.refusal.detail, upload = %self.upload.id, "what came of a request was not kept");
        }
        trouble.at(self.upload.received_bytes)
    }

    /// Makes the bytes durable.
    pub(super) async fn flush(&mut self, service: &Service) -> Result<(), Trouble> {
        if self.num_bytes == 0 {
            return Ok(());
        }
        if self.upload.parts.len() >= MAX_PARTS {
            return Err(Trouble::too_many_parts().at(self.upload.received_bytes));
        }
        let pieces = self.pieces.take();
        if self.upload.received_bytes == 0 {
            self.judge(service, &pieces).await?;
        }
        let upload = &mut self.upload;
        let part = UploadPart {
            upload: upload.id,
            first_byte: upload.received_bytes,
            num_bytes: std::mem::take(&mut self.num_bytes),
            fence: upload.fence,
        };
        let store = service.store.as_ref();
        let put = parts::put(store, &upload.dataset, &part, &pieces).await;
        put.map_err(|error| {
            warn!(%error, upload = %upload.id, "a part of an upload was not stored");
            Trouble::from(refusal::store_unavailable(&error.to_string())).at(upload.received_bytes)
        })?;
        if !service.catalog.append_to_upload(upload.id, &part).await? {
            parts::delete(store, &upload.dataset, &part).await;
            return Err(Trouble::taken_over(None));
        }
        upload.received_bytes += part.num_bytes;
        upload.parts.push(part);
        Ok(())
    }

    /// Ends an upload whose first bytes are of no picture: the rest is not worth sending.
    async fn judge(&self, service: &Service, pieces: &[Bytes]) -> Result<(), Trouble> {
        let (Kind::Photo | Kind::Unlabelled) = Head::of(&self.upload)?.kind else {
            return Ok(());
        };
        let head: Vec<u8> = pieces
            .iter()
            .flatten()
            .take(Format::SNIFF_BYTES)
            .copied()
            .collect();
        if head.len() < Format::SNIFF_BYTES {
            return Ok(());
        }
        if let Err(refusal) = judge_head(&head) {
            service.catalog.expire_upload(self.upload.id).await?;
            return Err(refusal.into());
        }
        Ok(())
    }
}

/// The hashes of a body that are to be compared.
#[derive(Default)]
struct Hashes {
    checks: Vec<Check>,
    sha256: Option<sha2::Sha256>,
    sha1: Option<sha1::Sha1>,
}

impl Hashes {
    fn of(checks: &[Check]) -> Self {
        let is_sha1 = |check: &&Check| matches!(check, Check::Sha1(_));
        let num_sha1 = checks.iter().filter(is_sha1).count();
        Self {
            sha256: (num_sha1 < checks.len()).then(sha2::Sha256::default),
            sha1: (num_sha1 > 0).then(sha1::Sha1::default),
            checks: checks.to_vec(),
        }
    }

    fn update(&mut self, chunk: &[u8]) {
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(chunk);
        }
        if let Some(hasher) = &mut self.sha1 {
            hasher.update(chunk);
        }
    }

    fn check(&mut self, num_bytes: u64) -> Result<(), Trouble> {
        let sha256 = self
            .sha256
            .take()
            .map(|hasher| <[u8; 32]>::from(hasher.finalize()));
        let sha1 = self
            .sha1
            .take()
            .map(|hasher| <[u8; 20]>::from(hasher.finalize()));
        let mismatch = || {
            let detail = format!(
                "the {num_bytes} bytes that came do not have the digest of Upload-Checksum; none of them is kept"
            );
            let refusal = ApiError::bad_request("digest_mismatch", detail);
            Err(Trouble::checksum(refusal.hint("send the same bytes again")))
        };
        for check in &self.checks {
            match check {
                Check::Sha256(declared) => {
                    let received = sha256.unwrap_or_default().into();
                    declared
                        .check(received, num_bytes)
                        .map_err(Trouble::checksum)?;
                }
                Check::Raw256(declared) if sha256 != Some(*declared) => return mismatch(),
                Check::Sha1(declared) if sha1 != Some(*declared) => return mismatch(),
                _ => {}
            }
        }
        Ok(())
    }
}
