//! Automatic replies, fetchmail and the log.

use mail_types::Address;

/// A row of `vacation`. Times are `YYYY-MM-DD HH:MM:SS` in the time zone of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VacationRecord {
    /// The mailbox.
    pub address: Address,
    /// Of the reply; `$SUBJECT` stands for that of the mail.
    pub subject: String,
    /// Of the reply.
    pub body: String,
    /// No reply before; a bare date in a request is its first second. Empty where the tables have no such
    /// column, and in a request: now.
    pub active_from: String,
    /// No reply after; a bare date in a request is its last second. Empty where the tables have no such
    /// column, and in a request: no end.
    pub active_until: String,
    /// Seconds until the same sender is answered again: 0 never.
    pub interval_time: i64,
    /// Whether the reply is on; ignored in requests.
    pub active: bool,
}

/// A row of `fetchmail`, without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchmailRecord {
    /// Its number.
    pub id: i64,
    /// Where the mail goes.
    pub mailbox: String,
    /// Where it comes from.
    pub src_server: String,
    /// The account there.
    pub src_user: String,
    /// POP3, IMAP...
    pub protocol: String,
    /// Minutes between two polls.
    pub poll_time: i64,
    /// False: not polled.
    pub active: bool,
    /// When it was polled last.
    pub date: String,
    /// What fetchmail said then.
    pub returned_text: String,
}

/// A row of `log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// In the time zone of the database.
    pub timestamp: String,
    /// Who did it: `name (address)`.
    pub username: String,
    /// In which domain.
    pub domain: String,
    /// What was done: `create_domain`, `edit_mailbox`...
    pub action: String,
    /// To what it was done.
    pub data: String,
}
