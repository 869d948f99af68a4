//! access(5): what the tables are asked, what they say, and what their actions mean (compat.md 2.4).

use std::net::IpAddr;

use mail_types::{Address, EnhancedStatus, ReversePath};

use crate::directory::Source;

/// A table, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// check_client_access
    Client,
    /// check_helo_access
    Helo,
    /// check_sender_access
    Sender,
    /// check_recipient_access
    Recipient,
}

impl Table {
    /// The word in events and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Helo => "helo",
            Self::Sender => "sender",
            Self::Recipient => "recipient",
        }
    }

    /// What Postfix calls the thing that is refused.
    pub fn class(self) -> &'static str {
        match self {
            Self::Client => "Client host",
            Self::Helo => "Helo command",
            Self::Sender => "Sender address",
            Self::Recipient => "Recipient address",
        }
    }
}

/// What the tables are asked about; what is `None` is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The client.
    pub client: Option<Client>,
    /// The name in HELO or EHLO.
    pub helo: Option<String>,
    /// The envelope sender.
    pub sender: Option<ReversePath>,
    /// The envelope recipient.
    pub recipient: Option<Address>,
}

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its verified name; empty where none is known: then no name is looked up.
    pub name: String,
    /// Its address; none on a Unix socket.
    pub address: Option<IpAddr>,
}

/// What the tables say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The tables that there are; the others are never asked.
    pub tables: Vec<Table>,
    /// The first row of each table, in their order.
    pub hits: Vec<Hit>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The table.
    pub table: Table,
    /// The key that it was found by.
    pub key: String,
    /// The action as it is written.
    pub action: String,
    /// Where it was looked up.
    pub source: Source,
}

/// What an action asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// This table lets it pass.
    Ok,
    /// As if there were no row.
    Dunno,
    /// Refuse for good, with this text or the default one. A status may stand in front of it
    /// ([`split_status`]), as in the texts of the other refusals.
    Reject(Option<String>),
    /// Refuse for now.
    Defer(Option<String>),
    /// If something else refuses for good, refuse for now.
    DeferIfReject(Option<String>),
    /// If nothing else refuses, refuse for now.
    DeferIfPermit(Option<String>),
    /// Refuse with this code and text.
    Reply {
        /// 400 to 599.
        code: u16,
        /// A status in front of the text.
        status: Option<EnhancedStatus>,
        /// The text; empty: the default one.
        text: String,
    },
    /// Accept and drop the whole message.
    Discard(Option<String>),
    /// Log and go on.
    Warn(Option<String>),
    /// Log and go on.
    Info(Option<String>),
    /// Add a header line on top.
    Prepend(String),
    /// Restrictions, to be evaluated in this order.
    Restrictions(Vec<Restriction>),
    /// What we cannot do; the reason.
    Unsupported(String),
}

/// A restriction that an access table may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restriction {
    /// permit
    Permit,
    /// reject
    Reject,
    /// defer
    Defer,
    /// permit_mynetworks
    PermitMynetworks,
    /// permit_sasl_authenticated
    PermitSaslAuthenticated,
    /// reject_unauth_destination, defer_unauth_destination: what holds for every recipient anyway
    RejectUnauthDestination,
    /// reject_unauth_pipelining: what holds for every client anyway
    RejectUnauthPipelining,
}

impl Action {
    /// Reads the right-hand side of a row.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let optional = || (!rest.is_empty()).then(|| rest.to_owned());
        match word.to_ascii_uppercase().as_str() {
            "" => Self::Unsupported("the row has no action".to_owned()),
            "OK" => Self::Ok,
            "DUNNO" => Self::Dunno,
            "REJECT" => Self::Reject(optional()),
            "DEFER" => Self::Defer(optional()),
            "DEFER_IF_REJECT" => Self::DeferIfReject(optional()),
            "DEFER_IF_PERMIT" => Self::DeferIfPermit(optional()),
            "DISCARD" => Self::Discard(optional()),
            "WARN" => Self::Warn(optional()),
            "INFO" => Self::Info(optional()),
            "PREPEND" => prepend(rest),
            word if word.bytes().all(|b| b.is_ascii_digit()) => digits(word, rest),
            _ => restrictions(text),
        }
    }
}

