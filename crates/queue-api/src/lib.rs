//! The typed face of qmgr: wake-up hints and queue administration over gRPC on Unix sockets.
//!
//! smtpd hints after each message that it put into the spool; the call never waits and may be lost:
//!
//! ```no_run
//! # fn example(id: mail_types::MailId) {
//! use queue_api::client::HintClient;
//! let hints = HintClient::start("/run/postrider/qmgr/hint/sock"); // in a tokio runtime; clone it freely
//! hints.arrived(id);
//! # }
//! ```
//!
//! mailctl administers:
//!
//! ```no_run
//! # async fn example() -> Result<(), queue_api::QueueError> {
//! use queue_api::{Selection, client::QueueClient};
//! let queue = QueueClient::connect("/run/postrider/qmgr/admin/sock");
//! let mut messages = queue.list().await?;
//! while let Some(message) = messages.next().await? {
//!     println!("{} {}", message.id, message.sender);
//! }
//! let held = queue.hold(&Selection::All).await?;
//! # Ok(()) }
//! ```
//!
//! qmgr implements [`server::Hints`] and [`server::Queue`] and hands them to [`server::serve_hints`] and
//! [`server::serve_queue`]. Nobody outside this crate names tonic or the generated code. `src/generated/`
//! comes from `proto/`; `UPDATE=1 cargo test -p queue-api --test generated` writes it anew.

pub mod client;
mod convert;
mod pb;
pub mod server;

use std::time::Duration;

use mail_types::{Domain, MailId, ReversePath};

/// How long qmgr may take for one call, and how long a client waits.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call to the queue brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// qmgr is away or busy; nothing can be said.
    #[error("qmgr: {0}")]
    Unavailable(String),
    /// There is no such message in the queue.
    #[error("there is no message {0} in the queue")]
    NotFound(MailId),
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// In the spool, not looked at yet.
    Incoming,
    /// At least one recipient is being delivered or is about to be.
    Active,
    /// Waits for its next attempt.
    Deferred,
    /// On hold.
    Held,
}

impl Status {
    /// The queue name that Postfix has for it (compat.md 6.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Active => "active",
            Self::Deferred => "deferred",
            Self::Held => "hold",
        }
    }
}

/// A message of the queue, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Its id.
    pub id: MailId,
    /// Where it stands.
    pub status: Status,
    /// Wall time of arrival, milliseconds since 1970.
    pub arrival_ms: u64,
    /// Bytes, header lines on top included.
    pub size: u64,
    /// The envelope sender.
    pub sender: ReversePath,
    /// The recipients that are not final yet.
    pub recipients: Vec<QueuedRecipient>,
    /// The message that caused this one.
    pub parent: Option<MailId>,
}

/// A recipient that is not final yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRecipient {
    /// Its index in the message.
    pub index: u32,
    /// The address after expansion; the original where it is not expanded yet.
    pub address: String,
    /// The address as typed.
    pub original: String,
    /// Why the last attempt was deferred; empty where there was none.
    pub reason: String,
    /// Attempts so far.
    pub attempts: u32,
    /// Time until the next attempt; none where it is due or under way.
    pub next_attempt: Option<Duration>,
    /// Being delivered now.
    pub active: bool,
}

/// A message with its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownMessage {
    /// What the listing shows.
    pub message: QueuedMessage,
    /// The header lines put on top and the header block, at most 256 KiB.
    pub header: Vec<u8>,
    /// The recipients that are final.
    pub finished: Vec<FinishedRecipient>,
}

/// A recipient that is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedRecipient {
    /// Its index in the message.
    pub index: u32,
    /// The address after expansion.
    pub address: String,
    /// `delivered`, `passed`, `failed`, `relayed`, `discarded` or `expanded`.
    pub outcome: String,
    /// The last reply.
    pub reply: String,
}

/// What to try now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flush {
    /// Everything.
    All,
    /// One message.
    Message(MailId),
    /// Recipients in this domain.
    Domain(Domain),
}

/// Which messages a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// These.
    Ids(Vec<MailId>),
}
