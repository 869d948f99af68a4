//! Reading a message file, with checks before anything of it is used.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use mail_types::MailId;

use crate::envelope::Envelope;
use crate::error::{Damage, ReadError};
use crate::format::{self, BLOCK, FOOT_LEN, Footer, HEAD_LEN};
use crate::layout::Spool;
use crate::wire;

/// A message in the spool, open for reading.
#[derive(Debug)]
pub struct StoredMessage {
    id: MailId,
    file: File,
    envelope: Envelope,
    body_len: u64,
    file_len: u64,
    crcs: Vec<u32>,
    hash: [u8; 32],
}

impl Spool {
    /// Opens a message and checks format record, footer, trailer and checksums. The body is checked block
    /// by block when it is read, and as a whole by [`StoredMessage::verify`].
    pub fn open_message(&self, id: MailId) -> Result<StoredMessage, ReadError> {
        let file = self.open_plain(id, id.as_str())?;
        let file_len = file.metadata()?.len();
        if file_len < HEAD_LEN + FOOT_LEN {
            return Err(Damage::new("shorter than an empty message").into());
        }
        let mut head = [0; HEAD_LEN as usize];
        file.read_exact_at(&mut head, 0)?;
        format::check_head(&head, id)?;
        let mut foot = [0; FOOT_LEN as usize];
        file.read_exact_at(&mut foot, file_len - FOOT_LEN)?;
        let (footer, hash) = Footer::decode(&foot, file_len)?;
        let trailer_len = footer.trailer_len as usize;
        let crcs_len = (format::blocks(footer.body_len) * 4) as usize;
        let mut tail = vec![0; trailer_len + crcs_len];
        file.read_exact_at(&mut tail, HEAD_LEN + footer.body_len)?;
        if crc32c::crc32c(&tail) != footer.trailer_crc {
            return Err(Damage::new("the checksum of the trailer").into());
        }
        let envelope = wire::decode(&tail[..trailer_len])?;
        let crcs = tail[trailer_len..]
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]))
            .collect();
        Ok(StoredMessage {
            id,
            file,
            envelope,
            body_len: footer.body_len,
            file_len,
            crcs,
            hash,
        })
    }
}

impl StoredMessage {
    /// The id.
    pub fn id(&self) -> MailId {
        self.id
    }

    /// The envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Length of the stored body in bytes, without the header lines of [`Envelope::top`].
    pub fn body_len(&self) -> u64 {
        self.body_len
    }

    /// Length of the message as it is sent: header lines on top and body.
    pub fn size(&self) -> u64 {
        self.body_len + self.envelope.top.len() as u64
    }

    /// Checks the hash of the whole file. To be called once before the first use in a process.
    pub fn verify(&self) -> Result<(), ReadError> {
        let mut hash = blake3::Hasher::new();
        let mut buffer = vec![0; BLOCK];
        // The hash covers everything before its own field: 40 bytes before the end.
        let end = self.file_len - 40;
        let mut at = 0;
        while at < end {
            let n = (end - at).min(BLOCK as u64) as usize;
            self.file.read_exact_at(&mut buffer[..n], at)?;
            hash.update(&buffer[..n]);
            at += n as u64;
        }
        if hash.finalize().as_bytes() != &self.hash {
            return Err(Damage::new("the hash of the file").into());
        }
        Ok(())
    }

    /// Block `n` of the body, checked; none after the last one. A block has 64 KiB, the last one less.
    pub fn block(&self, n: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let start = n.saturating_mul(BLOCK as u64);
        if start >= self.body_len {
            return Ok(None);
        }
        let mut bytes = vec![0; (self.body_len - start).min(BLOCK as u64) as usize];
        self.file.read_exact_at(&mut bytes, HEAD_LEN + start)?;
        if self.crcs.get(n as usize) != Some(&crc32c::crc32c(&bytes)) {
            return Err(Damage::new(format!("the checksum of block {n}")).into());
        }
        Ok(Some(bytes))
    }

    /// The body as a stream. A damaged block is an error of kind `InvalidData`.
    pub fn body(&self) -> Body<'_> {
        Body {
            message: self,
            next: 0,
            block: Vec::new(),
            at: 0,
        }
    }
}

/// Reads the body from its start, block by block, each one checked.
#[derive(Debug)]
pub struct Body<'a> {
    message: &'a StoredMessage,
    next: u64,
    block: Vec<u8>,
    at: usize,
}

impl Read for Body<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            match self.message.block(self.next) {
                Ok(Some(block)) => (self.block, self.at, self.next) = (block, 0, self.next + 1),
                Ok(None) => return Ok(0),
                Err(ReadError::Io(e)) => return Err(e),
                Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e)),
            }
        }
        let n = out.len().min(self.block.len() - self.at);
        out[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
