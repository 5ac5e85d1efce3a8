//! "Did you mean …?": the valid name nearest to a mistyped one.

/// The candidate with the smallest edit distance, if it is near enough to be a likely typing mistake.
pub fn nearest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (typed.chars().count() / 2).max(2);
    candidates.map(|c| (edit_distance(typed, c), c)).filter(|(d, _)| *d <= limit).min().map(|(_, c)| c)
}

/// Insertions, deletions and replacements that turn `a` into `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let replace = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_the_textbook_ones() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", "abc"), 0);
    }

    #[test]
    fn only_a_likely_mistake_is_answered() {
        assert_eq!(nearest("licence_", ["license", "licence"].into_iter()), Some("licence"));
        assert_eq!(nearest("zzzzzz", ["licence"].into_iter()), None);
    }
}