/// `550 5.7.1 text`, `450 text`; a number that is no reply code is OK (access(5): "all digits").
fn digits(word: &str, rest: &str) -> Action {
    match word.parse::<u16>() {
        Ok(code) if word.len() == 3 && (400..=599).contains(&code) => {
            let (status, text) = split_status(rest);
            Action::Reply {
                code,
                status,
                text: text.to_owned(),
            }
        }
        _ => Action::Ok,
    }
}

/// The status in front of a text (`5.1.1 text`), where there is one, and the text.
pub fn split_status(text: &str) -> (Option<EnhancedStatus>, &str) {
    let (first, more) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match first.parse::<EnhancedStatus>() {
        Ok(status) => (Some(status), more.trim()),
        Err(()) => (None, text),
    }
}

/// `PREPEND Name: value`: one header line, and nothing that would be more.
fn prepend(line: &str) -> Action {
    let name = line.split_once(':').map_or("", |(name, _)| name);
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    if named && line.len() <= 900 && line.is_ascii() && !line.chars().any(char::is_control) {
        Action::Prepend(line.to_owned())
    } else {
        Action::Unsupported(format!("PREPEND {line:?} is not one header line"))
    }
}

/// Names of restrictions, separated by commas or blanks.
fn restrictions(text: &str) -> Action {
    let words = text
        .split([',', ' ', '\t'])
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let list: Result<Vec<Restriction>, &str> = words.map(|word| restriction(word).ok_or(word)).collect();
    match list {
        Ok(list) => Action::Restrictions(list),
        Err(word) => Action::Unsupported(format!("{word:?} is not an action that this server can do")),
    }
}

fn restriction(word: &str) -> Option<Restriction> {
    Some(match word.to_ascii_lowercase().as_str() {
        "permit" => Restriction::Permit,
        "reject" => Restriction::Reject,
        "defer" => Restriction::Defer,
        "permit_mynetworks" => Restriction::PermitMynetworks,
        "permit_sasl_authenticated" => Restriction::PermitSaslAuthenticated,
        "reject_unauth_destination" | "defer_unauth_destination" => Restriction::RejectUnauthDestination,
        "reject_unauth_pipelining" => Restriction::RejectUnauthPipelining,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions() {
        let text = |text: &str| Some(text.to_owned());
        let reply = |code, status: Option<&str>, text: &str| Action::Reply {
            code,
            status: status.map(|s| s.parse().unwrap()),
            text: text.to_owned(),
        };
        for (written, action) in [
            ("OK", Action::Ok),
            ("ok", Action::Ok),
            ("12345", Action::Ok),
            ("1", Action::Ok),
            ("dunno", Action::Dunno),
            ("REJECT", Action::Reject(None)),
            ("reject  go away ", Action::Reject(text("go away"))),
            ("DEFER busy", Action::Defer(text("busy"))),
            ("defer_if_permit later", Action::DeferIfPermit(text("later"))),
            ("DEFER_IF_REJECT", Action::DeferIfReject(None)),
            ("550 no such thing", reply(550, None, "no such thing")),
            (
                "450 4.2.1 later please",
                reply(450, Some("4.2.1"), "later please"),
            ),
            ("521", reply(521, None, "")),
            ("DISCARD", Action::Discard(None)),
            ("WARN seen", Action::Warn(text("seen"))),
            ("PREPEND X-Seen: yes", Action::Prepend("X-Seen: yes".into())),
            (
                "permit_sasl_authenticated, reject",
                Action::Restrictions(vec![Restriction::PermitSaslAuthenticated, Restriction::Reject]),
            ),
            (
                "reject_unauth_pipelining",
                Action::Restrictions(vec![Restriction::RejectUnauthPipelining]),
            ),
        ] {
            assert_eq!(Action::parse(written), action, "{written}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for written in [
            "",
            "HOLD",
            "FILTER smtp:[x]",
            "REDIRECT a@d.test",
            "BCC a@d.test",
            "PREPEND no header",
            "PREPEND X: a\r\nY: b",
            "reject_unknown_client_hostname",
            "permit, no_such_class",
        ] {
            assert!(
                matches!(Action::parse(written), Action::Unsupported(_)),
                "{written}"
            );
        }
    }
}
