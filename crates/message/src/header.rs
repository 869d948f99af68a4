//! Header fields over bytes: split, iterate, find, count, remove, and read the addresses in them.
//!
//! A header is kept as the bytes that came in, with CRLF or LF line ends; nothing is decoded or normalised
//! unless asked for. Three things are tolerated because real mail has them (robustness.md S66): a message
//! without a separator line, a first line that is no field (then all of it is body), and a first line
//! `From sender date` left over from an mbox file.
//!
//! * The whole message is in memory: [`split`], then [`fields`], [`find`], [`count`], [`remove`].
//! * The message is streaming in: [`HeaderReader`] collects the header with [`HeaderLimits`] and says where
//!   the body begins.
//! * The client knows no UTF-8 headers: [`surrogate`].
//! * Who is it from: [`from_addresses`], strict, because a decision about permission hangs on it.
//!
//! ```
//! use message::header;
//! let message = b"From: a@a.test\r\nSubject: two\r\n words\r\n\r\nbody\r\n";
//! let parts = header::split(message);
//! assert_eq!(parts.body, b"body\r\n");
//! assert_eq!(header::find(parts.header, "subject").unwrap().value().as_ref(), b"two words");
//! assert_eq!(header::count(parts.header, "Received"), 0);
//! ```

use std::borrow::Cow;

mod address;
mod reader;
mod surrogate;

pub use address::{AddressListError, address_list, from_addresses};
pub use reader::{CollectedHeader, HeaderLimitError, HeaderLimits, HeaderReader, Progress};
pub use surrogate::surrogate;

/// How a header ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEnd {
    /// With an empty line, as RFC 5322 2.1 wants it.
    Separator,
    /// With a line that is no field: the body begins with that line, and who passes the message on has to
    /// put an empty line in front of it.
    Implied,
    /// The message ended first: there is no body.
    EndOfMessage,
}

/// A message taken apart; the slices lie one behind the other in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// A first line `From ...` or `>From ...` of an mbox file, with its line end; empty as a rule. It is
    /// no header field and must not be passed on as one.
    pub mailbox_line: &'a [u8],
    /// The fields, each with its line end; the separator line is not in it.
    pub header: &'a [u8],
    /// What is behind the separator line.
    pub body: &'a [u8],
    /// How the header ended.
    pub end: HeaderEnd,
}

/// Takes a message apart. Never fails: what is no header is body.
pub fn split(message: &[u8]) -> Parts<'_> {
    let start = match first_line(message) {
        Some(line) if is_mailbox_line(line) => line.len(),
        _ => 0,
    };
    let (mailbox_line, rest) = message.split_at(start);
    let mut at = 0;
    let (end, skip) = loop {
        let Some(line) = first_line(&rest[at..]) else {
            break (HeaderEnd::EndOfMessage, 0);
        };
        match classify(line, at > 0) {
            Line::Empty => break (HeaderEnd::Separator, line.len()),
            Line::Other => break (HeaderEnd::Implied, 0),
            Line::Field | Line::Continuation => at += line.len(),
        }
    };
    Parts {
        mailbox_line,
        header: &rest[..at],
        body: &rest[at + skip..],
        end,
    }
}

/// The fields of a header, in order. Lines that belong to no field are passed over.
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { rest: header }
}

/// The first field of this name; case does not matter.
pub fn find<'a>(header: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(header).find(|field| field.is(name))
}

/// All fields of this name, in order.
pub fn find_all<'a>(header: &'a [u8], name: &str) -> impl Iterator<Item = Field<'a>> {
    let name = name.to_owned();
    fields(header).filter(move |field| field.is(&name))
}

/// How many fields of this name there are.
pub fn count(header: &[u8], name: &str) -> usize {
    fields(header).filter(|field| field.is(name)).count()
}

