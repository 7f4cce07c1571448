//! Which files to merge: those of about one size, when there are enough of them.
//!
//! A photo that comes in alone is a file of its own after 15 s. If every round merged all that
//! is small, a slow trickle would be written again each hour. So a file is merged only with
//! others of its own tier, eight times smaller than the next; a row is written again at most
//! once a tier, and a table has at most a few small files in each.

use super::table::DataFile;

/// What is small, and what is large enough.
#[derive(Debug, Clone, Copy)]
pub struct MergePolicy {
    /// Files of this size and above are never touched.
    pub large_bytes: u64,
    /// The most bytes that go into one file. It is written by one create-only PUT, and
    /// twice this much is in memory meanwhile; 64 MiB is the most.
    pub target_bytes: u64,
    /// The most rows that go into one file: rejections are small, and ten million of them
    /// would fit a target while their Arrow form fits no memory.
    pub target_rows: usize,
    /// How many files of one tier make a merge worth it.
    pub min_files: usize,
}

impl Default for MergePolicy {
    fn default() -> Self {
        Self {
            large_bytes: 16 << 20,
            target_bytes: 48 << 20,
            target_rows: 1 << 16,
            min_files: 8,
        }
    }
}

/// How much larger the files of the next tier are.
const TIER_FACTOR: u64 = 8;

/// Groups of files, each to become one; in a group, the oldest file first.
pub(super) fn plan(files: &[DataFile], policy: &MergePolicy) -> Vec<Vec<DataFile>> {
    let is_small = |file: &&DataFile| {
        file.num_bytes < policy.large_bytes
            && !file.has_deleted_rows
            && file
                .num_rows
                .is_some_and(|rows| rows <= policy.target_rows / 2)
    };
    let small: Vec<&DataFile> = files.iter().filter(is_small).collect();
    let mut groups = Vec::new();
    let mut above = policy.large_bytes;
    // The lowest tier has all that is smaller still.
    while above > 0 {
        let from = if above < TIER_FACTOR * TIER_FACTOR * TIER_FACTOR {
            0
        } else {
            above / TIER_FACTOR
        };
        let tier = small
            .iter()
            .filter(|f| (from..above).contains(&f.num_bytes));
        let tier: Vec<&DataFile> = tier.copied().collect();
        if tier.len() >= policy.min_files.max(2) {
            groups.append(&mut filled(&tier, policy));
        }
        above = from;
    }
    groups
}

/// Fills one target after the other. A last one with too few files waits for more.
fn filled(tier: &[&DataFile], policy: &MergePolicy) -> Vec<Vec<DataFile>> {
    let groups = fill(tier.iter().copied(), policy);
    let num_groups = groups.len();
    let is_worth_it = |(at, group): &(usize, Vec<DataFile>)| {
        let is_last = at + 1 == num_groups;
        group.len() >= if is_last { policy.min_files.max(2) } else { 2 }
    };
    let groups = groups.into_iter().enumerate().filter(is_worth_it);
    groups.map(|(_, group)| group).collect()
}

/// Files in groups of at most a target, in their order; a larger file is a group of its own.
pub(super) fn fill<'a>(
    files: impl IntoIterator<Item = &'a DataFile>,
    policy: &MergePolicy,
) -> Vec<Vec<DataFile>> {
    let mut groups: Vec<Vec<DataFile>> = Vec::new();
    let (mut bytes, mut rows) = (0, 0);
    for file in files {
        let file_rows = file.num_rows.unwrap_or_default();
        let is_full =
            bytes + file.num_bytes > policy.target_bytes || rows + file_rows > policy.target_rows;
        match groups.last_mut() {
            Some(group) if !is_full => group.push(file.clone()),
            _ => {
                groups.push(vec![file.clone()]);
                (bytes, rows) = (0, 0);
            }
        }
        bytes += file.num_bytes;
        rows += file_rows;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    fn files(sizes: impl IntoIterator<Item = u64>) -> Vec<DataFile> {
        let file = |(at, num_bytes): (usize, u64)| DataFile {
            path: format!("{at}.parquet"),
            num_bytes,
            num_rows: Some(10),
            made_at_ms: i64::try_from(at).unwrap(),
            has_deleted_rows: false,
        };
        sizes.into_iter().enumerate().map(file).collect()
    }

    fn sizes(groups: &[Vec<DataFile>]) -> Vec<Vec<u64>> {
        let of = |group: &Vec<DataFile>| group.iter().map(|file| file.num_bytes).collect();
        groups.iter().map(of).collect()
    }

    #[test]
    fn large_files_are_never_touched_and_few_small_ones_wait() {
        let policy = MergePolicy::default();
        let large = files([16 * MIB, 30 * MIB, 64 * MIB].repeat(10));
        assert!(plan(&large, &policy).is_empty());
        assert!(plan(&files([5 * MIB; 7]), &policy).is_empty());
    }

    #[test]
    fn a_merge_is_of_one_tier_in_the_order_of_time_and_never_above_the_target() {
        let policy = MergePolicy::default();
        let mixed = files(
            [4 * MIB; 20]
                .into_iter()
                .chain([100 * KIB; 9])
                .chain([1; 3]),
        );
        let groups = plan(&mixed, &policy);
        // 12 of the first tier fill a target, the other 8 are enough for one of their own.
        assert_eq!(
            sizes(&groups),
            [vec![4 * MIB; 12], vec![4 * MIB; 8], vec![100 * KIB; 9]]
        );
        for group in groups {
            assert!(group.iter().map(|file| file.num_bytes).sum::<u64>() <= policy.target_bytes);
            assert!(group.is_sorted_by_key(|file| file.made_at_ms));
        }
    }

    #[test]
    fn a_file_with_many_rows_or_deleted_ones_is_left_alone() {
        let policy = MergePolicy::default();
        let mut many = files([MIB; 10]);
        many.iter_mut()
            .for_each(|file| file.num_rows = Some(1 << 16));
        assert!(plan(&many, &policy).is_empty());
        let mut deleted = files([MIB; 10]);
        deleted
            .iter_mut()
            .for_each(|file| file.has_deleted_rows = true);
        assert!(plan(&deleted, &policy).is_empty());
        let mut unknown = files([MIB; 10]);
        unknown.iter_mut().for_each(|file| file.num_rows = None);
        assert!(plan(&unknown, &policy).is_empty());
    }

    #[test]
    fn a_slow_trickle_is_written_again_a_few_times_and_not_each_round() {
        let policy = MergePolicy::default();
        let mut sizes: Vec<u64> = Vec::new();
        let mut written = 0;
        let total = 2_000 * 40 * KIB;
        for _ in 0..2_000 {
            sizes.push(40 * KIB);
            let now = files(sizes.clone());
            for group in plan(&now, &policy) {
                let merged = group.iter().map(|file| file.num_bytes).sum();
                sizes = now
                    .iter()
                    .filter(|f| !group.contains(f))
                    .map(|f| f.num_bytes)
                    .collect();
                sizes.push(merged);
                written += merged;
            }
        }
        assert!(written <= 4 * total, "{} times", written / total);
        assert!(sizes.len() < 8 * 5, "{} files", sizes.len());
    }
}
