//! Makes the FETCH responses of a command, batch by batch. Everything here blocks.

use std::sync::Arc;

use imap_proto::command::{FetchItem, Section, SectionText};
use imap_proto::date::DateTime;
use imap_proto::response::{fetch, structure};
use maildir_store::{Folder, Message, Meta, StoreError};
use message::mime;

use super::body::{self, Piece};
use super::metadata::Metadata;
use super::source::Source;
use crate::mailbox::Numbers;

/// The rest of a command's work.
pub(super) struct Job {
    folder: Arc<Folder>,
    numbers: Numbers,
    uids: Vec<u32>,
    at: usize,
    items: Vec<FetchItem>,
    needs: FileNeeds,
}

/// What one trip made.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) pieces: Vec<Piece>,
    /// A message was removed meanwhile.
    pub(super) gone: bool,
    /// A message could not be read.
    pub(super) unreadable: bool,
}

/// How much of a file the items need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FileNeeds {
    Nothing,
    Header,
    Everything,
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
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.uids.len()
    }

    /// The next messages, until there is enough to send.
    pub(super) fn next(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut collected = Vec::new();
        let mut octets = 0;
        let mut learned: Vec<(u32, Meta)> = Vec::new();
        while octets < BATCH_OCTETS && !self.is_done() {
            let uid = self.uids[self.at];
            self.at += 1;
            let mut response = Response::default();
            match self.message(uid, &mut response, &mut learned) {
                Ok(true) => {}
                Ok(false) | Err(StoreError::Expunged | StoreError::Gone) => {
                    batch.gone = true;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(uid, error = %daemon::describe(&error), "message cannot be read");
                    batch.unreadable = true;
                    continue;
                }
            }
            octets += response.octets + response.text.len();
            for piece in response.pieces {
                match piece {
                    Piece::Bytes(bytes) => collected.extend(bytes),
                    body @ Piece::Body(_) => {
                        batch.pieces.push(Piece::Bytes(std::mem::take(&mut collected)));
                        batch.pieces.push(body);
                    }
                }
            }
            collected.extend(response.text);
        }
        if !collected.is_empty() {
            batch.pieces.push(Piece::Bytes(collected));
        }
        if !learned.is_empty() {
            self.folder.put_meta(&learned);
        }
        batch
    }

    /// Writes the response of one message; `false` when it is no longer there. Nothing of a response is
    /// sent that could not be made whole.
    fn message(
        &self,
        uid: u32,
        response: &mut Response,
        learned: &mut Vec<(u32, Meta)>,
    ) -> Result<bool, StoreError> {
        let view = &self.numbers.view;
        let (Some(message), Some(number)) = (view.get(uid), self.numbers.number(uid)) else {
            return Ok(false);
        };
        let mut reading = Reading {
            folder: &self.folder,
            uid,
            needs: self.needs,
            source: None,
            metadata: None,
        };
        fetch::begin(&mut response.text, number);
        let mut first = true;
        for item in &self.items {
            fetch::item_separator(&mut response.text, &mut first);
            self.item(item, message, &mut reading, response)?;
        }
        fetch::end(&mut response.text);
        if let Some((metadata, true)) = &reading.metadata {
            learned.push((uid, metadata.to_meta()));
        }
        Ok(true)
    }

    fn item(
        &self,
        item: &FetchItem,
        message: &Message,
        reading: &mut Reading<'_>,
        response: &mut Response,
    ) -> Result<(), StoreError> {
        let out = &mut response.text;
        match item {
            FetchItem::Uid => fetch::uid(out, message.uid),
            FetchItem::Flags => fetch::flags(out, &self.numbers.flag_names(message)),
            FetchItem::InternalDate => {
                fetch::internal_date(
                    out,
                    DateTime {
                        unix: reading.internal_date()?,
                        zone: 0,
                    },
                );
            }
            FetchItem::Rfc822Size => fetch::size(out, reading.size()?),
            FetchItem::Envelope => fetch::encoded(out, "ENVELOPE", &reading.metadata()?.envelope),
            FetchItem::BodyStructure => fetch::encoded(out, "BODYSTRUCTURE", &reading.metadata()?.structure),
            FetchItem::Body => {
                let mut value = Vec::new();
                structure::body(&mut value, &reading.source()?.structure, false);
                fetch::encoded(out, "BODY", &value);
            }
            FetchItem::Rfc822 | FetchItem::Rfc822Header | FetchItem::Rfc822Text => {
                let (text, partial) = match item {
                    FetchItem::Rfc822Header => (mime::SectionText::Header, None),
                    FetchItem::Rfc822Text => (mime::SectionText::Text, None),
                    _ => (mime::SectionText::All, None),
                };
                section(item, &[], &text, partial, reading.source()?, response);
            }
            FetchItem::Section {
                section: Section { path, text },
                partial,
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
                section(item, path, &text, *partial, reading.source()?, response);
            }
        }
        Ok(())
    }
}

