//! What qmgr decides: routes, attempts, waits, reports, the end of a message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Delivery, Reply, Step, Tls};

/// A decision of qmgr. The message is the event's `id`, the recipient its `recipient`; a report names the
/// message that caused it as `parent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Kind {
    /// A message was found in the spool.
    PickedUp {
        /// The envelope sender, empty for `<>`.
        sender: String,
        /// Octets of the body.
        size: u64,
        /// Recipients that still have to be worked on.
        recipients: u32,
        /// `new`, or `restart` where its journal was replayed.
        reason: String,
    },
    /// The recipients of a message made here were expanded.
    Expanded {
        /// The address.
        address: String,
        /// The chain of rows.
        steps: Vec<Step>,
        /// The deliveries.
        deliveries: Vec<Delivery>,
    },
    /// Where a recipient goes next.
    Routed {
        /// The final address.
        address: String,
        /// The next hop, e.g. `local`, `smtp:example.net`, `error:...`.
        route: String,
    },
    /// The hosts of a next hop, in the order in which they are tried.
    HostsFound {
        /// The next hop.
        next_hop: String,
        /// Name, address and preference of each.
        hosts: Vec<String>,
    },
    /// An attempt began.
    AttemptStarted {
        /// The final address.
        address: String,
        /// The server: name, address and port, or the socket of deliver.
        server: String,
    },
    /// TLS towards a server.
    TlsStarted {
        /// The server.
        server: String,
        /// How.
        tls: Tls,
    },
    /// A server could not be used; the next one is tried where there is one.
    ServerFailed {
        /// The server.
        server: String,
        /// Why.
        reason: String,
    },
    /// A server answered for a recipient.
    RemoteReply {
        /// The server.
        server: String,
        /// `MAIL`, `RCPT`, `DATA` or `end of data`.
        command: String,
        /// Its reply.
        reply: Reply,
    },
    /// A recipient was delivered (or handed on).
    Delivered {
        /// The final address.
        address: String,
        /// Who took it.
        server: String,
        /// Its reply.
        reply: Reply,
    },
    /// A recipient has to wait.
    Deferred {
        /// The final address.
        address: String,
        /// Why.
        reason: String,
        /// Number of attempts so far.
        attempts: u32,
        /// When it is tried again, RFC 3339.
        next_attempt: String,
    },
    /// Our own trouble: it counts as no attempt.
    Waiting {
        /// For whom, e.g. `authd`, `deliver`.
        service: String,
        /// Why.
        reason: String,
    },
    /// A recipient failed for good.
    Failed {
        /// The final address.
        address: String,
        /// The status, e.g. `5.1.1`.
        status: String,
        /// Why.
        reason: String,
    },
    /// A recipient was dropped by the table (`discard:`).
    Discarded {
        /// The final address.
        address: String,
    },
    /// A report was put into the spool; the event's `id` is the report's, its `parent` the message it is about.
    ReportMade {
        /// `failed`, `delayed`, `delivered`, `relayed` or `expanded`.
        report: String,
        /// To whom.
        to: String,
        /// The recipients (of the parent) that it is about.
        about: Vec<u32>,
    },
    /// No report is sent, and why (null sender, NOTIFY=NEVER...).
    ReportSuppressed {
        /// The kind of report.
        report: String,
        /// Why.
        reason: String,
    },
    /// The message is done and gone from the spool.
    Removed {
        /// `done`, or `deleted by the administrator`.
        reason: String,
    },
    /// The administrator did something to the message.
    Administered {
        /// `hold`, `release`, `requeue`, `delete` or `flush`.
        action: String,
    },
    /// A spool file cannot be read; it lies in quarantine.
    Quarantined {
        /// What is wrong with it.
        reason: String,
    },
    /// The administrator asked for an attempt of everything.
    QueueFlushed {
        /// Messages that it concerns.
        messages: u64,
    },
}
