//! Listening sockets, passed by systemd or bound by ourselves, and the streams they give.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll};

use config::ListenAddr;
use listenfd::ListenFd;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Connections that the kernel keeps for us while we do not accept.
const BACKLOG: i32 = 1024;

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

/// A connection over TCP or a Unix socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Our address, of a TCP connection.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(canonical),
            Self::Unix(_) => None,
        }
    }

    /// Writes what fits at once and closes: a last word to a client that is not served. A fresh connection
    /// has room for it, and nobody is waited for.
    pub(crate) fn last_words(self, text: &[u8]) {
        use std::io::Write;
        match self {
            Self::Tcp(stream) => {
                if let Ok(mut stream) = stream.into_std() {
                    let _ = stream.write(text);
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                }
            }
            Self::Unix(stream) => {
                if let Ok(mut stream) = stream.into_std() {
                    let _ = stream.write(text);
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                }
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Task<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Task<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The sockets that systemd passed to the process, by name (sd_listen_fds(3)).
pub(crate) struct Inherited(Mutex<Passed>);

struct Passed {
    sockets: ListenFd,
    names: Vec<String>,
}

impl Inherited {
    /// Takes what the environment announces.
    pub(crate) fn from_env() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self(Mutex::new(Passed {
            sockets: ListenFd::from_env(),
            names: names.split(':').map(str::to_owned).collect(),
        }))
    }

    pub(crate) fn none() -> Self {
        Self(Mutex::new(Passed {
            sockets: ListenFd::empty(),
            names: Vec::new(),
        }))
    }

    pub(crate) fn listen(&self, name: &str, addresses: &[ListenAddr]) -> Result<Vec<Listener>, ListenError> {
        let passed = self.take(name)?;
        let sockets = if passed.is_empty() {
            bind_all(addresses)?
        } else {
            passed
        };
        let name: Arc<str> = name.into();
        Ok(sockets
            .into_iter()
            .map(|socket| Listener {
                name: Arc::clone(&name),
                socket,
                tls_first: false,
            })
            .collect())
    }

    pub(crate) fn listen_unix(&self, name: &str, path: &Path) -> Result<UnixListener, ListenError> {
        match self.take(name)?.pop() {
            Some(Socket::Unix(listener)) => Ok(listener),
            Some(Socket::Tcp(_)) => Err(ListenError {
                place: name.to_owned(),
                hint: "systemd passed a TCP socket where a Unix socket is needed".to_owned(),
                source: io::ErrorKind::InvalidInput.into(),
            }),
            None => bind_unix(path),
        }
    }

    /// All sockets of that name.
    fn take(&self, name: &str) -> Result<Vec<Socket>, ListenError> {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let indexes: Vec<usize> = (0..passed.sockets.len())
            .filter(|index| passed.names.get(*index).is_some_and(|n| n == name))
            .collect();
        let mut sockets = Vec::new();
        for index in indexes {
            let socket = passed
                .take(index)
                .map_err(|error| ListenError::new(name, error))?;
            sockets.extend(socket);
        }
        Ok(sockets)
    }

    /// A socket that nobody asked for would swallow its clients in silence.
    pub(crate) fn warn_of_unused(&self) {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for index in 0..passed.sockets.len() {
            if matches!(passed.sockets.take_raw_fd(index), Ok(Some(_))) {
                let name = passed.names.get(index).cloned().unwrap_or_default();
                tracing::warn!(name, "systemd passed a socket of a name that no service has");
            }
        }
    }
}

impl Passed {
    fn take(&mut self, index: usize) -> io::Result<Option<Socket>> {
        if let Ok(Some(listener)) = self.sockets.take_tcp_listener(index) {
            listener.set_nonblocking(true)?;
            return Ok(Some(Socket::Tcp(TcpListener::from_std(listener)?)));
        }
        let Some(listener) = self.sockets.take_unix_listener(index)? else {
            return Ok(None);
        };
        listener.set_nonblocking(true)?;
        Ok(Some(Socket::Unix(UnixListener::from_std(listener)?)))
    }
}

fn bind_all(addresses: &[ListenAddr]) -> Result<Vec<Socket>, ListenError> {
    let mut sockets = Vec::new();
    for address in addresses {
        match address {
            ListenAddr::Unix(path) => sockets.push(Socket::Unix(bind_unix(path)?)),
            ListenAddr::Tcp(address) => match bind_tcp(*address) {
                Ok(listener) => sockets.push(Socket::Tcp(listener)),
                // The default names both wildcards; a host without IPv6 has one of them.
                Err(error)
                    if address.ip().is_unspecified() && address.is_ipv6() && no_ipv6(&error.source) =>
                {
                    tracing::warn!(%address, "this host has no IPv6");
                }
                Err(error) => return Err(error),
            },
        }
    }
    Ok(sockets)
}

fn no_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(nix::errno::Errno::from_raw);
    matches!(
        code,
        Some(nix::errno::Errno::EAFNOSUPPORT | nix::errno::Errno::EADDRNOTAVAIL)
    )
}

/// Binds a TCP listener; IPv6 sockets take IPv6 only, so that both wildcards can be bound.
pub fn bind_tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bind = || -> io::Result<TcpListener> {
        let family = if address.is_ipv6() {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = nix::sys::socket::socket(family, SockType::Stream, flags, None)?;
        setsockopt(&socket.as_fd(), sockopt::ReuseAddr, &true)?;
        if address.is_ipv6() {
            setsockopt(&socket.as_fd(), sockopt::Ipv6V6Only, &true)?;
        }
        let fd = socket.as_raw_fd();
        match address {
            SocketAddr::V4(address) => nix::sys::socket::bind(fd, &SockaddrIn::from(address))?,
            SocketAddr::V6(address) => nix::sys::socket::bind(fd, &SockaddrIn6::from(address))?,
        }
        nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::new(BACKLOG)?)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|error| ListenError::new(address, error))
}

/// Binds a Unix socket. Missing directories are made (the last one 0710, those above it 0755: the directory
/// decides who may connect, the socket itself is open to all who reach it). A stale socket is removed after
/// nobody answered on it.
pub fn bind_unix(path: &Path) -> Result<UnixListener, ListenError> {
    let bind = || -> io::Result<UnixListener> {
        make_parents(path)?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        Ok(listener)
    };
    bind().map_err(|error| ListenError::new(path.display(), error))
}

fn make_parents(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .collect();
    for (index, dir) in missing.iter().enumerate().rev() {
        let mode = if index == 0 { 0o710 } else { 0o755 };
        match std::fs::DirBuilder::new().mode(mode).create(dir) {
            // The umask may have taken bits away.
            Ok(()) => std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode))?,
            // Another daemon was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the path exists and is no socket",
        ));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
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
