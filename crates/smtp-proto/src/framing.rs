//! Message bodies on the wire: only CRLF ends a line, only CRLF.CRLF ends a message (robustness.md 2.1).
//!
//! Two programs that disagree about where a message ends are how mail is smuggled. So a bare CR, a bare LF or
//! a NUL is never a line end and never forgiven: the message is read to its true end and refused there.

use std::ops::Range;

use memchr::memchr3;

/// What is wrong with a body. The first fault found stands; the rest of the body is read and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// LF without CR before it: 550 5.5.2.
    BareLf,
    /// CR without LF after it: 550 5.5.2.
    BareCr,
    /// NUL: 550 5.6.0.
    Nul,
    /// A line above the limit.
    LineTooLong,
    /// The message is above the limit: 552 5.3.4.
    TooBig,
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// DATA: dot-stuffed, ends in a line of one dot.
    Dots,
    /// BDAT: counted; the bytes are the message.
    Counted,
}

/// Limits of one body, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// The whole message, as counted by SIZE (RFC 1870: CRLF counts two, stuffed dots nothing).
    pub message: u64,
    /// One line, without its CRLF.
    pub line: usize,
}

/// Reads one body, in whatever pieces it comes.
#[derive(Debug, Clone)]
pub struct BodyDecoder {
    framing: Framing,
    limits: BodyLimits,
    size: u64,
    line: usize,
    held_cr: bool,
    fault: Option<BodyFault>,
}

/// One step of the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take this many octets off the input; the range of them, relative to the input, is message text.
    Text {
        /// Octets done with.
        consumed: usize,
        /// What of them belongs to the message; may be empty.
        text: Range<usize>,
    },
    /// Take this many octets off the input; the message text is a CRLF, whose CR came earlier.
    Crlf {
        /// Octets done with.
        consumed: usize,
    },
    /// The end of a DATA body. Take these octets off.
    End {
        /// Octets done with.
        consumed: usize,
    },
    /// More input is needed.
    More,
}

impl BodyDecoder {
    /// Starts a body.
    pub fn new(framing: Framing, limits: BodyLimits) -> Self {
        Self {
            framing,
            limits,
            size: 0,
            line: 0,
            held_cr: false,
            fault: None,
        }
    }

    /// The fault found so far.
    pub fn fault(&self) -> Option<BodyFault> {
        self.fault
    }

    /// Octets of message text so far; what came after a fault is counted too.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Looks at the input and says what to do with the front of it.
    pub fn step(&mut self, input: &[u8]) -> Step {
        let Some(&first) = input.first() else {
            return Step::More;
        };
        if self.held_cr {
            self.held_cr = false;
            if first == b'\n' {
                return self.held_line_end();
            }
            self.blame_in_line(BodyFault::BareCr);
        }
        if self.framing == Framing::Dots && self.line == 0 && first == b'.' {
            return self.dot(input);
        }
        self.run(input, 0)
    }

