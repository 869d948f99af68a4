//! SELECT, FETCH, STORE, SEARCH, APPEND, COPY, MOVE, EXPUNGE in one session.

use super::world::World;

const MIXED: &str = "From: A <a@b.c>\nSubject: =?utf-8?q?J=C3=B6rg?=\nDate: Mon, 05 Jan 2026 10:00:00 +0000\n\
MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhi there\n--b\n\
Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ngr=FC=\nn\n--b--\n";

fn plain(subject: &str) -> String {
    format!("Subject: {subject}\n\nbody\n")
}

#[tokio::test]
async fn select_tells_everything() {
    let world = World::new("").await;
    world.put("1.a", &plain("one"));
    world.put("2.b", &plain("two"));
    let mut client = world.log_in().await;
    assert_eq!(
        client.ok("STATUS INBOX (MESSAGES RECENT UIDNEXT UNSEEN)").await,
        ["* STATUS \"INBOX\" (MESSAGES 2 RECENT 2 UIDNEXT 3 UNSEEN 2)"]
    );
    let lines = client.command("SELECT inbox").await;
    assert_eq!(
        lines[0],
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)"
    );
    assert!(
        lines[1].starts_with(
            "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \\*)]"
        )
    );
    assert_eq!(
        lines[2..5],
        ["* 2 EXISTS", "* 2 RECENT", "* OK [UNSEEN 1] First unseen message"]
    );
    assert!(lines[5].starts_with("* OK [UIDVALIDITY "));
    assert_eq!(
        lines[6..],
        [
            "* OK [UIDNEXT 3] Predicted next UID",
            "OK [READ-WRITE] SELECT completed"
        ]
    );
    // \Recent belongs to the first session that was told.
    assert_eq!(client.ok("FETCH 1 FLAGS").await, ["* 1 FETCH (FLAGS (\\Recent))"]);
    let lines = client.command("EXAMINE INBOX").await;
    assert_eq!(lines[3], "* 0 RECENT");
    assert!(lines[1].starts_with("* OK [PERMANENTFLAGS ()]"));
    assert_eq!(lines.last().unwrap(), "OK [READ-ONLY] EXAMINE completed");
    for command in ["STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "MOVE 1 INBOX"] {
        client.tagged(command, "NO Mailbox is open read-only").await;
    }
    // A body read there is not seen.
    client.ok("FETCH 1 BODY[]").await;
    assert_eq!(client.ok("SEARCH UNSEEN").await, ["* SEARCH 1 2"]);
    // After a SELECT that fails nothing is selected.
    client.tagged("SELECT nowhere", "NO [NONEXISTENT]").await;
    client.tagged("FETCH 1 FLAGS", "BAD No mailbox selected").await;
}

#[tokio::test]
async fn fetch_items() {
    let world = World::new("").await;
    world.put("1.a", MIXED);
    let mut client = world.select("INBOX").await;
    let wire = MIXED.replace('\n', "\r\n");
    assert_eq!(
        client.ok("FETCH 1 (UID RFC822.SIZE BODY.PEEK[])").await,
        [format!(
            "* 1 FETCH (UID 1 RFC822.SIZE {0} BODY[] {{{0}}}\r\n{1})",
            wire.len(),
            wire
        )]
    );
    assert_eq!(
        client
            .ok("FETCH 1:* (BODY.PEEK[1] BODY.PEEK[2]<1.3> BODY.PEEK[3])")
            .await,
        ["* 1 FETCH (BODY[1] {8}\r\nhi there BODY[2]<1> {3}\r\nr=F BODY[3] NIL)"]
    );
    assert_eq!(
        client.ok("FETCH 1 BODY.PEEK[HEADER.FIELDS (From x-none)]").await,
        ["* 1 FETCH (BODY[HEADER.FIELDS (From x-none)] {19}\r\nFrom: A <a@b.c>\r\n\r\n)"]
    );
    let envelope = "(\"Mon, 05 Jan 2026 10:00:00 +0000\" \"=?utf-8?q?J=C3=B6rg?=\" ((\"A\" NIL \"a\" \"b.c\")) \
        ((\"A\" NIL \"a\" \"b.c\")) ((\"A\" NIL \"a\" \"b.c\")) NIL NIL NIL NIL NIL)";
    for _ in 0..2 {
        // The second time from the cache.
        assert_eq!(
            client.ok("UID FETCH 1 ENVELOPE").await,
            [format!("* 1 FETCH (UID 1 ENVELOPE {envelope})")]
        );
    }
    let structure = client.ok("FETCH 1 (BODYSTRUCTURE BODY)").await.remove(0);
    assert!(
        structure.contains(
            "\"iso-8859-1\") NIL NIL \"quoted-printable\" 9 1 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\")"
        ),
        "{structure}"
    );
    assert!(structure.contains(" BODY ((\"text\""), "{structure}");
    // What sets \Seen says so in the same response.
    assert_eq!(
        client.ok("FETCH 1 BODY[1]").await,
        ["* 1 FETCH (BODY[1] {8}\r\nhi there FLAGS (\\Seen \\Recent))"
            .replace("\\Seen \\Recent", "\\Recent \\Seen")]
    );
    assert_eq!(client.ok("FETCH 1 RFC822.TEXT").await.len(), 1);
    let date = client.ok("FETCH 1 FAST").await.remove(0);
    assert!(
        date.contains("INTERNALDATE \"") && date.contains(" +0000\""),
        "{date}"
    );
}

