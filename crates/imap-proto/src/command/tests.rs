//! The grammar by example, and that nothing outside it panics or recurses.

use mail_types::Secret;
use proptest::prelude::*;

use super::*;
use crate::command::{FetchItem, Flags, SearchKey, Section, SectionText, StatusItem, StoreOperation};
use crate::date::Date;
use crate::name::WireName;
use crate::sequence::{Bound, SequenceSet};

fn ok(text: &str) -> Command {
    match parse(format!("t1 {text}").as_bytes()) {
        Ok(parsed) => {
            assert_eq!(parsed.tag, "t1");
            parsed.command
        }
        Err(bad) => panic!("{text}: {bad:?}"),
    }
}

fn bad(text: &str) -> Problem {
    match parse(format!("t1 {text}").as_bytes()) {
        Ok(parsed) => panic!("{text}: {parsed:?}"),
        Err(bad) => {
            assert_eq!(bad.tag, "t1");
            bad.reason
        }
    }
}

fn name(text: &str) -> WireName {
    WireName(text.as_bytes().to_vec())
}

fn set(from: u32, to: Bound) -> SequenceSet {
    SequenceSet::new(vec![(Bound::Number(from), to)])
}

#[test]
fn commands_without_arguments() {
    for (text, command) in [
        ("capability", Command::Capability),
        ("NOOP", Command::Noop),
        ("LOGOUT", Command::Logout),
        ("STARTTLS", Command::StartTls),
        ("CHECK", Command::Check),
        ("CLOSE", Command::Close),
        ("UNSELECT", Command::Unselect),
        ("EXPUNGE", Command::Expunge(None)),
        ("IDLE", Command::Idle),
        ("NAMESPACE", Command::Namespace),
    ] {
        assert_eq!(ok(text), command);
        assert_eq!(bad(&format!("{text} x")), Problem::Arguments);
    }
}

#[test]
fn login_takes_every_kind_of_string() {
    let login = |user: &str, password: &str| Command::Login {
        user: user.as_bytes().to_vec(),
        password: Secret::new(password),
    };
    assert_eq!(ok("LOGIN u p"), login("u", "p"));
    assert_eq!(ok("LOGIN \"u \\\"x\\\\\" \"\""), login("u \"x\\", ""));
    assert_eq!(ok("LOGIN {3}\r\na\"b {2+}\r\n\r\n"), login("a\"b", "\r\n"));
    // robustness.md I07, I02
    for text in [
        "LOGIN \"\0u\" p",
        "LOGIN u\0 p",
        "LOGIN {1}\r\n\0 p",
        "LOGIN {-1}",
        "LOGIN {5}\r\nab p",
        "LOGIN u",
        "LOGIN u p q",
    ] {
        assert_eq!(bad(text), Problem::Arguments);
    }
}

#[test]
fn authenticate_with_and_without_an_initial_response() {
    let plain = |initial: Option<&str>| Command::Authenticate {
        mechanism: "PLAIN".to_owned(),
        initial: initial.map(Secret::new),
    };
    assert_eq!(ok("authenticate plain"), plain(None));
    assert_eq!(ok("AUTHENTICATE PLAIN ="), plain(Some("")));
    assert_eq!(ok("AUTHENTICATE PLAIN AHUAcA=="), plain(Some("\0u\0p")));
    assert_eq!(bad("AUTHENTICATE PLAIN A"), Problem::Arguments);
}

#[test]
fn mailbox_commands() {
    assert_eq!(
        ok("SELECT INBOX"),
        Command::Select {
            mailbox: name("INBOX"),
            read_only: false
        }
    );
    assert_eq!(
        ok("EXAMINE \"a b\""),
        Command::Select {
            mailbox: name("a b"),
            read_only: true
        }
    );
    assert_eq!(ok("CREATE a]b"), Command::Create(name("a]b")));
    assert_eq!(
        ok("RENAME a b"),
        Command::Rename {
            from: name("a"),
            to: name("b")
        }
    );
    assert_eq!(
        ok("UNSUBSCRIBE a"),
        Command::Subscribe {
            mailbox: name("a"),
            subscribe: false
        }
    );
    let list = |reference, pattern, subscribed| Command::List {
        reference: name(reference),
        pattern: name(pattern),
        subscribed,
    };
    assert_eq!(ok("LIST \"\" *"), list("", "*", false));
    assert_eq!(ok("LSUB \"\" \"%.%\""), list("", "%.%", true));
    assert_eq!(ok("LIST \"\" {1}\r\n*"), list("", "*", false));
    assert_eq!(
        ok("STATUS x (messages UIDNEXT)"),
        Command::Status {
            mailbox: name("x"),
            items: vec![StatusItem::Messages, StatusItem::UidNext]
        }
    );
    assert_eq!(bad("STATUS x ()"), Problem::Arguments);
    assert_eq!(bad("STATUS x (FOO)"), Problem::Arguments);
    assert_eq!(bad("SELECT a*b"), Problem::Arguments);
    assert_eq!(bad("SELECT \"a\nb\""), Problem::Arguments);
}

