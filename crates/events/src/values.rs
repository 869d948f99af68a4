//! Values that events of several daemons hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An SMTP or LMTP reply, ours or a remote server's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// The three-digit code.
    pub code: u16,
    /// The enhanced status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The text; lines are separated by `\n`.
    pub text: String,
}

impl From<&mail_types::Reply> for Reply {
    fn from(reply: &mail_types::Reply) -> Self {
        Self {
            code: reply.code,
            status: reply.status.map(|status| status.to_string()),
            text: reply.text.clone(),
        }
    }
}

/// `550 5.1.1 text`.
impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = &self.status {
            write!(f, " {status}")?;
        }
        write!(f, " {}", self.text.replace('\n', " "))
    }
}

/// One step of the way from an address to its deliveries: the question and the row that answered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The question, e.g. `alias`.
    pub question: String,
    /// What was looked up.
    pub key: String,
    /// The row or rule; empty where nothing was found.
    pub answer: String,
    /// `database`, `cache`, `replica`, or `rule` where no row was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The address on the way that this was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// How many aliases led to that address; with the order of the steps this makes a tree.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u32,
}

fn is_zero(depth: &u32) -> bool {
    *depth == 0
}

/// One delivery that a recipient was resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// The recipient's index in the message, as in [`crate::Event::recipient`] of what follows.
    pub index: u32,
    /// The address that it ends at.
    #[serde(rename = "final")]
    pub final_address: String,
    /// Whether an alias changed it.
    pub expanded: bool,
    /// `mailbox`, `remote`, or `dead: ` and the reason.
    pub target: String,
}

/// A TLS layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tls {
    /// e.g. `TLSv1.3`.
    pub version: String,
    /// e.g. `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
}
