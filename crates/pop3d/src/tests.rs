//! Whole sessions in memory: a fake authd on a socket of its own, a Maildir in a temporary directory.

mod authd;
mod world;

use world::{World, message};

#[tokio::test]
async fn fetch_and_delete() {
    let world = World::new("").await;
    world.put("1.a", &message("one"));
    world.put("2.b", &message("two"));
    let mut client = world.connect();
    client.expect("+OK Hello there.").await;
    client.log_in().await;
    client.say("STAT", "+OK 2 ").await;
    client.send("RETR 1").await;
    client.expect("+OK 22 octets follow.").await;
    assert_eq!(client.lines().await, ["Subject: one", "", "body"]);
    client.send("TOP 2 0").await;
    client.expect("+OK").await;
    assert_eq!(client.lines().await, ["Subject: two", ""]);
    client.say("DELE 1", "+OK").await;
    client.say("QUIT", "+OK Bye-bye.").await;
    client.closed().await;
    assert_eq!(world.subjects(), ["Subject: two"]);
    assert_eq!(
        world.events(),
        ["auth_succeeded", "opened", "expunged", "disconnected"]
    );
}

#[tokio::test]
async fn without_quit_nothing_is_removed() {
    let world = World::new("[pop3d]\nidle_timeout = \"1s\"").await;
    world.put("1.a", &message("one"));
    for leave in ["drop", "idle", "rset", "mistakes"] {
        let mut client = world.connect();
        client.expect("+OK").await;
        client.log_in().await;
        client.say("DELE 1", "+OK").await;
        match leave {
            "drop" => client.half_close().await,
            "rset" => {
                client.say("RSET", "+OK").await;
                client.say("QUIT", "+OK").await;
            }
            "mistakes" => {
                for _ in 0..20 {
                    client.say("XYZZY", "-ERR").await;
                }
                client.say("XYZZY", "-ERR Too many").await;
            }
            _ => {}
        }
        client.closed().await;
        assert_eq!(world.subjects(), ["Subject: one"], "{leave}");
    }
}

#[tokio::test]
async fn a_login_that_is_over_removes_nothing() {
    let world = World::new("").await;
    world.put("1.a", &message("one"));
    let mut client = world.connect();
    client.expect("+OK").await;
    client.log_in().await;
    client.say("DELE 1", "+OK").await;
    world.check_sessions().await;
    client.say("NOOP", "+OK").await;
    world.change_password();
    world.check_sessions().await;
    client.closed().await;
    assert_eq!(world.subjects(), ["Subject: one"]);
    world
        .wait_for_reason("login no longer valid: password changed")
        .await;
    // Its lock is free.
    let mut client = world.connect();
    client.expect("+OK").await;
    client.log_in().await;

    world.stop_authd().await;
    world.check_sessions().await;
    client.say("NOOP", "+OK").await;
}

#[tokio::test]
async fn trouble_is_never_a_wrong_password() {
    let world = World::new("").await;
    let mut client = world.connect();
    client.expect("+OK").await;
    for _ in 0..4 {
        client.say("USER u@a.test", "+OK").await;
        client
            .say(
                "PASS down",
                "-ERR [SYS/TEMP] Temporary problem, please try again later",
            )
            .await;
    }
    client.log_in().await;
    client.say("QUIT", "+OK").await;

    world.stop_authd().await;
    let mut client = world.connect();
    client.expect("+OK").await;
    client.say("USER u@a.test", "+OK").await;
    client.say("PASS secret", "-ERR [SYS/TEMP]").await;
    client
        .say("AUTH PLAIN AHVAYS50ZXN0AHNlY3JldA==", "-ERR [SYS/TEMP]")
        .await;
    client.send("CAPA").await;
    client.expect("+OK").await;
    assert!(client.lines().await.contains(&"USER".to_owned()));
}

