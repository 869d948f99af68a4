//! The connection as lines in and bytes out, with a deadline on both.

use std::io;
use std::time::Duration;

use auth_api::client::OpenSession;
use daemon::CancellationToken;
use pop3_proto::framing::Expect;
use pop3_proto::{Line, LineReader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::End;

/// How much is collected before it is written to the socket, and read from it at once.
pub(crate) const PIECE: usize = 16 * 1024;

/// How long the end of an aborted session may take.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// One connection. Nothing is read while a complete line is buffered, and nothing is kept beyond a piece:
/// a client that sends without reading, or never reads, costs two pieces of memory.
pub(crate) struct Wire<S> {
    stream: S,
    lines: LineReader,
    /// What is to be sent; written when the client has nothing more for us, or when a piece is full.
    pub(crate) out: Vec<u8>,
    output_timeout: Duration,
    shutdown: CancellationToken,
    /// What the session rests on.
    login: OpenSession,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, output_timeout: Duration, shutdown: CancellationToken) -> Self {
        Self {
            stream,
            lines: LineReader::new(),
            out: Vec::new(),
            output_timeout,
            shutdown,
            login: OpenSession::unwatched(),
        }
    }

    /// From now on the connection ends when the login does.
    pub(crate) fn watch(&mut self, login: OpenSession) {
        self.login = login;
    }

    fn revoked(&self) -> End {
        End::Revoked(self.login.reason().to_owned())
    }

    /// The next line. What is waiting to be sent goes out first, unless more lines are buffered (RFC 2449
    /// 6.6: replies to pipelined commands travel together).
    pub(crate) async fn next_line(&mut self, expect: Expect, deadline: Instant) -> Result<Line, End> {
        loop {
            if self.login.ended().is_cancelled() {
                return Err(self.revoked());
            }
            if let Some(line) = self.lines.next_line(expect) {
                return Ok(line);
            }
            self.flush().await?;
            let mut piece = [0; 4096];
            let read = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Err(End::Shutdown),
                () = self.login.ended().cancelled() => continue,
                read = timeout_at(deadline, self.stream.read(&mut piece)) => read.map_err(|_| End::Idle)??,
            };
            if read == 0 {
                return Err(End::Lost);
            }
            self.lines.push(&piece[..read]);
        }
    }

    /// Lets a client wait; a stop of the process does not wait with it.
    pub(crate) async fn pause(&self, time: Duration) -> Result<(), End> {
        self.shutdown
            .run_until_cancelled(tokio::time::sleep(time))
            .await
            .ok_or(End::Shutdown)
    }

    /// Writes what is waiting if it fills a piece.
    pub(crate) async fn flush_full(&mut self) -> Result<(), End> {
        if self.out.len() < PIECE {
            return Ok(());
        }
        self.flush().await
    }

    /// Writes what is waiting. Each piece has the whole of `output_timeout`, so that a slow reader is served
    /// and one that stopped is not waited for, nor one whose login is over.
    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        for piece in self.out.chunks(PIECE) {
            tokio::select! {
                biased;
                written = timeout(self.output_timeout, self.stream.write_all(piece)) => {
                    written.map_err(|_| End::Stalled)??;
                }
                () = self.login.ended().cancelled() => return Err(self.revoked()),
            }
        }
        if !self.out.is_empty() {
            self.out.clear();
            self.out.shrink_to(2 * PIECE);
            timeout(self.output_timeout, self.stream.flush())
                .await
                .map_err(|_| End::Stalled)??;
        }
        Ok(())
    }

    /// Gives the stream back for a TLS handshake, unless the client has already sent something that would
    /// be taken as if it had come inside TLS (RFC 2595 4, CVE-2021-38084).
    pub(crate) async fn into_stream(mut self) -> Result<S, End> {
        self.flush().await?;
        if self.lines.has_buffered() {
            return Err(End::Injection);
        }
        Ok(self.stream)
    }

    /// Ends a session that came to no good end: nothing more is said, but TLS is closed as RFC 8446 6.1 wants
    /// it, so that the client can tell the end from an attack.
    pub(crate) async fn abort(mut self) {
        self.out.clear();
        let _: Result<io::Result<()>, _> = timeout(LAST_WAIT, self.stream.shutdown()).await;
    }

    /// Sends what is waiting and closes our side; errors no longer matter.
    pub(crate) async fn close(mut self) {
        if self.flush().await.is_ok() {
            let _: Result<io::Result<()>, _> = timeout(self.output_timeout, self.stream.shutdown()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_pause_holds_up_a_stop() {
        let shutdown = CancellationToken::new();
        let (stream, _peer) = tokio::io::duplex(64);
        let wire = Wire::new(stream, Duration::from_secs(1), shutdown.clone());
        let (delay, begin) = (Duration::from_secs(16), Instant::now());
        wire.pause(delay).await.unwrap();
        assert_eq!(begin.elapsed(), delay);
        let (stopped, ()) = tokio::join!(wire.pause(delay), async { shutdown.cancel() });
        assert!(matches!(stopped, Err(End::Shutdown)));
        assert_eq!(begin.elapsed(), delay);
    }
}
