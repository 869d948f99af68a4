//! From the greeting to the login, and what may not come before it.

use super::world::World;

/// As a session in the clear from a network that is not trusted.
const UNTRUSTED: &str = "[general]\nlogin_trusted_networks = []";

#[tokio::test]
async fn every_way_to_log_in() {
    let world = World::new("").await;
    for dialogue in [
        &[("a LOGIN u@a.test secret\r\n", "a OK [CAPABILITY IMAP4rev1 ")][..],
        &[
            ("a LOGIN {8}\r\n", "+ OK"),
            ("u@a.test {6}\r\n", "+ OK"),
            ("secret\r\n", "a OK "),
        ],
        &[("a LOGIN {8+}\r\nu@a.test \"secret\"\r\n", "a OK ")],
        &[("a AUTHENTICATE PLAIN AHVAYS50ZXN0AHNlY3JldA==\r\n", "a OK ")],
        &[
            ("a AUTHENTICATE PLAIN\r\n", "+ "),
            ("AHVAYS50ZXN0AHNlY3JldA==\r\n", "a OK "),
        ],
        &[
            ("a authenticate login\r\n", "+ VXNlcm5hbWU6"),
            ("dUBhLnRlc3Q=\r\n", "+ UGFzc3dvcmQ6"),
            ("c2VjcmV0\r\n", "a OK "),
        ],
    ] {
        let mut client = world.connect();
        assert!(
            client
                .response()
                .await
                .starts_with("* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID AUTH=PLAIN AUTH=LOGIN] ")
        );
        for (send, expected) in dialogue {
            client.send(send).await;
            let response = client.response().await;
            assert!(response.starts_with(expected), "{send:?}: {response:?}");
        }
        assert_eq!(client.ok("LOGOUT").await, ["* BYE Logging out"]);
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn no_password_in_the_clear() {
    let world = World::new(UNTRUSTED).await;
    let mut client = world.connect();
    let greeting = client.response().await;
    assert!(
        greeting.contains(" LOGINDISABLED]") && !greeting.contains("AUTH="),
        "{greeting}"
    );
    client
        .tagged("LOGIN u@a.test secret", "NO [PRIVACYREQUIRED]")
        .await;
    client
        .tagged(
            "AUTHENTICATE PLAIN AHVAYS50ZXN0AHNlY3JldA==",
            "NO [PRIVACYREQUIRED]",
        )
        .await;
}

#[tokio::test]
async fn three_wrong_passwords() {
    let world = World::new("").await;
    let mut client = world.connect();
    client.response().await;
    for _ in 0..2 {
        client
            .tagged("LOGIN u@a.test wrong", "NO [AUTHENTICATIONFAILED] Login failed.")
            .await;
    }
    client
        .tagged(
            "LOGIN nobody@a.test secret",
            "NO [AUTHENTICATIONFAILED] Login failed.",
        )
        .await;
    assert_eq!(client.rest().await, "* BYE Too many failed logins\r\n");
    assert_eq!(
        world.events(),
        [
            "auth_failed",
            "auth_failed",
            "auth_failed",
            "abuse",
            "disconnected"
        ]
    );
}

#[tokio::test]
async fn trouble_is_never_a_wrong_password() {
    let world = World::new("").await;
    let mut client = world.connect();
    client.response().await;
    for _ in 0..4 {
        client
            .tagged(
                "LOGIN u@a.test down",
                "NO [UNAVAILABLE] Temporary problem, please try again later",
            )
            .await;
    }
    client.ok("LOGIN u@a.test secret").await;
    // Nor is it for guessing on and on.
    let mut guesser = world.connect();
    guesser.response().await;
    for _ in 0..10 {
        guesser
            .tagged("LOGIN u@a.test down", "NO [UNAVAILABLE] Temporary problem")
            .await;
    }
    assert_eq!(
        guesser.rest().await,
        "* BYE Temporary problem, please try again later\r\n"
    );
    world.stop_authd().await;
    client.ok("SELECT INBOX").await;
    let mut client = world.connect();
    assert!(client.response().await.contains("AUTH=PLAIN"));
    client
        .tagged("LOGIN u@a.test secret", "NO [UNAVAILABLE] Temporary problem")
        .await;
    client.ok("NOOP").await;
}

#[tokio::test]
async fn broken_exchanges() {
    // robustness.md A04, I07
    let world = World::new("").await;
    let mut client = world.connect();
    client.response().await;
    client.tagged("AUTHENTICATE CRAM-MD5", "NO [CANNOT]").await;
    for answer in ["*", "*", "*", "!", "{5}"] {
        client.send("t AUTHENTICATE LOGIN\r\n").await;
        assert_eq!(client.response().await, "+ VXNlcm5hbWU6");
        client.send(&format!("{answer}\r\n")).await;
        let response = client.response().await;
        assert!(response.starts_with("t BAD "), "{answer}: {response}");
    }
    // Three mistakes, whatever was right in between (robustness.md section 3).
    client.ok("NOOP").await;
    client.send("t AUTHENTICATE PLAIN\r\n!\r\n").await;
    assert_eq!(client.response().await, "+ ");
    assert_eq!(client.rest().await, "* BYE Too many invalid commands\r\n");
    // The server speaks first there (RFC 9051 6.2.2).
    let mut client = world.connect();
    client.response().await;
    client.tagged("AUTHENTICATE CRAM-MD5 dSAw", "BAD").await;
}

#[tokio::test]
async fn a_client_may_cancel_often_but_not_for_ever() {
    let world = World::new("[imapd]\nclient_auth_rate_limit = 1000").await;
    let mut client = world.connect();
    client.response().await;
    for _ in 0..100 {
        client.send("t AUTHENTICATE LOGIN\r\n*\r\n").await;
        assert_eq!(client.response().await, "+ VXNlcm5hbWU6");
        assert_eq!(client.response().await, "t BAD Authentication cancelled");
    }
    client.send("t AUTHENTICATE LOGIN\r\n*\r\n").await;
    assert_eq!(client.response().await, "+ VXNlcm5hbWU6");
    assert_eq!(client.rest().await, "* BYE Too many invalid commands\r\n");
}

#[tokio::test]
async fn commands_in_the_wrong_state() {
    // robustness.md I11, I14
    let world = World::new("").await;
    for command in [
        "SELECT INBOX",
        "FETCH 1 FLAGS",
        "IDLE",
        "ENABLE CONDSTORE",
        "APPEND x {10}",
    ] {
        let mut client = world.connect();
        client.response().await;
        client.tagged(command, "BAD ").await;
    }
    let mut client = world.connect();
    client.response().await;
    for _ in 0..3 {
        client.tagged("FOO", "BAD Unknown command").await;
    }
    client.send("t FOO\r\n").await;
    assert_eq!(client.rest().await, "* BYE Too many invalid commands\r\n");

    let mut client = world.log_in().await;
    for command in ["LOGIN u@a.test secret", "STARTTLS", "AUTHENTICATE PLAIN"] {
        client.tagged(command, "BAD Already logged in").await;
    }
    client.tagged("FETCH 1 FLAGS", "BAD No mailbox selected").await;
}

#[tokio::test]
async fn small_commands() {
    let world = World::new("").await;
    let mut client = world.log_in().await;
    let capabilities = client.ok("CAPABILITY").await.remove(0);
    for name in [
        "IMAP4rev1",
        "LITERAL+",
        "SASL-IR",
        "ID",
        "ENABLE",
        "NAMESPACE",
        "IDLE",
        "UIDPLUS",
        "UNSELECT",
        "MOVE",
        "CHILDREN",
        "SPECIAL-USE",
    ] {
        assert!(
            capabilities.split(' ').any(|word| word == name),
            "{name}: {capabilities}"
        );
    }
    assert!(!capabilities.contains("AUTH=") && !capabilities.contains("STARTTLS"));
    assert_eq!(
        client.ok("ID (\"name\" \"x\")").await,
        ["* ID (\"name\" \"Postrider\")"]
    );
    assert_eq!(client.ok("ENABLE CONDSTORE").await, ["* ENABLED"]);
    assert_eq!(
        client.ok("NAMESPACE").await,
        ["* NAMESPACE ((\"\" \".\")) NIL NIL"]
    );
    world.shut_down();
    assert_eq!(client.rest().await, "* BYE Server shutting down\r\n");
}
