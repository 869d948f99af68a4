//! Structure and sections: the examples of RFC 3501 6.4.5, and robustness.md 2.4.

use proptest::prelude::*;

use super::*;
use crate::mime::{MAX_DEPTH, MAX_PARTS, SectionText, crlf_len, to_crlf};

/// The message of RFC 3501 6.4.5, cut down: text, attachment, message with two parts, multipart.
const NESTED: &str = "Subject: outer\n\
MIME-Version: 1.0\n\
Content-Type: multipart/mixed; boundary=o\n\
\n\
preamble\n\
--o\n\
\n\
one\n\
--o\n\
Content-Type: application/octet-stream\n\
\n\
two\n\
--o\n\
Content-Type: message/rfc822\n\
\n\
Subject: inner\n\
Content-Type: multipart/mixed; boundary=i\n\
\n\
--i\n\
Content-Type: text/plain; name=a\n\
\n\
inner one\n\
--i\n\
\n\
inner two\n\
\n\
--i--\n\
--o\n\
Content-Type: multipart/alternative; boundary=b\n\
\n\
--b\n\
\n\
plain\n\
--b\n\
Content-Type: text/html\n\
\n\
<html>\n\
--b--\n\
epilogue\n\
--o--\n\
end\n";

fn section(raw: &str, path: &[u32], text: SectionText<'_>) -> Option<String> {
    let structure = Structure::parse(raw.as_bytes());
    let found = structure.section(raw.as_bytes(), path, &text)?;
    Some(String::from_utf8(to_crlf(found.bytes(raw.as_bytes()))).unwrap())
}

#[test]
fn sections_of_a_nested_message() {
    use SectionText::{All, Header, Mime, Text};
    let all = |path: &[u32]| section(NESTED, path, All);
    assert_eq!(all(&[]).unwrap(), NESTED.replace('\n', "\r\n"));
    assert_eq!(all(&[1]).as_deref(), Some("one"));
    assert_eq!(all(&[2]).as_deref(), Some("two"));
    assert!(all(&[3]).unwrap().starts_with("Subject: inner\r\n"));
    assert_eq!(all(&[3, 1]).as_deref(), Some("inner one"));
    assert_eq!(all(&[3, 2]).as_deref(), Some("inner two\r\n"));
    assert_eq!(all(&[4, 1]).as_deref(), Some("plain"));
    assert_eq!(all(&[4, 2]).as_deref(), Some("<html>"));
    for missing in [&[5][..], &[1, 1], &[3, 3], &[4, 3], &[3, 1, 1]] {
        assert_eq!(all(missing), None, "{missing:?}");
    }
    assert_eq!(
        section(NESTED, &[3, 1], Mime).as_deref(),
        Some("Content-Type: text/plain; name=a\r\n\r\n")
    );
    assert!(
        section(NESTED, &[3], Header)
            .unwrap()
            .starts_with("Subject: inner\r\nContent-Type")
    );
    assert!(section(NESTED, &[3], Text).unwrap().starts_with("--i\r\n"));
    assert_eq!(section(NESTED, &[1], Header), None);
    assert_eq!(section(NESTED, &[], Mime), None);
    let names = [b"sUbject".to_vec()];
    let fields = |path, not| section(NESTED, path, SectionText::Fields { not, names: &names }).unwrap();
    assert_eq!(fields(&[], false), "Subject: outer\r\n\r\n");
    assert_eq!(fields(&[3], false), "Subject: inner\r\n\r\n");
    assert!(fields(&[], true).starts_with("MIME-Version"));
}

#[test]
fn sizes_are_those_of_crlf_text() {
    let structure = Structure::parse(NESTED.as_bytes());
    assert_eq!(structure.size(), NESTED.replace('\n', "\r\n").len() as u64);
    let part = structure.part_at(&[3, 2]).unwrap();
    assert_eq!((part.body_size(), part.body_lines()), (11, 1));
    let message = structure.part_at(&[3]).unwrap();
    assert_eq!(
        message.body_size(),
        section(NESTED, &[3], SectionText::All).unwrap().len() as u64
    );
    // The same message stored with CRLF has the same sizes.
    let crlf = NESTED.replace('\n', "\r\n");
    let other = Structure::parse(crlf.as_bytes());
    assert_eq!(other.size(), structure.size());
    let sizes = |s: &Structure| {
        s.parts()
            .iter()
            .map(|p| (p.body_size(), p.body_lines()))
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(&other), sizes(&structure));
}

