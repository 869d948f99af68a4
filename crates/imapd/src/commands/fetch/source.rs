//! The file of a message, read no further than needed.

use std::io::Read;
use std::sync::Arc;

use maildir_store::{Folder, StoreError};
use message::mime::Structure;

/// A message, or its beginning with the whole header.
pub(crate) struct Source {
    pub(crate) raw: Arc<Vec<u8>>,
    pub(crate) structure: Structure,
    /// Whether all of it was read.
    pub(crate) complete: bool,
}

impl Source {
    /// Reads a whole message.
    pub(crate) fn whole(folder: &Folder, uid: u32) -> Result<Self, StoreError> {
        let raw = folder.read(uid)?;
        Ok(Self {
            structure: Structure::parse(&raw),
            raw: Arc::new(raw),
            complete: true,
        })
    }

    /// Reads until the header is complete.
    pub(crate) fn header(folder: &Folder, uid: u32) -> Result<Self, StoreError> {
        let (mut file, _) = folder.open_message(uid)?;
        let mut raw = Vec::new();
        let mut want = FIRST_READ;
        loop {
            let before = raw.len();
            let read = (&mut file).take(want as u64).read_to_end(&mut raw);
            read.map_err(|error| StoreError::Disk {
                doing: "read a message",
                source: durable::Error::io("read", "", error),
            })?;
            let complete = raw.len() - before < want;
            let structure = Structure::parse(&raw);
            if complete || structure.root().body.offset < raw.len() {
                return Ok(Self {
                    raw: Arc::new(raw),
                    structure,
                    complete,
                });
            }
            want = raw.len();
        }
    }
}

/// Most headers are shorter.
const FIRST_READ: usize = 16 * 1024;