/// The header without the fields that `unwanted` picks; everything else is kept byte for byte.
pub fn remove(header: &[u8], unwanted: impl Fn(&Field<'_>) -> bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(header.len());
    for field in fields(header) {
        if !unwanted(&field) {
            kept.extend_from_slice(field.raw());
        }
    }
    kept
}

/// The identifier in the first Message-ID field, without angle brackets, where it is printable ASCII of at
/// most 255 octets. Meant for logs and search keys.
pub fn message_id(header: &[u8]) -> Option<String> {
    let value = find(header, "Message-ID")?.value().into_owned();
    let start = memchr::memchr(b'<', &value)? + 1;
    let end = start + memchr::memchr(b'>', &value[start..])?;
    let id = &value[start..end];
    let fine = !id.is_empty() && id.len() <= 255 && id.iter().all(u8::is_ascii_graphic);
    fine.then(|| String::from_utf8_lossy(id).into_owned())
}

/// One header field with its continuation lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    raw: &'a [u8],
    name_len: usize,
    value_at: usize,
}

impl<'a> Field<'a> {
    /// All bytes of the field: name, colon, value, line ends.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The name as it is spelled.
    pub fn name(&self) -> &'a [u8] {
        &self.raw[..self.name_len]
    }

    /// Whether this is its name; case does not matter (RFC 5322 1.2.2).
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// The bytes behind the colon, still folded, with the last line end.
    pub fn raw_value(&self) -> &'a [u8] {
        &self.raw[self.value_at..]
    }

    /// The value unfolded (line ends taken out, RFC 5322 2.2.3), without white space around it.
    pub fn value(&self) -> Cow<'a, [u8]> {
        unfold(self.raw_value())
    }
}

/// Takes line ends out of a folded value and white space off both ends.
pub fn unfold(folded: &[u8]) -> Cow<'_, [u8]> {
    let trimmed = folded.trim_ascii();
    if memchr::memchr(b'\n', trimmed).is_none() {
        return Cow::Borrowed(trimmed);
    }
    let mut out = Vec::with_capacity(trimmed.len());
    for line in trimmed.split_inclusive(|b| *b == b'\n') {
        out.extend_from_slice(without_line_end(line));
    }
    Cow::Owned(out)
}

/// Iterator over the fields of a header; made by [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            let line = first_line(self.rest)?;
            let name = field_name(line);
            let mut len = line.len();
            if name.is_some() {
                while let Some(next) = first_line(&self.rest[len..]) {
                    if classify(next, true) != Line::Continuation {
                        break;
                    }
                    len += next.len();
                }
            }
            let (raw, rest) = self.rest.split_at(len);
            self.rest = rest;
            if let Some((name_len, value_at)) = name {
                return Some(Field {
                    raw,
                    name_len,
                    value_at,
                });
            }
        }
    }
}

/// What a line is to the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Empty,
    Field,
    Continuation,
    Other,
}

/// Classifies a line with its line end; a continuation needs a field `inside` which it can continue.
fn classify(line: &[u8], inside: bool) -> Line {
    let text = without_line_end(line);
    match text.first() {
        None => Line::Empty,
        Some(b' ' | b'\t') if inside => Line::Continuation,
        Some(_) if field_name(line).is_some() => Line::Field,
        Some(_) => Line::Other,
    }
}

/// Length of the field name and start of the value, where the line begins a field: `1*ftext *WSP ":"`
/// (RFC 5322 3.6.8, and 4.5.8 for the white space).
fn field_name(line: &[u8]) -> Option<(usize, usize)> {
    let colon = memchr::memchr2(b':', b'\n', line).filter(|at| line[*at] == b':')?;
    let name_len = line[..colon].trim_ascii_end().len();
    let valid = name_len > 0 && line[..name_len].iter().all(u8::is_ascii_graphic);
    let blank = line[name_len..colon].iter().all(|b| matches!(b, b' ' | b'\t'));
    (valid && blank).then_some((name_len, colon + 1))
}

/// `From ` at the start of the first line, also quoted with `>`: the separator of mbox files.
fn is_mailbox_line(line: &[u8]) -> bool {
    let unquoted = line.iter().position(|b| *b != b'>').unwrap_or(line.len());
    line[unquoted..].starts_with(b"From ")
        && field_name(line).is_none_or(|(name_len, _)| name_len != unquoted + 4)
}

/// The first line with its line end, or all that is left; none where nothing is left.
fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.is_empty() {
        return None;
    }
    let len = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
    Some(&bytes[..len])
}

/// A line without the CRLF or LF at its end.
fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests;
