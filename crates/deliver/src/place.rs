//! One copy into one Maildir: the blocking part of a delivery.

use std::path::Path;

use events::deliver::Kind;
use mail_types::{DeliveryKey, MailId, Reply, ReversePath};
use maildir_store::{Delivered, Mailbox, Owner, Store, StoreError};

use crate::body::Content;
use crate::error;
use crate::recipient::Recipient;

/// What came of one recipient: the reply, and the events that tell how.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) reply: Reply,
    pub(crate) events: Vec<Kind>,
}

/// A copy that is to be made.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) store: &'a Store,
    pub(crate) mail_root: &'a Path,
    pub(crate) id: MailId,
    pub(crate) sender: &'a ReversePath,
    pub(crate) recipient: &'a Recipient,
    /// Whether the message has to be searched for first.
    pub(crate) search: bool,
}

impl Job<'_> {
    /// Makes the copy durable, or says why not. Blocks for the barriers of one file.
    pub(crate) fn run(&self, content: &Content) -> Outcome {
        let mut events = Vec::new();
        let result = match self.attempt(content, &mut events) {
            // The user's programs, or an administrator, moved the mailbox away under our hands: once more.
            Err(error) if error.kind() == Some(durable::Kind::NotFound) => self.attempt(content, &mut events),
            result => result,
        };
        let reply = result.unwrap_or_else(|error| {
            let reply = error::reply_to(&error, self.id);
            events.push(Kind::DeliveryFailed {
                mailbox: self.recipient.mailbox.address.to_string(),
                reply: (&reply).into(),
                reason: daemon::describe(&error),
            });
            reply
        });
        Outcome { reply, events }
    }

    fn attempt(&self, content: &Content, events: &mut Vec<Kind>) -> Result<Reply, StoreError> {
        let mailbox = open_mailbox(self.store, self.mail_root, self.recipient)?;
        let row = &self.recipient.mailbox;
        if mailbox.is_made() {
            events.push(Kind::MaildirMade {
                maildir: row.maildir.clone(),
            });
        }
        let key = DeliveryKey {
            id: self.id,
            recipient: self.recipient.index,
        };
        // Before anything else is judged: what was delivered is delivered (architecture.md section 2).
        if self.search && mailbox.has(key)? {
            events.push(Kind::Duplicate {
                mailbox: row.address.to_string(),
                found: "mailbox or recent keys".to_owned(),
            });
            return Ok(error::with_id(250, (2, 0, 0), "Ok: already delivered", self.id));
        }
        let head = self.trace_header();
        let mut incoming = mailbox.incoming(key)?;
        content.write_to(&head, &mut incoming)?;
        match incoming.finish()? {
            Delivered::Stored { name } => events.push(Kind::Delivered {
                mailbox: row.address.to_string(),
                folder: "INBOX".to_owned(),
                file: name,
                size: head.len() as u64 + content.size(),
            }),
            Delivered::Already => events.push(Kind::Duplicate {
                mailbox: row.address.to_string(),
                found: "mailbox".to_owned(),
            }),
        }
        Ok(error::with_id(
            250,
            (2, 0, 0),
            "Ok: delivered to maildir",
            self.id,
        ))
    }

    /// The lines on top, in this order (compat.md 5.3). The addresses come from types that hold no line
    /// break and quote themselves.
    fn trace_header(&self) -> String {
        format!(
            "Return-Path: <{}>\nX-Original-To: {}\nDelivered-To: {}\n",
            self.sender, self.recipient.original, self.recipient.address
        )
    }
}

/// Opens the mailbox of a recipient.
pub(crate) fn open_mailbox(
    store: &Store,
    mail_root: &Path,
    recipient: &Recipient,
) -> Result<Mailbox, StoreError> {
    let row = &recipient.mailbox;
    let base = store
        .disk()
        .open_root(mail_root)
        .map_err(|source| StoreError::Disk {
            doing: "open the mail root",
            source,
        })?;
    store.mailbox(
        &base,
        &row.maildir,
        Owner {
            uid: row.uid,
            gid: row.gid,
        },
    )
}
