//! What sets the labels apart: a ridge regression from embeddings to labels, for one photo. In:
//! the photos kept of each label, and the photo; out: how much of it each label is, 0 to 1 by
//! and large, in sum 1.
//!
//! Nothing is fitted beforehand, hence nothing has to be kept in step with the photos: for one
//! photo three steps of conjugate gradients (Hestenes and Stiefel 1952) on the covariance of
//! the others say as much as all steps would.

use crate::organize::direction::Direction;

/// Photos heard in all. Each 512 take half a millisecond.
const MAX_PHOTOS: usize = 512;
/// More follow the noise of small labels, fewer the mean alone.
const NUM_STEPS: usize = 3;
/// What is added to the variance in each direction, as a part of that in all.
const RIDGE: f32 = 0.005;

/// Each label's share in a photo.
pub fn shares<'a, I>(photo: &Direction, labels: &[I]) -> Vec<f32>
where
    I: Iterator<Item = &'a Direction> + Clone,
{
    let room = (MAX_PHOTOS / labels.len().max(1)).max(1);
    let num_features = photo.values().len();
    let labels = labels.iter().map(|photos| photos.clone().take(room));
    let mut rows: Vec<Vec<f32>> = Vec::new();
    let mut ends = Vec::new();
    for photos in labels {
        rows.extend(photos.map(|photo| unit(photo, num_features)));
        ends.push(rows.len());
    }
    let num = rows.len().max(1) as f32;
    let mut mean = vec![0.0; num_features];
    rows.iter().for_each(|row| add(&mut mean, 1.0 / num, row));
    rows.iter_mut().for_each(|row| add(row, -1.0, &mean));
    let mut asked = unit(photo, num_features);
    add(&mut asked, -1.0, &mean);
    let weights = solution(&rows, asked);
    let answers: Vec<f32> = rows.iter().map(|row| dot(row, &weights) + 1.0).collect();
    let mut start = 0;
    let share = |end: usize| {
        let of = &answers[start..end];
        start = end;
        of.iter().sum::<f32>() / num
    };
    ends.into_iter().map(share).collect()
}

/// Nearly the vector that the rows' covariance, with the ridge on it, turns into `asked`.
fn solution(rows: &[Vec<f32>], asked: Vec<f32>) -> Vec<f32> {
    let num = rows.len().max(1) as f32;
    let ridge = RIDGE * rows.iter().map(|row| dot(row, row)).sum::<f32>() / num;
    let mut found = vec![0.0; asked.len()];
    let mut heading = asked.clone();
    let mut rest = asked;
    let mut square = dot(&rest, &rest);
    for _ in 0..NUM_STEPS {
        let mut image: Vec<f32> = heading.iter().map(|value| ridge * value).collect();
        for row in rows {
            add(&mut image, dot(row, &heading) / num, row);
        }
        let step = square / dot(&heading, &image);
        // Nothing is left to go, or all photos are one.
        if !step.is_finite() {
            break;
        }
        add(&mut found, step, &heading);
        add(&mut rest, -step, &image);
        let left = dot(&rest, &rest);
        heading.iter_mut().for_each(|value| *value *= left / square);
        add(&mut heading, 1.0, &rest);
        square = left;
    }
    found
}

/// Of length 1; of features that only one photo has nothing is known.
fn unit(photo: &Direction, num_features: usize) -> Vec<f32> {
    let scale = 1.0 / photo.length() as f32;
    let mut values: Vec<f32> = photo
        .values()
        .iter()
        .map(|v| f32::from(*v) * scale)
        .collect();
    values.resize(num_features, 0.0);
    values
}

fn add(to: &mut [f32], factor: f32, row: &[f32]) {
    to.iter_mut().zip(row).for_each(|(to, v)| *to += factor * v);
}

/// In eight sums side by side, which is the same on every machine, and quick.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.0.iter().zip(b.0) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a.1.iter().zip(b.1).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Much of what all photos have, a little of what is the label's own.
    fn photo(label: usize, seed: usize) -> Direction {
        let common = |at: usize| ((at * 31 + seed * 17) % 13) as f32 / 4.0;
        let own = |at: usize| if at % 3 == label { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..60)
            .map(|at| if at < 40 { common(at) } else { own(at) })
            .collect();
        Direction::of(&values).unwrap()
    }

    #[test]
    fn what_sets_labels_apart_counts_and_what_all_have_does_not() {
        let labels: Vec<Vec<_>> = (0..3)
            .map(|label| (0..30).map(|seed| photo(label, seed * 3 + label)).collect())
            .collect();
        let kept: Vec<_> = labels.iter().map(|photos| photos.iter()).collect();
        for label in 0..3 {
            let shares = shares(&photo(label, 4 * label), &kept);
            assert!(shares[label] > 0.8, "{label}: {shares:?}");
            assert!(
                (shares.iter().sum::<f32>() - 1.0).abs() < 0.01,
                "{shares:?}"
            );
        }
    }

    #[test]
    fn photos_that_are_all_one_and_photos_of_other_lengths_harm_nobody() {
        let one = [photo(0, 1), photo(0, 1)];
        assert_eq!(
            shares(&photo(0, 1), &[one[..1].iter(), one[1..].iter()]),
            [0.5, 0.5]
        );
        let short = Direction::of(&[1.0, 2.0]).unwrap();
        let shares = shares(&short, &[one.iter(), one[..1].iter()]);
        assert!(shares.iter().all(|share| share.is_finite()), "{shares:?}");
    }
}
