//! Tests of header splitting, editing, streaming and address lists.

use proptest::prelude::*;

use super::*;

fn addresses(value: &str) -> Result<Vec<String>, AddressListError> {
    address_list(value.as_bytes(), 100).map(|list| list.iter().map(ToString::to_string).collect())
}

fn read_in_pieces(
    message: &[u8],
    size: usize,
    limits: HeaderLimits,
) -> Result<(CollectedHeader, usize), HeaderLimitError> {
    let mut reader = HeaderReader::new(limits);
    let mut taken = 0;
    for piece in message.chunks(size.max(1)) {
        match reader.push(piece)? {
            Progress::More => taken += piece.len(),
            Progress::Complete(used) => {
                taken += used;
                break;
            }
        }
    }
    Ok((reader.finish()?, taken))
}

#[test]
fn both_line_ends_are_understood() {
    for message in [&b"A: 1\r\nB: 2\r\n 3\r\n\r\nbody"[..], b"A: 1\nB: 2\n 3\n\nbody"] {
        let parts = split(message);
        assert_eq!(parts.body, b"body");
        assert_eq!(parts.end, HeaderEnd::Separator);
        let values: Vec<_> = fields(parts.header).map(|f| f.value().into_owned()).collect();
        assert_eq!(values, [b"1".to_vec(), b"2 3".to_vec()]);
    }
}

