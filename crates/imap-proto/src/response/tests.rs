//! Responses byte for byte.

use message::mime::{Envelope, Structure};

use super::*;
use crate::command::{FetchItem, Section, SectionText};

fn encoded(response: &Response<'_>) -> String {
    let mut out = Vec::new();
    response.encode(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn untagged_data() {
    let list = |name, attributes| Response::List {
        subscribed: false,
        attributes,
        separator: Some('.'),
        name,
    };
    for (response, expected) in [
        (Response::Exists(3), "* 3 EXISTS\r\n"),
        (Response::Search(&[1, 4]), "* SEARCH 1 4\r\n"),
        (Response::Search(&[]), "* SEARCH\r\n"),
        (
            list("Entwürfe", &["\\HasNoChildren", "\\Drafts"]),
            "* LIST (\\HasNoChildren \\Drafts) \".\" \"Entw&APw-rfe\"\r\n",
        ),
        (list("a\"b", &[]), "* LIST () \".\" \"a\\\"b\"\r\n"),
        (
            Response::MailboxStatus("a", &[("MESSAGES", 1), ("UNSEEN", 0)]),
            "* STATUS \"a\" (MESSAGES 1 UNSEEN 0)\r\n",
        ),
        (
            Response::Namespace {
                prefix: "",
                separator: '.',
            },
            "* NAMESPACE ((\"\" \".\")) NIL NIL\r\n",
        ),
        (Response::Id(&[("name", "x")]), "* ID (\"name\" \"x\")\r\n"),
        (Response::Challenge(b"Username:"), "+ VXNlcm5hbWU6\r\n"),
        (Response::Enabled(&[]), "* ENABLED\r\n"),
    ] {
        assert_eq!(encoded(&response), expected);
    }
}

#[test]
fn status_text_cannot_end_the_line() {
    let status = StatusResponse {
        tag: Some("a"),
        status: Status::No,
        code: Some(Code::TryCreate),
        text: "x\r\ny ü",
    };
    assert_eq!(encoded(&Response::Status(status)), "a NO [TRYCREATE] x??y ?\r\n");
}

#[test]
fn strings_that_cannot_be_quoted_are_literals() {
    let mut out = Vec::new();
    put_string(&mut out, b"a\0\xff");
    assert_eq!(out, b"{3}\r\na\x80\xff");
}

#[test]
fn section_names_are_echoed() {
    let item = |path: &[u32], text, partial| FetchItem::Section {
        peek: true,
        section: Section {
            path: path.to_vec(),
            text,
        },
        partial,
    };
    let fields = SectionText::HeaderFields {
        not: false,
        names: vec![b"From".to_vec(), b"X Y".to_vec()],
    };
    for (item, expected) in [
        (item(&[], SectionText::All, None), "BODY[] {5}\r\n"),
        (
            item(&[1, 2], SectionText::Mime, Some((10, 5))),
            "BODY[1.2.MIME]<10> {5}\r\n",
        ),
        (
            item(&[], fields, None),
            "BODY[HEADER.FIELDS (From \"X Y\")] {5}\r\n",
        ),
        (FetchItem::Rfc822Header, "RFC822.HEADER {5}\r\n"),
    ] {
        let mut out = Vec::new();
        fetch::section(&mut out, &item, Some(5));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

/// The ENVELOPE of RFC 3501 section 8.
#[test]
fn envelope_of_the_rfc() {
    let header = b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\nFrom: Terry Gray <gray@cac.washington.edu>\n\
        Subject: IMAP4rev1 WG mtg summary and minutes\nTo: imap@cac.washington.edu\n\
        cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\n\
        Message-Id: <B27397-0100000@cac.washington.edu>\n";
    let mut out = Vec::new();
    structure::envelope(&mut out, &Envelope::parse(header));
    let gray = "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\"))";
    let expected = format!(
        "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" {gray} {gray} {gray} \
         ((NIL NIL \"imap\" \"cac.washington.edu\")) ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")\
         (\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.edu>\")"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

fn body(raw: &str, extended: bool) -> String {
    let mut out = Vec::new();
    structure::body(&mut out, &Structure::parse(raw.as_bytes()), extended);
    String::from_utf8(out).unwrap()
}

#[test]
fn structures() {
    assert_eq!(
        body("Subject: x\n\nhi\n", true),
        "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1 NIL NIL NIL NIL)"
    );
    let mixed = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhi\n--b\n\
        Content-Type: application/pdf; name=x.pdf\nContent-Transfer-Encoding: base64\n\
        Content-Disposition: attachment; filename=x.pdf\n\nAAAA\n--b--\n";
    assert_eq!(
        body(mixed, false),
        "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 2 0)(\"application\" \"pdf\" (\"name\" \"x.pdf\") NIL NIL \
         \"base64\" 4) \"mixed\")"
    );
    assert_eq!(
        body(mixed, true),
        "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 2 0 NIL NIL NIL NIL)(\"application\" \"pdf\" \
         (\"name\" \"x.pdf\") NIL NIL \"base64\" 4 NIL (\"attachment\" (\"filename\" \"x.pdf\")) NIL NIL) \
         \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"
    );
    let message = body("Content-Type: message/rfc822\n\nSubject: i\n\nx\n", false);
    assert!(
        message.starts_with("(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 (NIL \"i\" NIL"),
        "{message}"
    );
    assert!(
        message.ends_with("(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 1) 3)"),
        "{message}"
    );
    let empty = body("Content-Type: multipart/mixed; boundary=b\n\nx\n", false);
    assert!(
        empty.starts_with("((\"text\" ") && empty.ends_with(" \"mixed\")"),
        "{empty}"
    );
}
