//! Limits: users, lines, literals, time; rows of robustness.md 2.5.

use super::world::World;

#[tokio::test]
async fn sessions_of_one_user() {
    // robustness.md I37
    let world = World::new("[imapd]\nuser_connection_count_limit = 2").await;
    let (first, _second) = (world.log_in().await, world.log_in().await);
    let mut third = world.connect();
    third.response().await;
    third.tagged("LOGIN u@a.test secret", "NO [LIMIT]").await;
    drop(first);
    // The place becomes free when the first session has noticed.
    loop {
        if third
            .command("LOGIN u@a.test secret")
            .await
            .last()
            .unwrap()
            .starts_with("OK ")
        {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_house_says_so() {
    // robustness.md section 3: BYE at 100 %.
    let world = World::new("").await;
    assert_eq!(
        world.refusal(),
        "* BYE [UNAVAILABLE] Too many connections, please try again later\r\n"
    );
}

#[tokio::test]
async fn logins_of_one_client() {
    let world = World::new("[imapd]\nclient_auth_rate_limit = 1").await;
    world.log_in().await;
    let mut client = world.connect();
    client.response().await;
    client.tagged("LOGIN u@a.test secret", "NO [UNAVAILABLE]").await;
}

#[tokio::test]
async fn silence_ends_a_session() {
    let world = World::new("[imapd]\nidle_timeout = \"1s\"\nlogin_timeout = \"1s\"").await;
    let mut client = world.connect();
    client.response().await;
    assert_eq!(client.rest().await, "* BYE Disconnected for inactivity\r\n");
    let mut client = world.log_in().await;
    client.send("t IDLE\r\n").await;
    assert_eq!(
        client.rest().await,
        "+ idling\r\n* BYE Disconnected for inactivity\r\n"
    );
}

#[tokio::test]
async fn input_that_is_too_long() {
    // robustness.md I01, I03, I05, I06, I13
    let world = World::new("").await;
    for (input, answer) in [
        ("a LOGIN {4294967295}\r\n", "a BAD [TOOBIG] Literal too big"),
        (
            "a LOGIN {99999999999999999999}\r\n",
            "a BAD [TOOBIG] Literal too big",
        ),
        ("a LOGIN {10000000+}\r\n", "* BYE Literal too big"),
        (
            &format!("a NOOP {}", "(".repeat(8200)),
            "a BAD Command line too long",
        ),
        (
            &format!("{} NOOP\r\n", "a".repeat(1000)),
            "* BAD Invalid tag or missing command",
        ),
        ("+ NOOP\r\n", "* BAD Invalid tag or missing command"),
        ("\r\n", "* BAD Invalid tag or missing command"),
    ] {
        let mut client = world.connect();
        client.response().await;
        client.send(input).await;
        assert_eq!(client.response().await, answer, "{input:.40}");
    }
    let mut client = world.log_in().await;
    client
        .send(&format!("a NOOP {}\r\nb NOOP\r\n", "x".repeat(65_536)))
        .await;
    assert_eq!(client.answer("a").await, ["BAD Command line too long"]);
    assert_eq!(client.answer("b").await, ["OK NOOP completed"]);
    client
        .tagged(
            &format!("SEARCH {}ALL", "NOT ".repeat(10_000)),
            "BAD Nested too deeply",
        )
        .await;
    client.send(&format!("a NOOP {}", "x".repeat(3_000_000))).await;
    assert!(client.rest().await.ends_with("* BYE Command line too long\r\n"));
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    // robustness.md I29
    let world = World::new("").await;
    world.put("1.a", "Subject: x\n\nbody\n");
    let mut client = world.select("INBOX").await;
    client
        .send("a STORE 1 +FLAGS.SILENT (\\Deleted)\r\nb FETCH 1 FLAGS\r\nc EXPUNGE\r\n")
        .await;
    assert_eq!(client.answer("a").await, ["OK STORE completed"]);
    assert_eq!(
        client.answer("b").await,
        ["* 1 FETCH (FLAGS (\\Recent \\Deleted))", "OK FETCH completed"]
    );
    assert_eq!(client.answer("c").await, ["* 1 EXPUNGE", "OK EXPUNGE completed"]);
    for _ in 0..20 {
        client.send(&"n NOOP\r\n".repeat(500)).await;
        for _ in 0..500 {
            assert_eq!(client.answer("n").await, ["OK NOOP completed"]);
        }
    }
}

#[tokio::test]
async fn wrong_commands_after_the_login() {
    let world = World::new("").await;
    let mut client = world.log_in().await;
    for _ in 0..20 {
        client.tagged("FOO", "BAD").await;
    }
    client.ok("NOOP").await;
    for _ in 0..20 {
        client.tagged("FOO", "BAD").await;
    }
    client.send("t FOO\r\n").await;
    assert_eq!(client.rest().await, "* BYE Too many invalid commands\r\n");
}

#[tokio::test]
async fn a_login_that_is_over_ends_its_sessions() {
    let world = World::new("").await;
    world.put("1.a", "Subject: one\n\nbody\n");
    let mut waiting = world.log_in().await;
    let mut idling = world.select("INBOX").await;
    idling.send("t IDLE\r\n").await;
    assert_eq!(idling.response().await, "+ idling");
    let mut before_login = world.connect();
    before_login.response().await;

    world.check_sessions().await;
    waiting.ok("NOOP").await;
    world.change_password();
    waiting.ok("NOOP").await;
    world.check_sessions().await;
    let bye = "* BYE [EXPIRED] Your account has changed, please log in again\r\n";
    assert_eq!(waiting.rest().await, bye);
    assert_eq!(idling.rest().await, bye);
    before_login.ok("LOGIN u@a.test secret").await;
}

#[tokio::test]
async fn a_login_that_is_over_ends_busy_sessions() {
    let world = World::new("").await;
    world.put("1.a", &format!("Subject: long\n\n{}", "x".repeat(400_000)));
    let mut client = world.select("INBOX").await;
    // More than the pipe holds: the session waits for us to read.
    client.send("t FETCH 1 BODY[]\r\n").await;
    world.change_password();
    world.check_sessions().await;
    while world.events().iter().all(|name| name != "disconnected") {
        tokio::task::yield_now().await;
    }
    let heard = client.rest().await;
    assert!(
        heard.len() < 200_000 && !heard.contains("t OK"),
        "{}",
        heard.len()
    );
}

#[tokio::test]
async fn sessions_outlive_an_authd_that_is_away() {
    let world = World::new("").await;
    let mut client = world.log_in().await;
    world.change_password();
    world.stop_authd().await;
    world.check_sessions().await;
    client.ok("NOOP").await;
}
