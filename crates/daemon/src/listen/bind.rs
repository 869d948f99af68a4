//! Binding, and what lies in the way of it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;

use config::ListenAddr;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, setsockopt, sockopt};
use tokio::net::{TcpListener, UnixListener};

use super::{ListenError, Socket};

/// Connections that the kernel keeps for us while we do not accept.
const BACKLOG: i32 = 1024;

/// Binds all of them.
pub(super) fn bind_all(addresses: &[ListenAddr]) -> Result<Vec<Socket>, ListenError> {
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
