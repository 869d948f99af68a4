//! What the row says beside its password: app passwords, smtp_active, expiry, the realm.

use super::*;

/// An app password of u.
const APP: &str = "INSERT INTO mailbox_app_password(username, description, password_hash) \
                   VALUES ('u@d.test', 'phone', '{PLAIN}app-secret')";

#[tokio::test]
async fn app_passwords_are_good_for_mail_and_told_apart() {
    let bench = Bench::with("{PLAIN}secret").await;
    bench.sql(APP).await;
    assert!(is_granted(&bench.login("u@d.test", "app-secret").await));
    assert!(is_granted(&bench.login("u@d.test", "secret").await));
    assert!(is_denied(&bench.login("u@d.test", "App-secret").await));
    assert!(bench.log().contains("row: Some(\"app password 1\")"));
    // For other software of the site there is only the mailbox's own.
    let context = LoginContext {
        service: "ftp".into(),
        ..context()
    };
    let login = |password: &'static str| {
        let context = context.clone();
        let logins = bench.logins.clone();
        async move {
            logins
                .check_plain(context, "x", "u@d.test", Secret::new(password))
                .await
        }
    };
    assert!(is_granted(&login("secret").await));
    assert!(is_denied(&login("app-secret").await));
    // It goes with its row; a broken one of another program disturbs nobody.
    bench.sql("DELETE FROM mailbox_app_password").await;
    bench
        .sql("INSERT INTO mailbox_app_password(username, description, password_hash) VALUES ('u@d.test', 'x', '{FOO}y')")
        .await;
    assert!(is_denied(&bench.login("u@d.test", "app-secret").await));
    assert!(is_granted(&bench.login("u@d.test", "secret").await));
}

#[tokio::test]
async fn who_may_not_send_may_still_read() {
    let bench = Bench::with("{PLAIN}secret").await;
    bench.sql("UPDATE mailbox SET smtp_active = 0").await;
    assert!(is_denied(&bench.login("u@d.test", "secret").await));
    let imap = LoginContext {
        service: "imap".into(),
        ..context()
    };
    assert!(is_granted(&bench.plain(imap, "u@d.test", "secret").await));
}

#[tokio::test]
async fn expiry_is_ignored_unless_the_site_wants_it() {
    let expired = "UPDATE mailbox SET password_expiry = '1999-01-01'";
    let domain = "UPDATE domain SET password_expiry = 30";
    for (extra, granted) in [("", true), ("[authd]\npassword_expiry = \"enforce\"\n", false)] {
        let bench = Bench::configured("{PLAIN}secret", extra).await;
        bench.clock.advance(Duration::from_secs(1_700_000_000));
        bench.sql(expired).await;
        bench.sql(domain).await;
        assert_eq!(
            is_granted(&bench.login("u@d.test", "secret").await),
            granted,
            "{extra}"
        );
        // The panel takes no date for one that is over.
        bench
            .sql("UPDATE mailbox SET password_expiry = '0000-00-00 00:00:00'")
            .await;
        assert_eq!(
            is_granted(&bench.login("u@d.test", "secret").await),
            granted,
            "{extra}"
        );
        // A domain whose passwords live for ever.
        bench.sql("UPDATE domain SET password_expiry = 0").await;
        assert!(is_granted(&bench.login("u@d.test", "secret").await));
    }
}

#[tokio::test]
async fn a_bare_name_gets_the_realm() {
    let bench = Bench::configured("{PLAIN}secret", "[authd]\ndefault_realm = \"D.test\"\n").await;
    for (login, granted) in [
        ("u", true),
        ("U", true),
        ("u@d.test", true),
        ("u@", false),
        ("@d.test", false),
        ("u@x@d.test", false),
        ("", false),
    ] {
        assert_eq!(
            is_granted(&bench.login(login, "secret").await),
            granted,
            "{login:?}"
        );
    }
}

/// The password typed where the name belongs is in no log.
#[tokio::test]
async fn what_is_no_address_is_not_told() {
    let bench = Bench::with("{PLAIN}secret").await;
    assert!(is_denied(&bench.login("my-secret", "x").await));
    assert!(bench.log().contains("not an address") && !bench.log().contains("my-secret"));
}

/// What was found good a moment ago does not outlive the password: an empty column lets nobody in.
#[tokio::test]
async fn a_locked_account_is_denied_at_once() {
    let bench = Bench::with("$1$ab$.ThsTrbyIbEahEdE8LNwj1").await;
    for _ in 0..2 {
        assert!(is_granted(&bench.login("u@d.test", "correct horse").await));
    }
    bench.sql("UPDATE mailbox SET password = ''").await;
    assert!(is_denied(&bench.login("u@d.test", "correct horse").await));
}
