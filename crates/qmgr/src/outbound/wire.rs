//! A client session of smtp-proto on a real stream: the only place where its bytes move.

use std::io;
use std::time::Duration;

use smtp_proto::client::{Event, Session};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

/// Why the conversation ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The other side closed.
    #[error("the connection was closed")]
    Closed,
    /// No whole reply in time, or no byte of ours was taken in time.
    #[error("timed out")]
    TimedOut,
    /// The network.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A session and its stream.
pub(crate) struct Wire<S> {
    pub(crate) stream: S,
    pub(crate) session: Session,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, session: Session) -> Self {
        Self { stream, session }
    }

    /// The next event; reads and writes as much as that takes.
    pub(crate) async fn event(&mut self) -> Result<Event, WireError> {
        loop {
            if let Some(event) = self.session.next_event(std::time::Instant::now()) {
                return Ok(event);
            }
            self.flush().await?;
            let until = self.session.deadline().map(Instant::from_std);
            let input = self.session.input();
            let read = match until {
                Some(until) => timeout_at(until, self.stream.read_buf(input))
                    .await
                    .map_err(|_| WireError::TimedOut)?,
                None => return Err(WireError::Io(io::Error::other("nothing to wait for"))),
            };
            if read? == 0 {
                return Err(WireError::Closed);
            }
        }
    }

    /// Writes what the session has to say.
    pub(crate) async fn flush(&mut self) -> Result<(), WireError> {
        if self.session.output().is_empty() {
            return Ok(());
        }
        let limit = self.session.timeouts().block;
        let write = async {
            self.stream.write_all(self.session.output()).await?;
            self.stream.flush().await
        };
        timeout(limit, write).await.map_err(|_| WireError::TimedOut)??;
        self.session.output_written();
        Ok(())
    }

    /// Says QUIT and closes. Nobody waits for the answer: everything is decided.
    pub(crate) async fn quit(mut self) {
        self.session.quit();
        let farewell = async {
            let _ = self.flush().await;
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(Duration::from_secs(2), farewell).await;
    }
}
