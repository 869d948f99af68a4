//! Sequence sets (RFC 3501 section 9, `sequence-set`).

use std::fmt;
use std::ops::RangeInclusive;

/// A set of sequence numbers or UIDs as written: ranges in any order, `*` for the greatest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSet(Vec<(Bound, Bound)>);

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A number, never 0.
    Number(u32),
    /// `*`.
    Last,
}

impl SequenceSet {
    /// Makes a set of ranges.
    pub fn new(ranges: Vec<(Bound, Bound)>) -> Self {
        Self(ranges)
    }

    /// The ranges in ascending order, merged, with `*` read as `last`.
    ///
    /// A range is its two ends in either order, so `5:*` holds `last` even where that is less than 5.
    pub fn resolve(&self, last: u32) -> Vec<RangeInclusive<u32>> {
        let value = |bound| match bound {
            Bound::Number(number) => number,
            Bound::Last => last,
        };
        let mut ranges: Vec<(u32, u32)> = (self.0.iter())
            .map(|(a, b)| (value(*a), value(*b)))
            .map(|(a, b)| (a.min(b), a.max(b)))
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<RangeInclusive<u32>> = Vec::with_capacity(ranges.len());
        for (start, end) in ranges {
            match merged.last_mut() {
                Some(previous) if start <= previous.end().saturating_add(1) => {
                    *previous = *previous.start()..=end.max(*previous.end());
                }
                _ => merged.push(start..=end),
            }
        }
        merged
    }

    /// The greatest number written out, `None` for a set of `*` alone.
    pub fn greatest_number(&self) -> Option<u32> {
        let numbers = self.0.iter().flat_map(|(a, b)| [*a, *b]);
        numbers
            .filter_map(|bound| match bound {
                Bound::Number(number) => Some(number),
                Bound::Last => None,
            })
            .max()
    }

    /// Writes ascending numbers as a set, as in COPYUID (RFC 4315): runs become ranges.
    pub fn from_sorted(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, end)) if end.checked_add(1) == Some(number) => *end = number,
                _ => ranges.push((number, number)),
            }
        }
        Self(
            ranges
                .into_iter()
                .map(|(a, b)| (Bound::Number(a), Bound::Number(b)))
                .collect(),
        )
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Last => f.write_str("*"),
        }
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (start, end)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            if start == end {
                write!(f, "{start}")?;
            } else {
                write!(f, "{start}:{end}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Bound::{Last, Number};
    use super::*;

    #[test]
    fn ranges_merge_and_star_is_the_last() {
        let set = SequenceSet::new(vec![
            (Number(7), Number(5)),
            (Number(1), Number(1)),
            (Number(2), Number(3)),
            (Number(9), Last),
        ]);
        assert_eq!(set.resolve(8), [1..=3, 5..=9]);
        assert_eq!(set.resolve(20), [1..=3, 5..=7, 9..=20]);
        assert_eq!(set.to_string(), "7:5,1,2:3,9:*");
        assert_eq!(set.greatest_number(), Some(9));
        // The greatest numbers do not overflow the merge.
        let all = SequenceSet::new(vec![(Number(u32::MAX), Last), (Number(1), Number(u32::MAX))]);
        assert_eq!(all.resolve(u32::MAX), [1..=u32::MAX]);
    }

    #[test]
    fn runs_become_ranges() {
        assert_eq!(
            SequenceSet::from_sorted([1, 2, 3, 7, 9, 10]).to_string(),
            "1:3,7,9:10"
        );
    }
}
