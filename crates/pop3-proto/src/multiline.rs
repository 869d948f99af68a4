//! Messages on the wire: CRLF line ends, dots stuffed, a lone dot at the end (RFC 1939 3).

/// How much of a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it (RETR).
    Whole,
    /// The header, the empty line, and this many lines of the body (TOP).
    Top(u64),
}

/// Encodes a message piece by piece; what it remembers between two pieces is a few flags.
///
/// LF becomes CRLF, CRLF stays. A CR without LF stays as it is: it is no line end, so a dot behind it is
/// not stuffed. Where the last line has no end, one is added.
#[derive(Debug, Clone)]
pub struct DotEncoder {
    extent: Extent,
    in_body: bool,
    /// Whether the next octet begins a line.
    line_start: bool,
    /// Whether the line so far has no octet but perhaps a CR.
    line_empty: bool,
    last_cr: bool,
    body_lines: u64,
}

impl DotEncoder {
    /// Makes an encoder for one message.
    pub fn new(extent: Extent) -> Self {
        Self {
            extent,
            in_body: false,
            line_start: true,
            line_empty: true,
            last_cr: false,
            body_lines: 0,
        }
    }

    /// Whether everything that was asked for has been sent, so that the rest need not be read.
    pub fn satisfied(&self) -> bool {
        matches!(self.extent, Extent::Top(lines) if self.in_body && self.line_start && self.body_lines >= lines)
    }

    /// Encodes the next piece of the message. The output is at most three times as long as the input.
    pub fn encode(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() && !self.satisfied() {
            let newline = memchr::memchr(b'\n', input);
            let (text, rest) = match newline {
                Some(at) => (&input[..at], &input[at + 1..]),
                None => (input, &input[input.len()..]),
            };
            if self.line_start && text.first() == Some(&b'.') {
                out.push(b'.');
            }
            out.extend_from_slice(text);
            if let Some(last) = text.last() {
                self.line_empty = self.line_empty && self.line_start && text == b"\r";
                self.line_start = false;
                self.last_cr = *last == b'\r';
            }
            if newline.is_some() {
                self.end_line(out);
            }
            input = rest;
        }
    }

    /// Ends the message: the last line's end if it is missing, and the lone dot.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if !self.line_start {
            self.end_line(out);
        }
        out.extend_from_slice(b".\r\n");
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.last_cr { b"\n" } else { b"\r\n" });
        if self.in_body {
            self.body_lines += 1;
        } else if self.line_empty {
            self.in_body = true;
        }
        self.line_start = true;
        self.line_empty = true;
        self.last_cr = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(message: &[u8], extent: Extent, piece: usize) -> Vec<u8> {
        let mut encoder = DotEncoder::new(extent);
        let mut out = Vec::new();
        for bytes in message.chunks(piece) {
            encoder.encode(bytes, &mut out);
        }
        encoder.finish(&mut out);
        out
    }

    /// What a client makes of it: lines up to the lone dot, one leading dot taken off.
    fn decode(wire: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = wire;
        loop {
            let at = rest
                .windows(2)
                .position(|pair| pair == b"\r\n")
                .expect("every line ends with CRLF");
            let (line, after) = (&rest[..at], &rest[at + 2..]);
            if line == b"." {
                assert!(after.is_empty(), "nothing behind the lone dot");
                return out;
            }
            out.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            out.extend_from_slice(b"\r\n");
            rest = after;
        }
    }

    #[test]
    fn dots_and_line_ends() {
        let cases: [(&[u8], &[u8]); 7] = [
            (b"", b".\r\n"),
            (b"a\n", b"a\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n.\r\n..\n.x", b"a\r\n..\r\n...\r\n..x\r\n.\r\n"),
            (b"a\r.b\n", b"a\r.b\r\n.\r\n"),
            (b"a\r", b"a\r\n.\r\n"),
            (b"\n\n", b"\r\n\r\n.\r\n"),
        ];
        for (message, wire) in cases {
            for piece in 1..=4 {
                assert_eq!(
                    encode(message, Extent::Whole, piece),
                    wire,
                    "{message:?} in pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn top_counts_body_lines() {
        let message = b"A: 1\nB: 2\n\n.one\ntwo\nthree";
        for piece in 1..=30 {
            assert_eq!(
                encode(message, Extent::Top(0), piece),
                b"A: 1\r\nB: 2\r\n\r\n.\r\n"
            );
            assert_eq!(
                encode(message, Extent::Top(2), piece),
                b"A: 1\r\nB: 2\r\n\r\n..one\r\ntwo\r\n.\r\n"
            );
            assert_eq!(
                encode(message, Extent::Top(u64::MAX), piece),
                encode(message, Extent::Whole, piece)
            );
        }
        // A separator line that is CRLF on disk, its CR at the end of a piece.
        for piece in 1..=6 {
            assert_eq!(
                encode(b"A: 1\r\n\r\nx\r\n", Extent::Top(0), piece),
                b"A: 1\r\n\r\n.\r\n"
            );
        }
    }

    #[test]
    fn a_line_of_a_megabyte() {
        let message = [vec![b'.'; 1_000_000], b"\n".to_vec()].concat();
        let wire = encode(&message, Extent::Whole, 4096);
        assert_eq!(wire.len(), 1 + 1_000_000 + 2 + 3);
    }

    proptest! {
        #[test]
        fn clients_see_the_original(message in "[.a\r\n]{0,40}", piece in 1_usize..10) {
            let wire = encode(message.as_bytes(), Extent::Whole, piece);
            let mut original = message.replace("\r\n", "\n").replace('\n', "\r\n");
            if !original.is_empty() && !original.ends_with('\n') {
                original.push_str(if original.ends_with('\r') { "\n" } else { "\r\n" });
            }
            prop_assert_eq!(decode(&wire), original.as_bytes());
        }
    }
}
