//! The typed decision log: one JSON line for each decision that a daemon takes.
//!
//! Daemons get a [`Log`] from their context and say what they decided:
//!
//! ```
//! use events::{About, Log, smtpd};
//! # let (log, seen) = Log::memory("smtpd");
//! # let session = mail_types::SessionId::new(0, 0);
//! # let id = mail_types::MailId::new(0, 0);
//! log.emit(
//!     About::session(session).mail(id),
//!     smtpd::Kind::MailAccepted { sender: "a@example.com".into(), login: None, size: Some(1000), body: None, smtputf8: false },
//! );
//! # assert_eq!(seen.all().len(), 1);
//! ```
//!
//! The lines go to `events_dir/DAEMON.jsonl` (mode 0640). Writing never holds up mail: the line is handed to
//! a thread over a bounded queue, what does not fit is counted and dropped, nothing is synced. The file is
//! reopened on SIGHUP, so it can be rotated by renaming it. [`read`] has what `mailctl trace` needs.
//!
//! What each daemon says stands in one file per daemon. Fields hold plain text and numbers, never a password,
//! a response of an exchange, a key, a body or a Subject. A field of a kind is never named like one of
//! [`Event`]'s own (a recipient's address is `address`; `recipient` is its index); a test sees to it.

pub mod access;
pub mod authd;
pub mod deliver;
mod event;
mod log;
pub mod process;
pub mod qmgr;
pub mod read;
pub mod reference;
pub mod smtpd;
mod values;

pub use event::{About, Event, Kind, ParseError, SCHEMA_VERSION};
pub use log::{Log, Memory, Status};
pub use values::{Delivery, Reply, Step, Tls};

#[cfg(test)]
mod tests;
