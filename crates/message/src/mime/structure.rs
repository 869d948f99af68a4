//! The tree of parts, read line by line (RFC 2045, RFC 2046 section 5).

use super::content::Content;
use super::{Envelope, MAX_BOUNDARY, MAX_DEPTH, MAX_PARTS};

/// A place in a message, always at the start of a line or at the end of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Offset in the stored bytes.
    pub offset: usize,
    /// How many CR are missing in the stored bytes before it.
    pub missing_cr: u64,
    /// LF before it.
    pub lines: u64,
}

impl Position {
    /// The offset as IMAP counts, with CRLF line ends.
    pub fn crlf_offset(&self) -> u64 {
        self.offset as u64 + self.missing_cr
    }
}

/// One part, the message itself included.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Where its header begins.
    pub header: Position,
    /// Where its body begins, behind the empty line.
    pub body: Position,
    /// Where it ends; the line end before a boundary belongs to the boundary.
    pub end: Position,
    /// What its header says about the content.
    pub content: Content,
    /// Its children.
    pub kind: Kind,
}

impl Part {
    /// Octets of the body with CRLF line ends.
    pub fn body_size(&self) -> u64 {
        self.end.crlf_offset() - self.body.crlf_offset()
    }

    /// Line ends in the body.
    pub fn body_lines(&self) -> u64 {
        self.end.lines - self.body.lines
    }
}

/// What a part holds; numbers are indexes for [`Structure::part`].
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Text or data.
    Leaf,
    /// Parts in a row; none where the boundary never came.
    Multipart(Vec<usize>),
    /// A whole message (message/rfc822 without a transfer encoding), with what its header says.
    Message(usize, Box<Envelope>),
}

/// A message taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Structure {
    parts: Vec<Part>,
}

impl Structure {
    /// Reads the structure of a message. Never fails: what is no MIME is text.
    pub fn parse(raw: &[u8]) -> Self {
        Scanner::new(raw).run()
    }

    /// The message itself.
    pub fn root(&self) -> &Part {
        &self.parts[0]
    }

    /// The part with this index, as found in [`Kind`]; the message itself for an index that is none.
    pub fn part(&self, index: usize) -> &Part {
        self.parts.get(index).unwrap_or(&self.parts[0])
    }

    /// All parts, each before its children.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Size of the message with CRLF line ends (RFC822.SIZE).
    pub fn size(&self) -> u64 {
        self.root().end.crlf_offset()
    }
}

/// A part whose end has not come yet.
struct Open {
    part: usize,
    /// `Some` for a multipart whose children are looked for.
    boundary: Option<Vec<u8>>,
    /// Children of a multipart/digest are messages unless they say otherwise.
    digest: bool,
}

struct Scanner<'a> {
    raw: &'a [u8],
    parts: Vec<Part>,
    stack: Vec<Open>,
    in_header: bool,
    /// A field line came, so a line with white space in front continues it.
    in_field: bool,
    at: Position,
    /// The end of the line before, without its line end.
    line_end: Position,
}

impl<'a> Scanner<'a> {
    fn new(raw: &'a [u8]) -> Self {
        let mut scanner = Self {
            raw,
            parts: Vec::new(),
            stack: Vec::new(),
            in_header: true,
            in_field: false,
            at: Position::default(),
            line_end: Position::default(),
        };
        scanner.open(false);
        scanner
    }

    fn run(mut self) -> Structure {
        while self.at.offset < self.raw.len() {
            let line = self.next_line();
            let begins = self.at;
            if line.starts_with(b"--") && self.boundary_line(line) {
                continue;
            }
            if self.in_header {
                self.header_line(line, begins);
            }
            self.step(line);
        }
        if self.in_header {
            self.header_done(self.at);
        }
        let end = self.at;
        self.close_above(0, end);
        Structure { parts: self.parts }
    }

