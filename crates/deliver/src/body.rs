//! The message on its way through: CRLF becomes LF, small ones stay in memory, big ones go to a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Mutex;
use std::sync::PoisonError;

use maildir_store::{Incoming, StoreError};
use message::header::{self, HeaderEnd};

/// A message that is being received.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// With LF line ends: all of it, or what was not yet written to the file.
    buffer: Vec<u8>,
    /// The last octet was a CR whose LF is still to come.
    open_cr: bool,
}

/// A message that was received, fit to be written into any number of Maildirs.
#[derive(Debug)]
pub(crate) enum Content {
    /// In memory.
    Memory(Vec<u8>),
    /// In a file that is removed with this value. One reader at a time.
    File {
        file: Mutex<File>,
        size: u64,
        _spill: Incoming,
    },
}

/// A big message in a temporary file.
#[derive(Debug)]
pub(crate) struct Spill {
    incoming: Incoming,
    size: u64,
}

impl Body {
    /// Takes the next octets, CRLF line ends.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        if self.open_cr && !bytes.is_empty() {
            self.open_cr = false;
            if bytes[0] != b'\n' {
                self.buffer.push(b'\r');
            }
        }
        while let Some(cr) = memchr::memchr(b'\r', bytes) {
            self.buffer.extend_from_slice(&bytes[..cr]);
            bytes = &bytes[cr + 1..];
            match bytes.first() {
                None => self.open_cr = true,
                Some(b'\n') => {}
                Some(_) => self.buffer.push(b'\r'),
            }
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether it is time to write to a file.
    pub(crate) fn is_big(&self) -> bool {
        self.buffer.len() >= IN_MEMORY
    }

    /// Takes out what is in memory.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }
}

impl Spill {
    /// Begins a file with the front of the message, which holds the whole header.
    pub(crate) fn begin(mut incoming: Incoming, front: &[u8]) -> Result<Self, StoreError> {
        let front = clean(front);
        incoming.write(&front)?;
        Ok(Self {
            incoming,
            size: front.len() as u64,
        })
    }

    /// The next octets.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        self.incoming.write(bytes)
    }

    /// The message is complete.
    pub(crate) fn finish(self) -> Result<Content, StoreError> {
        let file = Mutex::new(self.incoming.reader()?);
        Ok(Content::File {
            file,
            size: self.size,
            _spill: self.incoming,
        })
    }
}

impl Content {
    /// A small message.
    pub(crate) fn in_memory(message: &[u8]) -> Self {
        Self::Memory(clean(message))
    }

    /// Its size without the header lines that are put on top.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// Writes it into a mailbox.
    pub(crate) fn write_to(&self, incoming: &mut Incoming) -> Result<(), StoreError> {
        let (file, size) = match self {
            Self::Memory(bytes) => return incoming.write(bytes),
            Self::File { file, size, .. } => (file, *size),
        };
        let failed = |source| StoreError::Disk {
            doing: "read the message back",
            source: durable::Error::io("read", "", source),
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut left = size;
        let mut piece = vec![0; 256 << 10];
        while left > 0 {
            let want = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut piece[..want]).map_err(failed)?;
            incoming.write(&piece[..want])?;
            left -= want as u64;
        }
        Ok(())
    }
}

/// Takes away what must not come from outside (compat.md 5.3): the `From ` line of an mbox file and
/// Return-Path fields. A header without its separator line gets one.
fn clean(message: &[u8]) -> Vec<u8> {
    let parts = header::split(message);
    let mut out = Vec::with_capacity(message.len() + 1);
    if header::count(parts.header, "Return-Path") > 0 {
        out.extend(header::remove(parts.header, |field| field.is("Return-Path")));
    } else {
        out.extend_from_slice(parts.header);
    }
    if parts.end != HeaderEnd::EndOfMessage {
        out.push(b'\n');
    }
    out.extend_from_slice(parts.body);
    out
}

/// From this size on a message goes to a file.
const IN_MEMORY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn received(pieces: &[&[u8]]) -> Vec<u8> {
        let mut body = Body::default();
        pieces.iter().for_each(|p| body.push(p));
        body.take()
    }

    #[test]
    fn line_ends_become_lf_wherever_the_pieces_end() {
        let whole = b"a: b\r\n\r\nline\r\n\r\nend\r\n";
        for cut in 0..whole.len() {
            assert_eq!(
                received(&[&whole[..cut], &whole[cut..]]),
                b"a: b\n\nline\n\nend\n",
                "{cut}"
            );
        }
        assert_eq!(received(&[b"a\r", b"", b"b\r\n"]), b"a\rb\n");
    }

    #[test]
    fn foreign_return_paths_and_from_lines_go() {
        let message =
            b"From x Mon\nReturn-Path: <a@b>\nX: 1\nreturn-path:\n <c@d>\nY: 2\n\nReturn-Path: stays\n";
        assert_eq!(clean(message), b"X: 1\nY: 2\n\nReturn-Path: stays\n");
        assert_eq!(clean(b"no header\n"), b"\nno header\n");
        assert_eq!(clean(b"X: 1\n"), b"X: 1\n");
    }
}
