//! Collects the header of a message that streams in, within limits.

use super::{HeaderEnd, Line, classify, is_mailbox_line};

/// How much header is accepted (robustness.md section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderLimits {
    /// All fields together, in octets.
    pub header_bytes: usize,
    /// Number of fields.
    pub fields: usize,
    /// One field with its continuation lines, in octets.
    pub field_bytes: usize,
}

/// 256 KiB, 1,000 fields, 64 KiB per field.
impl Default for HeaderLimits {
    fn default() -> Self {
        Self {
            header_bytes: 256 * 1024,
            fields: 1000,
            field_bytes: 64 * 1024,
        }
    }
}

/// The limit that a header broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderLimitError {
    /// More octets than [`HeaderLimits::header_bytes`].
    #[error("the message header is too long")]
    Header,
    /// More fields than [`HeaderLimits::fields`].
    #[error("the message header has too many fields")]
    Fields,
    /// A field, or the line that would begin the body, longer than [`HeaderLimits::field_bytes`].
    #[error("a field of the message header is too long")]
    Field,
}

/// What [`HeaderReader::push`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All bytes were taken; the header goes on.
    More,
    /// The header is complete. This many bytes of the argument were taken; the others are body, behind
    /// [`CollectedHeader::body_start`].
    Complete(usize),
}

/// A header that was collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectedHeader {
    /// The line of an mbox file in front of the header; see [`super::Parts::mailbox_line`].
    pub mailbox_line: Vec<u8>,
    /// The fields, without the separator line.
    pub header: Vec<u8>,
    /// Bytes that were taken but belong to the body: the line that is no field, where the end is
    /// [`HeaderEnd::Implied`]; otherwise empty.
    pub body_start: Vec<u8>,
    /// How the header ended.
    pub end: HeaderEnd,
}

/// Takes a message in pieces of any size and keeps the header.
///
/// Memory is bounded by [`HeaderLimits::header_bytes`] plus one line. After an error or
/// [`Progress::Complete`] the reader takes nothing more.
#[derive(Debug, Clone)]
pub struct HeaderReader {
    limits: HeaderLimits,
    buffer: Vec<u8>,
    /// Where the mailbox line ends and the header begins.
    header_at: usize,
    line_at: usize,
    field_at: usize,
    fields: usize,
    end: Option<HeaderEnd>,
}

impl HeaderReader {
    /// Makes an empty reader.
    pub fn new(limits: HeaderLimits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            header_at: 0,
            line_at: 0,
            field_at: 0,
            fields: 0,
            end: None,
        }
    }

    /// Takes bytes up to the end of the header.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Progress, HeaderLimitError> {
        let mut taken = 0;
        while self.end.is_none() {
            let rest = &bytes[taken..];
            let Some(newline) = memchr::memchr(b'\n', rest) else {
                self.check_line(rest.len())?;
                self.buffer.extend_from_slice(rest);
                return Ok(Progress::More);
            };
            self.check_line(newline + 1)?;
            self.buffer.extend_from_slice(&rest[..=newline]);
            taken += newline + 1;
            self.line_complete()?;
        }
        Ok(Progress::Complete(taken))
    }

    /// The message is over, or the header was complete: gives out what was collected.
    pub fn finish(mut self) -> Result<CollectedHeader, HeaderLimitError> {
        if self.end.is_none() && self.line_at < self.buffer.len() {
            self.line_complete()?;
        }
        let end = self.end.unwrap_or(HeaderEnd::EndOfMessage);
        let mut body_start = self.buffer.split_off(self.line_at);
        if end == HeaderEnd::Separator {
            body_start.clear();
        }
        let header = self.buffer.split_off(self.header_at);
        Ok(CollectedHeader {
            mailbox_line: self.buffer,
            header,
            body_start,
            end,
        })
    }

    /// Refuses what would make the current field, or the line that may become one, too long.
    fn check_line(&self, more: usize) -> Result<(), HeaderLimitError> {
        // Whether the line continues the field before it is known only at its first octet, so that one
        // octet is judged generously and the next check is exact.
        let continues = matches!(self.buffer.get(self.line_at), Some(b' ' | b'\t'));
        let start = if continues { self.field_at } else { self.line_at };
        if self.buffer.len() - start + more > self.limits.field_bytes {
            return Err(HeaderLimitError::Field);
        }
        if self.buffer.len() + more > self.limits.header_bytes.saturating_add(self.limits.field_bytes) {
            return Err(HeaderLimitError::Header);
        }
        Ok(())
    }

    /// Judges the line that ends the buffer.
    fn line_complete(&mut self) -> Result<(), HeaderLimitError> {
        let line = &self.buffer[self.line_at..];
        if self.line_at == 0 && is_mailbox_line(line) {
            self.header_at = self.buffer.len();
            self.line_at = self.buffer.len();
            return Ok(());
        }
        match classify(line, self.line_at > self.header_at) {
            Line::Empty => self.end = Some(HeaderEnd::Separator),
            Line::Other => self.end = Some(HeaderEnd::Implied),
            kind @ (Line::Field | Line::Continuation) => {
                if kind == Line::Field {
                    self.field_at = self.line_at;
                    self.fields += 1;
                }
                self.line_at = self.buffer.len();
                self.check_field()?;
            }
        }
        Ok(())
    }

    fn check_field(&self) -> Result<(), HeaderLimitError> {
        if self.line_at - self.header_at > self.limits.header_bytes {
            Err(HeaderLimitError::Header)
        } else if self.line_at - self.field_at > self.limits.field_bytes {
            Err(HeaderLimitError::Field)
        } else if self.fields > self.limits.fields {
            Err(HeaderLimitError::Fields)
        } else {
            Ok(())
        }
    }
}
