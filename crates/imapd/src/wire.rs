//! The connection as input in and bytes out, with a deadline on both.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use auth_api::client::OpenSession;
use daemon::CancellationToken;
use imap_proto::framing::{Framer, Input, Limits};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::End;

/// How much is collected before it is written to the socket.
pub(crate) const PIECE: usize = 16 * 1024;

/// How long a client that is being sent away is still read.
const LINGER: Duration = Duration::from_secs(1);

/// A connection, with or without TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for S {}

/// One connection. Nothing is read while a complete command is buffered, so a client that sends ahead is
/// slowed down by its socket; nothing is kept while it is idle.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    framer: Framer,
    /// What is to be sent; written when the client has nothing more for us, or when a piece is full.
    pub(crate) out: Vec<u8>,
    output_timeout: Duration,
    shutdown: CancellationToken,
    /// What the session rests on.
    login: OpenSession,
}

impl Wire {
    pub(crate) fn new(
        stream: Box<dyn Stream>,
        output_timeout: Duration,
        shutdown: CancellationToken,
    ) -> Self {
        let framer = Framer::new(Limits::before_login());
        Self {
            stream,
            framer,
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

    /// Ends the session of a client that may no longer be here, however busy it is.
    fn check_login(&self) -> Result<(), End> {
        if self.login.ended().is_cancelled() {
            return Err(End::Revoked(self.login.reason().to_owned()));
        }
        Ok(())
    }

    /// The next input. What is waiting to be sent goes out first, unless more input is buffered: replies to
    /// pipelined commands travel together. Safe to drop while `out` is empty.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Result<Input, End> {
        loop {
            self.check_login()?;
            if let Some(input) = self.framer.next() {
                return Ok(input);
            }
            self.flush().await?;
            let Self {
                stream,
                framer,
                shutdown,
                login,
                ..
            } = self;
            let read = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Err(End::Shutdown),
                () = login.ended().cancelled() => continue,
                read = timeout_at(deadline, fill(stream, framer)) => read.map_err(|_| End::Idle)??,
            };
            if read == 0 {
                return Err(End::Lost);
            }
        }
    }

    /// Looks, without waiting, whether the client is still there; for use during long work. What it sent
    /// meanwhile is kept, but not more than a piece.
    pub(crate) async fn check(&mut self) -> Result<(), End> {
        self.check_login()?;
        if self.framer.has_pending() {
            return Ok(());
        }
        let Self { stream, framer, .. } = self;
        let once = poll_fn(|cx| {
            let mut read = std::pin::pin!(fill(stream, framer));
            Poll::Ready(match read.as_mut().poll(cx) {
                Poll::Ready(read) => Some(read),
                Poll::Pending => None,
            })
        });
        match once.await {
            Some(Ok(0)) => Err(End::Lost),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    pub(crate) fn framer(&mut self) -> &mut Framer {
        &mut self.framer
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
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        let Self {
            stream,
            output_timeout,
            login,
            ..
        } = self;
        let write = async {
            for piece in out.chunks(PIECE) {
                timeout(*output_timeout, stream.write_all(piece))
                    .await
                    .map_err(|_| End::Stalled)??;
            }
            timeout(*output_timeout, stream.flush())
                .await
                .map_err(|_| End::Stalled)??;
            Ok(())
        };
        // What the client takes at once still goes out, BYE for one.
        tokio::select! {
            biased;
            written = write => written,
            () = login.ended().cancelled() => Err(End::Cut(login.reason().to_owned())),
        }
    }

    /// Gives the stream away for a TLS handshake, unless the client has already sent something that would
    /// be taken as if it had come inside TLS (CVE-2011-0411 and its like).
    pub(crate) async fn take_stream(&mut self) -> Result<Box<dyn Stream>, End> {
        self.flush().await?;
        if self.framer.has_pending() {
            return Err(End::Injection);
        }
        Ok(std::mem::replace(&mut self.stream, Box::new(tokio::io::empty())))
    }

    /// Goes on with the stream inside TLS; nothing from before is remembered.
    pub(crate) fn put_stream(&mut self, stream: Box<dyn Stream>) {
        self.stream = stream;
        self.framer.reset();
    }

    /// Sends what is waiting and closes our side; errors no longer matter. A client in the middle of sending
    /// is read for a moment more: closing on unread input would cut off the last words.
    pub(crate) async fn close(mut self, unread: bool) {
        if self.flush().await.is_err() {
            return;
        }
        let _: Result<io::Result<()>, _> = timeout(self.output_timeout, self.stream.shutdown()).await;
        if unread {
            let _ = timeout(LINGER, tokio::io::copy(&mut self.stream, &mut tokio::io::sink())).await;
        }
    }
}

/// Reads once. The buffer lies on the stack during the poll only: a session that waits holds none.
async fn fill(stream: &mut Box<dyn Stream>, framer: &mut Framer) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut space = [0; PIECE];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        framer.feed(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_pause_holds_up_a_stop() {
        let shutdown = CancellationToken::new();
        let (stream, _peer) = tokio::io::duplex(64);
        let wire = Wire::new(Box::new(stream), Duration::from_secs(1), shutdown.clone());
        let (delay, begin) = (Duration::from_secs(16), Instant::now());
        wire.pause(delay).await.unwrap();
        assert_eq!(begin.elapsed(), delay);
        let (stopped, ()) = tokio::join!(wire.pause(delay), async { shutdown.cancel() });
        assert!(matches!(stopped, Err(End::Shutdown)));
        assert_eq!(begin.elapsed(), delay);
    }
}
