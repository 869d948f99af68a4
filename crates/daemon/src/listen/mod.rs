//! Listening sockets, passed by systemd or bound by ourselves, and the streams they give.

mod bind;
mod inherited;
mod stream;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};

pub use bind::{bind_tcp, bind_unix};
pub(crate) use inherited::Inherited;
pub use stream::Stream;

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {hint}")]
pub struct ListenError {
    /// The address, path or service.
    pub place: String,
    /// What to do.
    hint: String,
    /// The cause.
    pub source: io::Error,
}

impl ListenError {
    fn new(place: impl fmt::Display, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => "another process uses it",
            io::ErrorKind::PermissionDenied => {
                "no permission; ports below 1024 need systemd's socket activation, paths a directory that we may write"
            }
            io::ErrorKind::AddrNotAvailable => "this host has no such address",
            _ => "the system refused",
        };
        Self {
            place: place.to_string(),
            hint: hint.to_owned(),
            source,
        }
    }
}

/// A listening socket with the name of its service.
#[derive(Debug)]
pub struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) socket: Socket,
    pub(crate) tls_first: bool,
}

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// The name of the service.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Marks a listener whose clients begin with TLS: nobody hears a word in the clear there, not even why
    /// he is not served.
    #[must_use]
    pub fn tls_first(self) -> Self {
        Self {
            tls_first: true,
            ..self
        }
    }

    /// The TCP address that it listens on; None for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Replies are small and each is waited for.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Peer::Tcp(canonical(peer))))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let credentials = stream.peer_cred()?;
                let peer = Peer::Unix {
                    uid: credentials.uid(),
                    gid: credentials.gid(),
                    pid: credentials.pid(),
                };
                Ok((Stream::Unix(stream), peer))
            }
        }
    }
}

/// An IPv4 client on an IPv6 socket is an IPv4 client.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Address and port; IPv4-mapped IPv6 addresses are folded to IPv4.
    Tcp(SocketAddr),
    /// The account behind a Unix socket, as the kernel knows it.
    Unix {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
        /// Process id, where it is known.
        pid: Option<i32>,
    },
}

impl Peer {
    /// The IP address of a TCP client.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix { .. } => None,
        }
    }

    /// Address and port of a TCP client.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { uid, .. } => write!(f, "unix:uid={uid}"),
        }
    }
}

/// For messages: where a listener is.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{} on {address}", self.name),
                Err(_) => self.name.fmt(f),
            },
            Socket::Unix(listener) => {
                let path: Option<PathBuf> = listener
                    .local_addr()
                    .ok()
                    .and_then(|address| address.as_pathname().map(Path::to_owned));
                write!(f, "{} on {}", self.name, path.unwrap_or_default().display())
            }
        }
    }
}
