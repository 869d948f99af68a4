//! What smtpd changes in the header of a message, and what it refuses there.

use std::time::SystemTime;

use mail_types::{Address, Domain, MailId, Reply, ReversePath};
use message::header::{self, CollectedHeader, Field, HeaderEnd};

use crate::error;
use crate::received::date;

/// What the rules for a header depend on.
#[derive(Debug, Clone)]
pub struct HeaderPolicy {
    /// Whether the message comes from one of ours (a user who logged in, an own network): missing fields are
    /// added, blind copies are taken out.
    pub ours: bool,
    /// Whether the From field has to be judged.
    pub judge_from: bool,
    /// Most Received fields.
    pub hop_limit: usize,
    /// Our name.
    pub hostname: String,
    /// Our domain, for a Message-ID.
    pub domain: Domain,
    /// The message's id.
    pub id: MailId,
    /// The envelope sender.
    pub sender: ReversePath,
    /// Arrival.
    pub time: SystemTime,
}

/// A header as it is stored.
#[derive(Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Fields, separator line, and what of the body was read with them.
    pub bytes: Vec<u8>,
    /// The Message-ID, for the log.
    pub message_id: Option<String>,
    /// The addresses of the From field, where they have to be judged; the inner `None` is an unusable field.
    pub from: Option<Option<Vec<Address>>>,
}

/// Applies the rules.
pub fn rewrite(collected: &CollectedHeader, policy: &HeaderPolicy) -> Result<Rewritten, Reply> {
    if header::count(&collected.header, "Received") > policy.hop_limit {
        return Err(error::too_many_hops());
    }
    let mut fields = header::remove(&collected.header, |field| unwanted(field, policy));
    if !fields.is_empty() && !fields.ends_with(b"\n") {
        fields.extend_from_slice(b"\r\n");
    }
    let mut bytes = if policy.ours {
        missing(&fields, policy)
    } else {
        Vec::new()
    };
    bytes.extend_from_slice(&fields);
    let from = policy.judge_from.then(|| from_field(&bytes));
    let message_id = header::message_id(&bytes);
    bytes.extend_from_slice(b"\r\n");
    // A line that is no field begins the body; the separator above now stands before it.
    if collected.end == HeaderEnd::Implied {
        bytes.extend_from_slice(&collected.body_start);
    }
    Ok(Rewritten {
        bytes,
        message_id,
        from,
    })
}

/// The addresses of the one From field; none where there is another number of them, no address in it, or more
/// than one way to read it.
fn from_field(fields: &[u8]) -> Option<Vec<Address>> {
    let addresses = header::from_addresses(fields, MOST_FROM).ok()?;
    (header::count(fields, "From") == 1 && !addresses.is_empty()).then_some(addresses)
}

/// Return-Path is ours to write at final delivery; results that claim to be from us are not; blind copies of
/// our users are nobody's business.
fn unwanted(field: &Field<'_>, policy: &HeaderPolicy) -> bool {
    field.is("Return-Path")
        || (field.is("Authentication-Results") && claims_to_be(field, &policy.hostname))
        || (policy.ours && (field.is("Bcc") || field.is("Resent-Bcc")))
}

/// Whether the field's authserv-id is our name (RFC 8601 5).
fn claims_to_be(field: &Field<'_>, hostname: &str) -> bool {
    let value = field.value();
    let name = value
        .split(|b| b.is_ascii_whitespace() || matches!(b, b';' | b'/' | b'('))
        .find(|word| !word.is_empty())
        .unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(hostname.as_bytes())
}

/// The fields that RFC 6409 8 lets a submission server add.
fn missing(fields: &[u8], policy: &HeaderPolicy) -> Vec<u8> {
    let mut added = String::new();
    let lacks = |name: &str| header::find(fields, name).is_none();
    if lacks("Date") {
        added.push_str(&format!("Date: {}\r\n", date(policy.time)));
    }
    if lacks("Message-ID") {
        added.push_str(&format!("Message-ID: <{}@{}>\r\n", policy.id, policy.domain));
    }
    if lacks("From")
        && let Some(sender) = policy.sender.address()
    {
        added.push_str(&format!("From: {sender}\r\n"));
    }
    added.into_bytes()
}

