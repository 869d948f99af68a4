//! The writing end: a bounded queue and one thread, so that the log never holds up mail.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::event::{About, Event, Kind, SCHEMA_VERSION};
use crate::process;

/// Events that may wait for the writer; more are dropped and counted.
const QUEUE: usize = 16_384;

/// How often a file that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long events gather before they are written together.
const GATHER: Duration = Duration::from_millis(2);

/// The decision log of one process. Clones share the queue.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    host: String,
    daemon: String,
    seq: AtomicU64,
    dropped: Arc<AtomicU64>,
    trouble: Arc<Mutex<Option<String>>>,
    now: Box<dyn Fn() -> SystemTime + Send + Sync>,
    sink: Sink,
}

enum Sink {
    Thread(SyncSender<Message>),
    Memory(Memory),
}

enum Message {
    Said(Box<Said>),
    Reopen,
    Flush(SyncSender<()>),
}

/// An event before it is written: what the caller need not wait for (texts of ids, JSON) comes later.
struct Said {
    seq: u64,
    time: Timestamp,
    about: About,
    kind: Kind,
}

impl Said {
    fn event(self, host: &str, daemon: &str) -> Event {
        Event {
            v: SCHEMA_VERSION,
            host: host.to_owned(),
            daemon: daemon.to_owned(),
            seq: self.seq,
            time: self.time,
            session: self.about.session.map(|id| id.to_string()),
            id: self.about.id.map(|id| id.to_string()),
            recipient: self.about.recipient,
            parent: self.about.parent.map(|id| id.to_string()),
            kind: self.kind,
        }
    }
}

/// How the log does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Events lost so far: the queue was full or the file could not be written.
    pub dropped: u64,
    /// Why the file cannot be written at the moment.
    pub trouble: Option<String>,
}

/// The events of a log without a file; for tests.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<Event>>>);

impl Memory {
    /// All events so far.
    pub fn all(&self) -> Vec<Event> {
        lock(&self.0).clone()
    }
}