#[tokio::test]
async fn sets_and_numbers() {
    let world = World::new("").await;
    let mut client = world.select("INBOX").await;
    // An empty mailbox.
    assert!(client.ok("FETCH 1:* FLAGS").await.is_empty());
    assert!(client.ok("UID FETCH 1:* FLAGS").await.is_empty());
    assert_eq!(client.ok("SEARCH ALL").await, ["* SEARCH"]);
    for name in ["1.a", "2.b", "3.c"] {
        world.put(name, &plain(name));
    }
    assert_eq!(client.ok("NOOP").await, ["* 3 EXISTS", "* 3 RECENT"]);
    assert_eq!(
        client.ok("FETCH *:2 UID").await,
        ["* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)"]
    );
    assert_eq!(client.ok("UID FETCH 9:* UID").await, ["* 3 FETCH (UID 3)"]);
    assert!(client.ok("UID FETCH 7:9 UID").await.is_empty());
    client.tagged("FETCH 4 UID", "BAD").await;
}

#[tokio::test]
async fn store_and_search_flags() {
    let world = World::new("").await;
    world.put("1.a", &plain("one"));
    world.put("2.b", &plain("two"));
    let mut client = world.select("INBOX").await;
    assert_eq!(
        client.ok("STORE 1 +FLAGS (\\Seen $Label)").await,
        [
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $Label)",
            "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $Label \\*)] Flags permitted",
            "* 1 FETCH (FLAGS (\\Recent \\Seen $Label))",
        ]
    );
    assert!(client.ok("STORE 2 +FLAGS.SILENT (\\Flagged)").await.is_empty());
    assert_eq!(
        client.ok("UID STORE 2 FLAGS (\\Answered)").await,
        ["* 2 FETCH (UID 2 FLAGS (\\Recent \\Answered))"]
    );
    assert_eq!(
        client.ok("STORE 2 +FLAGS $Forwarded").await,
        ["* 2 FETCH (FLAGS (\\Recent \\Answered $Forwarded))"]
    );
    assert_eq!(world.files("cur"), ["1.a:2,S", "2.b:2,PR"]);
    for (key, found) in [
        ("SEEN", "1"),
        ("UNSEEN", "2"),
        ("KEYWORD $label", "1"),
        ("UNKEYWORD $label", "2"),
        ("KEYWORD $Forwarded", "2"),
        ("KEYWORD $none", ""),
        ("ANSWERED RECENT", "2"),
        ("NEW", "2"),
        ("OLD", ""),
        ("OR SEEN ANSWERED", "1 2"),
        ("2:*", "2"),
        ("UID 1", "1"),
        ("NOT (1 SEEN)", "2"),
    ] {
        let expected = format!("* SEARCH {found}").trim_end().to_owned();
        assert_eq!(client.ok(&format!("SEARCH {key}")).await, [expected], "{key}");
    }
    client.tagged("STORE 1 +FLAGS (\\Foo)", "BAD").await;
    client.ok("STORE 1 FLAGS ()").await;
    assert_eq!(client.ok("FETCH 1 FLAGS").await, ["* 1 FETCH (FLAGS (\\Recent))"]);
}

