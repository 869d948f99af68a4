//! Cuts the client's bytes into lines, within limits.

/// Limit of a command line in octets with its line end (RFC 2449 4).
pub const COMMAND_LIMIT: usize = 255;
/// Limit of an AUTH command and of a SASL response in octets with the line end. RFC 5034 4 sets none for a response,
/// so it is that of SMTP (RFC 4954 4). The command it keeps below [`COMMAND_LIMIT`], whatever the initial response;
/// clients send longer ones all the same (tickets, tokens), and they are taken.
pub const AUTH_LIMIT: usize = 12_288;
/// How much of a line that is too long is swallowed before the connection is given up.
pub const DISCARD_LIMIT: usize = 64 * 1024;

/// What the reader found.
#[derive(PartialEq, Eq, Clone)]
pub enum Line {
    /// One line, without its line end. It may hold a password, so it has no readable `Debug`.
    Complete(Vec<u8>),
    /// A line over its limit; it was swallowed up to its end.
    TooLong,
    /// A line so long that the client is not worth more reading: close.
    Hopeless,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Complete(line) => write!(f, "Complete({} octets)", line.len()),
            Self::TooLong => f.write_str("TooLong"),
            Self::Hopeless => f.write_str("Hopeless"),
        }
    }
}

/// What kind of line is expected; it decides the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A command: [`COMMAND_LIMIT`], or [`AUTH_LIMIT`] if it begins with `AUTH `.
    Command,
    /// A response in a SASL exchange: [`AUTH_LIMIT`].
    SaslResponse,
}

/// Buffers bytes and gives out lines. Lines end with LF; a CR before it belongs to the line end.
///
/// Memory is bounded by what is pushed at once plus [`AUTH_LIMIT`]: push only when
/// [`LineReader::next_line`] has returned none.
#[derive(Default)]
pub struct LineReader {
    buffer: Vec<u8>,
    /// Octets of an overlong line that were thrown away so far.
    discarded: usize,
    discarding: bool,
}

impl LineReader {
    /// Makes an empty reader.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes from the socket.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether bytes are waiting that were not given out. After STLS there must be none (RFC 2595 4, and
    /// CVE-2021-38084: a command sent in clear must not be answered inside TLS).
    pub fn has_buffered(&self) -> bool {
        !self.buffer.is_empty() || self.discarding
    }

    /// The next line, or none until more bytes come.
    pub fn next_line(&mut self, expect: Expect) -> Option<Line> {
        let newline = memchr::memchr(b'\n', &self.buffer);
        if self.discarding {
            return self.discard(newline);
        }
        let limit = self.limit(expect);
        match newline {
            Some(at) if at < limit => {
                let mut line: Vec<u8> = self.buffer.drain(..=at).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                Some(Line::Complete(line))
            }
            None if self.buffer.len() < limit => None,
            _ => {
                self.discarding = true;
                self.discard(newline)
            }
        }
    }

    /// Throws an overlong line away, up to its end or as far as it has come.
    fn discard(&mut self, newline: Option<usize>) -> Option<Line> {
        let end = newline.map_or(self.buffer.len(), |at| at + 1);
        self.discarded += end;
        self.buffer.drain(..end);
        if self.discarded > DISCARD_LIMIT {
            return Some(Line::Hopeless);
        }
        newline?;
        self.discarding = false;
        self.discarded = 0;
        Some(Line::TooLong)
    }

    fn limit(&self, expect: Expect) -> usize {
        let is_auth = self
            .buffer
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
        if is_auth || expect == Expect::SaslResponse {
            AUTH_LIMIT
        } else {
            COMMAND_LIMIT
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(input: &[u8], piece: usize) -> Vec<Line> {
        let mut reader = LineReader::new();
        let mut lines = Vec::new();
        for bytes in input.chunks(piece) {
            reader.push(bytes);
            while let Some(line) = reader.next_line(Expect::Command) {
                let end = line == Line::Hopeless;
                lines.push(line);
                if end {
                    return lines;
                }
            }
        }
        lines
    }

    #[test]
    fn both_line_ends() {
        assert_eq!(
            lines(b"NOOP\r\nNOOP\nab", 3),
            [Line::Complete(b"NOOP".into()), Line::Complete(b"NOOP".into())]
        );
    }

    #[test]
    fn limits_count_the_line_end() {
        let fits = [vec![b'a'; 253], b"\r\n".to_vec()].concat();
        assert_eq!(lines(&fits, 1000), [Line::Complete(vec![b'a'; 253])]);
        let over = [vec![b'a'; 254], b"\r\nNOOP\r\n".to_vec()].concat();
        for piece in [1, 7, 254, 255, 256, 1000] {
            assert_eq!(
                lines(&over, piece),
                [Line::TooLong, Line::Complete(b"NOOP".into())],
                "{piece}"
            );
        }
        let auth = [b"auth PLAIN ".to_vec(), vec![b'a'; 12_275], b"\r\n".to_vec()].concat();
        assert!(matches!(lines(&auth, 100)[..], [Line::Complete(_)]));
        assert_eq!(lines(&[&b"x"[..], &auth].concat(), 100), [Line::TooLong]);
    }

    #[test]
    fn endless_lines_are_given_up() {
        let endless = vec![b'A'; 1_000_000];
        let mut reader = LineReader::new();
        for (count, piece) in endless.chunks(4096).enumerate() {
            reader.push(piece);
            if let Some(line) = reader.next_line(Expect::Command) {
                assert_eq!(line, Line::Hopeless);
                assert!(count <= 16, "read {count} pieces");
                return;
            }
        }
        panic!("never given up");
    }

    #[test]
    fn leftovers_are_seen() {
        let mut reader = LineReader::new();
        reader.push(b"STLS\r\nUSER u\r\n");
        assert!(reader.next_line(Expect::Command).is_some());
        assert!(reader.has_buffered());
        assert!(reader.next_line(Expect::Command).is_some());
        assert!(!reader.has_buffered());
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(input in "[aA\r\n]{0,300}|(AUTH a{240,300}\r\n){1,2}", piece in 1_usize..300) {
            prop_assert_eq!(lines(input.as_bytes(), piece), lines(input.as_bytes(), 100_000));
        }
    }
}
