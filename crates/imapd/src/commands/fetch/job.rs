//! Makes the FETCH responses of a command, batch by batch. Everything here blocks.

use std::sync::Arc;

use imap_proto::command::{FetchItem, Section, SectionText};
use imap_proto::date::DateTime;
use imap_proto::response::{fetch, structure};
use maildir_store::{Folder, Message, Meta, StoreError};
use message::mime::{self, Crlf};

use super::body::{Body, Piece, hide_nul};
use super::reading::{FileNeeds, Reading, file_needs};
use super::source::{Source, Trouble};
use crate::mailbox::Numbers;

/// The rest of a command's work.
pub(super) struct Job {
    folder: Arc<Folder>,
    numbers: Numbers,
    uids: Vec<u32>,
    at: usize,
    items: Vec<FetchItem>,
    needs: FileNeeds,
    /// One large message may be read.
    pub(super) may_be_large: bool,
}

/// What one trip made.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) pieces: Vec<Piece>,
    /// A message was removed meanwhile.
    pub(super) gone: bool,
    /// A message could not be read.
    pub(super) unreadable: bool,
    /// The next message is large: a permit is needed.
    pub(super) large: bool,
}

impl Job {
    pub(super) fn new(folder: Arc<Folder>, numbers: Numbers, uids: Vec<u32>, items: Vec<FetchItem>) -> Self {
        let needs = items.iter().map(file_needs).max().unwrap_or(FileNeeds::Nothing);
        Self {
            folder,
            numbers,
            uids,
            at: 0,
            items,
            needs,
            may_be_large: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.uids.len()
    }

    /// The next messages, until there is enough to send.
    pub(super) fn next(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut response = Response::default();
        let mut learned = Vec::new();
        while response.octets() < BATCH_OCTETS && !self.is_done() {
            let uid = self.uids[self.at];
            let mark = response.mark();
            match self.message(uid, &mut response, &mut learned) {
                Ok(Fetched::Done) => {}
                Ok(Fetched::Large) => {
                    self.at += 1;
                    break;
                }
                Ok(Fetched::Gone) | Err(Trouble::Store(StoreError::Expunged | StoreError::Gone)) => {
                    response.back_to(mark);
                    batch.gone = true;
                }
                Err(Trouble::Large) => {
                    response.back_to(mark);
                    batch.large = true;
                    break;
                }
                Err(Trouble::Store(error)) => {
                    response.back_to(mark);
                    tracing::warn!(uid, error = %daemon::describe(&error), "message cannot be read");
                    batch.unreadable = true;
                }
            }
            self.at += 1;
        }
        self.may_be_large = false;
        batch.pieces = response.finish();
        if !learned.is_empty() {
            self.folder.put_meta(&learned);
        }
        batch
    }

    /// Writes the response of one message. What fails in the middle is taken back by the caller, so that
    /// nothing is sent of a response that cannot be made whole.
    fn message(
        &self,
        uid: u32,
        response: &mut Response,
        learned: &mut Vec<(u32, Meta)>,
    ) -> Result<Fetched, Trouble> {
        let view = &self.numbers.view;
        let (Some(message), Some(number)) = (view.get(uid), self.numbers.number(uid)) else {
            return Ok(Fetched::Gone);
        };
        let mut reading = Reading::new(&self.folder, uid, self.needs, self.may_be_large);
        fetch::begin(&mut response.text, number);
        let mut first = true;
        for item in &self.items {
            fetch::item_separator(&mut response.text, &mut first);
            self.item(item, message, &mut reading, response)?;
        }
        fetch::end(&mut response.text);
        learned.extend(reading.learned());
        Ok(if reading.was_large() {
            Fetched::Large
        } else {
            Fetched::Done
        })
    }

    fn item(
        &self,
        item: &FetchItem,
        message: &Message,
        reading: &mut Reading<'_>,
        response: &mut Response,
    ) -> Result<(), Trouble> {
        let out = &mut response.text;
        match item {
            FetchItem::Uid => fetch::uid(out, message.uid),
            FetchItem::Flags => fetch::flags(out, &self.numbers.flag_names(message)),
            FetchItem::InternalDate => {
                let unix = reading.internal_date()?;
                fetch::internal_date(out, DateTime { unix, zone: 0 });
            }
            FetchItem::Rfc822Size => fetch::size(out, reading.size()?),
            FetchItem::Envelope => fetch::encoded(out, "ENVELOPE", &reading.metadata()?.envelope),
            FetchItem::BodyStructure => {
                fetch::encoded(out, "BODYSTRUCTURE", &reading.metadata()?.structure);
            }
            FetchItem::Body => {
                let mut value = Vec::new();
                structure::body(&mut value, &reading.source()?.structure, false);
                fetch::encoded(out, "BODY", &value);
            }
            FetchItem::Rfc822 => section(item, &[], &mime::SectionText::All, reading.source()?, response)?,
            FetchItem::Rfc822Header => {
                section(item, &[], &mime::SectionText::Header, reading.source()?, response)?;
            }
            FetchItem::Rfc822Text => {
                section(item, &[], &mime::SectionText::Text, reading.source()?, response)?;
            }
            FetchItem::Section {
                section: Section { path, text },
                ..
            } => {
                let text = match text {
                    SectionText::All => mime::SectionText::All,
                    SectionText::Header => mime::SectionText::Header,
                    SectionText::HeaderFields { not, names } => {
                        mime::SectionText::Fields { not: *not, names }
                    }
                    SectionText::Text => mime::SectionText::Text,
                    SectionText::Mime => mime::SectionText::Mime,
                };
                section(item, path, &text, reading.source()?, response)?;
            }
        }
        Ok(())
    }
}

/// What became of one message.
enum Fetched {
    Done,
    /// Done, and it was large: the permit is used up.
    Large,
    Gone,
}

fn section(
    item: &FetchItem,
    path: &[u32],
    text: &mime::SectionText<'_>,
    source: &Source,
    response: &mut Response,
) -> Result<(), Trouble> {
    let Some(found) = source.structure.section(&source.raw, path, text) else {
        fetch::section(&mut response.text, item, None);
        return Ok(());
    };
    let stored = found.bytes(&source.raw);
    let total = mime::crlf_len(stored);
    let (mut crlf, len) = match item {
        FetchItem::Section {
            partial: Some((start, count)),
            ..
        } => {
            let (start, count) = (u64::from(*start), u64::from(*count));
            (Crlf::range(start, count), total.saturating_sub(start).min(count))
        }
        _ => (Crlf::all(), total),
    };
    fetch::section(&mut response.text, item, Some(len));
    match &found {
        mime::Section::Stored(range) if len > SMALL => {
            let body = Body::new(source.file.try_clone()?, range, crlf, len);
            response.push(body);
        }
        _ => {
            let start = response.text.len();
            crlf.encode(stored, &mut response.text);
            hide_nul(&mut response.text[start..]);
        }
    }
    Ok(())
}

/// Responses in the making.
#[derive(Default)]
struct Response {
    pieces: Vec<Piece>,
    /// What comes behind the last piece.
    text: Vec<u8>,
    /// Octets in `pieces`, bodies counted as what a piece of them takes.
    before: usize,
}

impl Response {
    fn octets(&self) -> usize {
        self.before + self.text.len()
    }