#[tokio::test]
async fn search_in_text() {
    let world = World::new("").await;
    world.put("1.a", MIXED);
    world.put("2.b", &plain("two"));
    let mut client = world.select("INBOX").await;
    for (key, found) in [
        ("SUBJECT \"JÖRG\"", "1"),
        ("CHARSET UTF-8 SUBJECT {5+}\r\njörg", "1"),
        ("FROM a@b", "1"),
        ("FROM \"\"", "1"),
        ("HEADER Subject two", "2"),
        ("BODY \"grün\"", "1"),
        ("BODY BODY", "2"),
        ("TEXT two", "2"),
        ("NOT TEXT two", "1"),
        ("SENTON 5-Jan-2026", "1"),
        ("SENTSINCE 6-Jan-2026", ""),
        ("SENTBEFORE 6-Jan-2026", "1"),
        ("SINCE 1-Jan-2020 BEFORE 1-Jan-2100", "1 2"),
        ("ON 1-Jan-1999", ""),
        ("SMALLER 100", "2"),
        ("LARGER 100", "1"),
        ("SMALLER 0", ""),
    ] {
        let expected = format!("* SEARCH {found}").trim_end().to_owned();
        client.send(&format!("t SEARCH {key}\r\n")).await;
        assert_eq!(
            client.answer("t").await,
            [expected.as_str(), "OK SEARCH completed"],
            "{key}"
        );
    }
    client
        .tagged("SEARCH CHARSET KOI8-R ALL", "NO [BADCHARSET (US-ASCII UTF-8)]")
        .await;
}

