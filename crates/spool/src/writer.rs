//! Writing a message into the spool: unsynced while it streams, durable when `finish` returns.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use durable::Staged;
use mail_types::MailId;

use crate::envelope::Envelope;
use crate::error::WriteError;
use crate::format::{self, BLOCK, Footer};
use crate::layout::Spool;
use crate::wire;

/// A message that is being written. Dropping it without [`Writer::finish`] removes the temporary file.
#[derive(Debug)]
pub struct Writer {
    spool: Spool,
    id: MailId,
    staged: Staged,
    hash: blake3::Hasher,
    body_len: u64,
    /// Checksums of the whole blocks so far.
    crcs: Vec<u32>,
    /// Checksum and length of the block that is being filled.
    block_crc: u32,
    block_len: usize,
}

impl Spool {
    /// Begins the message `id` in this daemon's temporary directory. Nothing is synced before
    /// [`Writer::finish`]. Fails where the volume is suspect after a failed sync.
    pub fn begin(&self, id: MailId) -> Result<Writer, WriteError> {
        // Readable for the group, which both daemons share.
        let mut staged = self.inner.temp.stage(id.as_str(), 0o640)?;
        let head = format::head(id);
        staged.write_all(&head)?;
        let mut hash = blake3::Hasher::new();
        hash.update(&head);
        Ok(Writer {
            spool: self.clone(),
            id,
            staged,
            hash,
            body_len: 0,
            crcs: Vec::new(),
            block_crc: 0,
            block_len: 0,
        })
    }
}

impl Writer {
    /// The message's id.
    pub fn id(&self) -> MailId {
        self.id
    }

    /// Bytes of body written so far.
    pub fn body_len(&self) -> u64 {
        self.body_len
    }

    /// A second handle that reads the body as far as it was written, from its first byte on.
    pub fn body_reader(&self) -> Result<std::io::Take<File>, WriteError> {
        let mut file = self.staged.reader()?;
        file.seek(SeekFrom::Start(format::HEAD_LEN))
            .map_err(|e| durable::Error::io("seek in", self.staged.name(), e))?;
        Ok(file.take(self.body_len))
    }

    /// Writes the next piece of the body: CRLF lines, without dot-stuffing. There is no buffer: pass big
    /// pieces.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        self.staged.write_all(bytes)?;
        self.hash.update(bytes);
        self.body_len += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.block_len));
            self.block_crc = crc32c::crc32c_append(self.block_crc, now);
            self.block_len += now.len();
            if self.block_len == BLOCK {
                self.crcs.push(self.block_crc);
                (self.block_crc, self.block_len) = (0, 0);
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Completes the message and publishes it. When this returns `Ok`, the message is durable and its
    /// 250 may be sent; on every error it was not accepted and its temporary file is gone.
    pub fn finish(mut self, envelope: &Envelope) -> Result<(), WriteError> {
        wire::check(envelope).map_err(WriteError::Envelope)?;
        let tail = self.tail(envelope)?;
        self.staged.write_all(&tail)?;
        let published = self
            .staged
            .publish(self.spool.shard(self.id), self.id.as_str())
            .wait();
        match published {
            Err(error) if error.is_exists() => Err(WriteError::Exists(self.id)),
            other => Ok(other?),
        }
    }

    /// Trailer, block checksums and footer.
    fn tail(&mut self, envelope: &Envelope) -> Result<Vec<u8>, WriteError> {
        if self.block_len > 0 {
            self.crcs.push(self.block_crc);
        }
        let mut tail = wire::encode(envelope).map_err(|e| WriteError::Envelope(e.to_string()))?;
        let trailer_len = u32::try_from(tail.len())
            .ok()
            .filter(|n| *n <= format::MAX_TRAILER)
            .ok_or_else(|| WriteError::Envelope("too large".to_owned()))?;
        for crc in &self.crcs {
            tail.extend_from_slice(&crc.to_le_bytes());
        }
        let footer = Footer {
            trailer_len,
            trailer_crc: crc32c::crc32c(&tail),
            body_len: self.body_len,
            total_len: format::HEAD_LEN + self.body_len + tail.len() as u64 + format::FOOT_LEN,
        };
        let fields = footer.encode();
        self.hash.update(&tail);
        self.hash.update(&fields);
        tail.extend_from_slice(&format::foot(&fields, self.hash.finalize().as_bytes()));
        Ok(tail)
    }
}
