//! LIST patterns (RFC 3501 6.3.8): `*` matches anything, `%` anything within one level.

/// Whether `name` matches `pattern`, levels separated by `separator`.
///
/// Works with the set of pattern positions that are possible after each character, so the time is at most
/// `pattern` times `name` and no pattern backtracks.
pub fn matches(pattern: &str, name: &str, separator: char) -> bool {
    let pattern = squeeze(pattern);
    let mut possible = vec![false; pattern.len() + 1];
    possible[0] = true;
    skip_wildcards(&pattern, &mut possible);
    for c in name.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (at, token) in pattern.iter().enumerate().filter(|(at, _)| possible[*at]) {
            match token {
                '*' => next[at] = true,
                '%' => next[at] |= c != separator,
                literal => next[at + 1] |= *literal == c,
            }
        }
        skip_wildcards(&pattern, &mut next);
        if !next.contains(&true) {
            return false;
        }
        possible = next;
    }
    possible[pattern.len()]
}

/// A wildcard may match nothing: where it is possible, so is what follows it.
fn skip_wildcards(pattern: &[char], possible: &mut [bool]) {
    for (at, token) in pattern.iter().enumerate() {
        if possible[at] && matches!(token, '*' | '%') {
            possible[at + 1] = true;
        }
    }
}

/// Runs of wildcards mean one: `*` where the run holds one, else `%`.
fn squeeze(pattern: &str) -> Vec<char> {
    let mut out: Vec<char> = Vec::with_capacity(pattern.len());
    for c in pattern.chars() {
        match (out.last_mut(), c) {
            (Some(last @ ('*' | '%')), '*' | '%') => {
                if c == '*' {
                    *last = '*';
                }
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn star_crosses_levels_and_percent_does_not() {
        for (pattern, name, expected) in [
            ("*", "a.b", true),
            ("%", "a.b", false),
            ("%", "a", true),
            ("a.%", "a.b", true),
            ("a.%", "a.b.c", false),
            ("a*c", "a.b.c", true),
            ("a%", "a", true),
            ("%b", "b", true),
            ("*.%", "a.b.c", true),
            ("%.c", "a.b.c", false),
            ("INBOX", "INBOX", true),
            ("", "", true),
            ("", "a", false),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name, '.'), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn hostile_patterns_are_linear() {
        // Without the set of positions this takes 2^n steps.
        let pattern = "*a".repeat(200) + "x";
        assert!(!matches(&pattern, &"a".repeat(1000), '.'));
    }

    /// The definition itself, exponential but obvious.
    fn slow(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((wild @ ('*' | '%'), rest)) => {
                slow(rest, name)
                    || name
                        .split_first()
                        .is_some_and(|(c, tail)| (*wild == '*' || *c != '.') && slow(pattern, tail))
            }
            Some((literal, rest)) => name
                .split_first()
                .is_some_and(|(c, tail)| c == literal && slow(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab.*%]{0,7}", name in "[ab.]{0,7}") {
            let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
            prop_assert_eq!(matches(&pattern, &name, '.'), slow(&p, &n));
        }
    }
}
