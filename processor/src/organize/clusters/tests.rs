use super::*;

const NET: &str = "a network";

/// An embedding near one of the axes, with some noise that follows from `seed`.
fn near(axis: usize, seed: usize) -> Vec<f32> {
    let noise = |at: usize| ((at * 7919 + seed * 104_729 + at * at * seed) % 97) as f32 / 300.0;
    (0..64)
        .map(|at| noise(at) + if at / 8 == axis { 1.0 } else { 0.0 })
        .collect()
}

/// What a row of the table says.
#[derive(Clone)]
struct Row {
    id: CaptureId,
    axis: usize,
    embedding: Vec<f32>,
    place: Option<Place>,
}

/// Takes photos in as the stage does.
fn come(clusters: &mut Clusters, photos: impl IntoIterator<Item = (usize, usize)>) -> Vec<Row> {
    let photos = photos.into_iter().map(|(axis, seed)| {
        let embedding = near(axis, seed);
        if clusters.needs_fit(NET) {
            clusters.fit(NET);
        }
        let place = clusters.place(NET, &embedding);
        let id = CaptureId::new();
        clusters.add(NET, id, &embedding, place.as_ref());
        Row {
            id,
            axis,
            embedding,
            place,
        }
    });
    photos.collect()
}

fn read_back(rows: impl IntoIterator<Item = Row>) -> Clusters {
    let mut clusters = Clusters::default();
    for row in rows {
        let place = row.place.map(|place| Place {
            distance: 0.0,
            ..place
        });
        clusters.add(NET, row.id, &row.embedding, place.as_ref());
    }
    clusters
}

fn mixed(axes: std::ops::Range<usize>, num_each: usize) -> Vec<(usize, usize)> {
    (0..num_each)
        .flat_map(|seed| axes.clone().map(move |axis| (axis, seed)))
        .collect()
}

#[test]
fn kinds_are_found_without_being_told_how_many() {
    let mut clusters = Clusters::default();
    let rows = come(&mut clusters, mixed(0..5, 40));
    assert!(rows[..19].iter().all(|row| row.place.is_none()));
    clusters.fit(NET);
    let mut names = Vec::new();
    for axis in 0..5 {
        let place = clusters.place(NET, &near(axis, 500)).unwrap();
        assert!(!place.is_outlier && place.distance < 0.2, "{place:?}");
        names.push(place.cluster);
        // Those that came late were told the same.
        let last = rows.iter().rev().find(|row| row.axis == axis).unwrap();
        assert_eq!(last.place.unwrap().cluster, place.cluster);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 5);
}

#[test]
fn a_new_kind_is_odd_at_first_and_then_a_kind_of_its_own_while_the_others_keep_their_ids() {
    let mut clusters = Clusters::default();
    come(&mut clusters, mixed(0..3, 30));
    let known: Vec<i64> = (0..3)
        .map(|axis| clusters.place(NET, &near(axis, 700)).unwrap().cluster)
        .collect();
    let new = come(&mut clusters, (0..30).map(|seed| (6, seed)));
    assert!(new[0].place.unwrap().is_outlier);
    let last = new[29].place.unwrap();
    assert!(
        !last.is_outlier && !known.contains(&last.cluster),
        "{last:?}"
    );
    for (axis, cluster) in known.iter().enumerate() {
        let now = clusters.place(NET, &near(axis, 701)).unwrap();
        assert_eq!(now.cluster, *cluster);
    }
}

#[test]
fn rows_read_back_in_any_order_go_on_as_if_nothing_had_happened() {
    for num_each in [3, 5, 9, 17, 31] {
        let mut clusters = Clusters::default();
        let mut rows = come(&mut clusters, mixed(0..4, num_each));
        rows.extend(come(&mut clusters, (0..num_each / 2).map(|seed| (7, seed))));
        for turn in 0..3 {
            let half = rows.len() * turn / 3;
            rows.rotate_left(half);
            rows.reverse();
            let mut again = read_back(rows.clone());
            assert_eq!(
                again.needs_fit(NET),
                rows.len() >= 20 || clusters.needs_fit(NET)
            );
            let went_on = come(&mut again, mixed(2..6, 12));
            let mut first = read_back(rows.iter().rev().cloned());
            let expected = come(&mut first, mixed(2..6, 12));
            // The ids of the photos differ from run to run, so names of new kinds may; where the
            // old ones belong may not.
            for (a, b) in went_on.iter().zip(&expected).take(20) {
                assert_eq!(a.place.map(|p| p.fitted_at), b.place.map(|p| p.fitted_at));
            }
            let mut live = read_back(rows.clone());
            if live.needs_fit(NET) {
                live.fit(NET);
            }
            if !clusters.needs_fit(NET) {
                for axis in 0..8 {
                    let photo = near(axis, 900);
                    assert_eq!(live.place(NET, &photo), clusters.place(NET, &photo));
                }
            }
        }
    }
}

#[test]
fn a_fit_tells_all_places_after_a_start_and_then_what_changed() {
    let mut clusters = Clusters::default();
    let rows = come(&mut clusters, mixed(0..3, 30));
    let mut again = read_back(rows.clone());
    let told = again.fit(NET);
    let before = told[0].place.fitted_at;
    let num_before = rows
        .iter()
        .filter(|row| row.place.is_none_or(|p| p.fitted_at < before));
    assert_eq!(told.len(), num_before.count());
    come(&mut again, (0..12).map(|seed| (5, seed)));
    let told = again.fit(NET);
    assert!(told.iter().all(|moved| moved.place.fitted_at >= before));
    assert!(told.len() < rows.len(), "{}", told.len());
}

#[test]
fn memory_is_bounded_and_what_is_rare_keeps_its_photos() {
    let mut kept = Kept::default();
    let mut rare = Vec::new();
    for seed in 0..6_000 {
        let is_rare = seed % 1_000 == 0;
        let id = CaptureId::new();
        if is_rare {
            rare.push(id);
        }
        kept.add(KeptPhoto {
            id,
            cluster: Some(if is_rare { 9 } else { seed % 3 }),
            is_outlier: false,
            direction: Arc::new(Direction::of(&[1.0, seed as f32]).unwrap()),
        });
    }
    assert!(kept.len() <= kept::MAX_KEPT);
    let photos = kept.photos();
    assert!(
        rare.iter()
            .all(|id| photos.iter().any(|(_, photo)| photo.id == *id))
    );
}

#[test]
fn what_has_no_embedding_has_no_place() {
    let mut clusters = Clusters::default();
    come(&mut clusters, mixed(0..3, 20));
    assert_eq!(clusters.place("another", &near(0, 0)), None);
    assert_eq!(clusters.place(NET, &[]), None);
    assert_eq!(clusters.place(NET, &[0.0; 64]), None);
    assert_eq!(clusters.place(NET, &[1.0; 32]), None);
}
