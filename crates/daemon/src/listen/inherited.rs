//! Sockets that systemd passes: by name, before anything is bound.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use config::ListenAddr;
use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

use super::bind::{bind_all, bind_unix};
use super::{ListenError, Listener, Socket};

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
