//! "Did you mean ...": the known names nearest to one that is not known.

/// Characters of a name that are compared. Larger makes ten thousand long labels
/// slow to search (the time grows with its square); smaller confuses long names.
const MAX_COMPARED_CHARS: usize = 48;

/// Up to three of the `known` names that `wanted` may have meant, the nearest
/// first; none that would need more than a third of its letters changed (two, for
/// short ones). Case does not count.
pub fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let letters = |name: &str| -> Vec<char> {
        let lower = name.chars().flat_map(char::to_lowercase);
        lower.take(MAX_COMPARED_CHARS).collect()
    };
    let wanted = letters(wanted);
    let most = (wanted.len() / 3).max(2);
    let mut near: Vec<(usize, &str)> = known
        .map(|name| (distance(&wanted, &letters(name)), name))
        .filter(|(distance, _)| *distance <= most)
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// How many letters must be inserted, removed or replaced to make one of the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_finds_what_was_meant_and_a_stranger_finds_nothing() {
        let known = ["cats", "dogs", "cars", "CATS-2024", "horses"];
        assert_eq!(nearest("cat", known.into_iter()), ["cats", "cars"]);
        assert_eq!(nearest("hroses", known.into_iter()), ["horses"]);
        assert_eq!(nearest("cats-2042", known.into_iter()), ["CATS-2024"]);
        assert!(nearest("submarine", known.into_iter()).is_empty());
    }

    #[test]
    fn letters_of_other_scripts_count_as_one() {
        assert_eq!(nearest("बिल्लि", ["बिल्ली"].into_iter()), ["बिल्ली"]);
    }

    #[test]
    fn no_more_than_three_are_named_the_nearest_first() {
        let known = ["aaaa", "aaab", "aabb", "aaac", "aaad"];
        assert_eq!(nearest("aaaa", known.into_iter()), ["aaaa", "aaab", "aaac"]);
    }

    #[test]
    fn distances_are_those_of_the_textbook() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        for (a, b, edits) in [
            ("kitten", "sitting", 3),
            ("", "abc", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(distance(&chars(a), &chars(b)), edits, "{a} {b}");
        }
    }
}
