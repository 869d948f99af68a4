//! What is sent as the message: the lines put on top and the body, from the spool or converted in memory.

use daemon::blocking;

use crate::message::Text;

/// A message's bytes in pieces.
#[derive(Debug, Clone)]
pub enum Content {
    /// From the spool.
    Stored {
        /// Lines on top of it.
        top: Vec<u8>,
        /// The body.
        text: Text,
    },
    /// Converted to 7 bits.
    Memory(Vec<u8>),
}

/// The content cannot be read any more: the transaction must not be finished.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be read: {0}")]
pub struct Unreadable(pub String);

impl Content {
    /// Octets on the wire, dots not counted.
    pub fn len(&self) -> u64 {
        match self {
            Self::Stored { top, text } => top.len() as u64 + text.body_len(),
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Piece `n`, none after the last.
    pub async fn piece(&self, n: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        match self {
            Self::Memory(bytes) => Ok((n == 0 && !bytes.is_empty()).then(|| bytes.clone())),
            Self::Stored { top, .. } if n == 0 && !top.is_empty() => Ok(Some(top.clone())),
            Self::Stored { top, text } => {
                let block = if top.is_empty() { n } else { n - 1 };
                let text = text.clone();
                match blocking(move || text.piece(block)).await {
                    Ok(Ok(piece)) => Ok(piece),
                    Ok(Err(error)) => Err(Unreadable(error.to_string())),
                    Err(error) => Err(Unreadable(error.to_string())),
                }
            }
        }
    }

    /// All of it.
    pub async fn all(&self) -> Result<Vec<u8>, Unreadable> {
        let mut all = Vec::new();
        let mut n = 0;
        while let Some(piece) = self.piece(n).await? {
            all.extend_from_slice(&piece);
            n += 1;
        }
        Ok(all)
    }
}
