//! The kinds among the photos that are kept: each photo is tied to its ten nearest, and what
//! hangs together more than by chance is a kind. On the photos at hand this finds
//! what k-means does that is told the true number of kinds (BENCHMARKS.md).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use schemas::CaptureId;

use super::Place;
use super::communities::{Graph, communities};
use super::kept::{Kept, KeptPhoto};
use crate::organize::direction::Direction;

/// Whom a photo is tied to. Measured from 8 to 30: fewer tear kinds apart, more join them.
const NUM_TIES: usize = 10;
/// Who says where a new photo belongs, and how far it is from what is known.
const NUM_VOTES: usize = 5;
/// Of this many photos one is farther from the others than a new photo may be that is not an
/// outlier.
const PHOTOS_AN_OUTLIER: usize = 50;

/// A fit.
#[derive(Debug, Default)]
pub struct Model {
    photos: Vec<Known>,
    kinds: Vec<Middle>,
    /// The least mean cosine to the nearest photos that is not an outlier's.
    limit: f32,
}

#[derive(Debug)]
struct Known {
    id: CaptureId,
    direction: Arc<Direction>,
    /// Its place in `kinds`.
    kind: usize,
    is_outlier: bool,
}

/// The middle of a kind.
#[derive(Debug)]
struct Middle {
    cluster: i64,
    sum: Vec<i64>,
    length: f64,
}

impl Model {
    /// Finds the kinds.
    pub fn fit(kept: &Kept) -> Self {
        let mut photos = kept.photos();
        // A model has one number of features; a row that says otherwise is left out.
        let num_features = photos
            .first()
            .map_or(0, |(_, photo)| photo.direction.values().len());
        photos.retain(|(_, photo)| photo.direction.values().len() == num_features);
        let cosines = Cosines::of(&photos);
        let ties: Vec<Vec<usize>> = (0..photos.len())
            .map(|at| cosines.nearest(at, NUM_TIES))
            .collect();
        let groups = communities(graph(&ties));
        let names = names(&photos, &groups);
        let known = photos.iter().zip(&groups).enumerate();
        let nearness: Vec<f32> = (0..photos.len())
            .map(|at| {
                mean(
                    ties[at]
                        .iter()
                        .take(NUM_VOTES)
                        .map(|to| cosines.at(at, *to)),
                )
            })
            .collect();
        let limit = limit(nearness.clone());
        Self {
            kinds: middles(&photos, &groups, &names, num_features),
            photos: known
                .map(|(at, ((_, photo), group))| Known {
                    id: photo.id,
                    direction: photo.direction.clone(),
                    kind: *group,
                    is_outlier: nearness[at] < limit,
                })
                .collect(),
            limit,
        }
    }

    /// Where a photo belongs: where most of the nearest five do (of equally many, those
    /// with the nearest one).
    pub fn place(&self, photo: &Direction) -> Option<Place> {
        let first = self.photos.first()?;
        if first.direction.values().len() != photo.values().len() {
            return None;
        }
        let mut near: Vec<(f32, usize)> = self
            .photos
            .iter()
            .enumerate()
            .map(|(at, known)| (photo.cosine(&known.direction), at))
            .collect();
        nearest_first(&mut near, NUM_VOTES);
        let votes = |kind: usize| {
            let of = near.iter().filter(|(_, at)| self.photos[*at].kind == kind);
            of.count()
        };
        // The last of equal ones, hence backwards.
        let kind = near
            .iter()
            .rev()
            .map(|(_, at)| self.photos[*at].kind)
            .max_by_key(|kind| votes(*kind))?;
        let nearness = mean(near.iter().map(|(cosine, _)| *cosine));
        Some(Place {
            is_outlier: nearness < self.limit,
            ..self.kinds[kind].place(photo)
        })
    }

    /// Where each of the photos belongs that it looked at.
    pub fn places(&self) -> impl Iterator<Item = (CaptureId, Place)> {
        self.photos.iter().map(|known| {
            let place = self.kinds[known.kind].place(&known.direction);
            let is_outlier = known.is_outlier;
            (
                known.id,
                Place {
                    is_outlier,
                    ..place
                },
            )
        })
    }

    /// The same, for whoever compares.
    pub fn into_places(self) -> HashMap<CaptureId, i64> {
        let places = self.places();
        places.map(|(id, place)| (id, place.cluster)).collect()
    }
}

impl Middle {
    fn place(&self, photo: &Direction) -> Place {
        let pairs = self.sum.iter().zip(photo.values());
        let dot: i64 = pairs.map(|(sum, value)| sum * i64::from(*value)).sum();
        let cosine = dot as f64 / (self.length * photo.length()).max(1.0);
        Place {
            cluster: self.cluster,
            distance: (1.0 - cosine) as f32,
            is_outlier: false,
            fitted_at: 0,
        }
    }
}

