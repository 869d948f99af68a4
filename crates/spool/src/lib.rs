//! The durable queue on disk: message files, journals, quarantine. The format is in docs/formats/spool.md.
//!
//! smtpd writes a message (all calls block; run them off the async threads):
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let place = tempfile::tempdir()?;
//! # let id = mail_types::MailId::new(1_700_000_000_000, 7);
//! use spool::{BodyType, Envelope, InitialState, Owner, Recipient, Spool};
//! let disk = durable::Disk::new();                      // one per process
//! let spool = Spool::open(&disk, place.path(), Owner::Smtpd)?; // takes the lock, clears tmp-smtpd/
//! let mut writer = spool.begin(id)?;                    // dropped without finish: the file is gone
//! writer.write(b"Subject: hello\r\n\r\nbody\r\n")?;     // unsynced, any number of pieces
//! let envelope = Envelope {
//!     arrival_ms: 1_700_000_000_000,
//!     session: None,
//!     parent: None,
//!     sender: "alice@example.com".parse()?,
//!     body: BodyType::SevenBit,
//!     smtputf8: false,
//!     ret: None,
//!     envid: None,
//!     top: "Received: from x\r\n".to_owned(),
//!     recipients: vec![Recipient {
//!         index: 0,
//!         original: "bob@example.net".parse()?,
//!         final_address: Some("bob@example.net".parse()?),
//!         expanded: false,
//!         notify: None,
//!         orcpt: None,
//!         state: InitialState::Waiting,
//!     }],
//!     expanded: vec![],
//! };
//! writer.finish(&envelope)?;                            // Ok: durable, the 250 may go out
//! # Ok(()) }
//! ```
//!
//! [`WriteError::Full`] is 452 4.3.1, every other error 451 4.3.0. After `finish` smtpd tells qmgr with the
//! lossy hint of crate `queue-api`.
//!
//! qmgr opens the spool as [`Owner::Qmgr`], lists it with [`Spool::scan`], reads with
//! [`Spool::open_message`] and [`Spool::read_journal`], folds both into a [`MessageState`], and writes what
//! happens with [`Spool::append_journal`]. Whatever is [`ReadError::Damaged`] goes to quarantine.

mod envelope;
mod error;
mod format;
mod journal;
mod layout;
mod reader;
mod record;
mod state;
mod wire;
mod writer;

pub use envelope::{BodyType, Envelope, ExpandedOriginal, InitialState, Recipient};
pub use error::{Damage, OpenError, ReadError, WriteError};
pub use journal::Safety;
pub use layout::{Owner, Scan, Spool, Stranger};
pub use reader::{Body, StoredMessage};
pub use record::{Attempt, FinalResult, Outcome, Record, Report, ReportKind};
pub use state::{DueReport, MessageState, Progress, RecipientState};
pub use writer::Writer;

#[cfg(test)]
mod tests;
