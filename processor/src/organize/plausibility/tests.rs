use super::*;

const NET: &str = "a network";

/// An embedding near one of the axes, with some noise that follows from `seed`.
fn near(axis: usize, seed: usize) -> Vec<f32> {
    let noise = |at: usize| ((at * 31 + seed * 17) % 13) as f32 / 40.0;
    (0..64)
        .map(|at| noise(at) + if at / 8 == axis { 1.0 } else { 0.0 })
        .collect()
}

fn filled(num_photos: usize) -> Looks {
    let mut looks = Looks::default();
    for (axis, label) in ["cat", "dog", "owl"].into_iter().enumerate() {
        for seed in 0..num_photos {
            looks.add(NET, CaptureId::new(), label, &near(axis, seed));
        }
    }
    looks
}

#[test]
fn a_photo_of_another_label_scores_low_and_that_label_is_named() {
    let looks = filled(12);
    let right = looks.fit(NET, "cat", &near(0, 99)).unwrap();
    assert!(right.score > 0.9, "{right:?}");
    let wrong = looks.fit(NET, "cat", &near(2, 99)).unwrap();
    assert!(wrong.score < 0.1, "{wrong:?}");
    assert_eq!(wrong.looks_like, "owl");
}

#[test]
fn a_label_that_is_new_or_has_few_photos_is_never_judged_nor_named() {
    let mut looks = filled(12);
    assert_eq!(looks.fit(NET, "fox", &near(0, 99)), None);
    for seed in 0..9 {
        looks.add(NET, CaptureId::new(), "fox", &near(5, seed));
        assert_eq!(looks.fit(NET, "fox", &near(0, 99)), None);
    }
    // Nine foxes are no reason against a cat.
    let fox = looks.fit(NET, "cat", &near(5, 99)).unwrap();
    assert_ne!(fox.looks_like, "fox");
    // A label alone has nothing to be held against; another network's words say nothing.
    let mut alone = Looks::default();
    (0..20).for_each(|seed| alone.add(NET, CaptureId::new(), "cat", &near(0, seed)));
    assert_eq!(alone.fit(NET, "cat", &near(3, 1)), None);
    assert_eq!(looks.fit("another", "cat", &near(0, 1)), None);
    // Nor does an embedding without a direction.
    assert_eq!(looks.fit(NET, "cat", &[0.0; 64]), None);
}

#[test]
fn the_same_photos_in_another_order_judge_alike() {
    let photos: Vec<_> = (0..700)
        .map(|seed| (CaptureId::new(), seed % 7, near(seed % 7, seed)))
        .collect();
    let looks_of = |order: &mut dyn Iterator<Item = &(CaptureId, usize, Vec<f32>)>| {
        let mut looks = Looks::default();
        for (id, label, embedding) in order {
            looks.add(NET, *id, &label.to_string(), embedding);
        }
        looks
    };
    let (there, back) = (
        looks_of(&mut photos.iter()),
        looks_of(&mut photos.iter().rev()),
    );
    for (_, _, embedding) in photos.iter().step_by(50) {
        let fit = there.fit(NET, "3", embedding);
        assert!(fit.is_some());
        assert_eq!(fit, back.fit(NET, "3", embedding));
    }
}

#[test]
fn what_is_kept_is_bounded_whatever_comes() {
    let mut looks = Looks::default();
    for seed in 0..3_000 {
        looks.add(
            NET,
            CaptureId::new(),
            &(seed % 1_500).to_string(),
            &near(0, seed),
        );
    }
    let model = &looks.models[NET];
    assert_eq!(model.labels.len(), 1_024);
    let kept = |model: &Model| {
        model
            .labels
            .values()
            .map(|look| look.kept.len())
            .sum::<usize>()
    };
    assert!(kept(model) <= MAX_KEPT);
    let mut looks = Looks::default();
    for seed in 0..200 {
        looks.add(NET, CaptureId::new(), "cat", &near(0, seed));
    }
    assert_eq!(kept(&looks.models[NET]), MAX_KEPT_PER_LABEL);
}
