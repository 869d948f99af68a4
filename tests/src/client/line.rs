//! A connection that speaks in lines, over TCP, TLS or a Unix socket, with a deadline for every answer.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// What a client needs for TLS: whom it trusts, and the name that the certificate has to bear.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Trusted authorities.
    pub config: Arc<ClientConfig>,
    /// The server's name.
    pub name: String,
}

/// The most that an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Longest line that is read before the peer is declared mad.
const LINE_LIMIT: usize = 4 << 20;

enum Stream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
    Closed,
}

/// One connection; reads are buffered, writes are not.
pub struct Line {
    stream: Stream,
    buffer: Vec<u8>,
    patience: Duration,
    ended: bool,
}

impl Line {
    /// Connects over TCP.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn tcp(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::new(Stream::Tcp(stream)))
    }

    /// Connects over TCP from one of this machine's own addresses, for tests of limits per client address.
    ///
    /// # Errors
    /// When the address is not local or nobody listens there.
    pub fn tcp_from(source: IpAddr, address: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(source, 0))?;
            socket.connect(address).await?.into_std()
        });
        let stream = stream.with_context(|| format!("connect from {source} to {address}"))?;
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::new(Stream::Tcp(stream)))
    }

    /// Connects to a Unix socket.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn unix(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| format!("connect to {}", path.display()))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::new(Stream::Unix(stream)))
    }

    fn new(stream: Stream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            patience: PATIENCE,
            ended: false,
        }
    }

    /// Sets how long an answer may take from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// How long an answer may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Does the TLS handshake now and verifies the certificate. What was already received in clear stays readable:
    /// a server that said more before the handshake is thereby found out.
    ///
    /// # Errors
    /// When the handshake fails or the connection is no plain TCP connection.
    pub fn start_tls(&mut self, tls: &Tls) -> Result<()> {
        let Stream::Tcp(mut stream) = std::mem::replace(&mut self.stream, Stream::Closed) else {
            bail!("TLS needs a plain TCP connection");
        };
        stream.set_read_timeout(Some(self.patience))?;
        let name = ServerName::try_from(tls.name.clone())?;
        let mut session = ClientConnection::new(tls.config.clone(), name)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream).context("TLS handshake")?;
        }
        self.stream = Stream::Tls(Box::new(StreamOwned::new(session, stream)));
        Ok(())
    }

    /// Whether TLS is on.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Says good-bye in TLS and keeps the TCP connection, which is plain from now on.
    ///
    /// # Errors
    /// When TLS is not on.
    pub fn end_tls(&mut self) -> Result<()> {
        let Stream::Tls(tls) = std::mem::replace(&mut self.stream, Stream::Closed) else {
            bail!("TLS is not on")
        };
        let mut tls = *tls;
        tls.conn.send_close_notify();
        tls.flush()?;
        self.stream = Stream::Tcp(tls.sock);
        Ok(())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Stream::Unix(stream) => stream.write_all(bytes),
            Stream::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads one line, without its CRLF or LF; `None` when the peer has closed the connection.
    ///
    /// # Errors
    /// When the answer takes longer than the patience, or the connection breaks.
    pub fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let end = Instant::now() + self.patience;
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|&b| b == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=searched + at).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if searched > LINE_LIMIT {
                bail!("a line of more than {LINE_LIMIT} bytes");
            }
            if !self.fill(end)? {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                bail!("the connection closed inside a line: {}", show(&self.buffer));
            }
        }
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    /// As [`Line::line`], and when the connection closes before.
    pub fn exactly(&mut self, count: usize) -> Result<Vec<u8>> {
        let end = Instant::now() + self.patience;
        while self.buffer.len() < count {
            if !self.fill(end)? {
                bail!(
                    "the connection closed {} bytes before the end of a literal",
                    count - self.buffer.len()
                );
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// What has been received and not been read yet, after looking once without waiting longer than `wait`.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn peek(&mut self, wait: Duration) -> Result<&[u8]> {
        if self.buffer.is_empty() && !self.ended {
            match self.fill(Instant::now() + wait) {
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer)
    }

    /// Whether the peer is known to have closed the connection.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Forgets what was received.
    pub fn discard(&mut self) {
        self.buffer.clear();
    }

    /// A second handle of a plain TCP connection, for writing while this one reads.
    ///
    /// # Errors
    /// When the connection is not plain TCP.
    pub fn tcp_handle(&self) -> Result<TcpStream> {
        match &self.stream {
            Stream::Tcp(stream) => Ok(stream.try_clone()?),
            _ => bail!("not a plain TCP connection"),
        }
    }

    /// Shuts down our sending side.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn half_close(&mut self) -> Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write)?,
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()?;
                stream.sock.shutdown(std::net::Shutdown::Write)?;
            }
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Write)?,
            Stream::Closed => bail!("the connection is closed"),
        }
        Ok(())
    }

    /// Closes without a word (and without TLS's good-bye).
    pub fn close(&mut self) {
        self.stream = Stream::Closed;
        self.ended = true;
    }

    /// Closes with RST instead of FIN.
    ///
    /// # Errors
    /// When the socket option cannot be set.
    pub fn reset(&mut self) -> Result<()> {
        let linger = nix::libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let option = nix::sys::socket::sockopt::Linger;
        match &self.stream {
            Stream::Tcp(stream) => nix::sys::socket::setsockopt(stream, option, &linger)?,
            Stream::Tls(stream) => nix::sys::socket::setsockopt(&stream.sock, option, &linger)?,
            Stream::Unix(_) | Stream::Closed => {}
        }
        self.close();
        Ok(())
    }

    /// Reads once; `false` at the end of the stream.
    fn fill(&mut self, end: Instant) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let left = end
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        let mut chunk = [0; 16 * 1024];
        let result = match &mut self.stream {
            Stream::Tcp(stream) => stream
                .set_read_timeout(Some(left))
                .and_then(|()| stream.read(&mut chunk)),
            Stream::Tls(stream) => stream
                .sock
                .set_read_timeout(Some(left))
                .and_then(|()| stream.read(&mut chunk)),
            Stream::Unix(stream) => stream
                .set_read_timeout(Some(left))
                .and_then(|()| stream.read(&mut chunk)),
            Stream::Closed => Ok(0),
        };
        match result {
            Ok(0) => self.ended = true,
            Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_close(&error) => self.ended = true,
            Err(error) => return Err(anyhow::Error::new(error).context("no answer")),
        }
        Ok(!self.ended)
    }
}

/// Bytes as one printable line, at most 300 characters of it.
#[must_use]
pub fn show(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() <= 300 {
        text
    } else {
        format!("{}... ({} bytes)", &text[..300], bytes.len())
    }
}

/// Whether an error says that the time was up.
pub(crate) fn is_timeout(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
}

fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionAborted
    )
}
