//! The message on its way through: CRLF becomes LF, small ones stay in memory, big ones go to a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use maildir_store::{Incoming, StoreError};
use message::header::{self, HeaderEnd};

/// How much of messages the process holds in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<AtomicUsize>);

/// A part of [`Memory`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Memory,
    bytes: usize,
}

/// A message that is being received.
#[derive(Debug)]
pub(crate) struct Body {
    /// With LF line ends: all of it, or what was not yet written to the file.
    buffer: Vec<u8>,
    /// The last octet was a CR whose LF is still to come.
    open_cr: bool,
    held: Held,
}

/// A message that was received, fit to be written into any number of Maildirs.
#[derive(Debug)]
pub(crate) enum Content {
    /// In memory.
    Memory {
        /// The message.
        bytes: Vec<u8>,
        /// Its share of the memory.
        _held: Held,
    },
    /// In a file that is removed with this value.
    File {
        /// One reader at a time.
        file: Mutex<File>,
        /// Its length.
        size: u64,
        /// The file's name goes with it.
        _spill: Incoming,
    },
}

/// A big message in a temporary file.
#[derive(Debug)]
pub(crate) struct Spill {
    incoming: Incoming,
    size: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Body {
    /// An empty message; what it takes is counted in `memory`.
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            buffer: Vec::new(),
            open_cr: false,
            held: Held { memory, bytes: 0 },
        }
    }

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
        let grown = self.buffer.len() - self.held.bytes;
        self.held.memory.0.fetch_add(grown, Ordering::Relaxed);
        self.held.bytes += grown;
    }

    /// Whether it is time to write to a file.
    pub(crate) fn is_big(&self) -> bool {
        let scarce = self.held.memory.0.load(Ordering::Relaxed) > BUDGET;
        self.buffer.len() >= if scarce { IN_SCARCE_MEMORY } else { IN_MEMORY }
    }

    /// Takes out what is in memory.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.held.memory.0.fetch_sub(self.held.bytes, Ordering::Relaxed);
        self.held.bytes = 0;
        std::mem::take(&mut self.buffer)
    }

    /// The message is complete, and small.
    pub(crate) fn finish(self) -> Content {
        Content::Memory {
            bytes: clean(&self.buffer),
            _held: self.held,
        }
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
    /// Its size without the header lines that are put on top.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Memory { bytes, .. } => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// Writes it into a mailbox, with `head` on top.
    pub(crate) fn write_to(&self, head: &str, incoming: &mut Incoming) -> Result<(), StoreError> {
        let (file, size) = match self {
            // One write for all of a small message: copying it costs less than a second call.
            Self::Memory { bytes, .. } if bytes.len() <= SMALL => {
                return incoming.write(&[head.as_bytes(), bytes].concat());
            }
            Self::Memory { bytes, .. } => {
                incoming.write(head.as_bytes())?;
                return incoming.write(bytes);
            }
            Self::File { file, size, .. } => (file, *size),
        };
        incoming.write(head.as_bytes())?;
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

/// Up to this size a message is written in one piece with its head.
const SMALL: usize = 64 << 10;
/// From this size on a message goes to a file.
const IN_MEMORY: usize = 1 << 20;
/// The same while the budget is used up. The whole header must fit in (256 KiB, robustness.md section 3).
const IN_SCARCE_MEMORY: usize = 384 << 10;
/// Memory for all messages of the process together.
const BUDGET: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn received(pieces: &[&[u8]]) -> Vec<u8> {
        let mut body = Body::new(Memory::default());
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
    fn memory_is_counted_and_scarcity_makes_files_of_smaller_messages() {
        let memory = Memory::default();
        let used = || memory.0.load(Ordering::Relaxed);
        let mut body = Body::new(memory.clone());
        body.push(&vec![b'x'; IN_SCARCE_MEMORY]);
        assert!(used() == IN_SCARCE_MEMORY && !body.is_big());
        memory.0.fetch_add(BUDGET, Ordering::Relaxed);
        assert!(body.is_big());
        let content = body.finish();
        assert_eq!(used(), BUDGET + IN_SCARCE_MEMORY);
        drop(content);
        let mut body = Body::new(memory.clone());
        body.push(b"abc");
        body.take();
        assert_eq!(used(), BUDGET);
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