    /// The end of a counted body: text that is missing to a whole last line, if any.
    pub fn finish_counted(&mut self) -> Option<&'static [u8]> {
        if self.held_cr {
            self.held_cr = false;
            self.blame(BodyFault::BareCr);
        }
        // A message whose last line has no end could not be relayed with DATA; Postfix completes it as well.
        if self.line > 0 && self.fault.is_none() {
            self.size += 2;
            self.line = 0;
            return Some(b"\r\n");
        }
        None
    }

    /// A CRLF whose CR was the last octet of an earlier input.
    fn held_line_end(&mut self) -> Step {
        self.end_line();
        self.grow(2);
        if self.fault.is_some() {
            return Step::Text {
                consumed: 1,
                text: 0..0,
            };
        }
        Step::Crlf { consumed: 1 }
    }

    /// A dot at the start of a line: the end of the message, or stuffing that is taken off.
    fn dot(&mut self, input: &[u8]) -> Step {
        match input {
            [_] | [_, b'\r'] => Step::More,
            [_, b'\r', b'\n', ..] => Step::End { consumed: 3 },
            _ => self.run(input, 1),
        }
    }

    /// Text from `start` up to the next stuffed dot or the end of the input.
    fn run(&mut self, input: &[u8], start: usize) -> Step {
        let mut at = start;
        let mut end = input.len();
        let mut consumed = input.len();
        while let Some(found) = memchr3(b'\r', b'\n', 0, &input[at..]) {
            let here = at + found;
            self.line += found;
            at = here + 1;
            match (input[here], input.get(at)) {
                (b'\r', Some(b'\n')) => {
                    self.end_line();
                    at += 1;
                    if self.framing == Framing::Dots && input.get(at) == Some(&b'.') {
                        (end, consumed) = (at, at);
                        break;
                    }
                }
                (b'\r', None) => {
                    self.held_cr = true;
                    end = here;
                }
                (b'\r', Some(_)) => self.blame_in_line(BodyFault::BareCr),
                (b'\n', _) => self.blame_in_line(BodyFault::BareLf),
                _ => self.blame_in_line(BodyFault::Nul),
            }
        }
        if consumed == input.len() {
            // What stands behind the last special octet is the start of an unfinished line.
            self.line += end.saturating_sub(at);
            self.check_line();
        }
        self.grow(end - start);
        let text = if self.fault.is_some() { 0..0 } else { start..end };
        Step::Text { consumed, text }
    }

    fn end_line(&mut self) {
        self.check_line();
        self.line = 0;
    }

    fn check_line(&mut self) {
        if self.line > self.limits.line {
            self.blame(BodyFault::LineTooLong);
        }
    }

    fn grow(&mut self, octets: usize) {
        self.size = self.size.saturating_add(octets as u64);
        if self.size > self.limits.message {
            self.blame(BodyFault::TooBig);
        }
    }

    /// A bad octet is part of its line: what follows it is not the start of one.
    fn blame_in_line(&mut self, fault: BodyFault) {
        self.line += 1;
        self.blame(fault);
    }

    fn blame(&mut self, fault: BodyFault) {
        if self.fault.is_none() {
            self.fault = Some(fault);
        }
    }
}

/// Stuffs dots into a body that goes out by DATA and ends it (RFC 5321 4.5.2).
///
/// The text must have CRLF line ends only; the bodies that [`BodyDecoder`] lets through have.
#[derive(Debug, Clone)]
pub struct DotStuffer {
    line_start: bool,
    last: u8,
}

impl Default for DotStuffer {
    fn default() -> Self {
        Self {
            line_start: true,
            last: b'\n',
        }
    }
}

impl DotStuffer {
    /// Appends `text` to `out`, a dot before each dot that starts a line.
    pub fn push(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let Some(&last) = text.last() else { return };
        out.reserve(text.len() + 8);
        if self.line_start && text[0] == b'.' {
            out.push(b'.');
        }
        let mut from = 0;
        for dot in memchr::memmem::find_iter(text, b"\n.") {
            out.extend_from_slice(&text[from..=dot]);
            out.push(b'.');
            from = dot + 1;
        }
        out.extend_from_slice(&text[from..]);
        self.line_start = last == b'\n';
        self.last = last;
    }

