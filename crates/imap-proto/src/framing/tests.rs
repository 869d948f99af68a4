//! Literals, limits and the rows I01 to I06 of robustness.md.

use proptest::prelude::*;

use super::*;

const AFTER: Limits = Limits::after_login(1000);
const BEFORE: Limits = Limits::before_login();

/// Feeds the pieces, accepting every message, and collects what comes out.
fn run(limits: Limits, pieces: &[&[u8]]) -> Vec<Input> {
    let mut framer = Framer::new(limits);
    let mut out: Vec<Input> = Vec::new();
    for piece in pieces {
        framer.feed(piece);
        while let Some(input) = framer.next() {
            match (&input, out.last_mut()) {
                (Input::AppendData(more), Some(Input::AppendData(data))) => {
                    data.extend_from_slice(more);
                    continue;
                }
                (Input::Append { .. }, _) => framer.accept(),
                _ => {}
            }
            out.push(input);
        }
    }
    out
}

fn command(text: &str) -> Input {
    Input::Command(text.as_bytes().to_vec())
}

fn refused(tag: &str, reason: Refusal) -> Input {
    Input::Refused {
        tag: tag.to_owned(),
        reason,
    }
}

#[test]
fn lines_and_literals() {
    assert_eq!(
        run(AFTER, &[b"a NOOP\r\nb NOOP\nc"]),
        [command("a NOOP"), command("b NOOP")]
    );
    assert_eq!(
        run(AFTER, &[b"a LOGIN {1}\r\n", b"u {1+}\r\np\r\n"]),
        [Input::Continue, command("a LOGIN {1}\r\nu {1+}\r\np")]
    );
    // A literal may hold line ends, and one of no octets is one.
    assert_eq!(
        run(AFTER, &[b"a LOGIN {2+}\r\n\r\n {0+}\r\n\r\nb NOOP\r\n"]),
        [command("a LOGIN {2+}\r\n\r\n {0+}\r\n"), command("b NOOP")]
    );
}

#[test]
fn what_is_no_literal_is_text() {
    // robustness.md I02
    for text in [
        "a LOGIN {-1}",
        "a LOGIN { 1}",
        "a LOGIN {1}x",
        "a LOGIN {1+",
        "a LOGIN {+}",
        "a LOGIN {}",
    ] {
        assert_eq!(run(BEFORE, &[text.as_bytes(), b"\r\n"]), [command(text)]);
    }
}

#[test]
fn literals_beyond_the_limits() {
    // robustness.md I01, I03: no continuation, and an end where the stream cannot be followed.
    let big = refused("a", Refusal::LiteralTooBig);
    assert_eq!(
        run(BEFORE, &[b"a LOGIN {4294967295}\r\nb NOOP\r\n"]),
        [big.clone(), command("b NOOP")]
    );
    assert_eq!(
        run(BEFORE, &[b"a LOGIN {99999999999999999999}\r\n"]),
        std::slice::from_ref(&big)
    );
    assert_eq!(
        run(BEFORE, &[b"a LOGIN {10000000+}\r\n"]),
        [Input::Fatal(Refusal::LiteralTooBig)]
    );
    let swallowed = [
        b"a LOGIN {2000+}\r\n".to_vec(),
        vec![b'x'; 2000],
        b" y\r\nb NOOP\r\n".to_vec(),
    ]
    .concat();
    assert_eq!(run(BEFORE, &[&swallowed]), [big, command("b NOOP")]);
    let many = "a ID ({1+}\r\nx {1+}\r\nx {1+}\r\nx {1+}\r\nx {1+}\r\nx)\r\nb NOOP\r\n";
    assert_eq!(
        run(BEFORE, &[many.as_bytes()]),
        [refused("a", Refusal::TooManyLiterals), command("b NOOP")]
    );
}