#[test]
fn odd_messages_of_s66() {
    type Case = (&'static [u8], &'static [u8], &'static [u8], HeaderEnd);
    let cases: [Case; 8] = [
        (b"", b"", b"", HeaderEnd::EndOfMessage),
        (b"\r\nbody", b"", b"body", HeaderEnd::Separator),
        (b"A: 1\r\n", b"A: 1\r\n", b"", HeaderEnd::EndOfMessage),
        (
            b"A: 1\r\nno colon\r\nB: 2\r\n",
            b"A: 1\r\n",
            b"no colon\r\nB: 2\r\n",
            HeaderEnd::Implied,
        ),
        (b"just text", b"", b"just text", HeaderEnd::Implied),
        (b" A: 1\r\n\r\n", b"", b" A: 1\r\n\r\n", HeaderEnd::Implied),
        (
            b"From a@b.test Mon Jan 5\r\nA: 1\r\n\r\nx",
            b"A: 1\r\n",
            b"x",
            HeaderEnd::Separator,
        ),
        (
            b">From a@b.test 10:00\nA: 1\n\nx",
            b"A: 1\n",
            b"x",
            HeaderEnd::Separator,
        ),
    ];
    for (message, header, body, end) in cases {
        let parts = split(message);
        assert_eq!(
            (parts.header, parts.body, parts.end),
            (header, body, end),
            "{message:?}"
        );
    }
    // A From field with a blank before its colon is a field all the same.
    assert!(split(b"From : a@b.test\r\n\r\n").mailbox_line.is_empty());
}

#[test]
fn names_are_found_in_any_case_and_only_whole() {
    let header = b"received: a\r\nX-Received: b\r\nRECEIVED : c\r\nBad name: d\r\n";
    assert_eq!(count(header, "Received"), 2);
    assert_eq!(
        find_all(header, "Received").last().unwrap().value().as_ref(),
        b"c"
    );
    assert!(find(header, "Bad name").is_none());
}

#[test]
fn removing_takes_continuation_lines_along() {
    let header = b"To: a\r\nBcc: b,\r\n\tc\r\nSubject: x\r\nbcc: d\r\n";
    assert_eq!(remove(header, |f| f.is("Bcc")), b"To: a\r\nSubject: x\r\n");
}

#[test]
fn message_ids_for_the_log() {
    assert_eq!(message_id(b"Message-Id: (c) <a@b>\r\n").as_deref(), Some("a@b"));
    for bad in [
        &b"Message-Id: a@b\r\n"[..],
        b"Message-Id: <>\r\n",
        b"Message-Id: <a b>\r\n",
        b"Subject: <a@b>\r\n",
    ] {
        assert_eq!(message_id(bad), None);
    }
}

#[test]
fn limits_hold_while_streaming() {
    let limits = HeaderLimits {
        header_bytes: 60,
        fields: 3,
        field_bytes: 40,
    };
    let long_field = [b"A: ".as_slice(), &[b'x'; 60]].concat();
    assert_eq!(
        read_in_pieces(&long_field, 7, limits).unwrap_err(),
        HeaderLimitError::Field
    );
    let folded = b"A: 12345678\r\n 12345678\r\n 12345678\r\n 12345678\r\n";
    assert_eq!(
        read_in_pieces(folded, 5, limits).unwrap_err(),
        HeaderLimitError::Field
    );
    assert_eq!(
        read_in_pieces(&b"A: 1\r\n".repeat(4), 5, limits).unwrap_err(),
        HeaderLimitError::Fields
    );
    let long = b"A: 123456789012345678901234567890\r\n".repeat(2);
    assert_eq!(
        read_in_pieces(&long, 5, limits).unwrap_err(),
        HeaderLimitError::Header
    );
    // The 10 MB mbox line of S66 is not collected.
    let mbox = [b"From ".as_slice(), &vec![b'x'; 10_000_000]].concat();
    assert_eq!(
        read_in_pieces(&mbox, 4096, limits).unwrap_err(),
        HeaderLimitError::Field
    );
}

#[test]
fn address_lists() {
    assert_eq!(addresses("a@a.test"), Ok(vec!["a@a.test".into()]));
    assert_eq!(
        addresses("A (x (y) \\) ) <a@a.test>, b@b.test,"),
        Ok(vec!["a@a.test".into(), "b@b.test".into()])
    );
    assert_eq!(
        addresses("=?utf-8?q?u=40v?= J. R. <\"a b\"@A.test>"),
        Ok(vec!["\"a b\"@a.test".into()])
    );
    assert_eq!(
        addresses("friends: a@a.test, B <b@b.test>;, c@c.test"),
        Ok(vec!["a@a.test".into(), "b@b.test".into(), "c@c.test".into()])
    );
    assert_eq!(addresses("nobody:;"), Ok(vec![]));
    assert_eq!(addresses(" "), Ok(vec![]));
    // What a mail program shows counts (S70).
    assert_eq!(
        addresses("\"u@local.test\" <e@a.test>"),
        Ok(vec!["u@local.test".into(), "e@a.test".into()])
    );
    assert_eq!(
        addresses("u@local.test <e@a.test>"),
        Ok(vec!["u@local.test".into(), "e@a.test".into()])
    );
}

#[test]
fn address_lists_that_two_programs_could_read_in_two_ways() {
    for value in [
        "a b@a.test",
        "<a@a.test",
        "a@a.test>",
        "<a@a.test> b",
        "<a@a.test><b@b.test>",
        "a@a.test b@b.test",
        "<@b.test:a@a.test>",
        "<>",
        "a",
        "g: a@a.test",
        "a@a.test;",
        "g: h: a@a.test;",
        "\"a@a.test",
        "(a@a.test",
        "a@b@c.test",
        "a @ \"b.test\"",
        "\0 <a@a.test>",
        "a. b <c@@d.test>",
    ] {
        assert_eq!(addresses(value), Err(AddressListError::Syntax), "{value:?}");
    }
    for value in ["a@[127.0.0.1]", "a@127.0.0.1", "a.@a.test", "a@-x.test"] {
        assert!(addresses(value).is_err(), "{value:?}");
    }
    assert_eq!(
        address_list(b"a@a.test, b@a.test, c@a.test", 2),
        Err(AddressListError::TooMany)
    );
}

#[test]
fn all_from_fields_count() {
    let header = b"From: a@a.test\r\nSubject: x\r\nfrom: b@b.test\r\n";
    assert_eq!(from_addresses(header, 10).unwrap().len(), 2);
    assert_eq!(from_addresses(header, 1), Err(AddressListError::TooMany));
    assert_eq!(from_addresses(b"Subject: x\r\n", 10), Ok(vec![]));
}

#[test]
fn deep_comments_are_linear() {
    let deep = "(".repeat(1_000_000);
    assert_eq!(addresses(&deep), Err(AddressListError::Syntax));
    let closed = format!("{}{} a@a.test", "(".repeat(500_000), ")".repeat(500_000));
    assert_eq!(addresses(&closed), Ok(vec!["a@a.test".into()]));
}

proptest! {
    #[test]
    fn nothing_is_lost_by_splitting(message in "[A:b \r\n\t>From]{0,60}") {
        let message = message.as_bytes();
        let parts = split(message);
        let separator = message.len() - parts.mailbox_line.len() - parts.header.len() - parts.body.len();
        prop_assert_eq!(separator > 0, parts.end == HeaderEnd::Separator);
        prop_assert_eq!(remove(parts.header, |_| false), parts.header);
    }

    #[test]
    fn streaming_sees_what_splitting_sees(message in "[A:b \r\n\t>From]{0,60}", size in 1_usize..20) {
        let message = message.as_bytes();
        let parts = split(message);
        let (read, taken) = read_in_pieces(message, size, HeaderLimits::default()).unwrap();
        prop_assert_eq!(&read.header, parts.header);
        prop_assert_eq!(&read.mailbox_line, parts.mailbox_line);
        prop_assert_eq!(read.end, parts.end);
        prop_assert_eq!([read.body_start.as_slice(), &message[taken..]].concat(), parts.body);
    }

    #[test]
    fn what_is_read_strictly_is_read_the_same_by_mail_parser(value in "[ab.<>@,;:\"() ]{0,24}") {
        if let Ok(strict) = address_list(value.as_bytes(), 100) {
            let message = format!("From: {value}\r\n\r\n");
            let parsed = mail_parser::MessageParser::default().parse(message.as_bytes());
            let loose: Vec<String> = parsed.iter().flat_map(|m| m.from()).flat_map(mail_parser::Address::iter)
                .filter_map(|a| a.address.as_deref()).map(str::to_owned).collect();
            for address in &loose {
                let known = strict.iter().any(|s| s.to_string() == *address || s.local() == address.split('@').next().unwrap_or_default());
                prop_assert!(known || !address.contains('@'), "{value:?}: {strict:?} against {loose:?}");
            }
        }
    }
}
