//! What the rows of access(5) tables do to a transaction (compat.md 2.4).
//!
//! The tables are asked at RCPT, as with Postfix's smtpd_delay_reject. OK lets one table pass and authorises
//! nothing else: relaying and unknown users are judged as without tables. What we cannot do is a temporary
//! refusal and an error in the log, never ignored.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use auth_api::access::{self, Action, Answer, Hit, Restriction, Table};
use mail_types::{EnhancedStatus, Reply};
use smtp_proto::reply;

use super::recipient::Client;

/// How long it is believed that a site has no access tables.
const NO_TABLES_FOR: Duration = Duration::from_secs(30);

/// Remembers that there are no access tables, so that most sites do not ask for every recipient.
#[derive(Debug, Default)]
pub struct NoTables(Mutex<Option<Instant>>);

impl NoTables {
    /// Whether it was said lately that there are none.
    pub fn known(&self, now: Instant) -> bool {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| now < until)
    }

    /// What authd said.
    pub fn learn(&self, answer: &Answer, now: Instant) {
        let until = answer.tables.is_empty().then(|| now + NO_TABLES_FOR);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// The things that are judged, as replies name them.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// `name[ip]`
    pub client: &'a str,
    /// The name in HELO.
    pub helo: &'a str,
    /// The envelope sender, empty for the null sender.
    pub sender: &'a str,
    /// The recipient as typed.
    pub recipient: &'a str,
}

impl Names<'_> {
    fn of(&self, table: Table) -> &str {
        match table {
            Table::Client => self.client,
            Table::Helo => self.helo,
            Table::Sender => self.sender,
            Table::Recipient => self.recipient,
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the client hears.
    pub reply: Reply,
    /// For the log.
    pub reason: String,
    /// The connection is closed after it (421, 521).
    pub close: bool,
}

/// What rows ask for, together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Refused.
    pub refusal: Option<Refusal>,
    /// What is refused for good later is refused for now, with this reply.
    pub if_reject: Option<Reply>,
    /// What is accepted later is refused for now, with this reply.
    pub if_permit: Option<Reply>,
    /// The message is accepted and dropped; the row.
    pub discard: Option<String>,
    /// Header lines on top of the message, without line ends.
    pub headers: Vec<String>,
}

impl Judgement {
    /// What rows found together ask for; the first refusal counts.
    pub fn of(hits: &[Hit], names: Names<'_>, client: Client) -> Self {
        let mut judgement = Self::default();
        for hit in hits {
            if judgement.refusal.is_none() {
                judgement.take(hit, names, client);
                let refusal = judgement.refusal.take();
                judgement.refusal = refusal.map(|refusal| judgement.put_off(refusal));
            }
        }
        judgement
    }

    /// A refusal for good is one for now where an earlier row asked for that (DEFER_IF_REJECT).
    fn put_off(&self, refusal: Refusal) -> Refusal {
        match &self.if_reject {
            Some(reply) if !refusal.reply.is_transient() => Refusal {
                reply: reply.clone(),
                close: false,
                ..refusal
            },
            _ => refusal,
        }
    }

    /// Adds what other tables said later.
    pub fn and(&mut self, later: &Self) {
        let Self {
            refusal,
            if_reject,
            if_permit,
            discard,
            headers,
        } = later;
        let refusal = refusal.clone().map(|refusal| self.put_off(refusal));
        self.refusal = self.refusal.take().or(refusal);
        self.if_reject = self.if_reject.take().or_else(|| if_reject.clone());
        self.if_permit = self.if_permit.take().or_else(|| if_permit.clone());
        self.discard = self.discard.take().or_else(|| discard.clone());
        for line in headers {
            if !self.headers.contains(line) && self.headers.len() < MOST_HEADERS {
                self.headers.push(line.clone());
            }
        }
    }