    /// Appends the end of the message; completes an unfinished last line first.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.last != b'\n' {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDE: BodyLimits = BodyLimits {
        message: 1 << 20,
        line: 1000,
    };

    /// Decodes `wire` in pieces of `piece` octets: the text, the fault, and what is left after the end.
    fn decode(
        wire: &[u8],
        piece: usize,
        limits: BodyLimits,
    ) -> (Vec<u8>, Option<BodyFault>, Option<Vec<u8>>) {
        let mut decoder = BodyDecoder::new(Framing::Dots, limits);
        let (mut text, mut pending) = (Vec::new(), Vec::new());
        for (i, part) in wire.chunks(piece).enumerate() {
            pending.extend_from_slice(part);
            loop {
                match decoder.step(&pending) {
                    Step::More => break,
                    Step::Text {
                        consumed,
                        text: range,
                    } => {
                        text.extend_from_slice(&pending[range]);
                        pending.drain(..consumed);
                    }
                    Step::Crlf { consumed } => {
                        text.extend_from_slice(b"\r\n");
                        pending.drain(..consumed);
                    }
                    Step::End { consumed } => {
                        pending.drain(..consumed);
                        pending.extend_from_slice(&wire[((i + 1) * piece).min(wire.len())..]);
                        return (text, decoder.fault(), Some(pending));
                    }
                }
            }
        }
        (text, decoder.fault(), None)
    }

    #[test]
    fn dots_in_every_split() {
        let wire = b"..\r\n.x\r\na.\r\n...\r\n\r\n.\r\nQUIT\r\n";
        for piece in 1..=wire.len() {
            let (text, fault, rest) = decode(wire, piece, WIDE);
            assert_eq!(text, b".\r\nx\r\na.\r\n..\r\n\r\n", "{piece}");
            assert_eq!(
                (fault, rest.as_deref()),
                (None, Some(&b"QUIT\r\n"[..])),
                "{piece}"
            );
        }
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_message() {
        for (wire, fault) in [
            (&b"x\n.\nMAIL\r\n"[..], BodyFault::BareLf),
            (b"x\n.\r\nMAIL\r\n", BodyFault::BareLf),
            (b"x\r.\r\nMAIL\r\n", BodyFault::BareCr),
            (b"x\r.\rMAIL\r\n", BodyFault::BareCr),
            (b"x\n.\rMAIL\r\n", BodyFault::BareLf),
            (b"x\r\n.\r\r\nMAIL\r\n", BodyFault::BareCr),
            (b"x\r\r\n.\r\r\nMAIL\r\n", BodyFault::BareCr),
            (b"x\r\n\0.\r\nMAIL\r\n", BodyFault::Nul),
            (b"\n.\r\nMAIL\r\n", BodyFault::BareLf),
        ] {
            let whole = [wire, b".\r\nREST"].concat();
            for piece in 1..=whole.len() {
                let (_, found, rest) = decode(&whole, piece, WIDE);
                assert_eq!(found, Some(fault), "{wire:?} by {piece}");
                assert_eq!(rest.as_deref(), Some(&b"REST"[..]), "{wire:?} by {piece}");
            }
        }
    }

    #[test]
    fn limits_count_text_not_stuffing() {
        let limits = BodyLimits { message: 6, line: 4 };
        assert_eq!(decode(b"..abc\r\n.\r\n", 3, limits).1, None);
        assert_eq!(
            decode(b"..abcd\r\n.\r\n", 3, limits).1,
            Some(BodyFault::LineTooLong)
        );
        assert_eq!(
            decode(b"abcd\r\nx\r\n.\r\n", 2, limits).1,
            Some(BodyFault::TooBig)
        );
    }

    #[test]
    fn counted_bodies_are_completed_and_checked() {
        let mut decoder = BodyDecoder::new(Framing::Counted, WIDE);
        assert_eq!(
            decoder.step(b".\r\n.\r"),
            Step::Text {
                consumed: 5,
                text: 0..4
            }
        );
        assert_eq!(decoder.step(b"\nx"), Step::Crlf { consumed: 1 });
        assert_eq!(
            decoder.step(b"x"),
            Step::Text {
                consumed: 1,
                text: 0..1
            }
        );
        assert_eq!(decoder.finish_counted(), Some(&b"\r\n"[..]));
        assert_eq!(decoder.fault(), None);

        let mut decoder = BodyDecoder::new(Framing::Counted, WIDE);
        decoder.step(b"a\r");
        assert_eq!(decoder.finish_counted(), None);
        assert_eq!(decoder.fault(), Some(BodyFault::BareCr));
    }

    proptest! {
        #[test]
        fn stuffing_is_undone(lines in proptest::collection::vec("[.a]{0,4}", 0..8), a in 1usize..9, b in 1usize..9) {
            let body: Vec<u8> = lines.iter().flat_map(|l| [l.as_bytes(), b"\r\n"].concat()).collect();
            let (mut stuffer, mut wire) = (DotStuffer::default(), Vec::new());
            for part in body.chunks(a) {
                stuffer.push(part, &mut wire);
            }
            stuffer.finish(&mut wire);
            let (text, fault, rest) = decode(&wire, b, WIDE);
            prop_assert_eq!(text, body);
            prop_assert_eq!((fault, rest), (None, Some(vec![])));
        }

        #[test]
        fn splits_change_nothing(wire in "[a.\r\n\0]{0,24}", piece in 1usize..6) {
            let wire = wire.into_bytes();
            let (text, fault, rest) = decode(&wire, piece, WIDE);
            let (whole_text, whole_fault, whole_rest) = decode(&wire, wire.len().max(1), WIDE);
            prop_assert_eq!((fault, rest), (whole_fault, whole_rest));
            // How much of a faulty body comes out before the fault is seen depends on the pieces.
            prop_assert!(fault.is_some() || text == whole_text);
        }
    }
}
