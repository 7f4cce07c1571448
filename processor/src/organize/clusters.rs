//! Kinds of photo, found by looks alone. In: embeddings of accepted photos in the order they
//! come; out: for each the kind it belongs to, how far it is from the middle of that kind,
//! and whether it looks like nothing seen before.
//!
//! From time to time the kinds are found anew (`fit.rs`) among photos kept for that
//! (`kept.rs`); between two fits a photo belongs where its nearest neighbours do. A fit is due when
//! the dataset has grown by half, or sooner when new photos look like no known kind: so a new
//! kind appears after some ten of its photos. Kinds keep their ids from fit to fit.
//!
//! Everything here follows from what the table's rows say, in any order: each row names
//! the fit that placed it (`cluster_fit`), and a fit looks at nothing but the rows before
//! it. So the process may die at any time and goes on as if it had not.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::CaptureId;

use super::direction::Direction;
use super::snapshot::{self, Frame};

mod communities;

mod fit;
use fit::Model;

mod kept;
use kept::{Kept, KeptPhoto};

/// Photos before the first fit. Fewer say too little of kinds; more only wait longer.
const FIRST_FIT: u64 = 20;

/// Photos that look like nothing known, before the kinds are found anew: this many, and one
/// for each twenty that came since the last fit (one in fifty is such by definition).
const MIN_OUTLIERS: u64 = 8;
const ROWS_AN_OUTLIER: u64 = 20;

/// The kinds of photo of one dataset.
#[derive(Debug, Default)]
pub struct Clusters {
    /// By what computed the embeddings: those of two models cannot be compared.
    spaces: HashMap<String, Space>,
}

/// The photos with embeddings of one model.
#[derive(Debug, Default)]
struct Space {
    num_photos: u64,
    /// How many photos there were at the last fit; 0 before the first.
    fitted_at: u64,
    /// Of the photos before that fit, which it looked at, ...
    before: Kept,
    /// ... and of those since then.
    since: Kept,
    num_since: u64,
    num_outliers_since: u64,
    /// The fit; none until it is computed, which is put off until a photo comes.
    model: Option<Model>,
}

/// Where a photo belongs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The kind of photo.
    pub cluster: i64,
    /// 1 less the cosine of the angle to the middle of its kind; not known of rows read back.
    pub distance: f32,
    /// It looks like nothing seen before the fit.
    pub is_outlier: bool,
    /// Which fit says so: how many photos with embeddings the dataset had then.
    pub fitted_at: u64,
}

/// A photo that belongs elsewhere by a new fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// The photo.
    pub id: CaptureId,
    /// Where it belongs now.
    pub place: Place,
}

impl Clusters {
    /// Embeddings that it holds, for those who bound its memory.
    pub fn num_kept(&self) -> usize {
        let spaces = self.spaces.values();
        spaces
            .map(|space| space.before.len() + space.since.len())
            .sum()
    }

    /// Remembers an accepted photo, with the place that it was given when it came.
    pub fn add(&mut self, model: &str, id: CaptureId, embedding: &[f32], place: Option<&Place>) {
        let Some(direction) = Direction::of(embedding) else {
            return;
        };
        if !self.spaces.contains_key(model) {
            self.spaces.insert(model.to_owned(), Space::default());
        }
        if let Some(space) = self.spaces.get_mut(model) {
            space.add(id, direction, place);
        }
    }

    /// Hands out everything but the fits as frames of a snapshot, as long as `put` takes them;
    /// whether it took all. A fit is computed again from what is kept.
    pub fn save(&self, put: &mut impl FnMut(Frame) -> bool) -> bool {
        // Some 5 MB at most.
        self.spaces.iter().all(|(model, space)| {
            put(Frame {
                spaces: vec![space.save(model)],
                ..Frame::default()
            })
        })
    }

    /// Takes in what [`Self::save`] handed out; none if it is no such thing.
    pub fn restore(&mut self, spaces: Vec<snapshot::Space>) -> Option<()> {
        for saved in spaces {
            self.spaces
                .insert(saved.model.clone(), Space::restore(saved)?);
        }
        Some(())
    }

    /// Whether [`Self::fit`] is due before the next photo is placed.
    pub fn needs_fit(&self, model: &str) -> bool {
        self.spaces.get(model).is_some_and(Space::needs_fit)
    }

