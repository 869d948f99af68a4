//! What was read of one message so far: its metadata, its header, or all of it.

use imap_proto::command::{FetchItem, Section, SectionText};
use maildir_store::{Folder, Meta, StoreError};

use super::metadata::Metadata;
use super::source::{Source, Trouble};

/// How much of a file the items need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileNeeds {
    Nothing,
    Header,
    Everything,
}

/// A message that is being fetched.
pub(super) struct Reading<'a> {
    folder: &'a Folder,
    uid: u32,
    needs: FileNeeds,
    may_be_large: bool,
    source: Option<Source>,
    /// With whether it is new to the store.
    metadata: Option<(Metadata, bool)>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(folder: &'a Folder, uid: u32, needs: FileNeeds, may_be_large: bool) -> Self {
        Self {
            folder,
            uid,
            needs,
            may_be_large,
            source: None,
            metadata: None,
        }
    }

    /// The message, or its header where no item needs more.
    pub(super) fn source(&mut self) -> Result<&Source, Trouble> {
        let source = match self.source.take() {
            Some(source) => source,
            None if self.needs == FileNeeds::Header => Source::header(self.folder, self.uid)?,
            None => Source::whole(self.folder, self.uid, self.may_be_large)?,
        };
        Ok(self.source.insert(source))
    }

    /// What ENVELOPE and BODYSTRUCTURE say.
    pub(super) fn metadata(&mut self) -> Result<&Metadata, Trouble> {
        if self.metadata.is_none() {
            let metadata = match Metadata::remembered(self.folder, self.uid) {
                Some(metadata) => (metadata, false),
                None => {
                    if self.source.as_ref().is_none_or(|source| !source.complete) {
                        self.source = Some(Source::whole(self.folder, self.uid, self.may_be_large)?);
                    }
                    (Metadata::of(self.folder, self.uid, self.source()?)?, true)
                }
            };
            self.metadata = Some(metadata);
        }
        // Just set; the error says what a missing one would mean.
        let metadata = self.metadata.as_ref().map(|(metadata, _)| metadata);
        metadata.ok_or(Trouble::Store(StoreError::Expunged))
    }

    /// RFC822.SIZE.
    pub(super) fn size(&mut self) -> Result<u64, Trouble> {
        if let Some((metadata, _)) = &self.metadata {
            return Ok(metadata.size);
        }
        match &self.source {
            Some(source) if source.complete => Ok(source.structure.size()),
            _ => match self.folder.cached_size(self.uid) {
                Some(size) => Ok(size),
                // As the message has to be read, everything is learned of it.
                None => Ok(self.metadata()?.size),
            },
        }
    }

    /// INTERNALDATE in seconds since 1970.
    pub(super) fn internal_date(&mut self) -> Result<i64, Trouble> {
        match &self.metadata {
            Some((metadata, _)) => Ok(metadata.internal_date),
            None => Ok(self.folder.internal_date(self.uid)?),
        }
    }

    /// What the store does not know yet.
    pub(super) fn learned(&self) -> Option<(u32, Meta)> {
        match &self.metadata {
            Some((metadata, true)) => Some((self.uid, metadata.to_meta())),
            _ => None,
        }
    }

    /// Whether a large message was read.
    pub(super) fn was_large(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.raw.len() as u64 > super::source::LARGE)
    }
}

/// What one item needs.
pub(super) fn file_needs(item: &FetchItem) -> FileNeeds {
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
