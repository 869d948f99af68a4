//! What deliver decides: each recipient's place and result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Reply;

/// A decision of deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Kind {
    /// A recipient was accepted: the mailbox that it means.
    RecipientAccepted {
        /// The final address.
        address: String,
        /// The mailbox's own address.
        mailbox: String,
        /// Its Maildir below the base.
        maildir: String,
    },
    /// A recipient was refused.
    RecipientRefused {
        /// The final address.
        address: String,
        /// Our reply.
        reply: Reply,
        /// Which rule or trouble.
        reason: String,
    },
    /// A Maildir was made.
    MaildirMade {
        /// Its path below the base.
        maildir: String,
    },
    /// A copy is durable in a Maildir.
    Delivered {
        /// The mailbox.
        mailbox: String,
        /// The folder, `INBOX` as a rule.
        folder: String,
        /// The file's name.
        file: String,
        /// Octets of the file.
        size: u64,
    },
    /// This delivery was made before; nothing was written.
    Duplicate {
        /// The mailbox.
        mailbox: String,
        /// Where it was found: `mailbox` or `recent keys`.
        found: String,
    },
    /// A copy could not be delivered.
    DeliveryFailed {
        /// The mailbox.
        mailbox: String,
        /// Our reply.
        reply: Reply,
        /// The trouble.
        reason: String,
    },
    /// The mail volume is suspect after a failed sync and takes no mail until a self-test passes.
    VolumeSuspect {
        /// What failed.
        reason: String,
    },
    /// The mail volume passed its self-test.
    VolumeHealthy {},
}