    fn take(&mut self, hit: &Hit, names: Names<'_>, client: Client) {
        let say = |code, default: EnhancedStatus, text: Option<&str>, default_text: &str| {
            let (status, text) = access::split_status(text.unwrap_or_default());
            // The class of the status is that of the code (RFC 3463).
            let status = status.map_or(default, |status| EnhancedStatus {
                class: default.class,
                ..status
            });
            let text = if text.is_empty() { default_text } else { text };
            let (name, class) = (names.of(hit.table), hit.table.class());
            Reply::new(
                code,
                fitting(status, hit.table),
                format!("<{name}>: {class} rejected: {text}"),
            )
        };
        let refuse = |reply: Reply| Refusal {
            close: matches!(reply.code, 421 | 521),
            reason: format!("{} table: {} {}", hit.table.as_str(), hit.key, hit.action),
            reply,
        };
        match Action::parse(&hit.action) {
            Action::Ok | Action::Dunno | Action::Warn(_) | Action::Info(_) => {}
            Action::Reject(text) => {
                self.refusal = Some(refuse(say(554, REJECT, text.as_deref(), "Access denied")));
            }
            Action::Defer(text) => {
                self.refusal = Some(refuse(say(450, DEFER, text.as_deref(), "Access denied")));
            }
            Action::Reply { code, status, text } => {
                let default = if code < 500 { DEFER } else { REJECT };
                let text = match status {
                    Some(status) => format!("{status} {text}"),
                    None => text,
                };
                self.refusal = Some(refuse(say(code, default, Some(&text), "Access denied")));
            }
            Action::DeferIfReject(text) => {
                self.if_reject = Some(say(450, DEFER, text.as_deref(), "Service unavailable"));
            }
            Action::DeferIfPermit(text) => {
                self.if_permit = Some(say(450, DEFER, text.as_deref(), "Service unavailable"));
            }
            Action::Discard(_) => {
                self.discard = Some(format!(
                    "{} table: {} {}",
                    hit.table.as_str(),
                    hit.key,
                    hit.action
                ));
            }
            Action::Prepend(line) => self.headers.push(line),
            Action::Restrictions(list) => match evaluate(&list, client) {
                Some(Verdict::Reject) => self.refusal = Some(refuse(say(554, REJECT, None, "Access denied"))),
                Some(Verdict::Defer) => self.refusal = Some(refuse(say(450, DEFER, None, "Access denied"))),
                Some(Verdict::Permit) | None => {}
            },
            Action::Unsupported(reason) => {
                tracing::error!(
                    table = hit.table.as_str(),
                    key = hit.key,
                    action = hit.action,
                    reason,
                    "mail is refused for now until this row is put right"
                );
                self.refusal = Some(refuse(reply::new(451, (4, 3, 5), "Server configuration error")));
            }
        }
    }
}

const REJECT: EnhancedStatus = EnhancedStatus::new(5, 7, 1);
const DEFER: EnhancedStatus = EnhancedStatus::new(4, 7, 1);
/// Most header lines that tables may add to one message.
const MOST_HEADERS: usize = 20;

enum Verdict {
    Permit,
    Reject,
    Defer,
}

/// The first restriction that decides.
fn evaluate(list: &[Restriction], client: Client) -> Option<Verdict> {
    list.iter().find_map(|restriction| match restriction {
        Restriction::Permit => Some(Verdict::Permit),
        Restriction::Reject => Some(Verdict::Reject),
        Restriction::Defer => Some(Verdict::Defer),
        Restriction::PermitMynetworks => client.own_network.then_some(Verdict::Permit),
        Restriction::PermitSaslAuthenticated => client.authenticated.then_some(Verdict::Permit),
        // Holds for every recipient anyway.
        Restriction::RejectUnauthDestination | Restriction::RejectUnauthPipelining => None,
    })
}

