//! Delivery status notifications: composing RFC 3464 reports.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use message::report::{Action, Original, Report, ReportedRecipient, compose};
//! let sender = "alice@example.com".parse()?;
//! let report = Report {
//!     action: Action::Failed,
//!     host: "mail.example.com",
//!     id: mail_types::MailId::new(1_700_000_000_000, 1),
//!     date: jiff::Timestamp::from_second(1_700_000_000)?,
//!     to: &sender,
//!     about: mail_types::MailId::new(1_699_999_000_000, 2),
//!     arrival: jiff::Timestamp::from_second(1_699_999_000)?,
//!     envid: None,
//!     smtputf8: false,
//!     recipients: vec![ReportedRecipient {
//!         final_address: "nobody@example.net".parse()?,
//!         original: None,
//!         reply: mail_types::Reply::new(550, "5.1.1".parse().map_err(|()| "status")?, "no such user"),
//!         mta: Some("mx.example.net".into()),
//!         last_attempt: None,
//!         will_retry_until: None,
//!     }],
//!     original: Original::Full(b"Subject: hi\r\n\r\nhello\r\n"),
//! };
//! let composed = compose(&report);
//! assert!(composed.message.starts_with(b"From: Mail Delivery System <MAILER-DAEMON@mail.example.com>\r\n"));
//! # Ok(()) }
//! ```

use jiff::Timestamp;
use mail_types::{Address, EnhancedStatus, MailId, OriginalRecipient, Reply, xtext_encode};

/// What happened to the recipients of a report (RFC 3464 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A bounce.
    Failed,
    /// Still trying.
    Delayed,
    /// In the mailbox.
    Delivered,
    /// Handed to a server that knows nothing of notifications.
    Relayed,
    /// Became several other recipients.
    Expanded,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Failed => "Undelivered Mail Returned to Sender",
            Self::Delayed => "Delayed Mail (still being retried)",
            Self::Delivered | Self::Relayed | Self::Expanded => "Successful Mail Delivery Report",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::Failed => {
                "Your message could not be delivered to the recipients below. There will be\r\n\
                 no further attempt; the message is returned at the end of this report.\r\n"
            }
            Self::Delayed => {
                "Your message could not be delivered yet to the recipients below. It is kept\r\n\
                 and tried again: you need NOT send it a second time.\r\n"
            }
            Self::Delivered => "Your message was delivered to the recipients below.\r\n",
            Self::Relayed => {
                "Your message was handed on for the recipients below, to a mail system that\r\n\
                 does not confirm deliveries. You may hear nothing further.\r\n"
            }
            Self::Expanded => {
                "Your message reached the recipients below, each of which stands for several\r\n\
                 addresses, and was sent on to all of them. You may hear nothing further.\r\n"
            }
        }
    }

    /// The status where the last reply has none, or one of another class.
    fn default_status(self) -> EnhancedStatus {
        EnhancedStatus::new(self.class(), 0, 0)
    }

    fn class(self) -> u8 {
        match self {
            Self::Failed => 5,
            Self::Delayed => 4,
            Self::Delivered | Self::Relayed | Self::Expanded => 2,
        }
    }
}

/// One report.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// What happened.
    pub action: Action,
    /// Our host name: the reporting MTA and the domain of MAILER-DAEMON.
    pub host: &'a str,
    /// The id of the report itself; its Message-ID and boundary are made of it.
    pub id: MailId,
    /// When the report is made.
    pub date: Timestamp,
    /// The sender of the message that it is about.
    pub to: &'a Address,
    /// The message that it is about.
    pub about: MailId,
    /// When that message arrived.
    pub arrival: Timestamp,
    /// Its ENVID.
    pub envid: Option<&'a str>,
    /// Whether that message was sent with SMTPUTF8: the report then uses the types of RFC 6533.
    pub smtputf8: bool,
    /// The recipients.
    pub recipients: Vec<ReportedRecipient>,
    /// What is returned of the message.
    pub original: Original<'a>,
}

/// What happened to one recipient.
#[derive(Debug, Clone)]
pub struct ReportedRecipient {
    /// The recipient as it left us.
    pub final_address: Address,
    /// The recipient as the sender knew it: ORCPT, or the address before expansion.
    pub original: Option<OriginalRecipient>,
    /// The reply that decided.
    pub reply: Reply,
    /// The server that gave it; none where we did.
    pub mta: Option<String>,
    /// When it was tried last.
    pub last_attempt: Option<Timestamp>,
    /// Until when it is tried, for delays.
    pub will_retry_until: Option<Timestamp>,
}