/// Another thread's panic leaves plain values in order.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Writes to `dir/DAEMON.jsonl`. A directory or file that cannot be opened is tried again every second
    /// ([`Log::status`] has the reason): mail does not wait for its log.
    ///
    /// `now` is the wall clock. An error means that no thread could be started.
    pub fn open(
        dir: &Path,
        daemon: &str,
        host: &str,
        now: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let trouble = Arc::new(Mutex::new(None));
        let mut writer = Writer {
            host: host.to_owned(),
            daemon: daemon.to_owned(),
            path: dir.join(format!("{daemon}.jsonl")),
            file: None,
            torn: false,
            lost: 0,
            dropped: Arc::clone(&dropped),
            trouble: Arc::clone(&trouble),
        };
        // Opened here, so that the caller sees trouble at once.
        writer.open();
        std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || writer.run(&receiver))?;
        Ok(Self(Arc::new(Shared {
            host: host.to_owned(),
            daemon: daemon.to_owned(),
            seq: AtomicU64::new(0),
            dropped,
            trouble,
            now: Box::new(now),
            sink: Sink::Thread(sender),
        })))
    }

    /// A log that keeps its events in memory; for tests.
    pub fn memory(daemon: &str) -> (Self, Memory) {
        let memory = Memory::default();
        let log = Self(Arc::new(Shared {
            host: "localhost".to_owned(),
            daemon: daemon.to_owned(),
            seq: AtomicU64::new(0),
            dropped: Arc::default(),
            trouble: Arc::default(),
            now: Box::new(SystemTime::now),
            sink: Sink::Memory(memory.clone()),
        }));
        (log, memory)
    }

    /// Writes one event. Never blocks and never fails; see [`Log::status`].
    pub fn emit(&self, about: About, kind: impl Into<Kind>) {
        let shared = &self.0;
        let said = Said {
            seq: shared.seq.fetch_add(1, Ordering::Relaxed) + 1,
            time: Timestamp::try_from((shared.now)()).unwrap_or(Timestamp::UNIX_EPOCH),
            about,
            kind: kind.into(),
        };
        match &shared.sink {
            Sink::Memory(memory) => lock(&memory.0).push(said.event(&shared.host, &shared.daemon)),
            Sink::Thread(sender) => {
                if sender.try_send(Message::Said(Box::new(said))).is_err() {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Opens the file again by its name, after it was renamed away.
    pub fn reopen(&self) {
        if let Sink::Thread(sender) = &self.0.sink {
            let _ = sender.try_send(Message::Reopen);
        }
    }

    /// Waits until everything said so far is written to the file (not synced), at most `limit`. For the end
    /// of a process; it blocks.
    pub fn flush(&self, limit: Duration) {
        if let Sink::Thread(sender) = &self.0.sink {
            let (done, wait) = sync_channel(1);
            if sender.try_send(Message::Flush(done)).is_ok() {
                let _ = wait.recv_timeout(limit);
            }
        }
    }

    /// How the log does.
    pub fn status(&self) -> Status {
        Status {
            dropped: self.0.dropped.load(Ordering::Relaxed),
            trouble: lock(&self.0.trouble).clone(),
        }
    }
}

/// The thread's side.
struct Writer {
    host: String,
    daemon: String,
    path: PathBuf,
    file: Option<BufWriter<File>>,
    /// The last write failed within a line: the next one begins with a line end.
    torn: bool,
    /// Value of `dropped` that the file knows of.
    lost: u64,
    dropped: Arc<AtomicU64>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let message = match messages.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Empty) => {
                    self.flush();
                    match messages.recv_timeout(RETRY) {
                        Ok(message) => {
                            // While this thread does not wait on the queue, nobody has to wake it: under
                            // load it takes what gathered meanwhile, and waking costs the senders nothing.
                            if matches!(message, Message::Said(_)) {
                                std::thread::sleep(GATHER);
                            }
                            message
                        }
                        Err(RecvTimeoutError::Timeout) => {
                            if self.file.is_none() {
                                self.open();
                            }
                            continue;
                        }
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
                Err(TryRecvError::Disconnected) => {
                    self.flush();
                    return;
                }
            };
            match message {
                Message::Said(said) => {
                    self.report_losses(&said);
                    let event = said.event(&self.host, &self.daemon);
                    self.write(&event);
                }
                Message::Reopen => {
                    self.flush();
                    self.file = None;
                    self.open();
                }
                Message::Flush(done) => {
                    self.flush();
                    let _ = done.try_send(());
                }
            }
        }
    }

    fn open(&mut self) {
        match open_file(&self.path) {
            Ok(file) => {
                self.file = Some(BufWriter::with_capacity(1 << 16, file));
                *lock(&self.trouble) = None;
            }
            Err(error) => {
                *lock(&self.trouble) = Some(format!("cannot open {}: {error}", self.path.display()));
            }
        }
    }

    /// Says in the file that lines are missing before this one.
    fn report_losses(&mut self, next: &Said) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.lost && self.file.is_some() {
            let count = dropped - self.lost;
            self.lost = dropped;
            let said = Said {
                seq: next.seq,
                time: next.time,
                about: About::process(),
                kind: process::Kind::EventsDropped { count }.into(),
            };
            let event = said.event(&self.host, &self.daemon);
            self.write(&event);
        }
    }

    fn write(&mut self, event: &Event) {
        let Some(file) = &mut self.file else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut line = if self.torn {
            vec![b'\n']
        } else {
            Vec::with_capacity(512)
        };
        let written = serde_json::to_writer(&mut line, event)
            .map_err(std::io::Error::from)
            .and_then(|()| {
                line.push(b'\n');
                file.write_all(&line)
            });
        self.settle(written);
    }

    fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            let flushed = file.flush();
            self.settle(flushed);
        }
    }

    /// After a failed write (a full disk) the file is opened anew: what was buffered is lost and counted as
    /// one, since nobody knows how many lines it was.
    fn settle(&mut self, result: std::io::Result<()>) {
        match result {
            Ok(()) => self.torn = false,
            Err(error) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                *lock(&self.trouble) = Some(format!("cannot write {}: {error}", self.path.display()));
                self.torn = true;
                if let Some(file) = self.file.take() {
                    // Drops the buffer without another try to write it.
                    let _ = file.into_parts();
                }
            }
        }
    }
}

/// Appends, 0640 whatever the umask; the directory is made where it is missing.
fn open_file(path: &Path) -> std::io::Result<File> {
    let open = || {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)
    };
    let file = match open() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            open()?
        }
        other => other?,
    };
    let metadata = file.metadata()?;
    // Not that of a device which somebody put there.
    if metadata.is_file() && metadata.permissions().mode() & 0o777 != 0o640 {
        file.set_permissions(std::fs::Permissions::from_mode(0o640))?;
    }
    Ok(file)
}
