//! A capture's verdict in words: one line under an upload, or a table of all that
//! is known.

use schemas::http::Capture;

use super::{Column, Table, advice};

/// The verdict in one line: what, why, the twin, the numbers, what to do.
pub fn verdict_line(capture: &Capture) -> String {
    let mut line = capture.status.to_string();
    if let Some(reason) = capture.reason {
        line += &format!(", {reason}");
    }
    if let Some(twin) = capture.twin_id {
        line += &format!(" of {twin}");
    }
    // Of a mirrored or turned copy the detail says so; of an upright one it says the same as
    // the distances, with the twin's id.
    let upright = capture.phash_distance.and_then(|_| distances(capture));
    match (upright, &capture.detail) {
        (Some(distances), _) => line += &format!(": {distances}"),
        (None, Some(detail)) => line += &format!(": {detail}"),
        (None, None) => {}
    }
    if let Some(reason) = capture.reason {
        line += &format!(". {}", advice(reason));
    }
    line
}

/// Everything that is known of a capture.
pub fn verdict_table(capture: &Capture) -> Table {
    let id = capture.id.to_string();
    let mut table = Table::new(vec![Column::text("capture"), Column::prose(&id)]);
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            table.row([name.to_owned(), value]);
        }
    };
    row("status", Some(capture.status.to_string()));
    row("reason", capture.reason.map(|r| r.to_string()));
    row("detail", capture.detail.clone());
    row("what to do", capture.reason.map(|r| advice(r).into()));
    row("twin", capture.twin_id.map(|id| id.to_string()));
    row("distance to it", distances(capture));
    row("dataset", Some(capture.dataset.to_string()));
    row("label", Some(capture.label.to_string()));
    row("group", capture.group_id.map(|id| id.to_string()));
    row("split", capture.split.map(|split| split.to_string()));
    let version = match (capture.table_version, capture.status) {
        (Some(version), _) => Some(format!("{version}")),
        (None, schemas::Status::Accepted) => Some("waits for its shard".into()),
        _ => None,
    };
    row("table version", version);
    if let Some(scores) = capture.scores {
        row(
            "scores, low is worse",
            Some(format!("dark {:.2}", scores.dark_score)),
        );
        row("", Some(format!("light {:.2}", scores.light_score)));
        row("", Some(format!("blurry {:.2}", scores.blurry_score)));
        let information = scores.low_information_score;
        row("", Some(format!("low information {information:.2}")));
    }
    row("sha256", Some(capture.sha256.clone()));
    let time = |t: chrono::DateTime<chrono::Utc>| t.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string();
    row("received", Some(time(capture.received_at)));
    row("judged", capture.decided_at.map(time));
    table
}

fn distances(capture: &Capture) -> Option<String> {
    let phash = capture
        .phash_distance
        .map(|bits| format!("{bits} of 64 bits of phash differ"));
    let pdq = capture
        .pdq_distance
        .map(|bits| format!("{bits} of 256 bits of pdq differ"));
    let known: Vec<String> = phash.into_iter().chain(pdq).collect();
    (!known.is_empty()).then(|| known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{CaptureId, Reason, Sha256, Status};

    #[test]
    fn a_duplicate_names_its_twin_and_the_numbers() {
        let twin = CaptureId::new();
        let capture = Capture {
            id: CaptureId::new(),
            dataset: "cats-abc234".parse().unwrap(),
            label: "cat".parse().unwrap(),
            status: Status::Duplicate,
            reason: Some(Reason::NearDuplicate),
            detail: None,
            twin_id: Some(twin),
            phash_distance: Some(2),
            pdq_distance: Some(14),
            scores: None,
            group_id: None,
            split: None,
            cluster: None,
            table_version: None,
            sha256: Sha256::of(b"x").to_string(),
            received_at: chrono::Utc::now(),
            decided_at: None,
        };
        let line = verdict_line(&capture);
        let start =
            format!("duplicate, near_duplicate of {twin}: 2 of 64 bits of phash differ, 14 of ");
        assert!(line.starts_with(&start), "{line}");
        let table = verdict_table(&capture).plain();
        assert!(
            table.contains(&twin.to_string()) && table.contains("what to do"),
            "{table}"
        );
    }
}
