//! What is known of a message without reading it: kept by the store, encoded by us.

use imap_proto::response::structure;
use maildir_store::{Folder, Meta, StoreError};
use message::mime::Envelope;

use super::source::Source;

/// The metadata of a message, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// RFC822.SIZE.
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) internal_date: i64,
    /// ENVELOPE's value.
    pub(crate) envelope: Vec<u8>,
    /// BODYSTRUCTURE's value.
    pub(crate) structure: Vec<u8>,
}

impl Metadata {
    /// What the store remembers; `None` where it has nothing, or something of another version.
    pub(crate) fn remembered(folder: &Folder, uid: u32) -> Option<Self> {
        let Meta {
            size,
            internal_date,
            blob,
        } = folder.meta(uid)?;
        let (version, rest) = blob.split_first()?;
        let (len, rest) = rest.split_at_checked(4)?;
        let len = u32::from_le_bytes(len.try_into().ok()?) as usize;
        let (envelope, structure) = rest.split_at_checked(len)?;
        let (envelope, structure) = (envelope.to_vec(), structure.to_vec());
        (*version == VERSION).then_some(Self {
            size,
            internal_date,
            envelope,
            structure,
        })
    }

    /// Makes it from the message.
    pub(crate) fn of(folder: &Folder, uid: u32, source: &Source) -> Result<Self, StoreError> {
        let root = source.structure.root();
        let mut envelope = Vec::new();
        structure::envelope(&mut envelope, &Envelope::parse(&source.raw[..root.body.offset]));
        let mut encoded = Vec::new();
        structure::body(&mut encoded, &source.structure, true);
        Ok(Self {
            size: source.structure.size(),
            internal_date: folder.internal_date(uid)?,
            envelope,
            structure: encoded,
        })
    }

    /// For the store.
    pub(crate) fn to_meta(&self) -> Meta {
        let mut blob = Vec::with_capacity(5 + self.envelope.len() + self.structure.len());
        blob.push(VERSION);
        blob.extend_from_slice(
            &u32::try_from(self.envelope.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        blob.extend_from_slice(&self.envelope);
        blob.extend_from_slice(&self.structure);
        Meta {
            size: self.size,
            internal_date: self.internal_date,
            blob,
        }
    }
}

/// Version of the encoding: to be raised with every change of what ENVELOPE or BODYSTRUCTURE say.
const VERSION: u8 = 1;
