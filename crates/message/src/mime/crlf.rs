//! Stored bytes (LF or CRLF) shown with CRLF line ends.

/// How long `raw` is with every lone LF as CRLF.
pub fn crlf_len(raw: &[u8]) -> u64 {
    let lone = |at: &usize| *at == 0 || raw[at - 1] != b'\r';
    raw.len() as u64 + memchr::memchr_iter(b'\n', raw).filter(lone).count() as u64
}

/// Turns stored bytes into CRLF text, in as many pieces as they come, and delivers all of it or a range.
///
/// ```
/// use message::mime::Crlf;
/// let mut out = Vec::new();
/// Crlf::range(1, 4).encode(b"a\nb\n", &mut out);
/// assert_eq!(out, b"\r\nb\r");
/// ```
#[derive(Debug, Clone)]
pub struct Crlf {
    /// Whether the last byte that came was a CR.
    after_cr: bool,
    /// Octets of the text that are not delivered first.
    skip: u64,
    /// Octets that may still be delivered.
    left: u64,
}

impl Crlf {
    /// Delivers everything.
    pub fn all() -> Self {
        Self::range(0, u64::MAX)
    }

    /// Delivers `count` octets of the text from `start` on; fewer where it ends before.
    pub fn range(start: u64, count: u64) -> Self {
        Self {
            after_cr: false,
            skip: start,
            left: count,
        }
    }

    /// Whether the range is complete: what comes now delivers nothing.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Takes the next stored bytes and appends their text to `out`.
    pub fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        let mut start = 0;
        for at in memchr::memchr_iter(b'\n', raw) {
            if self.is_done() {
                return;
            }
            let complete = if at == 0 {
                self.after_cr
            } else {
                raw[at - 1] == b'\r'
            };
            if !complete {
                self.deliver(&raw[start..at], out);
                self.deliver(b"\r", out);
                start = at;
            }
        }
        self.deliver(&raw[start..], out);
        if let Some(last) = raw.last() {
            self.after_cr = *last == b'\r';
        }
    }

    fn deliver(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let skipped = text.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.skip -= skipped as u64;
        let text = &text[skipped..];
        let taken = text.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= taken as u64;
        out.extend_from_slice(&text[..taken]);
    }
}

/// `raw` as CRLF text.
pub fn to_crlf(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 32);
    Crlf::all().encode(raw, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: every LF without a CR before it gets one.
    fn plain(raw: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        let mut before = 0;
        for byte in raw {
            if *byte == b'\n' && before != b'\r' {
                out.push(b'\r');
            }
            out.push(*byte);
            before = *byte;
        }
        out
    }

    #[test]
    fn lines_of_both_kinds() {
        assert_eq!(to_crlf(b"a\nb\r\n\n\r\r\n"), b"a\r\nb\r\n\r\n\r\r\n");
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
            let (mut crlf, mut out) = (Crlf::range(start, count), Vec::new());
            for piece in raw.chunks(step) {
                crlf.encode(piece, &mut out);
            }
            prop_assert_eq!(&out[..], &expected[from..to]);
            prop_assert_eq!(crlf_len(&raw), expected.len() as u64);
        }
    }
}
