//! Every call on the way of a photo that has points, with what it may be about.

/// Calls and what each is about: `store.put` of `photos_log` and so on. A call that is not
/// listed has no points.
pub const CALLS: &[(&str, &[&str])] = &[
    ("kafka.produce", &["captures", "prepared", "outcomes"]),
    ("kafka.assign", &["captures", "prepared", "outcomes"]),
    ("kafka.poll", &["captures", "prepared", "outcomes"]),
    ("kafka.commit", &["captures", "prepared", "outcomes"]),
    (
        "store.put",
        &[
            "original",
            "photos",
            "photos_log",
            "rejections",
            "rejections_log",
        ],
    ),
    (
        "store.get",
        &["original", "photos", "photos_log", "rejections"],
    ),
    ("store.list", &["photos_log", "rejections_log"]),
    (
        "sql.read",
        &[
            "authenticate",
            "find_by_hash",
            "find_dataset",
            "find_labels",
            "living_datasets",
            "pinned_versions",
        ],
    ),
    (
        "sql.write",
        &[
            "begin_request",
            "check",
            "end_turn",
            "finish_request",
            "record_outcomes",
            "record_queued",
            "take_turn",
        ],
    ),
    ("sql.commit", &["catalog"]),
];

/// The names of all points.
pub fn points() -> impl Iterator<Item = String> {
    let calls = CALLS
        .iter()
        .flat_map(|(call, whats)| whats.iter().map(move |what| (call, what)));
    calls.flat_map(|(call, what)| ["before", "after"].map(|side| format!("{call}.{what}.{side}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_least_forty_points_and_none_twice() {
        let all: Vec<String> = points().collect();
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert!(all.len() >= 40, "{}", all.len());
        assert_eq!(all.len(), different.len());
    }
}
