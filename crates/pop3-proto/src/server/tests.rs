//! Whole dialogues in memory, and a model of the session that random commands are compared with.

use proptest::prelude::*;

use super::*;
use crate::command::{Command, CommandError, parse};
use crate::reply::Reply;

struct Drop(Vec<u64>);

impl Maildrop for Drop {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn size(&self, index: usize) -> u64 {
        self.0[index]
    }
    fn write_uidl(&self, index: usize, out: &mut String) {
        out.push_str(&format!("u{index}"));
    }
}

fn policy() -> Policy {
    Policy {
        stls: false,
        login: true,
        error_limit: 3,
        failure_limit: 3,
    }
}

fn text(reply: &Reply) -> String {
    let mut out = Vec::new();
    reply.write(&mut out);
    String::from_utf8(out).unwrap()
}

fn say(state: &mut Authorization, line: &str) -> String {
    match state.handle(parse(line.as_bytes())) {
        AuthorizationStep::Reply(reply) => text(&reply),
        AuthorizationStep::StartTls(reply) => format!("TLS {}", text(&reply)),
        AuthorizationStep::Login(login) => format!(
            "LOGIN {} {:?}",
            login.mechanism,
            login.initial.map(|i| i.expose().to_vec())
        ),
        AuthorizationStep::Close(reply) => format!("CLOSE {}", text(&reply)),
    }
}

fn ask(state: &mut Transaction<Drop>, line: &str) -> String {
    match state.handle(parse(line.as_bytes())) {
        TransactionStep::Reply(reply) => text(&reply),
        TransactionStep::Scan(mut scan) => {
            let mut out = Vec::new();
            while !state.scan(&mut scan, out.len() + 1, &mut out) {}
            String::from_utf8(out).unwrap()
        }
        TransactionStep::Retrieve { index, extent } => format!("SEND {index} {extent:?}"),
        TransactionStep::Quit => "QUIT".into(),
        TransactionStep::Close(reply) => format!("CLOSE {}", text(&reply)),
    }
}

fn transaction(sizes: &[u64]) -> Transaction<Drop> {
    Authorization::new(policy()).log_in(Drop(sizes.to_vec()), 20).0
}

#[test]
fn no_login_before_tls() {
    let mut state = Authorization::new(Policy {
        stls: true,
        login: false,
        ..policy()
    });
    let capabilities = say(&mut state, "CAPA");
    assert!(
        capabilities.contains("\r\nSTLS\r\n")
            && !capabilities.contains("SASL")
            && !capabilities.contains("\r\nUSER\r\n")
    );
    assert_eq!(say(&mut state, "AUTH"), "+OK\r\n.\r\n");
    assert!(say(&mut state, "USER u").starts_with("-ERR TLS is required"));
    assert!(say(&mut state, "AUTH PLAIN AGEAYg==").starts_with("-ERR TLS is required"));
    assert!(say(&mut state, "STLS").starts_with("TLS +OK"));
    let mut state = state.after_stls(policy());
    state.set_mechanisms(vec!["PLAIN".into()]);
    let capabilities = say(&mut state, "CAPA");
    assert!(
        !capabilities.contains("STLS")
            && capabilities.contains("\r\nSASL PLAIN\r\n")
            && capabilities.contains("\r\nUSER\r\n")
    );
    assert!(say(&mut state, "STLS").starts_with("-ERR"));
}

#[test]
fn stls_forgets_the_user_and_the_mode() {
    let mut state = Authorization::new(Policy {
        stls: true,
        ..policy()
    });
    say(&mut state, "USER u");
    let mut state = state.after_stls(policy());
    assert!(say(&mut state, "PASS p").starts_with("-ERR USER first"));
    let mut state = Authorization::new(Policy {
        stls: true,
        ..policy()
    });
    say(&mut state, "UTF8");
    assert!(say(&mut state, "STLS").starts_with("-ERR STLS must come before"));
}

