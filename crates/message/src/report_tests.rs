//! Tests of the reports, read back with another parser.

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

use super::*;

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn recipient(address: &str) -> ReportedRecipient {
    ReportedRecipient {
        final_address: address.parse().unwrap(),
        original: OriginalRecipient::parse("rfc822;alias@here.test"),
        reply: Reply::new(550, EnhancedStatus::new(5, 1, 1), "no such\nuser here"),
        mta: Some("mx.there.test".to_owned()),
        last_attempt: Some(time(1_700_000_500)),
        will_retry_until: Some(time(1_700_400_000)),
    }
}

fn report<'a>(to: &'a Address, original: Original<'a>) -> Report<'a> {
    Report {
        action: Action::Failed,
        host: "mail.here.test",
        id: MailId::new(1_700_000_000_000, 1),
        date: time(1_700_001_000),
        to,
        about: MailId::new(1_699_000_000_000, 2),
        arrival: time(1_700_000_000),
        envid: Some("a b"),
        smtputf8: false,
        recipients: vec![recipient("u@there.test"), recipient("v@there.test")],
        original,
    }
}

fn text(composed: &Composed) -> String {
    String::from_utf8_lossy(&composed.message).into_owned()
}

#[test]
fn a_bounce() {
    let to = "alice@here.test".parse().unwrap();
    let composed = compose(&report(&to, Original::Full(b"Subject: x\r\n\r\nbody\r\n")));
    assert!(!composed.eight_bit && !composed.smtputf8);
    let parsed = MessageParser::default().parse(&composed.message).unwrap();
    assert_eq!(parsed.subject(), Some("Undelivered Mail Returned to Sender"));
    let content_type = parsed.content_type().unwrap();
    assert_eq!(
        (content_type.ctype(), content_type.subtype()),
        ("multipart", Some("report"))
    );
    assert_eq!(content_type.attribute("report-type"), Some("delivery-status"));
    let children = parsed.part(0).unwrap().sub_parts().unwrap();
    let kinds: Vec<String> = children
        .iter()
        .map(|n| {
            let kind = parsed.part(*n).unwrap().content_type().unwrap();
            format!("{}/{}", kind.ctype(), kind.subtype().unwrap())
        })
        .collect();
    assert_eq!(kinds, ["text/plain", "message/delivery-status", "message/rfc822"]);
    let all = text(&composed);
    for expected in [
        "From: Mail Delivery System <MAILER-DAEMON@mail.here.test>\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "Content-Description: Notification\r\n",
        "Content-Description: Delivery report\r\n",
        "Content-Description: Undelivered Message\r\n",
        "Reporting-MTA: dns; mail.here.test\r\nOriginal-Envelope-Id: a+20b\r\n",
        "Arrival-Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n",
        "\r\n\r\nOriginal-Recipient: rfc822; alias@here.test\r\nFinal-Recipient: rfc822; u@there.test\r\n\
         Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.there.test\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 no such user here\r\n\
         Last-Attempt-Date: Tue, 14 Nov 2023 22:21:40 +0000\r\n",
        "\r\n\r\nSubject: x\r\n\r\nbody\r\n\r\n--",
        "<u@there.test> (sent to <alias@here.test>): host mx.there.test said:\r\n    550 5.1.1 no such user here\r\n",
    ] {
        assert!(all.contains(expected), "{expected:?} in\n{all}");
    }
    assert!(!all.contains("Will-Retry-Until"));
}

#[test]
fn the_other_kinds() {
    let to = "alice@here.test".parse().unwrap();
    for (action, subject, status) in [
        (
            Action::Delayed,
            "Delayed Mail (still being retried)",
            "Status: 4.0.0\r\n",
        ),
        (
            Action::Delivered,
            "Successful Mail Delivery Report",
            "Status: 2.0.0\r\n",
        ),
        (
            Action::Relayed,
            "Successful Mail Delivery Report",
            "Status: 2.0.0\r\n",
        ),
        (
            Action::Expanded,
            "Successful Mail Delivery Report",
            "Status: 2.0.0\r\n",
        ),
    ] {
        let report = Report {
            action,
            ..report(&to, Original::Headers(b"Subject: x\r\n"))
        };
        let all = text(&compose(&report));
        assert!(
            all.contains(&format!("Subject: {subject}\r\n")) && all.contains(status),
            "{all}"
        );
        assert!(
            all.contains("Content-Description: Message Headers\r\nContent-Type: text/rfc822-headers\r\n")
        );
        assert_eq!(all.contains("Will-Retry-Until: "), action == Action::Delayed);
    }
}

#[test]
fn international_mail() {
    let to: Address = "jörg@here.test".parse().unwrap();
    let composed = compose(&report(&to, Original::Full("Subject: ü\r\n\r\nx\r\n".as_bytes())));
    assert!(composed.eight_bit && composed.smtputf8);
    let all = text(&composed);
    assert!(all.contains("Content-Type: message/global-delivery-status\r\n"));
    assert!(all.contains("X-Postrider-Sender: utf-8; jörg@here.test\r\n"));
    assert!(all.contains("Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n"));
}

#[test]
fn a_message_that_quotes_the_boundary() {
    let to = "alice@here.test".parse().unwrap();
    let first = format!("={}.0", MailId::new(1_700_000_000_000, 1));
    let body = format!("A: b\r\n\r\n--{first}\r\n");
    let composed = compose(&report(&to, Original::Full(body.as_bytes())));
    assert!(!text(&composed).contains(&format!("boundary=\"{first}\"")));
    assert_eq!(
        MessageParser::default()
            .parse(&composed.message)
            .unwrap()
            .part(0)
            .unwrap()
            .sub_parts()
            .unwrap()
            .len(),
        3
    );
}

proptest! {
    #[test]
    fn what_a_server_says_adds_no_field(said in "\\PC{0,300}[\\r\\n\u{85}]{0,3}\\PC{0,1200}", utf8 in any::<bool>()) {
        let to = "alice@here.test".parse().unwrap();
        let mut report = report(&to, Original::Headers(b"Subject: x\r\n"));
        report.smtputf8 = utf8;
        report.recipients.truncate(1);
        report.recipients[0].reply = Reply::plain(550, format!("{said}\nInjected: yes"));
        let composed = compose(&report);
        let all = String::from_utf8(composed.message).unwrap();
        prop_assert!(all.lines().all(|line| line.len() <= 998 && !line.starts_with("Injected")));
        prop_assert!(!all.replace("\r\n", "").contains(['\r', '\n']));
        prop_assert!(utf8 || all.is_ascii());
    }
}