#[test]
fn lines_beyond_the_limit() {
    // robustness.md I06
    let long = [b"a NOOP ".to_vec(), vec![b'('; 8192], b"\r\nb NOOP\r\n".to_vec()].concat();
    assert_eq!(
        run(BEFORE, &[&long]),
        [refused("a", Refusal::LineTooLong), command("b NOOP")]
    );
    let endless = vec![b'x'; 4096];
    let pieces: Vec<&[u8]> = (0..40).map(|_| endless.as_slice()).collect();
    assert_eq!(
        run(BEFORE, &pieces),
        [
            refused("*", Refusal::LineTooLong),
            Input::Fatal(Refusal::LineTooLong)
        ]
    );
    // Lines around literals count together.
    let parts = format!("a ID ({{1+}}\r\nx{}\r\n", "y".repeat(8190));
    assert_eq!(
        run(BEFORE, &[parts.as_bytes()]),
        [refused("a", Refusal::LineTooLong)]
    );
}

#[test]
fn append_is_streamed() {
    let head = |text: &str, size, sync| Input::Append {
        head: text.as_bytes().to_vec(),
        size,
        sync,
    };
    assert_eq!(
        run(
            AFTER,
            &[b"a APPEND x (\\Seen) {5}\r\n", b"he\r\n", b"o\r\nb NOOP\r\n"]
        ),
        [
            head("a APPEND x (\\Seen) ", 5, true),
            Input::AppendData(b"he\r\no".to_vec()),
            Input::AppendEnd(true),
            command("b NOOP")
        ]
    );
    // The mailbox as a literal, and an empty message.
    assert_eq!(
        run(AFTER, &[b"a append {1+}\r\nx {0+}\r\n\r\n"]),
        [head("a append {1+}\r\nx ", 0, false), Input::AppendEnd(true)]
    );
    // A second message (RFC 3502) is not offered.
    assert_eq!(
        run(AFTER, &[b"a APPEND x {1+}\r\nm {3+}\r\nfoo\r\nb NOOP\r\n"]),
        [
            head("a APPEND x ", 1, false),
            Input::AppendData(b"m".to_vec()),
            Input::AppendEnd(false),
            command("b NOOP")
        ]
    );
}

#[test]
fn append_is_refused_before_the_continuation() {
    // robustness.md I11, I25
    assert_eq!(
        run(AFTER, &[b"a APPEND x {1001}\r\n"]),
        [refused("a", Refusal::MessageTooBig)]
    );
    assert_eq!(
        run(BEFORE, &[b"a APPEND x {10}\r\nb NOOP\r\n"]),
        [refused("a", Refusal::LoginFirst), command("b NOOP")]
    );
    let mut framer = Framer::new(AFTER);
    framer.feed(b"a APPEND x {3+}\r\nabc\r\nb NOOP\r\n");
    assert!(matches!(framer.next(), Some(Input::Append { size: 3, .. })));
    assert_eq!(framer.next(), None);
    assert!(framer.refuse());
    assert_eq!(framer.next(), Some(command("b NOOP")));
    framer.feed(b"a APPEND x {3}\r\nb NOOP\r\n");
    assert!(matches!(framer.next(), Some(Input::Append { sync: true, .. })));
    assert!(framer.refuse());
    assert_eq!(framer.next(), Some(command("b NOOP")));
    assert!(framer.is_idle());
}

proptest! {
    /// However the input is cut, the same comes out, and nothing panics.
    #[test]
    fn splits_do_not_matter(
        text in "(a |b |APPEND |LOGIN |x|\\(|\\{[0-9]{1,2}\\+?\\}\r\n|\r\n|\n|\\{|\\}| ){0,30}",
        cuts in proptest::collection::vec(0usize..200, 0..6),
    ) {
        let bytes = text.as_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
        at.sort_unstable();
        at.insert(0, 0);
        at.push(bytes.len());
        let pieces: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(run(AFTER, &pieces), run(AFTER, &[bytes]));
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = run(BEFORE, &[&bytes]);
    }
}
