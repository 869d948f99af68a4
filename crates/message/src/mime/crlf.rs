//! Stored bytes (LF or CRLF) shown with CRLF line ends.

use std::borrow::Cow;

/// How long `raw` is with every lone LF as CRLF.
pub fn crlf_len(raw: &[u8]) -> u64 {
    raw.len() as u64 + lone_line_feeds(raw)
}

fn lone_line_feeds(raw: &[u8]) -> u64 {
    let lone = |at: &usize| *at == 0 || raw[at - 1] != b'\r';
    memchr::memchr_iter(b'\n', raw).filter(lone).count() as u64
}

/// Delivers a range of stored bytes as CRLF text, piece by piece.
#[derive(Debug, Clone)]
pub struct Crlf<'a> {
    rest: &'a [u8],
    /// The next byte is an LF whose CR was already delivered (or cut off by the range).
    after_cr: bool,
    /// Octets that may still be delivered.
    left: u64,
}

impl<'a> Crlf<'a> {
    /// All of `raw`, which must not begin between a CR and its LF.
    pub fn new(raw: &'a [u8]) -> Self {
        Self {
            rest: raw,
            after_cr: false,
            left: u64::MAX,
        }
    }

    /// `count` octets from `start` on, in CRLF terms; less where the text ends before.
    pub fn range(raw: &'a [u8], start: u64, count: u64) -> Self {
        let mut whole = Self::new(raw);
        whole.skip(start);
        whole.left = count;
        whole
    }

    /// How many octets will be delivered.
    pub fn len(&self) -> u64 {
        let cut = u64::from(self.after_cr && self.rest.first() == Some(&b'\n'));
        (crlf_len(self.rest) - cut).min(self.left)
    }

    /// Whether nothing will be delivered.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty() || self.left == 0
    }

    /// Appends at most `max` octets to `out`; `false` when that was all.
    pub fn read(&mut self, max: usize, out: &mut Vec<u8>) -> bool {
        let mut room = (max as u64).min(self.left);
        let granted = room;
        while room > 0 && !self.rest.is_empty() {
            let (piece, adds_cr) = self.piece();
            let take = piece.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            out.extend_from_slice(&piece[..take]);
            room -= take as u64;
            self.advance(take);
            if take == piece.len() && adds_cr && room > 0 {
                out.push(b'\r');
                room -= 1;
                self.after_cr = true;
            }
        }
        self.left -= granted - room;
        !self.is_empty()
    }

    /// Everything at once.
    pub fn to_vec(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.read(usize::MAX, &mut out) {}
        out
    }

    fn skip(&mut self, mut octets: u64) {
        while octets > 0 && !self.rest.is_empty() {
            let (piece, adds_cr) = self.piece();
            let take = piece.len().min(usize::try_from(octets).unwrap_or(usize::MAX));
            let whole = take == piece.len();
            octets -= take as u64;
            self.advance(take);
            if whole && adds_cr && octets > 0 {
                octets -= 1;
                self.after_cr = true;
            }
        }
    }

    /// The bytes up to the next place where a CR has to go in, and whether there is such a place.
    fn piece(&self) -> (&'a [u8], bool) {
        let from = usize::from(self.after_cr && self.rest.first() == Some(&b'\n'));
        for at in memchr::memchr_iter(b'\n', &self.rest[from..]).map(|at| at + from) {
            if at == 0 || self.rest[at - 1] != b'\r' {
                return (&self.rest[..at], true);
            }
        }
        (self.rest, false)
    }

    fn advance(&mut self, bytes: usize) {
        if bytes > 0 {
            self.after_cr = self.rest[bytes - 1] == b'\r';
            self.rest = &self.rest[bytes..];
        }
    }
}

/// `raw` with CRLF line ends, copied only where needed.
pub(super) fn with_crlf(raw: &[u8]) -> Cow<'_, [u8]> {
    if lone_line_feeds(raw) == 0 {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(Crlf::new(raw).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: every LF without a CR before it gets one.
    fn plain(raw: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        for byte in raw {
            if *byte == b'\n' && out.last() != Some(&b'\r') {
                out.push(b'\r');
            }
            out.push(*byte);
        }
        out
    }

    #[test]
    fn lines_of_both_kinds() {
        assert_eq!(Crlf::new(b"a\nb\r\n\n\r\r\n").to_vec(), b"a\r\nb\r\n\r\n\r\r\n");
        assert_eq!(Crlf::range(b"a\nb\n", 2, 2).to_vec(), b"\nb");
        assert_eq!(Crlf::range(b"a\nb\n", 9, 2).to_vec(), b"");
        assert_eq!(with_crlf(b"x\r\n"), Cow::Borrowed(b"x\r\n"));
    }

    proptest! {
        #[test]
        fn every_range_agrees_with_the_definition(
            raw in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a')], 0..20),
            start in 0u64..25, count in 1u64..25, step in 1usize..5,
        ) {
            let expected = plain(&raw);
            let from = (start as usize).min(expected.len());
            let to = (from + count as usize).min(expected.len());
            let mut reader = Crlf::range(&raw, start, count);
            prop_assert_eq!(reader.len(), (to - from) as u64);
            let mut out = Vec::new();
            while reader.read(step, &mut out) {}
            prop_assert_eq!(&out[..], &expected[from..to]);
            prop_assert_eq!(crlf_len(&raw), expected.len() as u64);
        }
    }
}
