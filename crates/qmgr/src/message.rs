//! A message of the spool as a delivery uses it: its envelope, the recipients of one job, and its text in pieces.

use std::sync::Arc;

use mail_types::{Address, MailId, Reply};
use message::header;
use spool::{Envelope, Outcome, ReadError, Recipient, Spool, StoredMessage};

use crate::scheduler::Service;

/// What a delivery needs to know of the message.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The message.
    pub id: MailId,
    /// Its envelope.
    pub envelope: Arc<Envelope>,
    /// The recipients of this job.
    pub recipients: Vec<Addressee>,
    /// Whether the whole file was checked in this process.
    pub verified: bool,
}

/// A recipient of a job.
#[derive(Debug, Clone)]
pub struct Addressee {
    /// Who.
    pub recipient: Recipient,
    /// The address after expansion.
    pub final_address: Address,
    /// Whether an earlier attempt may have succeeded without our seeing the reply.
    pub repeated: bool,
}

/// What became of a recipient in an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Final.
    Final {
        /// How it ended.
        outcome: Outcome,
        /// The reply.
        reply: Reply,
        /// The server that gave it; empty where we did.
        mta: String,
    },
    /// Try again later.
    Deferred {
        /// Why.
        reply: Reply,
        /// The server that gave it; empty where we did.
        mta: String,
        /// The message may have been taken all the same.
        repeated: bool,
    },
    /// Something of our own is away: this was no attempt.
    Trouble {
        /// What.
        service: Service,
        /// Why.
        reason: String,
        /// The message may have been taken all the same.
        repeated: bool,
    },
}

/// The text of a message, open for sending.
#[derive(Debug, Clone)]
pub struct Text {
    stored: Arc<StoredMessage>,
    /// Bytes of the body.
    body_len: u64,
}

/// The largest header block that is looked at.
const MAX_HEADER: u64 = 256 * 1024;

impl Text {
    /// Opens a message and, unless that was done before, checks the whole file.
    pub fn open(spool: &Spool, id: MailId, verified: bool) -> Result<Self, ReadError> {
        let stored = spool.open_message(id)?;
        if !verified {
            stored.verify()?;
        }
        Ok(Self {
            body_len: stored.body_len(),
            stored: Arc::new(stored),
        })
    }

    /// Length of the body in octets.
    pub fn body_len(&self) -> u64 {
        self.body_len
    }

    /// Piece `n` of the body, none after the last. Reads a file: off the async threads.
    pub fn piece(&self, n: u64) -> Result<Option<Vec<u8>>, ReadError> {
        self.stored.block(n)
    }

    /// The whole body.
    pub fn all(&self) -> Result<Vec<u8>, ReadError> {
        let mut all = Vec::with_capacity(usize::try_from(self.body_len).unwrap_or(0));
        let mut n = 0;
        while let Some(piece) = self.piece(n)? {
            all.extend_from_slice(&piece);
            n += 1;
        }
        Ok(all)
    }

    /// The header block of the body, as far as its first 256 KiB go.
    pub fn header(&self) -> Result<Vec<u8>, ReadError> {
        let mut start = Vec::new();
        let mut n = 0;
        while let Some(piece) = self.piece(n)? {
            start.extend_from_slice(&piece);
            n += 1;
            let done = memchr::memmem::find(&start, b"\r\n\r\n").is_some();
            if done || start.len() as u64 >= MAX_HEADER {
                break;
            }
        }
        Ok(header::split(&start).header.to_vec())
    }
}

/// Whether a header block says that the message came past this address already (compat.md 5.5).
pub fn came_past(header_block: &[u8], address: &Address) -> bool {
    header::find_all(header_block, "Delivered-To").any(|field| {
        let value = field.value();
        std::str::from_utf8(&value)
            .ok()
            .and_then(|text| Address::parse(text.trim()).ok())
            .is_some_and(|found| found.lookup_key() == address.lookup_key())
    })
}