/// Addresses of a From field that are looked at.
const MOST_FROM: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use message::header::{HeaderLimits, HeaderReader};

    fn policy(ours: bool) -> HeaderPolicy {
        HeaderPolicy {
            ours,
            judge_from: ours,
            hop_limit: 2,
            hostname: "mx.test".into(),
            domain: Domain::new("test").unwrap(),
            id: MailId::new(1, 2),
            sender: "u@local.test".parse().unwrap(),
            time: SystemTime::UNIX_EPOCH,
        }
    }

    fn run(text: &str, policy: &HeaderPolicy) -> Result<Rewritten, Reply> {
        let mut reader = HeaderReader::new(HeaderLimits::default());
        reader.push(text.as_bytes()).unwrap();
        rewrite(&reader.finish().unwrap(), policy)
    }

    fn text(text: &str, policy: &HeaderPolicy) -> String {
        String::from_utf8(run(text, policy).unwrap().bytes).unwrap()
    }

    #[test]
    fn mail_from_outside_keeps_its_fields() {
        let outside = policy(false);
        assert_eq!(
            text(
                "Return-Path: <x@y.test>\r\nAuthentication-Results: MX.test; dkim=pass\r\n\
                 Authentication-Results: other.test; dkim=pass\r\nBcc: a@b.test\r\nSubject: x\r\n\r\n",
                &outside
            ),
            "Authentication-Results: other.test; dkim=pass\r\nBcc: a@b.test\r\nSubject: x\r\n\r\n"
        );
        assert_eq!(
            text("From me Mon\r\nSubject: x\r\n\r\n", &outside),
            "Subject: x\r\n\r\n"
        );
        assert_eq!(text("no field\r\n", &outside), "\r\nno field\r\n");
        assert_eq!(text("", &outside), "\r\n");
        assert_eq!(text("Subject: x\r\n", &outside), "Subject: x\r\n\r\n");
    }

    #[test]
    fn mail_of_ours_is_completed() {
        let ours = policy(true);
        let got = text(
            "Subject: x\r\nBcc: a@b.test,\r\n c@d.test\r\nResent-Bcc: e@f.test\r\n\r\n",
            &ours,
        );
        assert!(!got.contains("a@b.test") && !got.contains("c@d.test") && !got.contains("e@f.test"));
        assert!(
            got.contains("Date: ") && got.contains("From: u@local.test\r\n"),
            "{got}"
        );
        assert!(
            got.contains("Message-ID: <00000001000000000002@test>\r\n"),
            "{got}"
        );
        assert!(got.ends_with("Subject: x\r\n\r\n"), "{got}");
        let whole = "Date: x\r\nMessage-ID: <a@b>\r\nFrom: u@local.test\r\n\r\n";
        let rewritten = run(whole, &ours).unwrap();
        assert_eq!(rewritten.bytes, whole.as_bytes());
        assert_eq!(rewritten.message_id.as_deref(), Some("a@b"));
        assert_eq!(rewritten.from, Some(Some(vec!["u@local.test".parse().unwrap()])));
    }

    #[test]
    fn from_fields_that_two_readers_may_differ_about() {
        for from in [
            "From: a@a.test\r\nFrom: u@local.test\r\n",
            "From:\r\n",
            "From: nobody\r\n",
        ] {
            let rewritten = run(&format!("{from}\r\n"), &policy(true)).unwrap();
            assert_eq!(rewritten.from, Some(None), "{from}");
        }
        let forged = "From: \"u@local.test\" <e@a.test>\r\n\r\n";
        let from = run(forged, &policy(true)).unwrap().from.unwrap().unwrap();
        assert!(from.contains(&"e@a.test".parse().unwrap()));
        assert_eq!(run(forged, &policy(false)).unwrap().from, None);
    }

    #[test]
    fn too_many_hops() {
        let hop = "Received: from x\r\n";
        assert!(run(&hop.repeat(2), &policy(false)).is_ok());
        let refusal = run(&hop.repeat(3), &policy(false)).unwrap_err();
        assert_eq!(refusal.to_string(), "554 5.4.0 Error: too many hops");
    }
}