/// What is returned of the message; CRLF line ends.
#[derive(Debug, Clone, Copy)]
pub enum Original<'a> {
    /// All of it.
    Full(&'a [u8]),
    /// Its header block only.
    Headers(&'a [u8]),
}

/// A composed report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The whole message, CRLF line ends.
    pub message: Vec<u8>,
    /// Whether it needs 8BITMIME.
    pub eight_bit: bool,
    /// Whether it needs SMTPUTF8.
    pub smtputf8: bool,
}

/// Composes a report. The same input always gives the same bytes.
pub fn compose(report: &Report<'_>) -> Composed {
    let (content, full) = match report.original {
        Original::Full(bytes) => (bytes, true),
        Original::Headers(bytes) => (bytes, false),
    };
    let global = report.smtputf8
        || report.to.needs_utf8()
        || report.recipients.iter().any(|r| r.final_address.needs_utf8());
    let notification = notification(report, global);
    let status = delivery_status(report, global);
    let eight_bit = [notification.as_bytes(), status.as_bytes(), content]
        .iter()
        .any(|part| !part.is_ascii());
    let boundary = boundary(report.id, &[notification.as_bytes(), status.as_bytes(), content]);

    let mut out = header(report, &boundary, eight_bit).into_bytes();
    let mut part = |description: &str, content_type: &str, body: &[u8]| {
        let mut head =
            format!("--{boundary}\r\nContent-Description: {description}\r\nContent-Type: {content_type}\r\n");
        if !body.is_ascii() {
            head.push_str("Content-Transfer-Encoding: 8bit\r\n");
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        // The line break before a delimiter belongs to it (RFC 2046 5.1.1).
        out.extend_from_slice(b"\r\n");
    };
    let charset = if notification.is_ascii() {
        "us-ascii"
    } else {
        "utf-8"
    };
    part(
        "Notification",
        &format!("text/plain; charset={charset}"),
        notification.as_bytes(),
    );
    let status_type = if global {
        "message/global-delivery-status"
    } else {
        "message/delivery-status"
    };
    part("Delivery report", status_type, status.as_bytes());
    let message_name = if report.action == Action::Failed {
        "Undelivered Message"
    } else {
        "Message"
    };
    match (full, global) {
        (true, false) => part(message_name, "message/rfc822", content),
        (true, true) => part(message_name, "message/global", content),
        (false, false) => part(&format!("{message_name} Headers"), "text/rfc822-headers", content),
        (false, true) => part(
            &format!("{message_name} Headers"),
            "message/global-headers",
            content,
        ),
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Composed {
        message: out,
        eight_bit,
        smtputf8: global,
    }
}

/// The header block of the report and the line for programs that know no MIME.
fn header(report: &Report<'_>, boundary: &str, eight_bit: bool) -> String {
    let host = report.host;
    let mut out = format!(
        "From: Mail Delivery System <MAILER-DAEMON@{host}>\r\n\
         To: {}\r\n\
         Subject: {}\r\n\
         Date: {}\r\n\
         Message-ID: <{}@{host}>\r\n\
         Auto-Submitted: auto-replied\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n",
        report.to,
        report.action.subject(),
        date(report.date),
        report.id,
    );
    if eight_bit {
        out.push_str("Content-Transfer-Encoding: 8bit\r\n");
    }
    out.push_str("\r\nThis is a report about mail delivery in MIME format.\r\n\r\n");
    out
}

/// The part for people.
fn notification(report: &Report<'_>, global: bool) -> String {
    let mut out = format!(
        "This is the mail system at host {}.\r\n\r\n{}\r\n\
         Questions go to the postmaster; please include this report.\r\n",
        report.host,
        report.action.explanation()
    );
    for recipient in &report.recipients {
        out.push_str(&format!("\r\n<{}>", recipient.final_address));
        if let Some(original) = &recipient.original
            && original.address != recipient.final_address.to_string()
        {
            out.push_str(&format!(" (sent to <{}>)", clean(&original.address, global)));
        }
        let said = clean(&recipient.reply.to_string(), global);
        match &recipient.mta {
            Some(mta) => out.push_str(&format!(": host {} said:\r\n", clean(mta, global))),
            None => out.push_str(":\r\n"),
        }
        for line in wrap(&said, 74) {
            out.push_str(&format!("    {line}\r\n"));
        }
    }
    out
}

/// The part for programs (RFC 3464 2.1).
fn delivery_status(report: &Report<'_>, global: bool) -> String {
    let mut out = format!("Reporting-MTA: dns; {}\r\n", report.host);
    if let Some(envid) = report.envid {
        out.push_str(&format!("Original-Envelope-Id: {}\r\n", xtext_encode(envid)));
    }
    out.push_str(&format!(
        "X-Postrider-Queue-ID: {}\r\nX-Postrider-Sender: {}\r\nArrival-Date: {}\r\n",
        report.about,
        typed(report.to),
        date(report.arrival)
    ));
    for recipient in &report.recipients {
        out.push_str("\r\n");
        if let Some(original) = &recipient.original {
            let address = if original.address.is_ascii() || global {
                clean(&original.address, global)
            } else {
                xtext_encode(&original.address)
            };
            out.push_str(&format!(
                "Original-Recipient: {}; {address}\r\n",
                original.addr_type
            ));
        }
        out.push_str(&format!(
            "Final-Recipient: {}\r\n",
            typed(&recipient.final_address)
        ));
        out.push_str(&format!("Action: {}\r\n", report.action.as_str()));
        let class = report.action.class();
        let status = recipient.reply.status.filter(|status| status.class == class);
        out.push_str(&format!(
            "Status: {}\r\n",
            status.unwrap_or(report.action.default_status())
        ));
        if let Some(mta) = &recipient.mta {
            out.push_str(&format!("Remote-MTA: dns; {}\r\n", clean(mta, global)));
        }
        let (kind, reply) = match recipient.mta {
            Some(_) => ("smtp", recipient.reply.to_string()),
            None => ("X-Postrider", recipient.reply.to_string()),
        };
        let diagnostic = format!("Diagnostic-Code: {kind}; {}", clean(&reply, global));
        // Folded, because a server's reply may be longer than a line (RFC 3464 2.1.1).
        out.push_str(&wrap(&diagnostic, 74).join("\r\n    "));
        out.push_str("\r\n");
        if let Some(time) = recipient.last_attempt {
            out.push_str(&format!("Last-Attempt-Date: {}\r\n", date(time)));
        }
        if let Some(time) = recipient
            .will_retry_until
            .filter(|_| report.action == Action::Delayed)
        {
            out.push_str(&format!("Will-Retry-Until: {}\r\n", date(time)));
        }
    }
    out
}

/// `rfc822; address`, or `utf-8; address` (RFC 6533 3).
fn typed(address: &Address) -> String {
    let kind = if address.needs_utf8() { "utf-8" } else { "rfc822" };
    format!("{kind}; {address}")
}

/// RFC 5322 3.3.
fn date(time: Timestamp) -> String {
    // Only years outside 0 to 9999 fail; a report with an odd date is better than none.
    jiff::fmt::rfc2822::to_string(&time.to_zoned(jiff::tz::TimeZone::UTC))
        .unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned())
}

/// Foreign text on one line: control characters become blanks, and what is not ASCII question marks unless
/// the report is international.
fn clean(text: &str, global: bool) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            c if !c.is_ascii() && !global => '?',
            c => c,
        })
        .collect()
}

/// Breaks at blanks into lines of at most `width` characters where that is possible; a word above 900 is cut,
/// because no line may have more than 998 octets.
fn wrap(text: &str, width: usize) -> Vec<String> {
    const LONGEST: usize = 900;
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let mut end = LONGEST.min(word.len());
        while !word.is_char_boundary(end) {
            end -= 1;
        }
        let word = &word[..end];
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A boundary that stands in none of the parts.
fn boundary(id: MailId, parts: &[&[u8]]) -> String {
    for n in 0u32.. {
        let candidate = format!("={id}.{n}");
        let taken = parts
            .iter()
            .any(|part| memchr::memmem::find(part, candidate.as_bytes()).is_some());
        if !taken {
            return candidate;
        }
    }
    // Four billion candidates do not all stand in one message.
    format!("={id}")
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