#[test]
fn user_and_pass_become_plain() {
    let mut state = Authorization::new(policy());
    assert_eq!(say(&mut state, "USER u@a.test"), "+OK Password required.\r\n");
    assert_eq!(
        say(&mut state, "PASS p w"),
        format!("LOGIN PLAIN {:?}", Some(b"\0u@a.test\0p w".to_vec()))
    );
    // The name is used once, and only by the command right behind it.
    assert!(say(&mut state, "PASS p").starts_with("-ERR USER first"));
    say(&mut state, "USER u");
    say(&mut state, "NOOP");
    assert!(say(&mut state, "PASS p").starts_with("-ERR USER first"));
    // Even where that was no command.
    for malformed in ["XYZZY", "RETR x", "AUTH PLAIN !"] {
        let mut state = Authorization::new(policy());
        say(&mut state, "USER u");
        say(&mut state, malformed);
        assert!(
            say(&mut state, "PASS p").starts_with("-ERR USER first"),
            "{malformed}"
        );
    }
    let mut state = Authorization::new(policy());
    say(&mut state, "USER u");
    state.line_too_long();
    assert!(say(&mut state, "PASS p").starts_with("-ERR USER first"));
}

#[test]
fn the_third_failure_closes() {
    let mut state = Authorization::new(policy());
    for _ in 0..2 {
        assert!(
            matches!(state.refused(), AuthorizationStep::Reply(r) if text(&r) == "-ERR [AUTH] Login failed.\r\n")
        );
    }
    let mut state = state.after_stls(policy());
    assert!(matches!(state.refused(), AuthorizationStep::Close(_)));
}

#[test]
fn the_fourth_wrong_command_closes() {
    let mut state = Authorization::new(policy());
    for line in ["XYZZY", "APOP a b", "STAT"] {
        assert!(say(&mut state, line).starts_with("-ERR"), "{line}");
    }
    assert!(matches!(state.no_mechanism(), AuthorizationStep::Close(_)));
}

#[test]
fn nobody_guesses_on_while_nobody_can_judge() {
    let mut state = Authorization::new(policy());
    let words = "-ERR [SYS/TEMP] Temporary problem, please try again later\r\n";
    for _ in 0..9 {
        assert!(matches!(state.undecided(), AuthorizationStep::Reply(r) if text(&r) == words));
    }
    let mut state = state.after_stls(policy());
    assert!(matches!(state.undecided(), AuthorizationStep::Close(r) if text(&r) == words));
}

#[test]
fn a_cancelled_exchange_is_no_mistake() {
    let mut state = Authorization::new(policy());
    for _ in 0..100 {
        assert!(matches!(
            state.broken_exchange(CommandError::Cancelled),
            AuthorizationStep::Reply(r) if text(&r) == "-ERR Authentication cancelled.\r\n"
        ));
    }
    for line in ["XYZZY", "APOP a b", "STAT"] {
        assert!(say(&mut state, line).starts_with("-ERR"), "{line}");
    }
    let mut state = state.after_stls(policy());
    assert!(matches!(
        state.broken_exchange(CommandError::Cancelled),
        AuthorizationStep::Close(_)
    ));
}

#[test]
fn example_of_rfc_1939() {
    let mut state = transaction(&[120, 200]);
    assert_eq!(ask(&mut state, "STAT"), "+OK 2 320\r\n");
    assert_eq!(
        ask(&mut state, "LIST"),
        "+OK 2 messages (320 octets)\r\n1 120\r\n2 200\r\n.\r\n"
    );
    assert_eq!(ask(&mut state, "RETR 1"), "SEND 0 Whole");
    assert_eq!(ask(&mut state, "DELE 1"), "+OK Deleted.\r\n");
    assert_eq!(ask(&mut state, "STAT"), "+OK 1 200\r\n");
    assert_eq!(
        ask(&mut state, "LIST"),
        "+OK 1 messages (200 octets)\r\n2 200\r\n.\r\n"
    );
    assert_eq!(ask(&mut state, "UIDL 2"), "+OK 2 u1\r\n");
    assert_eq!(
        ask(&mut state, "UIDL"),
        "+OK 1 messages (200 octets)\r\n2 u1\r\n.\r\n"
    );
    for gone in ["DELE 1", "RETR 1", "TOP 1 0", "LIST 1", "UIDL 1"] {
        assert_eq!(ask(&mut state, gone), "-ERR No such message.\r\n", "{gone}");
    }
    assert_eq!(ask(&mut state, "TOP 2 10"), "SEND 1 Top(10)");
    assert_eq!(ask(&mut state, "QUIT"), "QUIT");
    let update = state.quit();
    assert_eq!(update.deleted().collect::<Vec<_>>(), [0]);
}

