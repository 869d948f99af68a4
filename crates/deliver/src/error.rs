//! What the peer hears of our troubles; the log gets the whole chain.
//!
//! 4.3.0 to 4.3.2 say that the trouble is deliver's own: qmgr counts no attempt and asks again soon. 4.3.5
//! and 4.2.x concern one mailbox. Nothing that a disk says is ever permanent (architecture.md section 2).

use durable::Kind;
use mail_types::{MailId, Reply};
use maildir_store::StoreError;
use smtp_proto::framing::BodyFault;
use smtp_proto::reply::new;

/// The reply to a recipient whose copy could not be stored.
pub(crate) fn reply_to(error: &StoreError, id: MailId) -> Reply {
    let (code, status, text) = match error {
        StoreError::Owner(_) | StoreError::BadPath(_) => (451, (4, 3, 5), "mail system configuration error"),
        StoreError::Disk {
            source: durable::Error::Suspect,
            ..
        } => (452, (4, 3, 1), "Mail volume is being checked"),
        StoreError::Disk { source, .. } => match source.kind() {
            Kind::NoSpace => (452, (4, 3, 1), "Insufficient system storage"),
            Kind::Quota => (452, (4, 2, 2), "Disk quota of the mailbox exceeded"),
            Kind::Sync => (451, (4, 3, 0), "Mail could not be stored safely"),
            Kind::ReadOnly => (451, (4, 3, 0), "Mail volume is read-only"),
            Kind::Denied => (
                451,
                (4, 2, 0),
                "mailbox cannot be written; perhaps you need to create the maildirs in advance",
            ),
            Kind::Unsafe => (451, (4, 2, 0), "mailbox is not a Maildir"),
            Kind::NotFound | Kind::Exists | Kind::Other => (451, (4, 2, 0), "mailbox cannot be written"),
        },
        _ => (451, (4, 2, 0), "mailbox cannot be written"),
    };
    with_id(code, status, text, id)
}

/// The reply to a message whose bytes break the rules; the words are those of smtpd.
pub(crate) fn bad_message(fault: BodyFault, id: MailId) -> Reply {
    let (code, status, text) = match fault {
        BodyFault::BareLf => (550, (5, 5, 2), "Error: bare <LF> received"),
        BodyFault::BareCr => (550, (5, 5, 2), "Error: bare <CR> received"),
        BodyFault::Nul => (550, (5, 6, 0), "Error: NUL character in message"),
        BodyFault::LineTooLong => (554, (5, 6, 0), "Error: line too long"),
        BodyFault::TooBig => (552, (5, 3, 4), "Error: message file too big"),
    };
    with_id(code, status, text, id)
}

/// A reply that ends in the message's id, as all replies about a message do.
pub(crate) fn with_id(code: u16, status: (u8, u16, u16), text: &str, id: MailId) -> Reply {
    new(code, status, format!("{text} ({id})"))
}

/// authd gave no answer: never "unknown".
pub(crate) fn lookup_failed() -> Reply {
    new(451, (4, 3, 0), "Temporary lookup failure")
}

/// The mailbox's row cannot be used.
pub(crate) fn misconfigured() -> Reply {
    new(451, (4, 3, 5), "mail system configuration error")
}

/// The volume cannot take another message.
pub(crate) fn no_space() -> Reply {
    new(452, (4, 3, 1), "Insufficient system storage")
}

/// A parameter of our extension that makes no sense.
pub(crate) fn bad_parameter(keyword: &str) -> Reply {
    new(501, (5, 5, 4), format!("Bad {keyword} parameter"))
}