/// A response in the making.
#[derive(Default)]
struct Response {
    pieces: Vec<Piece>,
    /// What comes behind the last piece.
    text: Vec<u8>,
    /// Octets that `pieces` hold in memory.
    octets: usize,
}

fn section(
    item: &FetchItem,
    path: &[u32],
    text: &mime::SectionText<'_>,
    partial: Option<(u32, u32)>,
    source: &Source,
    response: &mut Response,
) {
    let Some(found) = source.structure.section(&source.raw, path, text) else {
        fetch::section(&mut response.text, item, None);
        return;
    };
    let stored = found.bytes(&source.raw).len();
    let body = body::of_section(&source.raw, found, partial);
    let len = body.len();
    fetch::section(&mut response.text, item, Some(len));
    if len <= SMALL {
        let mut reader = body.crlf();
        while reader.read(usize::MAX, &mut response.text) {}
    } else {
        response.octets += stored + response.text.len();
        response
            .pieces
            .push(Piece::Bytes(std::mem::take(&mut response.text)));
        response.pieces.push(Piece::Body(body));
    }
}

/// What was read of a message so far.
struct Reading<'a> {
    folder: &'a Folder,
    uid: u32,
    needs: FileNeeds,
    source: Option<Source>,
    /// With whether it is new to the store.
    metadata: Option<(Metadata, bool)>,
}

impl Reading<'_> {
    fn source(&mut self) -> Result<&Source, StoreError> {
        let source = match self.source.take() {
            Some(source) => source,
            None if self.needs == FileNeeds::Header => Source::header(self.folder, self.uid)?,
            None => Source::whole(self.folder, self.uid)?,
        };
        Ok(self.source.insert(source))
    }

    fn metadata(&mut self) -> Result<&Metadata, StoreError> {
        if self.metadata.is_none() {
            let metadata = match Metadata::remembered(self.folder, self.uid) {
                Some(metadata) => (metadata, false),
                None => {
                    if self.source.as_ref().is_none_or(|source| !source.complete) {
                        self.source = Some(Source::whole(self.folder, self.uid)?);
                    }
                    (Metadata::of(self.folder, self.uid, self.source()?)?, true)
                }
            };
            self.metadata = Some(metadata);
        }
        // Just set; the error says what a missing one would mean.
        self.metadata
            .as_ref()
            .map(|(metadata, _)| metadata)
            .ok_or(StoreError::Expunged)
    }

    fn size(&mut self) -> Result<u64, StoreError> {
        match &self.metadata {
            Some((metadata, _)) => Ok(metadata.size),
            None => match &self.source {
                Some(source) if source.complete => Ok(source.structure.size()),
                _ => self.folder.size(self.uid),
            },
        }
    }

    fn internal_date(&mut self) -> Result<i64, StoreError> {
        match &self.metadata {
            Some((metadata, _)) => Ok(metadata.internal_date),
            None => self.folder.internal_date(self.uid),
        }
    }
}

fn file_needs(item: &FetchItem) -> FileNeeds {
    match item {
        FetchItem::Rfc822Header => FileNeeds::Header,
        FetchItem::Section {
            section: Section { path, text },
            ..
        } => match text {
            SectionText::Header | SectionText::HeaderFields { .. } if path.is_empty() => FileNeeds::Header,
            _ => FileNeeds::Everything,
        },
        FetchItem::Body | FetchItem::Rfc822 | FetchItem::Rfc822Text => FileNeeds::Everything,
        // Through the metadata, which is read from the file only where it is not remembered.
        FetchItem::Envelope
        | FetchItem::BodyStructure
        | FetchItem::Rfc822Size
        | FetchItem::InternalDate
        | FetchItem::Flags
        | FetchItem::Uid => FileNeeds::Nothing,
    }
}

/// A batch ends when it holds so much.
const BATCH_OCTETS: usize = 256 * 1024;
/// Bodies up to this length are encoded at once.
const SMALL: u64 = 16 * 1024;
