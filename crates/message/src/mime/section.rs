//! What `BODY[section]` names (RFC 3501 6.4.5).

use std::ops::Range;

use super::crlf::to_crlf;
use super::structure::{Kind, Part, Structure};
use crate::header;

/// The words behind the part numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionText<'a> {
    /// The whole part.
    All,
    /// The header of a message.
    Header,
    /// Fields of the header of a message: those named, or (`not`) all others.
    Fields {
        /// HEADER.FIELDS.NOT.
        not: bool,
        /// Field names in any case.
        names: &'a [Vec<u8>],
    },
    /// The body of a message.
    Text,
    /// The header of a part.
    Mime,
}

/// What a section is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    /// A range of the message as stored, to be shown through [`super::Crlf`].
    Stored(Range<usize>),
    /// Fields that were picked, with CRLF line ends.
    Picked(Vec<u8>),
}

impl Section {
    /// The bytes, from the message in which the section was found.
    pub fn bytes<'a>(&'a self, raw: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Stored(range) => raw.get(range.clone()).unwrap_or_default(),
            Self::Picked(bytes) => bytes,
        }
    }
}

/// Where the part numbers lead.
enum Place<'a> {
    /// A message: the whole one, or the content of a message/rfc822 part.
    Message(&'a Part),
    /// A part that is none.
    Part(&'a Part),
}

impl Structure {
    /// Finds a section; `None` where there is no such one. `raw` has to be what this structure was parsed
    /// from.
    pub fn section(&self, raw: &[u8], path: &[u32], text: &SectionText<'_>) -> Option<Section> {
        let header_of = |part: &Part| part.header.offset..part.body.offset;
        let body_of = |part: &Part| part.body.offset..part.end.offset;
        let picked = |part: &Part, not: bool, names: &[Vec<u8>]| {
            let header = raw.get(header_of(part))?;
            Some(Section::Picked(pick_fields(header, not, names)))
        };
        if path.is_empty() && *text == SectionText::All {
            return Some(Section::Stored(0..raw.len()));
        }
        let range = match (self.locate(path)?, text) {
            (Place::Part(part), SectionText::All) => body_of(part),
            (Place::Part(part), SectionText::Mime) => header_of(part),
            (Place::Message(part), SectionText::All) => part.header.offset..part.end.offset,
            (Place::Message(part), SectionText::Header) => header_of(part),
            (Place::Message(part), SectionText::Text) => body_of(part),
            (Place::Message(part), SectionText::Fields { not, names }) => return picked(part, *not, names),
            (Place::Message(_), SectionText::Mime) => return None,
            (Place::Part(part), text) => {
                // HEADER and TEXT of a part are those of the message that it holds.
                let Kind::Message(inner, _) = &part.kind else {
                    return None;
                };
                let inner = self.part(*inner);
                match text {
                    SectionText::Fields { not, names } => return picked(inner, *not, names),
                    SectionText::Text => body_of(inner),
                    _ => header_of(inner),
                }
            }
        };
        Some(Section::Stored(range))
    }

    /// The part that the numbers name, for decoding; `None` for no numbers and for parts that are not there.
    pub fn part_at(&self, path: &[u32]) -> Option<&Part> {
        match self.locate(path)? {
            Place::Part(part) => Some(part),
            Place::Message(_) => None,
        }
    }

    fn locate(&self, path: &[u32]) -> Option<Place<'_>> {
        let mut place = Place::Message(self.root());
        for number in path {
            let index = usize::try_from(number.checked_sub(1)?).ok()?;
            let message = match place {
                Place::Message(part) => part,
                // Below a message/rfc822 part the numbers count in the message that it holds.
                Place::Part(Part {
                    kind: Kind::Message(inner, _),
                    ..
                }) => self.part(*inner),
                Place::Part(part) => {
                    let Kind::Multipart(children) = &part.kind else {
                        return None;
                    };
                    place = Place::Part(self.part(*children.get(index)?));
                    continue;
                }
            };
            place = match &message.kind {
                Kind::Multipart(children) => Place::Part(self.part(*children.get(index)?)),
                // A message that is no multipart has one part, its body.
                _ if index == 0 => Place::Part(message),
                _ => return None,
            };
        }
        Some(place)
    }
}

/// The fields as they stand, in their order, then the empty line.
fn pick_fields(header: &[u8], not: bool, names: &[Vec<u8>]) -> Vec<u8> {
    // A set, because both the header and the list come from outside and may be long.
    let wanted: std::collections::HashSet<Vec<u8>> =
        names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut out = Vec::new();
    for field in header::fields(header) {
        if wanted.contains(&field.name().to_ascii_lowercase()) != not {
            out.extend_from_slice(&to_crlf(field.raw()));
            if !out.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}
