//! A relay in front of a database server that delays, refuses and cuts: the network on a bad day.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// A relay on a Unix socket. It ends with the process.
#[derive(Debug, Clone)]
pub struct Relay {
    path: PathBuf,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Each answer of the server is held back so long, in milliseconds.
    delay: AtomicU64,
    /// New connections are closed at once.
    refusing: AtomicBool,
    /// Connections accepted so far.
    accepted: AtomicU64,
    open: Mutex<Vec<UnixStream>>,
}

impl Relay {
    /// Listens at `path` and passes everything on to the server at `server`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(path: &Path, server: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        let state = Arc::new(State::default());
        let (shared, server) = (state.clone(), server.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                if !shared.refusing.load(Ordering::Relaxed) {
                    // A server that is away closes the connection, as the network would.
                    let _ = pass_on(&shared, client, &server);
                }
            }
        });
        Ok(Self {
            path: path.to_owned(),
            state,
        })
    }

    /// How authd's configuration names it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// Holds each answer of the server back so long from now on.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.state.delay.store(millis, Ordering::Relaxed);
    }

    /// Cuts all connections, and closes new ones at once, until told otherwise.
    pub fn refuse(&self, refusing: bool) {
        self.state.refusing.store(refusing, Ordering::Relaxed);
        if refusing {
            for stream in self.open().drain(..) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::Relaxed)
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<UnixStream>> {
        self.state.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pass_on(state: &Arc<State>, client: UnixStream, server: &Path) -> io::Result<()> {
    let server = UnixStream::connect(server)?;
    let kept = [client.try_clone()?, server.try_clone()?];
    let mut open = state.open.lock().unwrap_or_else(PoisonError::into_inner);
    open.extend(kept);
    drop(open);
    let (client_back, server_back) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || copy(client, server, || Duration::ZERO));
    let state = state.clone();
    thread::spawn(move || {
        copy(server_back, client_back, || {
            Duration::from_millis(state.delay.load(Ordering::Relaxed))
        });
    });
    Ok(())
}

/// Copies until either end closes. The pause is the fault that is played.
fn copy(mut from: UnixStream, mut to: UnixStream, pause: impl Fn() -> Duration) {
    let mut buffer = [0; 16_384];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count) if count > 0 => count,
            _ => break,
        };
        thread::sleep(pause());
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
