//! The import itself: a folder and a journal come in, every file is sent or known
//! to be there, and each verdict is noted; a tally goes out. One loop owns all
//! state, so nothing is locked; every queue in it is bounded, whatever the number
//! of files.

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use schemas::http::Capture;
use schemas::{CaptureId, Label, Reason, Status};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::awaited::{Awaited, Waiting};
use super::journal::{Journal, Line};
use super::progress::Progress;
use super::send::{Answered, send};
use super::tally::{Tally, Verdict};
use super::walk::{FileKey, Found, Skipped, Step, Walk};
use crate::client::{Backoff, Client, ClientError, Next, Verdicts};

/// Files that the walk may be ahead of the sending. A few keep the senders busy;
/// more would only be stale.
const WALK_AHEAD: usize = 64;

/// Photos that may wait for their verdict, some 200 bytes each. Sending pauses
/// there: more would only fill the server's queue, fewer would starve it.
const MAX_UNDECIDED: usize = 20_000;

/// How long the event stream is quiet before captures are asked for one by one.
const QUIET: Duration = Duration::from_secs(2);

/// Captures that are asked for at once. More is a burden on a server that is
/// already behind.
const ASK_AT_ONCE: usize = 8;

/// How often the journal is handed to the operating system. What a kill loses of it
/// is sent again, under the same idempotency keys.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What to import, where from, and how.
#[derive(Debug, Clone)]
pub struct Order {
    /// The server.
    pub client: Client,
    /// The dataset's id; its name if the key may not look it up.
    pub dataset: String,
    /// The folder.
    pub folder: PathBuf,
    /// The label of files that lie in no class folder.
    pub unsorted: Label,
    /// Files on their way at once.
    pub concurrency: usize,
    /// How often a file is tried again.
    pub backoff: Backoff,
    /// Wait for verdicts, as long as none is this far from the one before; `None`
    /// only sends.
    pub wait: Option<Duration>,
}

/// How an import ended.
#[derive(Debug)]
pub enum Ended {
    /// Nothing is left to do.
    Complete,
    /// Ctrl-C.
    Interrupted,
    /// No verdict came for as long as was waited for.
    Silent,
    /// The server is away, or refuses everything.
    Stopped(ClientError),
}

/// An import that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub ended: Ended,
    /// What became of each file.
    pub journal: Journal,
    /// The same in numbers.
    pub tally: Tally,
    /// What was passed over.
    pub skipped: Skipped,
    /// Photos that this run sent.
    pub sent_now: u64,
    /// From the first file to the last receipt.
    pub sending: Duration,
    /// From the first file to the end.
    pub whole: Duration,
}

