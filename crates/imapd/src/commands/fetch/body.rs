//! Pieces of an answer. Large bodies are not held in memory: they are read from their file while they are
//! sent, so that a client which reads slowly costs one piece.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

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
    /// Stored octets that are still to be read.
    unread: u64,
    crlf: Crlf,
    /// Octets of the text that were announced and not made yet.
    owed: u64,
}

impl Body {
    /// `len` octets were announced of what `crlf` delivers of `range`.
    pub(super) fn new(mut file: File, range: &Range<usize>, crlf: Crlf, len: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(range.start as u64))?;
        let unread = (range.end - range.start) as u64;
        Ok(Self {
            file,
            unread,
            crlf,
            owed: len,
        })
    }

    /// Whether everything was made that was announced.
    pub(super) fn is_done(&self) -> bool {
        self.owed == 0
    }

    /// Makes the next piece. Fails where the file became shorter than it was: the announced octets cannot
    /// be had. Blocks.
    pub(super) fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut raw = Vec::new();
        let want = self.unread.min(READ);
        (&mut self.file).take(want).read_to_end(&mut raw)?;
        if raw.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unread -= raw.len() as u64;
        let mut text = Vec::with_capacity(raw.len() + raw.len() / 32);
        self.crlf.encode(&raw, &mut text);
        // Never more than was announced, whatever happened to the file.
        text.truncate(usize::try_from(self.owed).unwrap_or(usize::MAX));
        self.owed -= text.len() as u64;
        Ok(text)
    }
}

/// How much is read at once.
const READ: u64 = 256 * 1024;
