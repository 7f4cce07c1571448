//! The durable queue. In: photos with their tickets, and how far each is; out: the same
//! after a kill, a reboot or damage. What [`Queue::add`] has acknowledged stays until the
//! server has it or a person removes it. Nothing here knows HTTP.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::settings::Policy;
use crate::{Order, TintypeError};

mod journal;
use journal::Journal;

mod folder;
use folder::Folder;
pub(crate) use folder::write_whole;

mod item;
use item::Record;
pub use item::{Item, ItemReason, ItemState, Verdict};
pub(crate) use item::{Progress, Stage, Ticket};

/// What opening found that was not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, uniffi::Record)]
pub struct Recovery {
    /// Places of the queue's file that could not be read.
    pub num_damaged: u32,
    /// Photos that had no record and are in the queue all the same: the process was killed
    /// while it took them in, or the record was in a damaged place.
    pub num_salvaged: u32,
    /// Photos whose label was lost as well: where they are now. To be taken in again.
    pub set_aside: Vec<String>,
    /// Items whose file is gone and of which it is not known that the server has it.
    pub num_lost: u32,
}

/// The journal is rewritten when it has this many bytes ...
const MIN_REWRITE_BYTES: u64 = 1 << 20;
/// ... and this many for each item that it holds: at most half of it is history then.
/// Smaller writes more often, larger reads longer at the start.
const REWRITE_BYTES_AN_ITEM: u64 = 2_000;

/// An item, and its place among the others.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) ticket: Ticket,
    pub(crate) progress: Progress,
}

/// The open queue.
pub(crate) struct Queue {
    folder: Folder,
    journal: Journal,
    /// By number, so in the order of arrival.
    entries: BTreeMap<u64, Entry>,
    numbers: HashMap<Uuid, u64>,
    waiting_bytes: u64,
    num_waiting: u32,
    next_number: u64,
    history: u32,
}

