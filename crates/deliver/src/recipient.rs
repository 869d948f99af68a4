//! RCPT: which mailbox an address means, and whether this process can serve it.

use auth_api::Trace;
use auth_api::directory::{Mailbox, MailboxAnswer};
use events::deliver::Kind;
use mail_types::{Address, Reply, xtext_decode};
use smtp_proto::command::{Rcpt, RcptPath};
use smtp_proto::reply;

use crate::config::{Settings, XIDX, XORIG, XREPEAT};
use crate::directory::Directory;
use crate::error;

/// A recipient that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Recipient {
    /// The final address, as it stands in Delivered-To.
    pub(crate) address: Address,
    /// What the client typed, for X-Original-To.
    pub(crate) original: String,
    /// The index in the message.
    pub(crate) index: u32,
    /// Whether an earlier attempt may have come through.
    pub(crate) repeated: bool,
    /// Where it goes.
    pub(crate) mailbox: Mailbox,
}

/// Why a recipient was refused: what the peer hears and what the log says.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) address: String,
    pub(crate) reply: Reply,
    pub(crate) reason: String,
}

/// Decides about RCPT. `others` are the recipients of the transaction so far.
pub(crate) async fn accept<D: Directory>(
    directory: &D,
    settings: &Settings,
    rcpt: &Rcpt,
    others: &[Recipient],
    trace: Trace,
) -> Result<Recipient, Refused> {
    let refused = |reply: Reply, reason: &str| Refused {
        address: rcpt.typed.clone(),
        reply,
        reason: reason.to_owned(),
    };
    let address = match (&rcpt.path, &settings.postmaster) {
        (RcptPath::Address(address), _) => address.clone(),
        (RcptPath::Postmaster, Some(postmaster)) => postmaster.clone(),
        (RcptPath::Postmaster, None) => {
            return Err(refused(error::misconfigured(), "no domain for <postmaster>"));
        }
    };
    let index = match rcpt.params.private(XIDX) {
        Some(text) => text.parse().ok(),
        // A client without our extension: the order of RCPT.
        None => others
            .iter()
            .map(|r| r.index)
            .max()
            .map_or(Some(0), |last| last.checked_add(1)),
    };
    let Some(index) = index.filter(|i| others.iter().all(|r| r.index != *i)) else {
        return Err(refused(
            error::bad_parameter(XIDX),
            "not an index, or one that is taken",
        ));
    };
    let original = match rcpt.params.private(XORIG) {
        Some(text) => xtext_decode(text).filter(|o| !o.chars().any(char::is_control)),
        None => Some(address.to_string()),
    };
    let Some(original) = original else {
        return Err(refused(error::bad_parameter(XORIG), "not xtext"));
    };
    let repeated = rcpt.params.private(XREPEAT).is_some();
    match directory.lookup_mailbox(&address, trace).await {
        Ok(MailboxAnswer::Found(mailbox)) => Ok(Recipient {
            address,
            original,
            index,
            repeated,
            mailbox,
        }),
        Ok(MailboxAnswer::Unknown(refusal)) => {
            let text = format!("<{address}>: {}", refusal.text);
            Err(refused(
                Reply::new(refusal.code, refusal.status, text),
                "no such mailbox",
            ))
        }
        Ok(MailboxAnswer::Misconfigured(reason)) => Err(refused(error::misconfigured(), &reason)),
        Err(unavailable) => Err(refused(error::lookup_failed(), &unavailable.to_string())),
    }
}

impl Recipient {
    /// The event of its acceptance.
    pub(crate) fn accepted(&self) -> Kind {
        Kind::RecipientAccepted {
            address: self.address.to_string(),
            mailbox: self.mailbox.address.to_string(),
            maildir: self.mailbox.maildir.clone(),
        }
    }
}

impl Refused {
    /// The event.
    pub(crate) fn event(&self) -> Kind {
        Kind::RecipientRefused {
            address: self.address.clone(),
            reply: (&self.reply).into(),
            reason: self.reason.clone(),
        }
    }
}

/// `250 2.1.5 Ok`.
pub(crate) fn ok() -> Reply {
    reply::rcpt_ok()
}
