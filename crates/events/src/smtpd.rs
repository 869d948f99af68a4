//! What smtpd decides, from the connection to the reply to the message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Delivery, Reply, Step, Tls};

/// A decision of smtpd. Those of a session name it; those of a message name its id too, and those of one
/// recipient the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Kind {
    /// A client connected.
    Connected {
        /// The service: `mx`, `submission`...
        service: String,
        /// Address and port of the client.
        client: String,
        /// Our address and port.
        local: String,
    },
    /// TLS is active.
    TlsStarted {
        /// How.
        tls: Tls,
    },
    /// The TLS handshake failed.
    TlsFailed {
        /// Why.
        reason: String,
    },
    /// The client named itself.
    Greeted {
        /// `EHLO` or `HELO`.
        verb: String,
        /// The name.
        name: String,
    },
    /// A login succeeded.
    AuthSucceeded {
        /// The mechanism.
        mechanism: String,
        /// The canonical login.
        login: String,
    },
    /// A login failed.
    AuthFailed {
        /// The mechanism.
        mechanism: String,
        /// Why, for the log.
        reason: String,
    },
    /// A login could not be judged.
    AuthUnavailable {
        /// The mechanism.
        mechanism: String,
        /// Why.
        reason: String,
    },
    /// MAIL was accepted: the message has its id from here on.
    MailAccepted {
        /// The envelope sender, empty for `<>`.
        sender: String,
        /// Who has logged in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<String>,
        /// SIZE=, in bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// BODY=.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// SMTPUTF8.
        #[serde(default)]
        smtputf8: bool,
    },
    /// MAIL was refused.
    MailRefused {
        /// The envelope sender.
        sender: String,
        /// Our reply.
        reply: Reply,
        /// Which rule or trouble.
        reason: String,
    },
    /// RCPT was accepted: where the address leads, and by which rows.
    RecipientAccepted {
        /// The address as given.
        address: String,
        /// The class of its domain.
        class: String,
        /// Why it is accepted: `own domain`, `backup MX`, `own network`, `authenticated`.
        rule: String,
        /// The chain of rows.
        steps: Vec<Step>,
        /// The deliveries.
        deliveries: Vec<Delivery>,
    },
    /// RCPT was refused.
    RecipientRefused {
        /// The address as given.
        address: String,
        /// Our reply.
        reply: Reply,
        /// Which rule or trouble.
        reason: String,
        /// The chain of rows.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<Step>,
    },
    /// A row of an access table was found for the client, the HELO name, the sender or the recipient.
    AccessRow {
        /// `client`, `helo`, `sender` or `recipient`.
        table: String,
        /// The key that it was found by.
        key: String,
        /// The action as it is written.
        action: String,
        /// `database`, `cache` or `replica`.
        source: String,
    },
    /// The message arrived whole.
    MessageReceived {
        /// Octets, as received.
        size: u64,
        /// The Message-ID field, without angle brackets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
    },
    /// deliver answered for one recipient of a direct delivery.
    DirectReply {
        /// The final address.
        address: String,
        /// The reply.
        reply: Reply,
    },
    /// Direct delivery was given up for some recipients: the queue takes over.
    DirectFallback {
        /// Why.
        reason: String,
        /// Indexes that go into the queue, maybe repeated.
        recipients: Vec<u32>,
    },
    /// The message is in the queue.
    Spooled {
        /// Why it was not delivered directly.
        reason: String,
        /// Indexes that qmgr has to work on.
        recipients: Vec<u32>,
    },
    /// The message is accepted and dropped, because an access table says so.
    MessageDiscarded {
        /// The row.
        reason: String,
    },
    /// The message was accepted: the client heard (or should have heard) 250.
    MessageAccepted {
        /// Our reply.
        reply: Reply,
        /// `direct`, `queue`, `both` or `discarded`.
        path: String,
    },
    /// The message was refused at its end.
    MessageRefused {
        /// Our reply.
        reply: Reply,
        /// Which rule or trouble.
        reason: String,
    },
    /// The transaction ended without a message.
    MailAborted {
        /// `RSET`, `EHLO`, `QUIT`, or how the connection ended.
        reason: String,
    },
    /// A command was refused for its form or its place.
    CommandRefused {
        /// The command, cut after 200 octets; of AUTH only the verb.
        command: String,
        /// Our reply.
        reply: Reply,
    },
    /// The session was slowed down or closed for its behaviour.
    Abuse {
        /// What it did.
        reason: String,
    },
    /// The session ended.
    Disconnected {
        /// `QUIT`, `timeout`, `connection lost`, `too many errors`, `shutdown`...
        reason: String,
        /// Messages accepted.
        messages: u32,
    },
}