#[tokio::test]
async fn append_and_what_it_refuses() {
    let world =
        World::new("[general]\nmessage_size_limit = \"64K\"\nlogin_trusted_networks = [\"127.0.0.0/8\"]")
            .await;
    let mut client = world.select("INBOX").await;
    let message = "Subject: x\r\n\r\n.dot\r\nlast";
    let done = client
        .append("INBOX (\\Seen $L) \"05-Jan-2026 10:00:00 +0000\"", message)
        .await;
    assert!(
        done.starts_with("OK [APPENDUID ") && done.ends_with(" 1] APPEND completed"),
        "{done}"
    );
    assert_eq!(
        client.ok("FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[])").await,
        [format!(
            "* 1 FETCH (FLAGS (\\Recent \\Seen $L) INTERNALDATE \"05-Jan-2026 10:00:00 +0000\" BODY[] {{{}}}\r\n{message})",
            message.len()
        )]
    );
    // With a continuation, the mailbox as a literal.
    client.send("t APPEND {5}\r\n").await;
    assert_eq!(client.response().await, "+ OK");
    client.send("INBOX {4}\r\n").await;
    assert_eq!(client.response().await, "+ OK");
    client.send("a: b\r\n").await;
    let lines = client.answer("t").await;
    assert_eq!(lines[..2], ["* 2 EXISTS", "* 2 RECENT"]);
    // robustness.md I25: refused before the continuation, and nothing is left.
    for (arguments, answer) in [
        ("nowhere {4}", "NO [TRYCREATE]"),
        ("../x {4}", "NO [CANNOT]"),
        ("INBOX {65537}", "NO [TOOBIG]"),
        ("INBOX {0}", "NO [CANNOT]"),
        ("INBOX (\\Foo) {4}", "BAD"),
        ("INBOX \"31-Feb-2026 10:00:00 +0000\" {4}", "BAD"),
    ] {
        client.tagged(&format!("APPEND {arguments}"), answer).await;
    }
    assert!(client.append("INBOX", "a\0b").await.starts_with("NO [CANNOT]"));
    assert!(
        client
            .append("INBOX", &"x".repeat(70_000))
            .await
            .starts_with("NO [TOOBIG]")
    );
    client.send("t APPEND INBOX {1+}\r\nx {1+}\r\nx\r\n").await;
    assert_eq!(client.answer("t").await, ["BAD Only one message at a time"]);
    // robustness.md I26
    client.send("t APPEND INBOX {1000+}\r\nhalf").await;
    drop(client);
    let mut other = world.select("INBOX").await;
    assert_eq!(other.ok("SEARCH ALL").await, ["* SEARCH 1 2"]);
    while !world.files("tmp").is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn copy_move_expunge() {
    let world = World::new("").await;
    for name in ["1.a", "2.b", "3.c", "4.d"] {
        world.put(name, &plain(name));
    }
    let mut client = world.select("INBOX").await;
    client.tagged("COPY 1 Other", "NO [TRYCREATE]").await;
    client.ok("CREATE Other").await;
    client.ok("STORE 1:2 +FLAGS (\\Seen $K)").await;
    let copied = client.command("COPY 1:2 Other").await.pop().unwrap();
    assert!(
        copied.starts_with("OK [COPYUID ") && copied.contains(" 1:2 1:2]"),
        "{copied}"
    );
    let moved = client.command("UID MOVE 2,4 Other").await;
    assert!(
        moved[0].starts_with("* OK [COPYUID ") && moved[0].contains(" 2,4 3:4]"),
        "{moved:?}"
    );
    assert_eq!(moved[1..], ["* 4 EXPUNGE", "* 2 EXPUNGE", "OK MOVE completed"]);
    client.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(client.ok("UID EXPUNGE 3").await, ["* 2 EXPUNGE"]);
    assert_eq!(client.ok("EXPUNGE").await, ["* 1 EXPUNGE"]);
    assert_eq!(client.ok("UID COPY 77 Other").await, Vec::<String>::new());
    client.ok("SELECT Other").await;
    assert_eq!(client.ok("SEARCH SEEN KEYWORD $K").await, ["* SEARCH 1 2 3"]);
    client.tagged("MOVE 1 Other", "NO [CANNOT]").await;
    client.ok("STORE 1 +FLAGS (\\Deleted)").await;
    client.ok("UNSELECT").await;
    client.ok("SELECT Other").await;
    assert_eq!(client.ok("CLOSE").await, Vec::<String>::new());
    assert_eq!(
        client.ok("STATUS Other (MESSAGES)").await,
        ["* STATUS \"Other\" (MESSAGES 3)"]
    );
    client.tagged("EXPUNGE", "BAD No mailbox selected").await;
}

#[tokio::test]
async fn a_large_message_goes_out_piece_by_piece() {
    let world = World::new("").await;
    let body = "0123456789\n".repeat(300_000);
    world.put("1.a", &format!("Subject: big\n\n{body}"));
    let mut client = world.select("INBOX").await;
    let wire = format!("Subject: big\r\n\r\n{}", body.replace('\n', "\r\n"));
    let got = client.ok("FETCH 1 BODY.PEEK[]").await.remove(0);
    assert_eq!(got, format!("* 1 FETCH (BODY[] {{{}}}\r\n{wire})", wire.len()));
    let part = client.ok("FETCH 1 BODY.PEEK[]<1000001.70000>").await.remove(0);
    assert!(part.ends_with(&format!("{{70000}}\r\n{})", &wire[1_000_001..1_070_001])));
}

#[tokio::test]
async fn several_large_parts_in_one_response() {
    let world = World::new("").await;
    let (first, second) = ("a1\n".repeat(50_000), "b2\n".repeat(60_000));
    world.put(
        "1.a",
        &format!("Content-Type: multipart/mixed; boundary=x\n\n--x\n\n{first}\n--x\n\n{second}\n--x--\n"),
    );
    let mut client = world.select("INBOX").await;
    let (first, second) = (first.replace('\n', "\r\n"), second.replace('\n', "\r\n"));
    client
        .send("t FETCH 1 (BODY.PEEK[1] BODY.PEEK[2] BODY.PEEK[1]<4.100000> RFC822.SIZE)\r\n")
        .await;
    let response = client.answer("t").await.remove(0);
    let expected = format!(
        "* 1 FETCH (BODY[1] {{{}}}\r\n{first} BODY[2] {{{}}}\r\n{second} BODY[1]<4> {{100000}}\r\n{} RFC822.SIZE ",
        first.len(),
        second.len(),
        &first[4..100_004]
    );
    assert!(response.starts_with(&expected), "{response:.200}");
}

#[tokio::test]
async fn only_readers_see_the_same_recent_messages() {
    let world = World::new("").await;
    world.put("1.a", &plain("one"));
    let mut reader = world.log_in().await;
    assert!(
        reader
            .command("EXAMINE INBOX")
            .await
            .contains(&"* 1 RECENT".to_owned())
    );
    world.put("2.b", &plain("two"));
    assert_eq!(reader.ok("NOOP").await, ["* 2 EXISTS", "* 2 RECENT"]);
    let long = "k".repeat(256);
    let mut writer = world.select("INBOX").await;
    writer
        .tagged(&format!("STORE 1 +FLAGS ({long})"), "NO [LIMIT]")
        .await;
    assert!(
        writer
            .append(&format!("INBOX ({long})"), "a: b")
            .await
            .starts_with("NO [LIMIT]")
    );
    assert_eq!(writer.ok("SEARCH 5:9").await, ["* SEARCH"]);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_costs_only_itself() {
    // robustness.md I35
    let world = World::new("").await;
    for name in ["1.a", "2.b", "3.c"] {
        world.put(name, &plain(name));
    }
    let mut client = world.select("INBOX").await;
    std::fs::remove_file(world.maildir().join("cur/2.b:2,")).unwrap();
    let lines = client.command("FETCH 1:3 BODY.PEEK[HEADER]").await;
    let fetched: Vec<&String> = lines.iter().filter(|line| line.contains(" FETCH ")).collect();
    assert_eq!(fetched.len(), 2, "{lines:?}");
    assert!(
        lines.last().unwrap().starts_with("NO [EXPUNGEISSUED]"),
        "{lines:?}"
    );
}
