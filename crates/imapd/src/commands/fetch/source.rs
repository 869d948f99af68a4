//! The file of a message, read no further than needed.

use std::fs::File;
use std::io::Read;

use maildir_store::{Folder, StoreError};
use message::mime::Structure;

/// A message, or its beginning with the whole header.
pub(crate) struct Source {
    pub(crate) raw: Vec<u8>,
    pub(crate) structure: Structure,
    /// Whether all of it was read.
    pub(crate) complete: bool,
    /// Open still, for sending parts of it.
    pub(crate) file: File,
}

/// Why there is no source.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The store said no.
    Store(StoreError),
    /// The message is larger than may be read without a permit (see `Shared::large_messages`).
    Large,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        let source = durable::Error::io("read", "", error);
        Self::Store(StoreError::Disk {
            doing: "read a message",
            source,
        })
    }
}

impl Source {
    /// Reads a whole message; one larger than [`LARGE`] only if it `may_be_large`.
    pub(crate) fn whole(folder: &Folder, uid: u32, may_be_large: bool) -> Result<Self, Trouble> {
        let (mut file, stat) = folder.open_message(uid)?;
        if stat.size > LARGE && !may_be_large {
            return Err(Trouble::Large);
        }
        let mut raw = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
        file.read_to_end(&mut raw)?;
        Ok(Self {
            structure: Structure::parse(&raw),
            raw,
            complete: true,
            file,
        })
    }

    /// Reads until the header is complete.
    pub(crate) fn header(folder: &Folder, uid: u32) -> Result<Self, Trouble> {
        let (mut file, _) = folder.open_message(uid)?;
        let mut raw = Vec::new();
        let mut want = FIRST_READ;
        loop {
            let before = raw.len();
            (&mut file).take(want as u64).read_to_end(&mut raw)?;
            let complete = raw.len() - before < want;
            let structure = Structure::parse(&raw);
            if complete || structure.root().body.offset < raw.len() {
                return Ok(Self {
                    raw,
                    structure,
                    complete,
                    file,
                });
            }
            want = raw.len();
        }
    }
}

/// Messages over this size are read a few at a time in the whole process, because their structure is found
/// in memory.
pub(crate) const LARGE: u64 = 1 << 20;
/// Most headers are shorter.
const FIRST_READ: usize = 16 * 1024;