/// Imports the folder until all is done or `interrupt` resolves.
///
/// # Errors
/// The folder or the journal cannot be read or written. What the server does is no
/// error here, but [`Ended`].
pub async fn transfer(
    order: Order,
    journal: Journal,
    progress: Progress,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Finished> {
    let (mut steps, walk) = walk_ahead(&order)?;
    let verdicts = order
        .wait
        .map(|_| Verdicts::follow(&order.client, &order.dataset));
    let mut run = Run::new(order, journal, progress);
    let ended = run.until_done(&mut steps, verdicts, interrupt).await;
    // The walk stops at its next file.
    drop(steps);
    let skipped = walk.await?;
    run.finish(ended?, skipped)
}

/// The walk on a blocking thread, and what it finds.
fn walk_ahead(order: &Order) -> anyhow::Result<(mpsc::Receiver<Step>, JoinHandle<Skipped>)> {
    let mut walk = Walk::begin(&order.folder, &order.dataset, order.unsorted.clone())?;
    let (sender, steps) = mpsc::channel(WALK_AHEAD);
    let handle = tokio::task::spawn_blocking(move || {
        for step in walk.by_ref() {
            if sender.blocking_send(step).is_err() {
                break;
            }
        }
        walk.skipped()
    });
    Ok((steps, handle))
}

type Asking = FuturesUnordered<BoxFuture<'static, (CaptureId, Result<Capture, ClientError>)>>;

struct Run {
    order: Order,
    journal: Journal,
    progress: Progress,
    tally: Tally,
    awaited: Awaited,
    sending: FuturesUnordered<BoxFuture<'static, Answered>>,
    asking: Asking,
    sent_now: u64,
    began: Instant,
    last_receipt: Instant,
    last_event: Instant,
    last_verdict: Instant,
}

impl Run {
    fn new(order: Order, journal: Journal, progress: Progress) -> Self {
        let now = Instant::now();
        Self {
            order,
            journal,
            progress,
            tally: Tally::default(),
            awaited: Awaited::default(),
            sending: FuturesUnordered::new(),
            asking: FuturesUnordered::new(),
            sent_now: 0,
            began: now,
            last_receipt: now,
            last_event: now,
            last_verdict: now,
        }
    }

    async fn until_done(
        &mut self,
        steps: &mut mpsc::Receiver<Step>,
        mut verdicts: Option<Verdicts>,
        interrupt: impl Future<Output = ()>,
    ) -> anyhow::Result<Ended> {
        let mut interrupt = std::pin::pin!(interrupt);
        let mut tick = tokio::time::interval(FLUSH_EVERY);
        let mut walking = true;
        loop {
            if !walking && self.sending.is_empty() && self.awaited.is_empty() {
                return Ok(Ended::Complete);
            }
            let room =
                self.sending.len() < self.order.concurrency && self.awaited.len() < MAX_UNDECIDED;
            tokio::select! {
                () = &mut interrupt => return Ok(Ended::Interrupted),
                step = steps.recv(), if walking && room => match step {
                    Some(step) => self.take_step(step)?,
                    None => walking = false,
                },
                Some(answered) = self.sending.next() => {
                    if let Some(error) = self.take_receipt(answered)? {
                        return Ok(Ended::Stopped(error));
                    }
                }
                capture = next_verdict(&mut verdicts) => {
                    self.last_event = Instant::now();
                    self.take_verdict(capture)?;
                }
                Some((id, result)) = self.asking.next() => self.take_reply(id, result)?,
                _ = tick.tick() => {
                    self.journal.flush()?;
                    self.ask();
                    if self.is_silent() {
                        return Ok(Ended::Silent);
                    }
                }
            }
            self.progress
                .show(&self.tally, self.awaited.len(), self.sending.len());
        }
    }

    fn take_step(&mut self, step: Step) -> anyhow::Result<()> {
        match step {
            Step::Unreadable {
                relative,
                key,
                error,
            } => {
                let mut line = Line::new(key, &relative, None);
                line.detail = Some(format!("cannot be read: {error}"));
                line.hint = Some("is it there, and may you read it?".into());
                self.give_up(key, line)
            }
            Step::File(found) => self.take_file(found),
        }
    }

    fn take_file(&mut self, found: Found) -> anyhow::Result<()> {
        let label = match &found.label {
            Ok(label) => label.clone(),
            Err(error) => {
                let mut line = Line::new(found.key, &found.relative, None);
                line.detail = Some(error.to_string());
                line.hint = Some("rename the folder: its name is the label".into());
                return self.give_up(found.key, line);
            }
        };
        let known = self.journal.come_upon(found.key);
        let capture = known.and_then(|known| known.capture);
        let status = known.and_then(|known| known.status);
        match (status, capture) {
            (Some(Status::Queued), Some(capture)) if self.order.wait.is_some() => {
                let line = Line::new(found.key, &found.relative, Some(&label));
                let key = found.key;
                self.expect(capture, Waiting { key, line })
            }
            // A verdict at the door has no capture; all others have.
            (Some(status), capture) if capture.is_some() || status == Status::Rejected => {
                let reason = known.and_then(|known| known.reason);
                let verdict = Verdict::Judged(status, reason);
                self.tally.count(Some(&label), verdict);
                Ok(())
            }
            _ => {
                self.sending.push(send(&self.order, found, label));
                Ok(())
            }
        }
    }

    /// Notes what the server answered; gives the error back if it holds for all.
    fn take_receipt(&mut self, answered: Answered) -> anyhow::Result<Option<ClientError>> {
        let Answered {
            found,
            label,
            receipt,
        } = answered;
        let mut line = Line::new(found.key, &found.relative, Some(&label));
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(error) if error.next_after_retries() == Next::Stop => return Ok(Some(error)),
            Err(error) => {
                line.detail = Some(error.to_string());
                line.hint = error.hint();
                match error.verdict() {
                    Some(reason) => self.rejected_at_the_door(found.key, line, reason)?,
                    None => self.give_up(found.key, line)?,
                }
                return Ok(None);
            }
        };
        self.sent_now += 1;
        self.last_receipt = Instant::now();
        line.capture = Some(receipt.id);
        line.status = Some(receipt.status);
        line.twin_id = receipt.duplicate_of;
        if receipt.status == Status::Duplicate {
            line.reason = Some(Reason::ExactDuplicate);
        }
        self.journal.note(found.key, &line)?;
        if receipt.status == Status::Queued && self.order.wait.is_some() {
            let waiting = Waiting {
                key: found.key,
                line,
            };
            self.expect(receipt.id, waiting)?;
        } else {
            self.tally
                .count(Some(&label), Verdict::Judged(receipt.status, line.reason));
        }
        Ok(None)
    }

    fn rejected_at_the_door(
        &mut self,
        key: FileKey,
        mut line: Line,
        reason: Reason,
    ) -> anyhow::Result<()> {
        self.sent_now += 1;
        self.last_receipt = Instant::now();
        line.status = Some(Status::Rejected);
        line.reason = Some(reason);
        self.journal.note(key, &line)?;
        let verdict = Verdict::Judged(Status::Rejected, Some(reason));
        self.tally.count(line.label.as_ref(), verdict);
        Ok(())
    }

    fn give_up(&mut self, key: FileKey, line: Line) -> anyhow::Result<()> {
        self.journal.note(key, &line)?;
        self.tally.count(line.label.as_ref(), Verdict::Failed);
        Ok(())
    }

    /// Waits for this capture's verdict, unless it was faster than its receipt.
    fn expect(&mut self, id: CaptureId, waiting: Waiting) -> anyhow::Result<()> {
        match self.awaited.expect(id, waiting) {
            Some(capture) => self.take_verdict(capture),
            None => Ok(()),
        }
    }

    fn take_verdict(&mut self, capture: Capture) -> anyhow::Result<()> {
        if capture.status == Status::Queued {
            return Ok(());
        }
        let Some(waiting) = self.awaited.decided(&capture) else {
            return Ok(());
        };
        self.last_verdict = Instant::now();
        self.journal
            .note(waiting.key, &waiting.line.judged(&capture))?;
        let verdict = Verdict::Judged(capture.status, capture.reason);
        self.tally.count(Some(&capture.label), verdict);
        Ok(())
    }

    fn take_reply(
        &mut self,
        id: CaptureId,
        result: Result<Capture, ClientError>,
    ) -> anyhow::Result<()> {
        match result {
            Ok(capture) if capture.status != Status::Queued => {
                self.take_verdict(capture)?;
                // It pays to ask: go on without waiting for the next tick.
                self.ask();
            }
            Ok(_) => self.awaited.ask_later(id),
            Err(error) => {
                tracing::debug!(%error, %id, "no answer about a capture");
                self.awaited.ask_later(id);
            }
        }
        Ok(())
    }

    /// Asks for the captures that have waited longest, if no event tells of them.
    fn ask(&mut self) {
        if self.last_event.elapsed() < QUIET {
            return;
        }
        while self.asking.len() < ASK_AT_ONCE {
            let Some(id) = self.awaited.next_to_ask() else {
                return;
            };
            let client = self.order.client.clone();
            self.asking
                .push(Box::pin(async move { (id, client.capture(id).await) }));
        }
    }

    fn is_silent(&self) -> bool {
        let last = self.last_verdict.max(self.last_receipt);
        let patience = self.order.wait.unwrap_or(Duration::MAX);
        !self.awaited.is_empty() && self.sending.is_empty() && last.elapsed() > patience
    }

    fn finish(mut self, ended: Ended, skipped: Skipped) -> anyhow::Result<Finished> {
        self.progress.clear();
        for waiting in self.awaited.waiting() {
            let verdict = Verdict::Judged(Status::Queued, None);
            self.tally.count(waiting.line.label.as_ref(), verdict);
        }
        self.journal.flush()?;
        Ok(Finished {
            ended,
            journal: self.journal,
            tally: self.tally,
            skipped,
            sent_now: self.sent_now,
            sending: self.last_receipt - self.began,
            whole: self.began.elapsed(),
        })
    }
}

async fn next_verdict(verdicts: &mut Option<Verdicts>) -> Capture {
    match verdicts {
        Some(verdicts) => verdicts.next().await,
        None => std::future::pending().await,
    }
}
