//! Tests of the conversion, read back with another parser.

use mail_parser::{MessageParser, MimeHeaders, PartType};

use super::*;

/// Converts and reads back; the content of every leaf must be what it was.
fn round_trip(message: &[u8]) -> Vec<u8> {
    let converted = to_seven_bit(message).unwrap();
    assert!(converted.is_ascii());
    let lines = converted.split(|b| *b == b'\n');
    assert!(lines.clone().all(|l| l.len() <= 1000));
    let before = MessageParser::default().parse(message).unwrap();
    let after = MessageParser::default().parse(&converted).unwrap();
    assert_eq!(before.parts.len(), after.parts.len());
    for (a, b) in before.parts.iter().zip(&after.parts) {
        match (&a.body, &b.body) {
            (PartType::Multipart(x), PartType::Multipart(y)) => assert_eq!(x, y),
            (PartType::Message(_), PartType::Message(_)) => {}
            _ => assert_eq!(a.contents(), b.contents()),
        }
        let kind = |part: &mail_parser::MessagePart<'_>| part.content_type().map(|c| c.ctype().to_owned());
        assert!(kind(a) == kind(b) || kind(a).is_none());
    }
    converted
}

#[test]
fn ascii_stays_as_it_is() {
    let message = b"Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\nhello\r\n";
    assert_eq!(to_seven_bit(message).unwrap(), message);
}

#[test]
fn text_becomes_quoted_printable() {
    let body = format!(
        "gr\u{fc}n = x \r\n.\r\nFrom me\r\n{}\r\nend",
        "\u{e4}".repeat(100)
    );
    let message = format!(
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}"
    );
    let converted = String::from_utf8(round_trip(message.as_bytes())).unwrap();
    assert!(converted.contains(
        "Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BCn =3D x=20\r\n=2E\r\n=46rom me\r\n"
    ));
    assert_eq!(converted.matches("Content-Transfer-Encoding").count(), 1);
    assert!(converted.lines().all(|line| line.len() <= 76));
}

#[test]
fn other_leaves_become_base64() {
    let mut message = b"MIME-Version: 1.0\r\nContent-Type: application/pdf\r\n\r\n".to_vec();
    message.extend((0..300u32).map(|n| (n % 251) as u8));
    round_trip(&message);
}

#[test]
fn a_message_without_mime_gets_it() {
    let converted = to_seven_bit("Subject: x\r\n\r\n\u{e4}\r\n".as_bytes()).unwrap();
    assert_eq!(
        String::from_utf8(converted).unwrap(),
        "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4\r\n"
    );
}

#[test]
fn parts_are_converted_one_by_one() {
    let message = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n\
        Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n--a b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\u{e4}\r\n\
        --a b\r\nContent-Type: text/html\r\n\r\n<p>plain</p>\r\n--a b  \r\n\
        Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\r\n\u{f6}\r\n--in--\r\n\r\n--a b\r\n\
        Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\r\n\u{fc}\r\n--a b--\r\nepilogue\r\n";
    let converted = String::from_utf8(round_trip(message.as_bytes())).unwrap();
    assert!(
        converted.contains("\r\n\r\npreamble\r\n--a b\r\n")
            && converted.ends_with("\r\n--a b--\r\nepilogue\r\n")
    );
    assert!(
        converted.contains("Content-Type: text/html\r\n\r\n<p>plain</p>\r\n--a b  \r\n"),
        "{converted}"
    );
    assert_eq!(
        converted
            .matches("Content-Transfer-Encoding: quoted-printable")
            .count(),
        3
    );
}

#[test]
fn what_cannot_be_converted() {
    let cases: [(&str, ConvertError); 6] = [
        ("Subject: \u{e4}\r\n\r\nx\r\n", ConvertError::Header),
        (
            "Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\n\u{e4}\r\n--x--\r\n",
            ConvertError::Signed,
        ),
        (
            "Content-Type: multipart/mixed\r\n\r\n\u{e4}\r\n",
            ConvertError::Structure,
        ),
        (
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n\u{e4}\r\n",
            ConvertError::Structure,
        ),
        (
            "Content-Transfer-Encoding: base64\r\n\r\n\u{e4}\r\n",
            ConvertError::Structure,
        ),
        (
            "Content-Type: message/partial\r\n\r\n\u{e4}\r\n",
            ConvertError::Structure,
        ),
    ];
    for (message, error) in cases {
        let message = format!("MIME-Version: 1.0\r\n{message}");
        assert_eq!(to_seven_bit(message.as_bytes()), Err(error), "{message}");
    }
    let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(200) + "\u{e4}";
    assert_eq!(to_seven_bit(deep.as_bytes()), Err(ConvertError::Depth));
}

proptest::proptest! {
    /// Pieces of messages in any order: never a panic, never an octet above 127.
    #[test]
    fn whatever_comes_out_is_seven_bit(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "Subject: x\r\n", "MIME-Version: 1.0\r\n", "Content-Type: multipart/mixed; boundary=\"b\"\r\n",
                "Content-Type: text/plain\r\n", "Content-Type: message/rfc822\r\n", "Content-Transfer-Encoding: 8bit\r\n",
                "\r\n", "--b\r\n", "--b--\r\n", "--b", "\r", "\n", "\u{e4}", "\u{e4}\r\n", "text\r\n", " folded\r\n", ";", "=", "\"",
            ]),
            0..25,
        ),
    ) {
        let message = pieces.concat();
        match to_seven_bit(message.as_bytes()) {
            Ok(converted) => proptest::prop_assert!(converted.is_ascii()),
            Err(_) => proptest::prop_assert!(!message.is_ascii()),
        }
    }
}
