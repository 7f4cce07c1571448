//! A small memory of what the database said a moment ago, so that an upload costs
//! no query for its key and its dataset.
//!
//! It promises that nothing older than its age limit is given out, that nothing read
//! before a [`Cache::clear`] is, and that its size has a bound.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The memory.
pub(crate) struct Cache<K, V> {
    max_age: Duration,
    max_weight: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    generation: u64,
    weight: usize,
    entries: HashMap<K, Entry<V>>,
}

struct Entry<V> {
    value: V,
    weight: usize,
    expires_at: Instant,
}

/// The moment before a read: what was read is kept only if nothing changed since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generation(u64);

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// A memory for values whose weights sum up to `max_weight`, each for `max_age`.
    pub(crate) fn new(max_age: Duration, max_weight: usize) -> Self {
        Self {
            max_age,
            max_weight,
            state: Mutex::new(State {
                generation: 0,
                weight: 0,
                entries: HashMap::new(),
            }),
        }
    }

    /// What is remembered at `now`; if nothing, the generation to read under.
    pub(crate) fn get<Q>(&self, key: &Q, now: Instant) -> Result<V, Generation>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let state = self.state();
        match state.entries.get(key) {
            Some(entry) if now < entry.expires_at => Ok(entry.value.clone()),
            _ => Err(Generation(state.generation)),
        }
    }

    /// Remembers what was read under `generation`, unless the memory was cleared since.
    pub(crate) fn put(
        &self,
        generation: Generation,
        key: K,
        value: V,
        weight: usize,
        now: Instant,
    ) {
        let mut state = self.state();
        if state.generation != generation.0 || weight > self.max_weight {
            return;
        }
        if state.weight + weight > self.max_weight {
            // Rare, and what is dropped costs one query each: no order is kept.
            state.entries.clear();
            state.weight = 0;
        }
        let entry = Entry {
            value,
            weight,
            expires_at: now + self.max_age,
        };
        state.weight += weight;
        if let Some(old) = state.entries.insert(key, entry) {
            state.weight -= old.weight;
        }
    }

    /// Forgets everything, also what is being read at this moment.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.weight = 0;
        state.entries.clear();
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn filled(cache: &Cache<String, u32>, key: &str, value: u32, now: Instant) {
        let generation = cache.get(key, now).unwrap_err();
        cache.put(generation, key.into(), value, 1, now);
    }

    #[test]
    fn a_value_is_given_out_until_it_is_too_old() {
        let (cache, now) = (Cache::new(SECOND, 10), Instant::now());
        filled(&cache, "a", 1, now);
        assert_eq!(cache.get("a", now + SECOND / 2).unwrap(), 1);
        assert!(cache.get("a", now + SECOND).is_err());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let (cache, now) = (Cache::<String, u32>::new(SECOND, 10), Instant::now());
        let generation = cache.get("a", now).unwrap_err();
        cache.clear();
        cache.put(generation, "a".into(), 1, 1, now);
        assert!(cache.get("a", now).is_err());
    }

    #[test]
    fn the_weight_has_a_bound() {
        let (cache, now) = (Cache::new(SECOND, 10), Instant::now());
        for number in 0..1000 {
            filled(&cache, &number.to_string(), number, now);
            assert!(cache.state().entries.len() <= 10);
        }
        assert_eq!(cache.get("999", now).unwrap(), 999);
        let generation = cache.get("big", now).unwrap_err();
        cache.put(generation, "big".into(), 0, 11, now);
        assert!(cache.get("big", now).is_err());
    }
}
