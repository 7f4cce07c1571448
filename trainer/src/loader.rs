//! Batches, made ahead of the step that takes them: places of photos come in, inputs and
//! classes go out in the same order. A few batches wait in memory, no more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use model::{Batch, Images};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use schemas::InputSpec;
use schemas::training::Augment;

use crate::augment::{choice, plain_input, training_input};
use crate::error::TrainerError;
use crate::photo;
use crate::table::Photos;

/// Batches that wait. More only takes memory: at 32 photos of 224 a batch is 19 MB.
const AHEAD: usize = 2;
/// Threads that make them. A photo takes a millisecond or two, a step some tens for each.
const NUM_THREADS: usize = 2;

/// How photos become inputs.
#[derive(Clone, Copy)]
pub struct Recipe<'a> {
    /// What the network takes.
    pub input: &'a InputSpec,
    /// What is done to them; none for photos that are judged.
    pub augment: Option<(&'a Augment, u64, u64)>,
}

/// The order of an epoch: of `places`, shuffled by the seed and the epoch alone.
pub fn order(places: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
    let mut order = places.to_vec();
    let mut rng = StdRng::seed_from_u64(choice(seed, epoch, usize::MAX));
    order.shuffle(&mut rng);
    order
}

/// Calls `take` with each batch, from the `skip`-th on; it ends when `take` says so.
///
/// # Errors
/// A photo cannot be read, or whatever `take` says.
pub fn each_batch(
    photos: &Photos,
    places: &[usize],
    batch_size: usize,
    skip: usize,
    recipe: Recipe<'_>,
    mut take: impl FnMut(Batch) -> Result<bool, TrainerError>,
) -> Result<(), TrainerError> {
    let batches: Vec<&[usize]> = places.chunks(batch_size).skip(skip).collect();
    let next = AtomicUsize::new(0);
    let (made, arriving) = mpsc::sync_channel(AHEAD);
    std::thread::scope(|scope| {
        for _ in 0..NUM_THREADS {
            let (made, batches, next) = (made.clone(), &batches, &next);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(places) = batches.get(at) else {
                        return;
                    };
                    // Whoever takes them may have seen enough.
                    if made.send((at, make(photos, places, recipe))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(made);
        // Moved here, so that it is gone before the threads are waited for: one that
        // sends then fails, and ends.
        let arriving = arriving;
        let mut early = BTreeMap::new();
        let mut wanted = 0;
        for (at, batch) in &arriving {
            early.insert(at, batch);
            while let Some(batch) = early.remove(&wanted) {
                wanted += 1;
                if !take(batch?)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    })
}

fn make(photos: &Photos, places: &[usize], recipe: Recipe<'_>) -> Result<Batch, TrainerError> {
    let side = recipe.input.size as usize;
    let mut values = Vec::with_capacity(places.len() * 3 * side * side);
    let mut labels = Vec::with_capacity(places.len());
    for &place in places {
        let photo = &photos.all()[place];
        let picture = photo::decode(&photos.jpeg(photo)?)?;
        match recipe.augment {
            Some((augment, seed, epoch)) => training_input(
                &picture,
                recipe.input,
                augment,
                choice(seed, epoch, place),
                &mut values,
            )?,
            None => plain_input(&picture, recipe.input, &mut values)?,
        }
        labels.push(photo.class);
    }
    Ok(Batch {
        images: Images { values, side },
        labels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epochs_order_is_a_permutation_of_its_own_and_always_the_same() {
        let places: Vec<usize> = (5..105).collect();
        let first = order(&places, 1, 0);
        assert_eq!(first, order(&places, 1, 0));
        assert_ne!(first, order(&places, 1, 1));
        assert_ne!(first, order(&places, 2, 0));
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, places);
    }
}