#[test]
fn append_up_to_its_message() {
    let append = ok("APPEND x (\\Seen $Label) \" 5-Jan-2026 10:00:00 +0000\" ");
    let Command::Append { mailbox, flags, date } = append else {
        panic!("{append:?}")
    };
    assert_eq!(mailbox, name("x"));
    assert!(flags.seen && flags.keywords == ["$Label"]);
    assert_eq!(date.unwrap().unix, 1_767_607_200);
    assert!(matches!(ok("APPEND x "), Command::Append { date: None, .. }));
    // robustness.md I25
    assert_eq!(
        bad("APPEND x \"99-Foo-2026 10:00:00 +0000\" "),
        Problem::Arguments
    );
    assert_eq!(bad("APPEND x \"30-Feb-2026 10:00:00 +0000\" "), Problem::Date);
    assert_eq!(bad("APPEND x (\\Foo) "), Problem::Flag);
}

#[test]
fn fetch_items() {
    use FetchItem::{BodyStructure, Envelope, Flags, InternalDate, Rfc822, Rfc822Size, Uid};
    let items = |text: &str| match ok(text) {
        Command::Fetch { items, .. } => items,
        other => panic!("{other:?}"),
    };
    assert_eq!(items("FETCH 1 ALL"), [Flags, InternalDate, Rfc822Size, Envelope]);
    assert_eq!(
        items("FETCH 1:* (FLAGS flags RFC822 BODYSTRUCTURE)"),
        [Flags, Rfc822, BodyStructure]
    );
    assert_eq!(items("UID FETCH 1 FLAGS"), [Uid, Flags]);
    assert_eq!(items("UID FETCH 1 (FLAGS UID)"), [Flags, Uid]);
    let section = |peek, path: &[u32], text, partial| FetchItem::Section {
        peek,
        section: Section {
            path: path.to_vec(),
            text,
        },
        partial,
    };
    assert_eq!(
        items("FETCH 1 BODY[]"),
        [section(false, &[], SectionText::All, None)]
    );
    assert_eq!(
        items("FETCH 1 (body.peek[1.2.MIME]<0.10> BODY[TEXT])"),
        [
            section(true, &[1, 2], SectionText::Mime, Some((0, 10))),
            section(false, &[], SectionText::Text, None)
        ]
    );
    let names = vec![b"From".to_vec(), b"X-A".to_vec()];
    assert_eq!(
        items("FETCH 1 BODY[3.HEADER.FIELDS.NOT (From \"X-A\")]"),
        [section(
            false,
            &[3],
            SectionText::HeaderFields { not: true, names },
            None
        )]
    );
    // robustness.md I21
    for text in [
        "FETCH 1 BODY[0]",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[]<0.0>",
        "FETCH 1 BODY[]<4294967296.1>",
        "FETCH 1 BODY[HEADER.FIELDS ()]",
        "FETCH 1 BODY[1.]",
        "FETCH 1 ()",
        "FETCH 1 (ALL)",
        "FETCH 0 FLAGS",
        "FETCH 1,, FLAGS",
        "FETCH 4294967296 FLAGS",
    ] {
        assert_eq!(bad(text), Problem::Arguments, "{text}");
    }
    assert_eq!(
        bad(&format!("FETCH 1 BODY[{}1]", "1.".repeat(1000))),
        Problem::TooDeep
    );
}

#[test]
fn store_copy_move_expunge() {
    let flags = Flags {
        deleted: true,
        keywords: vec!["$x".to_owned()],
        ..Flags::default()
    };
    assert_eq!(
        ok("UID STORE 2:* +FLAGS.SILENT (\\Deleted $x $X)"),
        Command::Store {
            set: set(2, Bound::Last),
            operation: StoreOperation::Add,
            silent: true,
            flags: flags.clone(),
            uid: true
        }
    );
    assert!(matches!(
        ok("STORE 1 -flags \\Deleted $x"),
        Command::Store {
            operation: StoreOperation::Remove,
            ..
        }
    ));
    assert!(matches!(
        ok("STORE 1 FLAGS ()"),
        Command::Store {
            operation: StoreOperation::Replace,
            ..
        }
    ));
    assert_eq!(bad("STORE 1 FLAGS"), Problem::Arguments);
    assert_eq!(bad("STORE 1 FLAGS \\Foo"), Problem::Flag);
    assert_eq!(
        ok("MOVE 1:2 x"),
        Command::Move {
            set: set(1, Bound::Number(2)),
            mailbox: name("x"),
            uid: false
        }
    );
    assert_eq!(
        ok("UID EXPUNGE 1"),
        Command::Expunge(Some(set(1, Bound::Number(1))))
    );
    assert_eq!(bad("UID NOOP"), Problem::Unknown);
    assert_eq!(bad("UID"), Problem::Arguments);
}

