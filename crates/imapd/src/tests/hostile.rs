//! Messages that are meant to hurt (robustness.md 2.4), read with every item that looks into them.

use super::world::World;

/// The rows, as stored (LF).
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let text = |row: &'static str, text: String| (row, text.into_bytes());
    let nested: String = (0..10_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"))
        .collect();
    let parameters: String = (0..100_000).map(|n| format!("; f*{n}*=a")).collect();
    vec![
        text("M01", nested),
        text(
            "M02",
            format!(
                "Content-Type: multipart/mixed; boundary=b\n\n{}",
                "--b\n\nx\n".repeat(100_000)
            ),
        ),
        text("M03", "Content-Type: message/rfc822\n\n".repeat(5_000)),
        text(
            "M05",
            format!("Content-Disposition: x{parameters}; f*999999999*=a\n\nbody\n"),
        ),
        text(
            "M06",
            "Content-Disposition: attachment; filename*=utf-8''a%2e%00exe; filename=\"..\\\\..\\\\x\"\n\nx\n"
                .into(),
        ),
        text(
            "M07",
            format!("From: a (b\\\nTo: {}\nCc: \"unclosed\n\nx\n", "(".repeat(100_000)),
        ),
        text(
            "M09",
            format!(
                "Subject: {}=?utf-8?b?!!!?= =?x?q?a?=\n\nx\n",
                "=?utf-8?q?=C3?= ".repeat(10_000)
            ),
        ),
        text(
            "M10",
            "Content-Type: multipart/mixed; boundary=\"(.*)+\"\n\n--(.*)+\n\nx\n--(.*)+--\n--(.*)+--\n"
                .into(),
        ),
        text(
            "M11",
            format!(
                "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n{}\n=A=\n",
                "Q".repeat(2_000_000)
            ),
        ),
        text(
            "M13",
            format!(
                "Date: 99 Foo 99999999999 25:61:61 +9999\nDate: {}\n\nx\n",
                "9".repeat(1_000_000)
            ),
        ),
        text(
            "M15",
            format!(
                "{}: v\n{}\n\nx\n",
                "N".repeat(1_000_000),
                (0..20_000).map(|n| format!("X-{n}: v\n")).collect::<String>()
            ),
        ),
        text("lines", "no header at all\nMIME-Version: 1.0\n".into()),
        text("empty header", "\n\nbody\n".into()),
        (
            "octets",
            b"Subject: a\0b\xff\xfe\r\nFrom: \"\xe4\0\" <a@b>\n\n\0\x80\r\r\n\n".to_vec(),
        ),
    ]
}

/// Parentheses open as often as they close, outside strings and literals.
fn assert_balanced(row: &str, response: &[u8]) {
    let mut depth = 0;
    let mut at = 0;
    while at < response.len() {
        match response[at] {
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                assert!(depth >= 0, "{row}: closes more than it opened at {at}");
            }
            b'"' => {
                at += 1;
                while response[at] != b'"' {
                    at += 1 + usize::from(response[at] == b'\\');
                }
            }
            b'{' => {
                let end = at + response[at..].iter().position(|b| *b == b'}').unwrap();
                let len: usize = std::str::from_utf8(&response[at + 1..end])
                    .unwrap()
                    .parse()
                    .unwrap();
                at = end + 2 + len;
            }
            _ => {}
        }
        at += 1;
    }
    assert_eq!(depth, 0, "{row}");
}

#[tokio::test]
async fn every_message_can_be_looked_at() {
    let world = World::new("").await;
    let messages = messages();
    for (number, (_, message)) in messages.iter().enumerate() {
        world.put_bytes(&format!("{}.m", 1000 + number), message);
    }
    let mut client = world.select("INBOX").await;
    for (number, (row, message)) in messages.iter().enumerate() {
        let number = number + 1;
        let start = std::time::Instant::now();
        // Twice: read from the message, and from what was remembered.
        for _ in 0..2 {
            client
                .send(&format!(
                    "t FETCH {number} (ENVELOPE BODY BODYSTRUCTURE RFC822.SIZE)\r\n"
                ))
                .await;
            assert_balanced(row, &client.response_bytes().await);
            assert_eq!(client.response().await, "t OK FETCH completed", "{row}");
        }
        client
            .send(&format!("t FETCH {number} (RFC822.SIZE BODY.PEEK[])\r\n"))
            .await;
        let whole = client.response_bytes().await;
        let mut expected = message::mime::to_crlf(message);
        expected
            .iter_mut()
            .filter(|byte| **byte == 0)
            .for_each(|byte| *byte = 0x80);
        let head = format!(
            "* {number} FETCH (RFC822.SIZE {0} BODY[] {{{0}}}\r\n",
            expected.len()
        );
        assert_eq!(
            whole.strip_prefix(head.as_bytes()).unwrap(),
            [&expected[..], b")"].concat(),
            "{row}"
        );
        assert_eq!(client.response().await, "t OK FETCH completed", "{row}");
        for key in [
            "TEXT nothing-like-that",
            "SUBJECT nothing",
            "SENTSINCE 1-Jan-1990",
            "HEADER X-19999 none",
        ] {
            assert_eq!(
                client.ok(&format!("SEARCH {number} {key}")).await,
                ["* SEARCH"],
                "{row} {key}"
            );
        }
        for section in ["1", "1.1", "1.MIME", "TEXT", "HEADER", "9.9.9"] {
            let answer = client
                .command(&format!("FETCH {number} BODY.PEEK[{section}]<0.100>"))
                .await;
            assert!(
                answer.last().unwrap().starts_with("OK "),
                "{row} {section}: {answer:?}"
            );
        }
        // Unoptimised and on a machine that does other things; far from what a quadratic step would take.
        assert!(start.elapsed().as_secs() < 60, "{row}: {:?}", start.elapsed());
    }
}