#[test]
fn a_message_without_mime_has_one_part() {
    let raw = "Subject: x\n\nhello\n";
    assert_eq!(section(raw, &[1], SectionText::All).as_deref(), Some("hello\r\n"));
    assert_eq!(section(raw, &[2], SectionText::All), None);
    assert_eq!(section(raw, &[1, 1], SectionText::All), None);
    assert_eq!(
        section(raw, &[], SectionText::Header).as_deref(),
        Some("Subject: x\r\n\r\n")
    );
    assert_eq!(
        section("no field here\nx", &[], SectionText::Text).as_deref(),
        Some("no field here\r\nx")
    );
    assert_eq!(Structure::parse(b"").size(), 0);
}

#[test]
fn boundaries_are_exact() {
    // robustness.md M10: `b` is not `bb`; padding is allowed; one that never closes; two closings.
    let raw =
        "Content-Type: multipart/mixed; boundary=b\n\n--bb\n--b \t\n\nx\n--bx\n--b--\n--b--\n--b\n\ny\n";
    assert_eq!(section(raw, &[1], SectionText::All).as_deref(), Some("x\r\n--bx"));
    assert_eq!(section(raw, &[2], SectionText::All), None);
    let open = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n";
    assert_eq!(section(open, &[1], SectionText::All).as_deref(), Some("x\r\n"));
    for none in ["", "; boundary=\"\"", &format!("; boundary={}", "x".repeat(2049))] {
        let raw = format!("Content-Type: multipart/mixed{none}\n\n--\n\nx\n");
        let structure = Structure::parse(raw.as_bytes());
        assert!(
            structure.root().content.is("application", "octet-stream"),
            "{none}"
        );
    }
}

#[test]
fn parts_without_header_or_body() {
    let raw = "Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\nA: b\n--b\n\n--b--\n";
    let structure = Structure::parse(raw.as_bytes());
    assert_eq!(structure.root().kind, Kind::Multipart(vec![1, 2, 3]));
    for n in 1..=3 {
        assert_eq!(section(raw, &[n], SectionText::All).as_deref(), Some(""));
    }
}

#[test]
fn digests_hold_messages() {
    let raw = "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: one\n\nx\n--b--\n";
    let structure = Structure::parse(raw.as_bytes());
    let Kind::Message(_, envelope) = &structure.part_at(&[1]).unwrap().kind else {
        panic!("no message")
    };
    assert_eq!(envelope.subject.as_deref(), Some(&b"one"[..]));
    assert_eq!(section(raw, &[1, 1], SectionText::All).as_deref(), Some("x"));
    // A body that is no message at all, inside one that should be.
    let raw = "Content-Type: message/rfc822\nno field\n";
    assert_eq!(Structure::parse(raw.as_bytes()).parts().len(), 2);
}

#[test]
fn depth_and_number_are_capped() {
    // robustness.md M01, M02, M03
    let deep: String = (0..10_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"))
        .collect();
    let structure = Structure::parse(deep.as_bytes());
    assert_eq!(structure.parts().len(), MAX_DEPTH);
    assert!(
        structure.parts()[MAX_DEPTH - 1]
            .content
            .is("application", "octet-stream")
    );
    let messages = "Content-Type: message/rfc822\n\n".repeat(5_000);
    assert_eq!(Structure::parse(messages.as_bytes()).parts().len(), MAX_DEPTH);
    let wide = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n{}",
        "--b\n\n".repeat(100_000)
    );
    let structure = Structure::parse(wide.as_bytes());
    assert_eq!(structure.parts().len(), MAX_PARTS);
    assert_eq!(structure.parts()[MAX_PARTS - 1].end, structure.root().end);
}

proptest! {
    #[test]
    fn parts_lie_inside_their_parents(
        lines in proptest::collection::vec(prop_oneof![
            Just("--a"), Just("--b"), Just("--a--"), Just(""), Just("x"), Just(" y"), Just("H: v"), Just("--"),
            Just("Content-Type: multipart/mixed; boundary=a"), Just("Content-Type: multipart/digest; boundary=b"),
            Just("Content-Type: message/rfc822"), Just("\r"),
        ], 0..30),
        newline in any::<bool>(),
    ) {
        let raw = lines.join("\n") + if newline { "\n" } else { "" };
        let structure = Structure::parse(raw.as_bytes());
        prop_assert_eq!(structure.size(), crlf_len(raw.as_bytes()));
        for part in structure.parts() {
            prop_assert!(part.header.offset <= part.body.offset && part.body.offset <= part.end.offset);
            prop_assert!(part.end.offset <= raw.len());
            let stored = &raw.as_bytes()[part.body.offset..part.end.offset];
            // Both ways of counting agree, so BODYSTRUCTURE's size is what FETCH delivers.
            prop_assert_eq!(part.body_size(), crlf_len(stored));
        }
    }
}
