//! The only code that makes files durable: publish a file under a name, append a record, and say when it is safe.
//!
//! Callers say *what* is to survive a power cut, never which system call makes it so:
//!
//! ```
//! # fn main() -> Result<(), durable::Error> {
//! # let place = tempfile::tempdir().map_err(|e| durable::Error::io("tempdir", "", e))?;
//! let disk = durable::Disk::new();
//! let root = disk.open_root(place.path())?;
//! let (tmp, made_tmp) = root.ensure_dir("tmp", 0o700)?;
//! let (new, made_new) = root.ensure_dir("new", 0o700)?;
//! durable::wait_all([made_tmp, made_new])?;
//!
//! let mut staged = tmp.stage("1.unique", 0o600)?;          // lies in tmp/, removed again if it is dropped
//! staged.write_all(b"Subject: hello\n\nbody\n")?;
//! staged.publish(&new, "1.unique").wait()?;                // Ok: it is in new/ and survives everything
//!
//! let log = root.open_append("log", 0o600)?;
//! log.append(b"record")?.wait()?;                          // Ok: the record survives everything
//! log.append(b"flag")?.later();                            // it will, within a second
//! # Ok(()) }
//! ```
//!
//! * [`Disk`] is one process's view of its volumes: it coalesces barriers, syncs lazily what may wait, and
//!   remembers which volume is suspect. Clone it freely; make one per process.
//! * [`Dir`] is a directory handle. Every name below it is one component and never followed if it is a
//!   symbolic link; [`Dir::open_dir`] takes a relative path and resolves it beneath the handle only.
//! * [`Staged`] is a file under a temporary name; [`Staged::publish`] gives it its real one.
//! * [`AppendFile`] is a journal: records go to its end.
//! * [`Pending`] is a promise not yet kept. [`Pending::wait`] returns when it is durable, [`wait_all`] keeps
//!   many in flight together, [`Pending::later`] hands it over to be kept within a second. What a `Pending`
//!   does behind `wait` is nobody else's business: barriers of its own today, a delivery journal later.
//!
//! A failed sync is final (robustness.md 4.2): what was to be published is taken back, the inode is never
//! synced again, and the volume is *suspect*: [`Dir::stage`] and [`Dir::remove`] answer [`Error::Suspect`]
//! until [`Disk::self_test`] passes on it. The process goes on.
//!
//! Tests put a [`Probe`] between the crate and the kernel: it may refuse any operation (ENOSPC at each
//! write, EIO at each sync), and [`crash::Recorder`] computes from what it saw every state that a power cut
//! could leave, with every barrier and with each one left out.

mod append;
mod barrier;
pub mod crash;
mod dir;
mod disk;
mod error;
mod lazy;
mod pending;
mod probe;
mod selftest;
mod staged;
mod stat;

pub use append::AppendFile;
pub use dir::{Dir, Lock};
pub use disk::{Alarm, Disk};
pub use error::{Error, Kind};
pub use pending::{Pending, wait_all, wait_each};
pub use probe::{FileId, Op, Probe};
pub use staged::Staged;
pub use stat::{Entry, FileKind, Space, Stat};

#[cfg(test)]
mod tests;
