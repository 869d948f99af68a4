//! The known name that a mistyped one most likely means.

/// `did you mean NAME?` for the nearest of `known`, empty where none is near.
pub(crate) fn suggest<'k>(typed: &str, known: impl Iterator<Item = &'k str>) -> String {
    let near = known
        .map(|name| (distance(typed, name), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= (name.len().max(typed.len()) / 3).max(1));
    near.map_or_else(String::new, |(_, name)| format!("did you mean {name}?"))
}

/// Optimal string alignment: inserted, missing, wrong and swapped neighbouring characters cost one each.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            let changed = last[j] + usize::from(x != y);
            row[j + 1] = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_not() {
        let known = ["mynetworks", "myhostname", "run_dir"];
        assert_eq!(
            suggest("mynetwork", known.into_iter()),
            "did you mean mynetworks?"
        );
        assert_eq!(
            suggest("myhostnaem", known.into_iter()),
            "did you mean myhostname?"
        );
        assert_eq!(suggest("milter_protocol", known.into_iter()), "");
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
