//! What the broker's storage need not be asked for, because nothing has changed since it was:
//! Tansu asks for a topic's description, and for each partition's ends once or twice, in every
//! fetch of every client, and its database plans each of these statements anew.
//!
//! Nobody else writes records: what is known of a partition holds until something is produced
//! to it. The trimmer takes old records away, which moves no end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tansu_storage::{MetadataResponse, OffsetStage, TopicId, Topition};

/// Descriptions that are kept: clients ask for one topic or for all, in a few ways. More only
/// take memory; fewer are asked for again.
const MAX_DESCRIPTIONS: usize = 16;

/// See the module; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<Facts>>);

#[derive(Debug, Default)]
struct Facts {
    descriptions: BTreeMap<Vec<TopicId>, MetadataResponse>,
    partitions: HashMap<Topition, Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Counts beginnings and ends of what is produced.
    version: u64,
    /// From this offset on there is nothing.
    empty_from: Option<i64>,
    stage: Option<OffsetStage>,
}

/// What was the state of a partition when somebody went to look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(u64);

/// Something is being produced to a partition: whatever becomes of it, what was known before
/// and what is learnt meanwhile is forgotten when this is dropped.
pub(super) struct Producing {
    known: Known,
    topition: Topition,
}

impl Known {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, topition: &Topition, act: impl FnOnce(&mut Partition) -> T) -> T {
        let mut facts = self.facts();
        if !facts.partitions.contains_key(topition) {
            let new = Partition::default();
            facts.partitions.insert(topition.clone(), new);
        }
        let partition = facts.partitions.get_mut(topition);
        act(partition.expect("it was put in a line above"))
    }

    fn forget(&self, topition: &Topition) {
        self.with(topition, |partition| {
            *partition = Partition {
                version: partition.version + 1,
                ..Partition::default()
            };
        });
    }

    /// Before something is produced.
    pub(super) fn producing(&self, topition: &Topition) -> Producing {
        self.forget(topition);
        Producing {
            known: self.clone(),
            topition: topition.clone(),
        }
    }

    /// Before a look into the database.
    pub(super) fn version(&self, topition: &Topition) -> Version {
        self.with(topition, |partition| Version(partition.version))
    }

    /// Whether there is nothing at this offset or behind it.
    pub(super) fn is_empty_from(&self, topition: &Topition, offset: i64) -> bool {
        self.with(topition, |partition| {
            partition.empty_from.is_some_and(|empty| offset >= empty)
        })
    }

    /// A look that began at `version` found nothing at this offset or behind it.
    pub(super) fn found_nothing(&self, topition: &Topition, offset: i64, version: Version) {
        self.with(topition, |partition| {
            if partition.version == version.0 {
                let known = partition.empty_from.unwrap_or(i64::MAX);
                partition.empty_from = Some(known.min(offset));
            }
        });
    }

    /// The partition's ends.
    pub(super) fn stage(&self, topition: &Topition) -> Option<OffsetStage> {
        self.with(topition, |partition| partition.stage)
    }

    /// A look that began at `version` found these ends.
    pub(super) fn found_stage(&self, topition: &Topition, stage: OffsetStage, version: Version) {
        self.with(topition, |partition| {
            if partition.version == version.0 {
                partition.stage = Some(stage);
            }
        });
    }

    /// What these topics are.
    pub(super) fn description(&self, topics: &[TopicId]) -> Option<MetadataResponse> {
        self.facts().descriptions.get(topics).cloned()
    }

    /// They were found to be this.
    pub(super) fn found_description(&self, topics: Vec<TopicId>, found: MetadataResponse) {
        let mut facts = self.facts();
        if facts.descriptions.len() >= MAX_DESCRIPTIONS {
            facts.descriptions.clear();
        }
        facts.descriptions.insert(topics, found);
    }

    /// There is another topic, or another broker.
    pub(super) fn forget_descriptions(&self) {
        self.facts().descriptions.clear();
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        self.known.forget(&self.topition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_partition_holds_until_something_is_produced_to_it() {
        let known = Known::default();
        let [own, other] = [0, 1].map(|partition| Topition::new("captures", partition));
        let begun = known.version(&own);
        assert!(!known.is_empty_from(&own, 7) && known.stage(&own).is_none());
        known.found_nothing(&own, 7, begun);
        known.found_stage(&own, OffsetStage::default(), begun);
        assert!(known.is_empty_from(&own, 7) && known.is_empty_from(&own, 9));
        assert!(!known.is_empty_from(&own, 6), "there may be something");
        assert!(!known.is_empty_from(&other, 7), "another partition");
        known.found_nothing(&own, 9, begun);
        assert!(
            known.is_empty_from(&own, 7),
            "a look further behind tells less"
        );

        let producing = known.producing(&own);
        assert!(!known.is_empty_from(&own, 7) && known.stage(&own).is_none());
        known.found_nothing(&own, 7, begun);
        known.found_stage(&own, OffsetStage::default(), begun);
        assert!(!known.is_empty_from(&own, 7), "it began before");
        assert!(known.stage(&own).is_none(), "it began before");
        let meanwhile = known.version(&own);
        known.found_nothing(&own, 7, meanwhile);
        drop(producing);
        assert!(!known.is_empty_from(&own, 7), "it may have been too early");
        known.found_stage(&own, OffsetStage::default(), meanwhile);
        assert!(known.stage(&own).is_none(), "it began before the end");
    }

    #[test]
    fn descriptions_are_few_and_go_with_a_new_topic() {
        let known = Known::default();
        for number in 0..100 {
            let topics = vec![TopicId::Name(number.to_string())];
            known.found_description(topics.clone(), MetadataResponse::default());
            assert!(known.description(&topics).is_some());
        }
        assert!(known.facts().descriptions.len() <= MAX_DESCRIPTIONS);
        known.forget_descriptions();
        let last = [TopicId::Name("99".into())];
        assert!(known.description(&last).is_none());
    }
}