#[test]
fn numbers_out_of_range_are_no_messages() {
    let mut state = transaction(&[1]);
    for line in [
        "RETR 0",
        "RETR 2",
        "RETR 4294967296",
        "RETR 4294967297",
        "RETR 99999999999999999999",
        "DELE 0",
    ] {
        assert_eq!(ask(&mut state, line), "-ERR No such message.\r\n", "{line}");
    }
    assert_eq!(ask(&mut state, "TOP 1 99999999999"), "SEND 0 Top(99999999999)");
}

#[test]
fn an_empty_maildrop_is_listed() {
    let mut state = transaction(&[]);
    assert_eq!(ask(&mut state, "LIST"), "+OK 0 messages (0 octets)\r\n.\r\n");
}

#[test]
fn a_scan_is_written_in_pieces() {
    let mut state = transaction(&vec![7; 100_000]);
    let TransactionStep::Scan(mut scan) = state.handle(Ok(Command::List(None))) else {
        panic!("LIST is a scan");
    };
    let mut lines = 0;
    loop {
        let mut out = Vec::new();
        let done = state.scan(&mut scan, 4096, &mut out);
        assert!(out.len() < 4096 + 100);
        lines += out.iter().filter(|b| **b == b'\n').count();
        if done {
            break;
        }
    }
    assert_eq!(lines, 100_002);
}

fn any_command() -> impl Strategy<Value = Command> {
    let number = 0_u64..5;
    prop_oneof![
        Just(Command::Stat),
        Just(Command::Rset),
        Just(Command::Noop),
        Just(Command::List(None)),
        number.clone().prop_map(Command::Dele),
        number.clone().prop_map(Command::Retr),
        number.prop_map(|n| Command::List(Some(n))),
    ]
}

proptest! {
    /// Against the plainest possible model: a set of deleted numbers.
    #[test]
    fn random_commands_match_a_model(commands in prop::collection::vec(any_command(), 0..40)) {
        let sizes = [10_u64, 20, 30];
        let mut state = transaction(&sizes);
        let mut gone = std::collections::BTreeSet::new();
        for command in commands {
            let exists = |n: u64, gone: &std::collections::BTreeSet<u64>| (1..=3).contains(&n) && !gone.contains(&n);
            let expected = match command {
                Command::Stat => {
                    let left: Vec<u64> = (1..=3).filter(|n| !gone.contains(n)).map(|n| sizes[n as usize - 1]).collect();
                    format!("+OK {} {}\r\n", left.len(), left.iter().sum::<u64>())
                }
                Command::Rset => { gone.clear(); "+OK Resurrected.\r\n".into() }
                Command::Noop => "+OK Yup.\r\n".into(),
                Command::Dele(n) | Command::Retr(n) | Command::List(Some(n)) if !exists(n, &gone) => "-ERR No such message.\r\n".into(),
                Command::Dele(n) => { gone.insert(n); "+OK Deleted.\r\n".into() }
                Command::Retr(n) => format!("SEND {}", n - 1),
                Command::List(Some(n)) => format!("+OK {n} {}\r\n", sizes[n as usize - 1]),
                _ => String::new(),
            };
            let actual = match state.handle(Ok(command)) {
                TransactionStep::Reply(reply) => text(&reply),
                TransactionStep::Retrieve { index, .. } => format!("SEND {index}"),
                TransactionStep::Scan(mut scan) => {
                    let mut out = Vec::new();
                    prop_assert!(state.scan(&mut scan, usize::MAX, &mut out));
                    let listed = out.iter().filter(|b| **b == b'\n').count() - 2;
                    prop_assert_eq!(listed, 3 - gone.len());
                    String::new()
                }
                other => format!("{other:?}"),
            };
            prop_assert_eq!(actual, expected);
        }
        let removed: Vec<u64> = state.quit().deleted().map(|index| index as u64 + 1).collect();
        prop_assert_eq!(removed, gone.into_iter().collect::<Vec<_>>());
    }
}
