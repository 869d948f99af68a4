//! Pieces of an answer. Large bodies are not held in memory: they are read from their file while they are
//! sent, so that a client which reads slowly costs one piece.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use message::mime::Crlf;

/// A piece of an answer.
pub(super) enum Piece {
    /// As they are.
    Bytes(Vec<u8>),
    /// A part of a message that is sent from its file.
    Body(Body),
}

/// The rest of a range of a message file, as CRLF text. The file stays readable when it is expunged.
pub(super) struct Body {
    file: File,
    /// Stored octets that are still to be read. Positions and not the file's own offset, which the bodies
    /// of one message share.
    unread: Range<u64>,
    crlf: Crlf,
    /// Octets of the text that were announced and not made yet.
    owed: u64,
}

impl Body {
    /// `len` octets were announced of what `crlf` delivers of `range`.
    pub(super) fn new(file: File, range: &Range<usize>, crlf: Crlf, len: u64) -> Self {
        Self {
            file,
            unread: range.start as u64..range.end as u64,
            crlf,
            owed: len,
        }
    }

    /// Whether everything was made that was announced.
    pub(super) fn is_done(&self) -> bool {
        self.owed == 0
    }

    /// Makes the next piece. Fails where the file became shorter than it was: the announced octets cannot
    /// be had. Blocks.
    pub(super) fn next(&mut self) -> io::Result<Vec<u8>> {
        let want = (self.unread.end - self.unread.start).min(READ);
        let mut raw = vec![0; usize::try_from(want).unwrap_or(0)];
        let read = self.file.read_at(&mut raw, self.unread.start)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        raw.truncate(read);
        self.unread.start += read as u64;
        let mut text = Vec::with_capacity(raw.len() + raw.len() / 32);
        self.crlf.encode(&raw, &mut text);
        // Never more than was announced, whatever happened to the file.
        text.truncate(usize::try_from(self.owed).unwrap_or(usize::MAX));
        hide_nul(&mut text);
        self.owed -= text.len() as u64;
        Ok(text)
    }
}

/// NUL, which no string of the protocol may hold (RFC 3501 9, `CHAR8`), becomes 0x80 as in other servers.
pub(super) fn hide_nul(text: &mut [u8]) {
    for byte in text.iter_mut().filter(|byte| **byte == 0) {
        *byte = 0x80;
    }
}

/// How much is read at once.
const READ: u64 = 256 * 1024;
