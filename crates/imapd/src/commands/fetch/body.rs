//! Pieces of an answer: encoded bytes, and bodies that are turned into CRLF text only while they are sent.

use std::ops::Range;
use std::sync::Arc;

use message::mime::{Crlf, Section, crlf_len};

/// A piece of an answer.
pub(super) enum Piece {
    /// As they are.
    Bytes(Vec<u8>),
    /// A part of a message.
    Body(Body),
}

/// A range of a stored message, and of its CRLF text.
pub(super) struct Body {
    raw: Arc<Vec<u8>>,
    range: Range<usize>,
    partial: Option<(u64, u64)>,
}

impl Body {
    /// The text to send.
    pub(super) fn crlf(&self) -> Crlf<'_> {
        let raw = &self.raw[self.range.clone()];
        match self.partial {
            Some((start, count)) => Crlf::range(raw, start, count),
            None => Crlf::new(raw),
        }
    }

    /// How many octets that are.
    pub(super) fn len(&self) -> u64 {
        match self.partial {
            None => crlf_len(&self.raw[self.range.clone()]),
            Some(_) => self.crlf().len(),
        }
    }
}

/// A section of a message as a body.
pub(super) fn of_section(raw: &Arc<Vec<u8>>, section: Section, partial: Option<(u32, u32)>) -> Body {
    let partial = partial.map(|(start, count)| (u64::from(start), u64::from(count)));
    match section {
        Section::Stored(range) => Body {
            raw: Arc::clone(raw),
            range,
            partial,
        },
        Section::Picked(bytes) => Body {
            range: 0..bytes.len(),
            raw: Arc::new(bytes),
            partial,
        },
    }
}
