//! Who waits, and for whom it makes no difference.

use super::*;

fn from(ip: &str) -> LoginContext {
    LoginContext {
        peer: std::net::SocketAddr::new(ip.parse().unwrap(), 1),
        ..context()
    }
}

async fn wait(bench: &Bench, ip: &str, login: &str) -> u64 {
    match bench.plain(from(ip), login, "wrong").await {
        LoginStep::Denied { delay, .. } => delay.as_secs(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_owner_is_not_locked_out_of_networks_where_he_succeeded() {
    let bench = Bench::with("{PLAIN}secret").await;
    assert!(is_granted(
        &bench.plain(from("192.0.2.1"), "u@d.test", "secret").await
    ));
    // From everywhere somebody guesses.
    for i in 0..30 {
        wait_or_later(&bench, &format!("198.51.100.{i}")).await;
    }
    // At home a slip costs what a slip costs, and the password is right at once.
    assert_eq!(wait(&bench, "192.0.2.1", "u@d.test").await, 2);
    assert!(is_granted(
        &bench.plain(from("192.0.2.1"), "u@d.test", "secret").await
    ));
    // Elsewhere nobody is judged for some seconds: not even the owner; and it is no denial.
    assert!(is_trouble(
        &bench.plain(from("203.0.113.1"), "u@d.test", "secret").await
    ));
    bench.clock.advance(Duration::from_secs(16));
    assert!(is_granted(
        &bench.plain(from("203.0.113.1"), "u@d.test", "secret").await
    ));
}

/// A wrong guess, which may be put off.
async fn wait_or_later(bench: &Bench, ip: &str) {
    let step = bench.plain(from(ip), "u@d.test", "wrong").await;
    assert!(is_denied(&step) || is_trouble(&step), "{step:?}");
}

#[tokio::test]
async fn failures_survive_a_restart_and_an_operator_ends_them() {
    let bench = Bench::with("{PLAIN}secret").await;
    for _ in 0..3 {
        wait(&bench, "2001:db8::1", "u@d.test").await;
    }
    let bench = bench.restart().await;
    assert_eq!(wait(&bench, "2001:db8::2", "x@d.test").await, 16);
    let list = bench.logins.failures(10).await.unwrap();
    let address = list.iter().find(|one| one.account.is_none()).unwrap();
    assert_eq!(
        (address.network.as_deref(), address.count),
        (Some("2001:db8::/64"), 4)
    );
    assert_eq!(bench.logins.unban("2001:db8::/32".into()).await.unwrap(), 3);
    assert_eq!(bench.logins.unban("U@d.test".into()).await.unwrap(), 1);
    assert_eq!(wait(&bench, "2001:db8::1", "u@d.test").await, 2);
    assert!(bench.log().contains("FailuresForgotten"));
}

#[tokio::test]
async fn behind_a_unix_socket_only_the_account_counts() {
    let bench = Bench::with("{PLAIN}secret").await;
    for _ in 0..3 {
        wait(&bench, "0.0.0.0", "a@d.test").await;
    }
    assert_eq!(wait(&bench, "0.0.0.0", "u@d.test").await, 2);
    assert_eq!(wait(&bench, "0.0.0.0", "a@d.test").await, 16);
}

/// Debian's saslauthd tells no address of its clients: their network is known like any other.
#[tokio::test]
async fn the_owner_is_not_locked_out_of_a_unix_socket() {
    let bench = Bench::with("{PLAIN}secret").await;
    let unix = async |password| bench.plain(from("0.0.0.0"), "u@d.test", password).await;
    assert!(is_granted(&unix("secret").await));
    for i in 0..30 {
        wait_or_later(&bench, &format!("198.51.100.{i}")).await;
    }
    assert!(is_granted(&unix("secret").await));
    // Guesses there are slowed down all the same.
    for seconds in [2, 4, 8] {
        assert_eq!(wait(&bench, "0.0.0.0", "u@d.test").await, seconds);
    }
}

/// With a certificate there is nothing to guess: it is judged from everywhere.
#[tokio::test]
async fn a_certificate_does_not_wait_for_guesses() {
    let bench = Bench::with("{PLAIN}secret").await;
    for i in 0..30 {
        wait_or_later(&bench, &format!("198.51.100.{i}")).await;
    }
    let mut context = from("203.0.113.1");
    assert!(is_trouble(
        &bench.plain(context.clone(), "u@d.test", "secret").await
    ));
    if let Some(tls) = &mut context.tls {
        tls.client_names = vec!["u@d.test".into()];
    }
    let mut exchange = bench.logins.begin(context, "EXTERNAL");
    assert!(is_granted(&exchange.step(Some(Secret::new(""))).await));
}

/// The replica denies nobody, but guesses are counted, and not judged faster than their penalty allows.
#[tokio::test]
async fn guesses_are_slowed_down_while_the_replica_answers() {
    let bench = Bench::with("{PLAIN}secret").await;
    let home = from("203.0.113.1");
    assert!(is_granted(&bench.plain(home.clone(), "u@d.test", "secret").await));
    bench.on_the_replica();
    let login = async |password: &str| bench.login("u@d.test", password).await;
    for (seconds, count) in [(0, 1), (1, 1), (1, 2), (3, 2), (1, 3)] {
        bench.clock.advance(Duration::from_secs(seconds));
        assert!(is_trouble(&login("wrong").await));
        let failures = bench.logins.failures(10).await.unwrap();
        assert!(failures.iter().all(|one| one.count == count), "{failures:?}");
    }
    // While it lasts the right one is not told from others, except where its owner is known.
    assert!(is_trouble(&login("secret").await));
    assert!(is_granted(&bench.plain(home, "u@d.test", "secret").await));
    bench.clock.advance(Duration::from_secs(8));
    assert!(is_granted(&login("secret").await));
}

#[tokio::test]
async fn sessions_end_with_what_they_rest_on() {
    let bench = Bench::with("{PLAIN}secret").await;
    bench
        .sql("INSERT INTO mailbox_app_password(username, password_hash) VALUES ('u@d.test', '{PLAIN}app')")
        .await;
    let login = async |password: &str| match bench.login("u@d.test", password).await {
        LoginStep::Success(account) => (account.address, account.revision),
        other => panic!("{other:?}"),
    };
    let (own, app) = (login("secret").await, login("app").await);
    let judge = async |role: Role| {
        let sessions = vec![own.clone(), app.clone()];
        let validities = bench.logins.still_valid(role, sessions).await.unwrap();
        validities
            .into_iter()
            .map(|validity| match validity {
                Validity::Valid => String::new(),
                Validity::Ended { reason } => reason,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(judge(Role::Imapd).await, ["", ""]);
    bench.sql("UPDATE mailbox SET smtp_active = 0").await;
    assert_eq!(judge(Role::Imapd).await, ["", ""]);
    assert!(
        judge(Role::Smtpd)
            .await
            .iter()
            .all(|reason| reason.contains("smtp_active"))
    );
    bench.sql("UPDATE mailbox SET smtp_active = 1").await;
    bench.sql("DELETE FROM mailbox_app_password").await;
    assert_eq!(judge(Role::Pop3d).await, ["", "the password was changed"]);
    bench.sql("UPDATE mailbox SET password = '{PLAIN}other'").await;
    assert_eq!(judge(Role::Pop3d).await[0], "the password was changed");
    bench
        .sql("UPDATE mailbox SET password = '{PLAIN}secret', maildir = 'elsewhere/'")
        .await;
    assert_eq!(judge(Role::Pop3d).await[0], "the mailbox was moved");
    bench
        .sql("UPDATE mailbox SET maildir = 'd.test/u/', active = 0")
        .await;
    assert!(judge(Role::Pop3d).await[0].contains("not active"));
    bench.sql("UPDATE mailbox SET active = 1").await;
    assert_eq!(judge(Role::Pop3d).await[0], "");
    bench.sql("DELETE FROM mailbox").await;
    assert_eq!(judge(Role::Pop3d).await[0], "the mailbox is gone");
    // Trouble ends none.
    bench.sql("ALTER TABLE mailbox RENAME TO gone").await;
    assert!(
        bench
            .logins
            .still_valid(Role::Imapd, vec![own.clone()])
            .await
            .is_err()
    );
}

/// robustness.md A24: in every mechanism, a canary that may turn up nowhere.
#[tokio::test]
async fn no_secret_is_told_by_any_mechanism() {
    let bench = Bench::configured(
        "{PLAIN}canary-stored",
        "[authd]\nstore_scram_keys = true\nunmarked_passwords = \"cleartext\"\n",
    )
    .await;
    let mut told = String::new();
    for name in bench.logins.mechanisms(context()).await.unwrap() {
        for response in [
            "\0u@d.test\0canary-plain",
            "canary-garbage",
            "n,,n=u@d.test,r=canary-nonce",
            "u@d.test canary-digest",
            "n,a=u@d.test,\x01auth=Bearer canary-token\x01\x01",
            "username=\"u@d.test\",response=canary-response",
        ] {
            let mut exchange = bench.logins.begin(context(), &name);
            for answer in [Some(response), Some("canary-second"), Some("canary-third")] {
                let step = exchange.step(answer.map(Secret::new)).await;
                match &step {
                    LoginStep::Challenge(_) => {}
                    LoginStep::Denied { reason, .. } | LoginStep::TemporaryFailure { reason } => {
                        told.push_str(reason);
                        break;
                    }
                    LoginStep::Success(_) => panic!("{name} {response}"),
                }
            }
        }
    }
    told.push_str(&bench.log());
    assert!(told.contains("LoginDenied"));
    assert!(!told.contains("canary-"), "{told}");
}