    /// The line at the current position, with its line end.
    fn next_line(&self) -> &'a [u8] {
        let rest = &self.raw[self.at.offset..];
        let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        &rest[..len]
    }

    /// Moves behind a line.
    fn step(&mut self, line: &[u8]) {
        let text = strip_line_end(line);
        self.line_end = Position {
            offset: self.at.offset + text.len(),
            ..self.at
        };
        self.at.offset += line.len();
        if line.ends_with(b"\n") {
            self.at.lines += 1;
            self.at.missing_cr += u64::from(!line.ends_with(b"\r\n"));
        }
    }

    /// Begins a part at the current position.
    fn open(&mut self, digest_child: bool) {
        let content = Content::default_of(digest_child);
        let part = Part {
            header: self.at,
            body: self.at,
            end: self.at,
            content,
            kind: Kind::Leaf,
        };
        self.parts.push(part);
        self.stack.push(Open {
            part: self.parts.len() - 1,
            boundary: None,
            digest: digest_child,
        });
        self.in_header = true;
        self.in_field = false;
    }

    fn header_line(&mut self, line: &[u8], begins: Position) {
        let text = strip_line_end(line);
        let first_of_message = begins.offset == 0;
        match text.first() {
            None => {
                let mut behind = begins;
                behind.offset += line.len();
                if line.ends_with(b"\n") {
                    behind.lines += 1;
                    behind.missing_cr += u64::from(!line.ends_with(b"\r\n"));
                }
                self.header_done(behind);
            }
            Some(b' ' | b'\t') if self.in_field => {}
            Some(_) if is_field(text) => self.in_field = true,
            // What an mbox file left over (as in crate::header).
            Some(_) if first_of_message && is_mailbox_line(text) => {}
            // A line that is no field ends the header and begins the body. Where that body is a message,
            // the same line is the first of its header, and ends that as well.
            Some(_) => {
                self.header_done(begins);
                if self.in_header {
                    self.header_line(line, begins);
                }
            }
        }
    }

    /// The header of the innermost part ended; its body begins at `body`.
    fn header_done(&mut self, body: Position) {
        self.in_header = false;
        let Some(open) = self.stack.last_mut() else { return };
        let index = open.part;
        let part = &mut self.parts[index];
        part.body = body;
        let header = &self.raw[part.header.offset..body.offset];
        part.content = Content::parse(header, open.digest);
        let room = self.stack.len() < MAX_DEPTH && self.parts.len() < MAX_PARTS;
        let part = &self.parts[index];
        if part.content.is_multipart() {
            let boundary = part
                .content
                .boundary()
                .filter(|b| (1..=MAX_BOUNDARY).contains(&b.len()));
            match (boundary.map(<[u8]>::to_vec), room) {
                (Some(boundary), true) => {
                    let digest = part.content.subtype.eq_ignore_ascii_case(b"digest");
                    self.parts[index].kind = Kind::Multipart(Vec::new());
                    if let Some(open) = self.stack.last_mut() {
                        (open.boundary, open.digest) = (Some(boundary), digest);
                    }
                }
                // Opaque: shown as data, because a multipart must have parts.
                _ => self.parts[index].content.make_opaque(),
            }
        } else if part.content.is_message() {
            if room {
                self.open_message(index, body);
            } else {
                self.parts[index].content.make_opaque();
            }
        }
    }

    /// The body of part `outer` is a message of its own.
    fn open_message(&mut self, outer: usize, body: Position) {
        let here = std::mem::replace(&mut self.at, body);
        self.open(false);
        self.at = here;
        self.parts[outer].kind = Kind::Message(self.parts.len() - 1, Box::default());
    }

    /// Handles a line that begins with two hyphens; `false` when it is no boundary.
    fn boundary_line(&mut self, line: &[u8]) -> bool {
        let text = &strip_line_end(line)[2..];
        let matching = self.stack.iter().rposition(|open| {
            open.boundary
                .as_ref()
                .is_some_and(|b| text.starts_with(b) && is_delimiter(&text[b.len()..]))
        });
        let Some(level) = matching else { return false };
        let boundary_len = self.stack[level].boundary.as_ref().map_or(0, Vec::len);
        let closing = text[boundary_len..].starts_with(b"--");
        if !closing && self.parts.len() >= MAX_PARTS {
            // The last part swallows the rest.
            return false;
        }
        if self.in_header {
            self.header_done_early();
        }
        // `header_done_early` may have opened a message; everything inside `level` ends here all the same.
        let end = self.line_end;
        self.close_above(level + 1, end);
        self.step(line);
        if closing {
            // What follows is an epilogue; the multipart goes on until its parent's boundary.
            self.stack[level].boundary = None;
            self.in_header = false;
        } else {
            let digest = self.stack[level].digest;
            let parent = self.stack[level].part;
            self.open(digest);
            let child = self.parts.len() - 1;
            if let Kind::Multipart(children) = &mut self.parts[parent].kind {
                children.push(child);
            }
        }
        true
    }

    /// A boundary came inside a header: the part has no body.
    fn header_done_early(&mut self) {
        let here = self.at;
        self.header_done(here);
        self.in_header = false;
    }

    /// Closes the innermost parts until only `keep` are open.
    fn close_above(&mut self, keep: usize, end: Position) {
        while self.stack.len() > keep {
            let Some(open) = self.stack.pop() else { return };
            let part = &mut self.parts[open.part];
            // A part without a body ends where it begins; the line end before the boundary was its own.
            part.end = if end.offset < part.body.offset {
                part.body
            } else {
                end
            };
        }
        if keep == 0 {
            self.fill_envelopes();
        }
    }

    fn fill_envelopes(&mut self) {
        for index in 0..self.parts.len() {
            if let Kind::Message(inner, _) = self.parts[index].kind {
                let part = &self.parts[inner];
                let header = &self.raw[part.header.offset..part.body.offset];
                self.parts[index].kind = Kind::Message(inner, Box::new(Envelope::parse(header)));
            }
        }
    }
}

/// What may stand behind a boundary: two hyphens or not, then only white space (RFC 2046 5.1.1).
fn is_delimiter(rest: &[u8]) -> bool {
    let rest = rest.strip_prefix(b"--").unwrap_or(rest);
    rest.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r'))
}

fn strip_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line begins a header field: as crate::header reads it.
fn is_field(text: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', text) else {
        return false;
    };
    let name = text[..colon].trim_ascii_end();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

fn is_mailbox_line(text: &[u8]) -> bool {
    let unquoted = text.iter().position(|b| *b != b'>').unwrap_or(text.len());
    text[unquoted..].starts_with(b"From ")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
