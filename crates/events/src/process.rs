//! What every daemon says of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Start, stop, reloads, trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Kind {
    /// The process is up.
    Started {
        /// Version of the program.
        version: String,
        /// Process id.
        pid: u32,
    },
    /// The process was told to stop and lets its sessions end.
    Stopping {},
    /// The process ends.
    Stopped {
        /// `told to`, or the error that ended it.
        reason: String,
    },
    /// The configuration was read again and is in force.
    ConfigReloaded {},
    /// The configuration was read again and is wrong; the old one stays in force.
    ConfigRefused {
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate is in use.
    CertificateLoaded {
        /// Its file.
        file: String,
        /// End of its validity, RFC 3339.
        not_after: String,
    },
    /// A certificate cannot be used; the old one stays in use.
    CertificateRefused {
        /// Its file.
        file: String,
        /// Why.
        reason: String,
    },
    /// Lines of this log were lost.
    EventsDropped {
        /// How many.
        count: u64,
    },
    /// A session ended by a fault of the program.
    SessionPanicked {
        /// The listener.
        service: String,
        /// The client.
        client: String,
    },
    /// A client was not served.
    ConnectionRefused {
        /// The listener.
        service: String,
        /// The client.
        client: String,
        /// Which limit, e.g. `connections of this client`.
        reason: String,
    },
}