#[tokio::test]
async fn the_third_wrong_password_closes() {
    let world = World::new("").await;
    let mut client = world.connect();
    client.expect("+OK").await;
    for _ in 0..3 {
        client.say("USER u@a.test", "+OK").await;
        client.say("PASS wrong", "-ERR [AUTH] Login failed.").await;
    }
    client.closed().await;
    world.wait_for("disconnected").await;
    let failed = world
        .events()
        .iter()
        .filter(|name| *name == "auth_failed")
        .count();
    assert_eq!(failed, 3);
}

#[tokio::test]
async fn exchanges_step_by_step() {
    let world = World::new("").await;
    let mut client = world.connect();
    client.expect("+OK").await;
    client.send("CAPA").await;
    client.expect("+OK").await;
    assert!(client.lines().await.contains(&"SASL PLAIN LOGIN".to_owned()));
    client.say("AUTH LOGIN", "+ VXNlcm5hbWU6").await;
    client.say("*", "-ERR").await;
    client.say("AUTH LOGIN", "+ VXNlcm5hbWU6").await;
    client.say("not base64!", "-ERR").await;
    client.say("AUTH GSSAPI", "-ERR Mechanism").await;
    client.say("AUTH LOGIN", "+ VXNlcm5hbWU6").await;
    client.say("dUBhLnRlc3Q=", "+ UGFzc3dvcmQ6").await;
    client.say("c2VjcmV0", "+OK").await;
    client.say("STAT", "+OK 0 0").await;
    // The server speaks first there (RFC 5034 4).
    let mut client = world.connect();
    client.expect("+OK").await;
    client
        .say(
            "AUTH CRAM-MD5 dSAw",
            "-ERR This mechanism takes no initial response.",
        )
        .await;
}

#[tokio::test]
async fn one_session_per_maildrop() {
    let world = World::new("").await;
    let mut first = world.connect();
    first.expect("+OK").await;
    first.log_in().await;
    let mut second = world.connect();
    second.expect("+OK").await;
    second.say("USER u@a.test", "+OK").await;
    second.say("PASS secret", "-ERR [IN-USE]").await;
    // Not a failed login: it goes on, and gets in when the first one has left.
    first.say("QUIT", "+OK").await;
    first.closed().await;
    second.log_in().await;
}

#[tokio::test]
async fn unique_ids_outlive_sessions_and_other_messages() {
    let world = World::new("").await;
    for name in ["1.a", "2.b", "3.c"] {
        world.put(name, &message(name));
    }
    let ids = world.unique_ids().await;
    assert_eq!(ids.len(), 3);
    assert!(
        ids.iter()
            .all(|id| id.len() <= 70 && id.bytes().all(|b| (0x21..=0x7e).contains(&b)))
    );
    let mut client = world.connect();
    client.expect("+OK").await;
    client.log_in().await;
    client.say("DELE 2", "+OK").await;
    client.say("QUIT", "+OK").await;
    client.closed().await;
    world.put("4.d", &message("4.d"));
    let after = world.unique_ids().await;
    assert_eq!([&after[0], &after[1]], [&ids[0], &ids[2]]);
    assert!(!ids.contains(&after[2]));
}

#[tokio::test]
async fn headers_in_utf8_have_a_surrogate() {
    let world = World::new("").await;
    world.put("1.a", "Subject: café\n\ncafé\n");
    for (utf8, subject) in [(true, "Subject: café"), (false, "Subject: =?utf-8?b?Y2Fmw6k=?=")] {
        let mut client = world.connect();
        client.expect("+OK").await;
        if utf8 {
            client.say("UTF8", "+OK").await;
        }
        client.log_in().await;
        client.send("RETR 1").await;
        client.expect("+OK").await;
        assert_eq!(client.lines().await, [subject, "", "café"]);
        client.say("QUIT", "+OK").await;
        client.closed().await;
    }
}