    /// Finds the kinds anew. Takes up to a second of one core; the photos that it moved, those
    /// kept in memory, come back. The first time after a start all of them do, since
    /// nobody knows what was told before.
    pub fn fit(&mut self, model: &str) -> Vec<Moved> {
        self.spaces.get_mut(model).map_or_else(Vec::new, Space::fit)
    }

    /// The same though none may be due.
    pub fn fit_now(&mut self, model: &str) -> Vec<Moved> {
        self.spaces.get_mut(model).map_or_else(Vec::new, |space| {
            let told = space.told();
            space.close(space.num_photos);
            space.find(told)
        })
    }

    /// Where a photo belongs; none before the first fit.
    pub fn place(&self, model: &str, embedding: &[f32]) -> Option<Place> {
        let space = self.spaces.get(model)?;
        let place = space.model.as_ref()?.place(&Direction::of(embedding)?)?;
        Some(Place {
            fitted_at: space.fitted_at,
            ..place
        })
    }
}

impl Space {
    fn add(&mut self, id: CaptureId, direction: Direction, place: Option<&Place>) {
        self.num_photos += 1;
        let fitted_at = place.map_or(0, |place| place.fitted_at);
        // Only when rows are read back, in any order.
        if fitted_at > self.fitted_at {
            self.close(fitted_at);
        }
        let photo = KeptPhoto {
            id,
            cluster: place.map(|place| place.cluster),
            is_outlier: place.is_some_and(|place| place.is_outlier),
            direction: Arc::new(direction),
        };
        if fitted_at > 0 && fitted_at == self.fitted_at {
            self.num_since += 1;
            self.num_outliers_since += u64::from(photo.is_outlier);
            self.since.add(photo);
        } else {
            self.before.add(photo);
        }
    }

    fn save(&self, model: &str) -> snapshot::Space {
        snapshot::Space {
            model: model.to_owned(),
            num_photos: self.num_photos,
            fitted_at: self.fitted_at,
            num_since: self.num_since,
            num_outliers_since: self.num_outliers_since,
            before: self.before.save(),
            since: self.since.save(),
        }
    }

    fn restore(saved: snapshot::Space) -> Option<Self> {
        Some(Self {
            num_photos: saved.num_photos,
            fitted_at: saved.fitted_at,
            before: Kept::restore(saved.before)?,
            since: Kept::restore(saved.since)?,
            num_since: saved.num_since,
            num_outliers_since: saved.num_outliers_since,
            model: None,
        })
    }

    /// All that came so far came before the fit at `fitted_at`.
    fn close(&mut self, fitted_at: u64) {
        self.before.merge(std::mem::take(&mut self.since));
        self.num_since = 0;
        self.num_outliers_since = 0;
        self.fitted_at = fitted_at;
        self.model = None;
    }

    fn is_due(&self) -> bool {
        if self.fitted_at == 0 {
            return self.num_photos >= FIRST_FIT;
        }
        self.num_photos >= self.fitted_at + self.fitted_at.div_ceil(2)
            || self.num_outliers_since >= MIN_OUTLIERS + self.num_since / ROWS_AN_OUTLIER
    }

    fn needs_fit(&self) -> bool {
        self.is_due() || (self.fitted_at > 0 && self.model.is_none())
    }

    fn fit(&mut self) -> Vec<Moved> {
        let told = self.told();
        if self.is_due() {
            self.close(self.num_photos);
        }
        self.find(told)
    }

    /// What was told by the fit before; none after a start.
    fn told(&mut self) -> Option<HashMap<CaptureId, i64>> {
        self.model.take().map(Model::into_places)
    }

    fn find(&mut self, told: Option<HashMap<CaptureId, i64>>) -> Vec<Moved> {
        let model = Model::fit(&self.before);
        let mut moved = Vec::new();
        for (id, place) in model.places() {
            let known = told.as_ref().and_then(|told| told.get(&id));
            if known != Some(&place.cluster) {
                let fitted_at = self.fitted_at;
                let place = Place { fitted_at, ..place };
                moved.push(Moved { id, place });
            }
        }
        self.model = Some(model);
        moved
    }
}

#[cfg(test)]
mod tests;
