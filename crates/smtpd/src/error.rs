//! What the peer hears: the replies of smtpd itself (compat.md 2.6), apart from what the log gets.

use std::net::IpAddr;

use mail_types::{Address, MailId, Reply};
use smtp_proto::framing::BodyFault;
use smtp_proto::reply;
use spool::WriteError;

/// `451 4.3.0 <rcpt>: Temporary lookup failure`.
pub fn lookup_failure(subject: &str) -> Reply {
    reply::new(451, (4, 3, 0), format!("<{subject}>: Temporary lookup failure"))
}

/// `554 5.7.1 <rcpt>: Relay access denied`.
pub fn relay_denied(rcpt: &str) -> Reply {
    reply::new(554, (5, 7, 1), format!("<{rcpt}>: Relay access denied"))
}

/// `554 5.7.1 <name[ip]>: Client host rejected: Access denied`.
pub fn client_denied(ip: Option<IpAddr>) -> Reply {
    let text = format!("<{}>: Client host rejected: Access denied", client_name(ip));
    reply::new(554, (5, 7, 1), text)
}

/// `553 5.7.1 <from>: Sender address rejected: not owned by user LOGIN`.
pub fn sender_not_owned(sender: &Address, login: &Address) -> Reply {
    let text = format!("<{sender}>: Sender address rejected: not owned by user {login}");
    reply::new(553, (5, 7, 1), text)
}

/// `550 5.7.1 ...`: the From field of a message names somebody else.
pub fn from_not_owned(login: &Address) -> Reply {
    let text = format!("Error: From address rejected: not owned by user {login}");
    reply::new(550, (5, 7, 1), text)
}

/// `550 5.6.0`: a From field that cannot be judged.
pub fn from_unusable() -> Reply {
    reply::new(550, (5, 6, 0), "Error: From field rejected: no usable address")
}

/// `421 4.7.0`: the account is no longer what it was at the login (docs/adr/0025-session-checks.md).
pub fn login_over(host: &str) -> Reply {
    reply::abuse(host, "the login is no longer valid, please log in again")
}

/// `451 4.6.0 Alias expansion error`.
pub fn expansion_error() -> Reply {
    reply::new(451, (4, 6, 0), "Alias expansion error")
}

/// `452 4.3.1 Insufficient system storage`.
pub fn no_space() -> Reply {
    reply::new(452, (4, 3, 1), "Insufficient system storage")
}

/// `451 4.3.0 Error: queue file write error`, or 452 where the disk is full or its volume failed before.
pub fn queue_write(error: &WriteError) -> Reply {
    match error {
        WriteError::Full(_) | WriteError::Io(durable::Error::Suspect) => no_space(),
        _ => reply::new(451, (4, 3, 0), "Error: queue file write error"),
    }
}

/// `554 5.4.0 Error: too many hops`.
pub fn too_many_hops() -> Reply {
    reply::new(554, (5, 4, 0), "Error: too many hops")
}

/// `554 5.6.0`: header above a limit.
pub fn header_too_big(limit: &str) -> Reply {
    reply::new(554, (5, 6, 0), format!("Error: {limit}"))
}

/// `450 4.7.1 Error: ... from IP`: a rate limit.
pub fn rate(what: &str, ip: Option<IpAddr>) -> Reply {
    let ip = ip.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
    reply::new(450, (4, 7, 1), format!("Error: {what} from {ip}"))
}

/// The reply to a body with bad framing. `strict_lines`: the service refuses long lines as such.
pub fn body_fault(fault: BodyFault, host: &str, strict_lines: bool) -> Reply {
    match fault {
        BodyFault::BareLf => reply::new(550, (5, 5, 2), format!("{host} Error: bare <LF> received")),
        BodyFault::BareCr => reply::new(550, (5, 5, 2), format!("{host} Error: bare <CR> received")),
        BodyFault::Nul => reply::new(550, (5, 6, 0), "Error: NUL in message"),
        BodyFault::LineTooLong if strict_lines => {
            reply::new(550, (5, 6, 0), "Error: line longer than 998 octets")
        }
        BodyFault::LineTooLong => reply::new(554, (5, 6, 0), "Error: line too long"),
        BodyFault::TooBig => reply::new(552, (5, 3, 4), "Error: message file too big"),
    }
}

/// `250 2.0.0 Ok: queued as ID`.
pub fn queued(id: MailId) -> Reply {
    reply::new(250, (2, 0, 0), format!("Ok: queued as {id}"))
}

/// A refusal at the end of data: the same with ` (ID)` at its end.
pub fn with_id(mut refusal: Reply, id: MailId) -> Reply {
    let id = format!(" ({id})");
    // deliver's replies have it already.
    if !refusal.text.ends_with(&id) {
        refusal.text.push_str(&id);
    }
    refusal
}

/// `name[ip]` as Postfix writes it. We look no names up, so the name is `unknown`.
pub fn client_name(ip: Option<IpAddr>) -> String {
    match ip {
        Some(ip) => format!("unknown[{ip}]"),
        None => "local[unix]".to_owned(),
    }
}