#[test]
fn search_keys() {
    use SearchKey as K;
    let key = |text: &str| match ok(&format!("SEARCH {text}")) {
        Command::Search { key, .. } => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(key("ALL"), K::And(vec![]));
    assert_eq!(key("UNSEEN"), K::Not(Box::new(K::Seen)));
    assert_eq!(key("NOT UNSEEN"), K::Seen);
    assert_eq!(key("1:2"), K::Sequence(set(1, Bound::Number(2))));
    assert_eq!(key("UID 5:*"), K::Uid(set(5, Bound::Last)));
    assert_eq!(
        key("OR FROM a (SUBJECT \"b c\" SINCE 1-Feb-1994)"),
        K::Or(
            Box::new(K::Header("from".to_owned(), "a".to_owned())),
            Box::new(K::And(vec![
                K::Header("subject".to_owned(), "b c".to_owned()),
                K::Since(Date::new(1994, 2, 1).unwrap())
            ]))
        )
    );
    assert_eq!(key("CHARSET utf-8 TEXT {2}\r\nü"), K::Text("ü".to_owned()));
    assert_eq!(
        key("HEADER Message-ID \"\""),
        K::Header("message-id".to_owned(), String::new())
    );
    assert_eq!(
        key("KEYWORD $Junk LARGER 5"),
        K::And(vec![K::Keyword("$Junk".to_owned()), K::Larger(5)])
    );
    assert_eq!(bad("SEARCH CHARSET KOI8-R ALL"), Problem::Charset);
    assert_eq!(bad("SEARCH SINCE 31-Feb-1994"), Problem::Date);
    for text in [
        "SEARCH",
        "SEARCH FOO",
        "SEARCH ()",
        "SEARCH (ALL",
        "SEARCH OR ALL",
        "SEARCH KEYWORD \\Seen",
    ] {
        assert_eq!(bad(text), Problem::Arguments, "{text}");
    }
}

#[test]
fn nesting_is_capped() {
    // robustness.md I22
    for text in ["NOT ", "OR ALL ", "("] {
        assert_eq!(
            bad(&format!("SEARCH {}ALL", text.repeat(10_000))),
            Problem::TooDeep,
            "{text}"
        );
        assert!(
            parse(
                format!(
                    "a SEARCH {}ALL{}",
                    text.repeat(20),
                    if text == "(" {
                        ")".repeat(20)
                    } else {
                        String::new()
                    }
                )
                .as_bytes()
            )
            .is_ok()
        );
    }
}

#[test]
fn id_and_enable() {
    assert_eq!(ok("ID NIL"), Command::Id(vec![]));
    assert_eq!(
        ok("ID (\"name\" \"x\" \"v\" NIL)"),
        Command::Id(vec![
            (b"name".to_vec(), Some(b"x".to_vec())),
            (b"v".to_vec(), None)
        ])
    );
    // robustness.md I33
    assert_eq!(
        bad(&format!("ID ({})", vec!["\"a\" NIL"; 31].join(" "))),
        Problem::Arguments
    );
    assert_eq!(
        ok("ENABLE condstore x"),
        Command::Enable(vec!["CONDSTORE".to_owned(), "X".to_owned()])
    );
    assert_eq!(bad("ENABLE"), Problem::Arguments);
}

#[test]
fn tags() {
    // robustness.md I13
    let long = "a".repeat(129);
    for text in [
        "+ NOOP",
        "* NOOP",
        "% NOOP",
        " NOOP",
        "",
        "NOOP",
        &format!("{long} NOOP"),
        "a\u{e4} NOOP",
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap_err().tag, "*", "{text}");
    }
    assert_eq!(
        parse(b"a.1-x] FOO").unwrap_err(),
        BadCommand {
            tag: "a.1-x]".to_owned(),
            reason: Problem::Unknown
        }
    );
    assert_eq!(parse(b"a ").unwrap_err().reason, Problem::Tag);
    assert!(parse(format!("{} NOOP", "a".repeat(128)).as_bytes()).is_ok());
}

proptest! {
    #[test]
    fn never_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&input);
    }

    #[test]
    fn near_misses_never_panic(
        verb in "(FETCH|UID FETCH|SEARCH|STORE|APPEND|LIST|LOGIN|STATUS|ID|AUTHENTICATE) ",
        rest in "[ ()\\[\\]<>.,:*\"\\\\{}+0-9a-zA-Z\r\n-]{0,60}",
    ) {
        let _ = parse(format!("a {verb}{rest}").as_bytes());
    }
}