/// A status about an address, in the phase in which it is said (Postfix corrects it in the same way): that of
/// a recipient does not fit a sender, and neither fits a client.
fn fitting(status: EnhancedStatus, table: Table) -> EnhancedStatus {
    if status.subject != 1 {
        return status;
    }
    let detail = match (table, status.detail) {
        (Table::Client | Table::Helo, _) => {
            return EnhancedStatus {
                subject: 0,
                detail: 0,
                ..status
            };
        }
        (Table::Sender, 2) => 8,
        (Table::Sender, 3) => 7,
        (Table::Sender, 1 | 4..=6) => 0,
        (Table::Recipient, 7) => 3,
        (Table::Recipient, 8) => 2,
        (_, detail) => detail,
    };
    EnhancedStatus { detail, ..status }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth_api::directory::Source;

    const NAMES: Names<'_> = Names {
        client: "unknown[192.0.2.1]",
        helo: "mx.a.test",
        sender: "s@a.test",
        recipient: "r@d.test",
    };
    const OUTSIDER: Client = Client {
        own_network: false,
        authenticated: false,
    };

    fn hit(table: Table, action: &str) -> Hit {
        Hit {
            table,
            key: "key".into(),
            action: action.into(),
            source: Source::Database,
        }
    }

    fn judged(table: Table, action: &str) -> Judgement {
        Judgement::of(&[hit(table, action)], NAMES, OUTSIDER)
    }

    fn said(table: Table, action: &str) -> String {
        judged(table, action)
            .refusal
            .map_or_else(String::new, |refusal| refusal.reply.to_string())
    }

    #[test]
    fn refusals_in_the_words_that_scripts_know() {
        for (table, action, reply) in [
            (
                Table::Client,
                "REJECT",
                "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
            ),
            (
                Table::Helo,
                "REJECT not you",
                "554 5.7.1 <mx.a.test>: Helo command rejected: not you",
            ),
            (
                Table::Sender,
                "DEFER",
                "450 4.7.1 <s@a.test>: Sender address rejected: Access denied",
            ),
            (
                Table::Recipient,
                "550 5.1.1 gone",
                "550 5.1.1 <r@d.test>: Recipient address rejected: gone",
            ),
            (
                Table::Recipient,
                "450 busy",
                "450 4.7.1 <r@d.test>: Recipient address rejected: busy",
            ),
            (
                Table::Sender,
                "550 5.1.3 bad",
                "550 5.1.7 <s@a.test>: Sender address rejected: bad",
            ),
            (
                Table::Client,
                "550 5.1.1 x",
                "550 5.0.0 <unknown[192.0.2.1]>: Client host rejected: x",
            ),
            (
                Table::Recipient,
                "450 5.2.1 later",
                "450 4.2.1 <r@d.test>: Recipient address rejected: later",
            ),
            (
                Table::Recipient,
                "REJECT 5.1.1 gone",
                "554 5.1.1 <r@d.test>: Recipient address rejected: gone",
            ),
            (
                Table::Sender,
                "DEFER 5.7.25",
                "450 4.7.25 <s@a.test>: Sender address rejected: Access denied",
            ),
            (Table::Recipient, "HOLD", "451 4.3.5 Server configuration error"),
            (Table::Client, "", "451 4.3.5 Server configuration error"),
            (Table::Client, "OK", ""),
            (Table::Client, "DUNNO", ""),
            (Table::Client, "WARN look", ""),
        ] {
            assert_eq!(said(table, action), reply, "{action}");
        }
        assert!(judged(Table::Client, "521 go").refusal.unwrap().close);
        assert!(!judged(Table::Client, "554 go").refusal.unwrap().close);
    }

    #[test]
    fn restrictions_depend_on_the_client() {
        let list = [hit(
            Table::Sender,
            "permit_sasl_authenticated, permit_mynetworks reject",
        )];
        assert!(Judgement::of(&list, NAMES, OUTSIDER).refusal.is_some());
        let user = Client {
            authenticated: true,
            ..OUTSIDER
        };
        assert_eq!(Judgement::of(&list, NAMES, user), Judgement::default());
    }

    #[test]
    fn what_waits_for_the_end() {
        let later = judged(Table::Helo, "DEFER_IF_PERMIT");
        assert_eq!(
            later.if_permit.unwrap().to_string(),
            "450 4.7.1 <mx.a.test>: Helo command rejected: Service unavailable"
        );
        assert!(judged(Table::Helo, "DEFER_IF_REJECT").if_reject.is_some());
        assert!(judged(Table::Helo, "DISCARD").discard.is_some());
        let mut both = judged(Table::Client, "PREPEND X-A: 1");
        both.and(&judged(Table::Recipient, "PREPEND X-B: 2"));
        both.and(&judged(Table::Recipient, "PREPEND X-B: 2"));
        assert_eq!(both.headers, ["X-A: 1", "X-B: 2"]);
    }

    #[test]
    fn refusals_after_defer_if_reject_are_for_now() {
        let off = hit(Table::Client, "DEFER_IF_REJECT look again");
        let code = |judgement: &Judgement| judgement.refusal.as_ref().map(|refusal| refusal.reply.code);
        let sender = |action| hit(Table::Sender, action);
        let of = |hits: &[Hit]| Judgement::of(hits, NAMES, OUTSIDER);
        let put_off = of(&[off.clone(), sender("521 go")]);
        let refusal = put_off.refusal.clone().unwrap();
        assert_eq!(
            refusal.reply.to_string(),
            "450 4.7.1 <unknown[192.0.2.1]>: Client host rejected: look again"
        );
        assert!(!refusal.close);
        // Neither what is for now anyway, nor what was refused before.
        assert_eq!(code(&of(&[off.clone(), sender("451 later")])), Some(451));
        assert_eq!(
            code(&of(&[hit(Table::Client, "REJECT"), sender("DEFER_IF_REJECT")])),
            Some(554)
        );
        // The table of recipients comes last.
        let mut both = of(&[off]);
        both.and(&judged(Table::Recipient, "REJECT"));
        assert_eq!(code(&both), Some(450));
        let mut both = judged(Table::Sender, "REJECT");
        both.and(&judged(Table::Recipient, "DEFER_IF_REJECT"));
        assert_eq!(code(&both), Some(554));
    }

    #[test]
    fn none_is_remembered_for_a_while() {
        let (known, now) = (NoTables::default(), Instant::now());
        assert!(!known.known(now));
        known.learn(&Answer::default(), now);
        assert!(known.known(now) && !known.known(now + NO_TABLES_FOR));
        let some = Answer {
            tables: vec![Table::Client],
            hits: Vec::new(),
        };
        known.learn(&some, now);
        assert!(!known.known(now));
    }
}
