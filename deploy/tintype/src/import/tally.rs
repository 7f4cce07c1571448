//! How many files of each label became what: verdicts come in one by one, counts
//! and the table of them go out.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Label, Reason, Status};

use crate::cli::{Column, Table};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The server has it, and this is where it stands.
    Judged(Status, Option<Reason>),
    /// It could not be sent.
    Failed,
}

impl Verdict {
    /// The verdict as the table's heading: the status, and the reason under it.
    fn column(self) -> Column {
        match self {
            Self::Judged(Status::Queued, _) => Column::figures("no verdict").line("yet"),
            Self::Judged(status, None) => Column::figures(status.as_str()),
            Self::Judged(status, Some(reason)) => {
                let mut column = Column::figures(status.as_str());
                // `near_duplicate` under `duplicate` says it twice.
                let name = reason.as_str();
                let name = name.strip_suffix("_duplicate").unwrap_or(name);
                for line in lines(name) {
                    column = column.line(&line);
                }
                column
            }
            Self::Failed => Column::figures("not sent"),
        }
    }
}

/// The words of a name, on lines no wider than a status and a little.
fn lines(name: &str) -> Vec<String> {
    const WIDTH: usize = 12;
    let mut lines: Vec<String> = Vec::new();
    for word in name.split('_') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Labels that the table lists; those that follow are added up. More scroll the
/// sum of all off the screen; `--json` has them all.
const MAX_ROWS: usize = 200;

/// Counts by label and verdict.
#[derive(Debug, Default)]
pub struct Tally {
    labels: BTreeMap<Option<Label>, BTreeMap<Verdict, u64>>,
    total: BTreeMap<Verdict, u64>,
}

impl Tally {
    /// Counts a file; `None` if it has no label.
    pub fn count(&mut self, label: Option<&Label>, verdict: Verdict) {
        *self.total.entry(verdict).or_default() += 1;
        // Most files have a label that is known: no copy for those.
        let counts = match self.labels.get_mut(&label.cloned()) {
            Some(counts) => counts,
            None => self.labels.entry(label.cloned()).or_default(),
        };
        *counts.entry(verdict).or_default() += 1;
    }

    /// All files.
    pub fn files(&self) -> u64 {
        self.total.values().sum()
    }

    /// Files that could not be sent.
    pub fn failed(&self) -> u64 {
        self.total.get(&Verdict::Failed).copied().unwrap_or(0)
    }

    /// Files that the server has.
    pub fn sent(&self) -> u64 {
        self.files() - self.failed()
    }

    /// Files with this status.
    pub fn with_status(&self, status: Status) -> u64 {
        let of = |(verdict, n): (&Verdict, &u64)| match verdict {
            Verdict::Judged(s, _) if *s == status => Some(*n),
            _ => None,
        };
        self.total.iter().filter_map(of).sum()
    }

    /// Files by label and status, as `--json` tells them.
    pub fn by_label(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let named = |label: &Option<Label>| label.as_ref().map_or("", |l| l.as_str()).to_owned();
        let counts = |counts: &BTreeMap<Verdict, u64>| {
            let mut by_status = BTreeMap::new();
            for (verdict, n) in counts {
                let status = match verdict {
                    Verdict::Judged(status, _) => status.as_str(),
                    Verdict::Failed => "failed",
                };
                *by_status.entry(status.to_owned()).or_default() += n;
            }
            by_status
        };
        let labels = self.labels.iter();
        labels.map(|(l, c)| (named(l), counts(c))).collect()
    }

    /// Files by reason, as `--json` tells them.
    pub fn by_reason(&self) -> BTreeMap<Reason, u64> {
        let mut reasons = BTreeMap::new();
        for (verdict, n) in &self.total {
            if let Verdict::Judged(_, Some(reason)) = verdict {
                *reasons.entry(*reason).or_default() += n;
            }
        }
        reasons
    }

    /// The table: a row for each label, a column for each verdict that occurs, and
    /// the sums of both.
    pub fn table(&self) -> Table {
        let accepted = Verdict::Judged(Status::Accepted, None);
        let waits = |verdict: &Verdict| matches!(verdict, Verdict::Judged(Status::Queued, _));
        let mut verdicts: BTreeSet<Verdict> = self.total.keys().copied().collect();
        verdicts.insert(accepted);
        let (last, first): (Vec<_>, Vec<_>) = verdicts.into_iter().partition(waits);
        let verdicts: Vec<Verdict> = first.into_iter().chain(last).collect();

        let mut columns = vec![Column::text("label")];
        columns.extend(verdicts.iter().map(|verdict| verdict.column()));
        columns.push(Column::figures("all"));
        let mut table = Table::new(columns);
        let mut add = |name: String, counts: &BTreeMap<Verdict, u64>| {
            let of = |verdict: &Verdict| match counts.get(verdict) {
                // Empty rather than 0: what happened is what one looks for.
                None | Some(0) => String::new(),
                Some(n) => n.to_string(),
            };
            let sum: u64 = counts.values().sum();
            let cells = verdicts.iter().map(of);
            table.row([name].into_iter().chain(cells).chain([sum.to_string()]));
        };
        for (label, counts) in self.labels.iter().take(MAX_ROWS) {
            let name = label.as_ref().map_or("(no label)", |l| l.as_str());
            add(name.into(), counts);
        }
        let mut others = BTreeMap::new();
        for counts in self.labels.values().skip(MAX_ROWS) {
            for (verdict, n) in counts {
                *others.entry(*verdict).or_default() += n;
            }
        }
        if !others.is_empty() {
            let num_labels = self.labels.len() - MAX_ROWS;
            add(format!("({num_labels} more labels)"), &others);
        }
        add("all".into(), &self.total);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let mut tally = Tally::default();
        let judged = |status, reason| Verdict::Judged(status, reason);
        let cat: Label = "cat".parse().unwrap();
        let cup: Label = "茶杯".parse().unwrap();
        for _ in 0..12 {
            tally.count(Some(&cat), judged(Status::Accepted, None));
        }
        tally.count(Some(&cup), judged(Status::Accepted, None));
        let near = Some(Reason::NearDuplicate);
        tally.count(Some(&cup), judged(Status::Duplicate, near));
        let truncated = Some(Reason::Truncated);
        tally.count(Some(&cat), judged(Status::Rejected, truncated));
        tally.count(Some(&cat), judged(Status::Queued, None));
        tally.count(None, Verdict::Failed);
        tally
    }

    #[test]
    fn the_table_has_what_happened_and_its_sums() {
        let expected = "\
label       accepted  duplicate   rejected  not sent  no verdict  all
                           near  truncated                   yet
(no label)                                         1                1
cat               12                     1                     1   14
茶杯               1          1                                     2
all               13          1          1         1           1   17";
        assert_eq!(tally().table().plain(), expected);
    }

    #[test]
    fn headings_are_broken_between_words_where_they_are_long() {
        assert_eq!(lines("not_an_image"), ["not an image"]);
        assert_eq!(lines("too_many_pixels"), ["too many", "pixels"]);
        assert_eq!(lines("unsupported_format"), ["unsupported", "format"]);
    }

    #[test]
    fn what_was_sent_is_the_sum_of_the_verdicts() {
        let tally = tally();
        let sum: u64 = Status::ALL.iter().map(|s| tally.with_status(*s)).sum();
        assert_eq!((tally.sent(), tally.failed(), tally.files()), (sum, 1, 17));
        assert_eq!(tally.by_label()["cat"]["accepted"], 12);
        assert_eq!(tally.by_label()[""]["failed"], 1);
        assert_eq!(tally.by_reason()[&Reason::Truncated], 1);
    }

    #[test]
    fn thousands_of_labels_keep_the_sum_in_sight() {
        let mut tally = Tally::default();
        for n in 0..1000 {
            let label: Label = format!("label {n:04}").parse().unwrap();
            tally.count(Some(&label), Verdict::Judged(Status::Accepted, None));
        }
        let text = tally.table().plain();
        assert_eq!(text.lines().count(), 1 + MAX_ROWS + 2);
        assert!(
            text.contains("(800 more labels)") && text.ends_with("1000"),
            "{text}"
        );
    }
}