    fn push(&mut self, body: Body) {
        self.before += self.text.len() + SMALL as usize;
        self.pieces.push(Piece::Bytes(std::mem::take(&mut self.text)));
        self.pieces.push(Piece::Body(body));
    }

    fn mark(&self) -> (usize, usize, usize) {
        (self.pieces.len(), self.text.len(), self.before)
    }

    /// Takes back what was written since the mark.
    fn back_to(&mut self, (pieces, text, before): (usize, usize, usize)) {
        if let Some(Piece::Bytes(bytes)) = self.pieces.get_mut(pieces) {
            self.text = std::mem::take(bytes);
        }
        self.pieces.truncate(pieces);
        self.text.truncate(text);
        self.before = before;
    }

    fn finish(mut self) -> Vec<Piece> {
        if !self.text.is_empty() {
            self.pieces.push(Piece::Bytes(self.text));
        }
        self.pieces
    }
}

/// A batch ends when it holds so much.
const BATCH_OCTETS: usize = 256 * 1024;
/// Bodies up to this length are encoded at once, longer ones sent from their file.
const SMALL: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_in_the_middle_leaves_nothing() {
        let mut response = Response::default();
        response.text.extend_from_slice(b"first");
        let mark = response.mark();
        response.text.extend_from_slice(b"second {1}");
        let file = tempfile::tempfile().unwrap();
        response.push(Body::new(file, &(0..1), Crlf::all(), 1));
        response.text.extend_from_slice(b" rest");
        response.back_to(mark);
        let pieces = response.finish();
        assert!(matches!(pieces.as_slice(), [Piece::Bytes(bytes)] if bytes == b"first"));
    }
}