impl Queue {
    /// Opens the queue in a folder, or makes an empty one.
    pub(crate) fn open(root: &Path, history: u32) -> Result<(Self, Recovery), TintypeError> {
        let folder = Folder::open(root)?;
        let path = folder.journal();
        let failed = |error| TintypeError::io("reading the queue", &path, &error);
        let (journal, reading) = match Journal::open(&path) {
            Ok(opened) => opened,
            Err(error) => return Err(failed(error)),
        };
        let mut queue = Self {
            folder,
            journal,
            entries: BTreeMap::new(),
            numbers: HashMap::new(),
            waiting_bytes: 0,
            num_waiting: 0,
            next_number: 0,
            history,
        };
        for record in reading.records {
            queue.apply(record);
        }
        if reading.num_damaged > 0 {
            queue.folder.keep_damaged();
        }
        let recovery = queue.reconcile(reading.num_damaged)?;
        Ok((queue, recovery))
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Added(ticket) => self.insert(*ticket),
            Record::Progress(id, progress) => {
                if let Some(number) = self.numbers.get(&id) {
                    let number = *number;
                    self.advance(number, *progress);
                }
            }
            Record::Removed(id) => {
                self.forget(id);
            }
        }
    }

    fn insert(&mut self, ticket: Ticket) {
        self.forget(ticket.id);
        // A number that is taken can only come of damage: behind all others then.
        let number = match self.entries.contains_key(&ticket.number) {
            true => self.next_number,
            false => ticket.number,
        };
        self.next_number = self.next_number.max(number + 1);
        self.waiting_bytes += ticket.num_bytes;
        self.num_waiting += 1;
        self.numbers.insert(ticket.id, number);
        let progress = Progress::default();
        self.entries.insert(number, Entry { ticket, progress });
    }

    fn advance(&mut self, number: u64, progress: Progress) {
        let Some(entry) = self.entries.get_mut(&number) else {
            return;
        };
        let was_there = entry.progress.stage.is_there();
        let is_there = progress.stage.is_there();
        entry.progress = progress;
        if is_there && !was_there {
            self.waiting_bytes -= entry.ticket.num_bytes;
            self.num_waiting -= 1;
        }
    }

    fn forget(&mut self, id: Uuid) -> Option<Entry> {
        let entry = self.entries.remove(&self.numbers.remove(&id)?)?;
        if !entry.progress.stage.is_there() {
            self.waiting_bytes -= entry.ticket.num_bytes;
            self.num_waiting -= 1;
        }
        Some(entry)
    }

    /// Brings records and files together: a kill may have come between the two, and a
    /// damaged journal lacks records.
    fn reconcile(&mut self, num_damaged: u32) -> Result<Recovery, TintypeError> {
        let mut recovery = Recovery {
            num_damaged,
            ..Recovery::default()
        };
        let files = self.folder.list()?;
        for id in &files {
            match self.find(*id) {
                Some(entry) if entry.progress.stage.is_there() => self.folder.remove(*id),
                Some(_) => {}
                // Killed before it was acknowledged, or its record is lost: in either case
                // it is whole, and whoever takes it in again finds it.
                None => match self.folder.read_ticket(*id) {
                    Some(ticket) => {
                        self.insert(ticket);
                        recovery.num_salvaged += 1;
                    }
                    None => {
                        let path = self.folder.set_aside(*id);
                        let path = path.map(|path| path.display().to_string());
                        recovery.set_aside.extend(path);
                    }
                },
            }
        }
        if recovery.num_damaged + recovery.num_salvaged > 0 {
            self.rewrite()?;
        }
        let files: HashSet<Uuid> = files.into_iter().collect();
        let waiting = self.entries.values();
        let waiting = waiting.filter(|entry| entry.progress.stage == Stage::Waiting);
        let ids: Vec<Uuid> = waiting.map(|entry| entry.ticket.id).collect();
        for id in ids.into_iter().filter(|id| !files.contains(id)) {
            let reason = ItemReason {
                code: "file_missing".into(),
                detail: "its file is gone from the queue's folder: either it was sent and the \
                         receipt is lost, or something has removed it"
                    .into(),
                hint: Some("take the photo in again: the server knows what it has".into()),
            };
            let progress = Progress {
                stage: Stage::Refused,
                reason: Some(reason),
                ..Progress::default()
            };
            self.record(id, progress)?;
            recovery.num_lost += 1;
        }
        Ok(recovery)
    }

    /// Takes a photo in. Once this returns, it stays. After an error nothing is kept.
    pub(crate) fn add(
        &mut self,
        mut ticket: Ticket,
        photo: &[u8],
        policy: &Policy,
    ) -> Result<Uuid, TintypeError> {
        self.check_room(ticket.num_bytes, policy)?;
        ticket.number = self.next_number;
        self.folder.store(&ticket, photo)?;
        let record = Record::Added(Box::new(ticket));
        if let Err(error) = self.append(&record) {
            if let Record::Added(ticket) = &record {
                self.folder.remove(ticket.id);
            }
            return Err(error);
        }
        let Record::Added(ticket) = record else {
            unreachable!("it was made above")
        };
        let id = ticket.id;
        self.insert(*ticket);
        Ok(id)
    }

    fn check_room(&self, num_bytes: u64, policy: &Policy) -> Result<(), TintypeError> {
        let detail = if self.num_waiting >= policy.max_photos {
            format!(
                "{} photos wait already, which is the most",
                self.num_waiting
            )
        } else if self.waiting_bytes + num_bytes > policy.max_waiting_bytes {
            format!(
                "{} MB of photos wait already; the most is {} MB",
                self.waiting_bytes / 1_000_000,
                policy.max_waiting_bytes / 1_000_000
            )
        } else {
            return Ok(());
        };
        Err(TintypeError::QueueFull { detail })
    }

    /// Writes down how far an item is; of one that is there the file goes.
    pub(crate) fn record(&mut self, id: Uuid, progress: Progress) -> Result<(), TintypeError> {
        let Some(number) = self.numbers.get(&id).copied() else {
            return Ok(()); // removed while it was on its way
        };
        let is_there = progress.stage.is_there();
        let record = Record::Progress(id, Box::new(progress.clone()));
        self.append(&record)?;
        self.advance(number, progress);
        if is_there {
            self.folder.remove(id);
            self.trim()?;
        }
        self.compact();
        Ok(())
    }

    /// Takes an item off the list, with its photo.
    pub(crate) fn remove(&mut self, id: Uuid) -> Result<(), TintypeError> {
        self.append(&Record::Removed(id))?;
        self.forget(id);
        self.folder.remove(id);
        self.compact();
        Ok(())
    }

    /// Of the items that are done, only the newest stay listed.
    fn trim(&mut self) -> Result<(), TintypeError> {
        let num_done = self.entries.len() as u64 - u64::from(self.num_waiting);
        let mut over = num_done.saturating_sub(u64::from(self.history));
        while over > 0 {
            let done = self.entries.values();
            let mut done = done.filter(|entry| entry.progress.stage.is_there());
            let Some(id) = done.next().map(|entry| entry.ticket.id) else {
                break;
            };
            self.remove(id)?;
            over -= 1;
        }
        Ok(())
    }

    fn append(&mut self, record: &Record) -> Result<(), TintypeError> {
        let path = self.folder.journal();
        self.journal
            .append(record)
            .map_err(|error| TintypeError::io("writing the queue", &path, &error))
    }

    /// Rewrites the journal if most of it is history.
    fn compact(&mut self) {
        let most = MIN_REWRITE_BYTES.max(self.entries.len() as u64 * REWRITE_BYTES_AN_ITEM);
        if self.journal.num_bytes() > most {
            // A full disk is no reason to fail: what was asked for is written.
            let _ = self.rewrite();
        }
    }

    fn rewrite(&mut self) -> Result<(), TintypeError> {
        let path = self.folder.journal();
        let records = self.entries.values().flat_map(|entry| {
            let added = Record::Added(Box::new(entry.ticket.clone()));
            let progress = (entry.progress != Progress::default())
                .then(|| Record::Progress(entry.ticket.id, Box::new(entry.progress.clone())));
            std::iter::once(added).chain(progress)
        });
        self.journal
            .rewrite(records)
            .map_err(|error| TintypeError::io("rewriting the queue", &path, &error))
    }

    pub(crate) fn find(&self, id: Uuid) -> Option<&Entry> {
        self.entries.get(self.numbers.get(&id)?)
    }

    /// All items, the oldest first.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + Clone {
        self.entries.values()
    }

    /// The items that wait, in the order in which they are to go.
    pub(crate) fn waiting(&self, order: Order) -> Box<dyn Iterator<Item = &Entry> + '_> {
        let waiting = |entry: &&Entry| entry.progress.stage == Stage::Waiting;
        match order {
            Order::OldestFirst => Box::new(self.entries.values().filter(waiting)),
            Order::NewestFirst => Box::new(self.entries.values().rev().filter(waiting)),
        }
    }

    /// Where a photo's file is.
    pub(crate) fn photo(&self, id: Uuid) -> PathBuf {
        self.folder.photo(id)
    }
}

#[cfg(test)]
mod tests;