#[tokio::test]
async fn long_messages_and_long_headers() {
    let world = World::new("").await;
    let header = format!("Subject: x\nX-Long: {}\n", "a ".repeat(40_000));
    let body = format!("{}\n.dot\n{}", "b".repeat(1_000_000), "no end");
    world.put("1.a", &format!("{header}\n{body}"));
    let mut client = world.connect();
    client.expect("+OK").await;
    client.log_in().await;
    client.send("RETR 1").await;
    client.expect("+OK").await;
    assert_eq!(client.lines().await.join("\n"), format!("{header}\n{body}"));
    client.say("NOOP", "+OK").await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_given_up() {
    let world = World::new("[pop3d]\noutput_timeout = \"1s\"").await;
    world.put("1.a", &message(&"x".repeat(500_000)));
    let mut client = world.connect();
    client.expect("+OK").await;
    client.log_in().await;
    client.send("RETR 1").await;
    // The transport takes 64 KiB; the session waits behind it and ends without QUIT.
    world.wait_for_reason("output timeout").await;
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let world = World::new("").await;
    world.put("1.a", &message("one"));
    let mut client = world.connect();
    client
        .send("USER u@a.test\r\nPASS secret\r\nSTAT\r\nDELE 1\r\nSTAT\r\nQUIT")
        .await;
    for reply in [
        "+OK Hello",
        "+OK Password",
        "+OK logged in.",
        "+OK 1 22",
        "+OK Deleted",
        "+OK 0 0",
        "+OK Bye",
    ] {
        client.expect(reply).await;
    }
    client.closed().await;
    assert!(world.subjects().is_empty());
}

#[tokio::test]
async fn no_login_in_the_clear() {
    let world = World::new("[general]\nlogin_trusted_networks = []").await;
    let mut client = world.connect();
    client.expect("+OK").await;
    client.say("USER u@a.test", "-ERR TLS is required").await;
    client
        .say("AUTH PLAIN AHVAYS50ZXN0AHNlY3JldA==", "-ERR TLS is required")
        .await;
    // This process has no certificate.
    client.say("STLS", "-ERR").await;
}

#[tokio::test]
async fn endless_lines_and_late_logins() {
    let world = World::new("[pop3d]\nlogin_timeout = \"1s\"").await;
    let mut client = world.connect();
    client.expect("+OK").await;
    client.send(&"A".repeat(100_000)).await;
    client.closed().await;
    world.wait_for("abuse").await;
    let mut client = world.connect();
    client.expect("+OK").await;
    client.say("AUTH LOGIN", "+ ").await;
    client.closed().await;
    world.wait_for_reason("timeout").await;
}

#[tokio::test]
async fn messages_that_another_program_removed() {
    let world = World::new("").await;
    world.put("1.a", &message("one"));
    world.put("2.b", &message("two"));
    let mut client = world.connect();
    client.expect("+OK").await;
    client.log_in().await;
    world.remove_all();
    client
        .say("RETR 1", "-ERR The message has been removed meanwhile.")
        .await;
    client.say("DELE 2", "+OK").await;
    client.say("QUIT", "+OK Bye-bye.").await;
    client.closed().await;
    assert!(world.unique_ids().await.is_empty());
}

#[tokio::test]
async fn removals_that_fail_are_told() {
    let world = World::new("").await;
    world.put("1.a", &message("one"));
    let mut client = world.connect();
    client.expect("+OK").await;
    client.log_in().await;
    client.say("DELE 1", "+OK").await;
    world.refuse_removals(true);
    client
        .say("QUIT", "-ERR [SYS/TEMP] Some deleted messages were not removed.")
        .await;
    client.closed().await;
    world.refuse_removals(false);
    assert_eq!(world.unique_ids().await.len(), 1);
}

#[tokio::test]
async fn words_for_a_client_that_is_turned_away() {
    let world = World::new("").await;
    let words = world.refusal();
    assert_eq!(
        words,
        "-ERR [SYS/TEMP] Too many connections, please try again later.\r\n"
    );
}