/// The cosines of all pairs, those of one with itself left at the end of any order.
struct Cosines {
    num: usize,
    values: Vec<f32>,
}

impl Cosines {
    fn of(photos: &[(u64, &KeptPhoto)]) -> Self {
        let num = photos.len();
        let mut values = vec![f32::NEG_INFINITY; num * num];
        for (a, (_, photo)) in photos.iter().enumerate() {
            for (b, (_, other)) in photos.iter().enumerate().take(a) {
                let cosine = photo.direction.cosine(&other.direction);
                values[a * num + b] = cosine;
                values[b * num + a] = cosine;
            }
        }
        Self { num, values }
    }

    fn at(&self, a: usize, b: usize) -> f32 {
        self.values[a * self.num + b]
    }

    fn nearest(&self, of: usize, num: usize) -> Vec<usize> {
        let mut near: Vec<(f32, usize)> = (0..self.num)
            .filter(|at| *at != of)
            .map(|at| (self.at(of, at), at))
            .collect();
        nearest_first(&mut near, num);
        near.into_iter().map(|(_, at)| at).collect()
    }
}

/// The `num` with the largest cosines, the nearest first; of equal ones the first.
fn nearest_first(near: &mut Vec<(f32, usize)>, num: usize) {
    let order = |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if near.len() > num {
        near.select_nth_unstable_by(num, order);
        near.truncate(num);
    }
    near.sort_unstable_by(order);
}

/// An edge weighs one for each of its ends that holds the other among its nearest.
fn graph(ties: &[Vec<usize>]) -> Graph {
    let mut weights: HashMap<(usize, usize), i64> = HashMap::new();
    for (a, to) in ties.iter().enumerate() {
        for b in to {
            *weights.entry((a.min(*b), a.max(*b))).or_default() += 1;
        }
    }
    let mut graph = vec![Vec::new(); ties.len()];
    for ((a, b), weight) in weights {
        graph[a].push((b, weight));
        graph[b].push((a, weight));
    }
    graph.iter_mut().for_each(|edges| edges.sort_unstable());
    graph
}

/// The id of each group: the one that most of its photos were given when they came, the
/// largest such part first. What has no old id gets one from its first photo's hash, so
/// that the same group gets the same again.
fn names(photos: &[(u64, &KeptPhoto)], groups: &[usize]) -> Vec<i64> {
    let num_groups = groups.iter().max().map_or(0, |most| most + 1);
    let mut shared: HashMap<(i64, usize), usize> = HashMap::new();
    for ((_, photo), group) in photos.iter().zip(groups) {
        if let Some(cluster) = photo.cluster {
            *shared.entry((cluster, *group)).or_default() += 1;
        }
    }
    let mut shared: Vec<_> = shared.into_iter().collect();
    shared.sort_unstable_by_key(|((cluster, group), num)| (usize::MAX - num, *cluster, *group));
    let mut names: Vec<Option<i64>> = vec![None; num_groups];
    let mut taken = HashSet::new();
    for ((cluster, group), _) in shared {
        if names[group].is_none() && taken.insert(cluster) {
            names[group] = Some(cluster);
        }
    }
    for ((hash, _), group) in photos.iter().zip(groups) {
        if names[*group].is_none() {
            // 31 bits: short enough to say, and two kinds of one dataset hardly meet.
            let mut name = (hash & 0x7fff_ffff).cast_signed();
            while !taken.insert(name) {
                name += 1;
            }
            names[*group] = Some(name);
        }
    }
    names.into_iter().map(Option::unwrap_or_default).collect()
}

fn middles(
    photos: &[(u64, &KeptPhoto)],
    groups: &[usize],
    names: &[i64],
    num_features: usize,
) -> Vec<Middle> {
    let mut middles: Vec<Middle> = names
        .iter()
        .map(|name| Middle {
            cluster: *name,
            sum: vec![0; num_features],
            length: 0.0,
        })
        .collect();
    for ((_, photo), group) in photos.iter().zip(groups) {
        let values = photo.direction.values();
        for (sum, value) in middles[*group].sum.iter_mut().zip(values) {
            *sum += i64::from(*value);
        }
    }
    for middle in &mut middles {
        let square: i64 = middle.sum.iter().map(|sum| sum * sum).sum();
        middle.length = (square as f64).sqrt();
    }
    middles
}

fn mean(cosines: impl Iterator<Item = f32>) -> f32 {
    let (sum, num) = cosines.fold((0.0, 0.0_f32), |(sum, num), cosine| {
        (sum + cosine, num + 1.0)
    });
    sum / num.max(1.0)
}

fn limit(mut nearness: Vec<f32>) -> f32 {
    nearness.sort_unstable_by(f32::total_cmp);
    let at = nearness.len() / PHOTOS_AN_OUTLIER;
    nearness.get(at).copied().unwrap_or(f32::NEG_INFINITY)
}
