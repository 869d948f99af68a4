//! authd in this process, asked over its sockets: what every other daemon sees, on a new SQLite file.

mod common;

use auth_api::admin::{AdminError, AliasRecord, DomainRecord, NewMailbox};
use auth_api::directory::{MailboxAnswer, Route, SenderLogin, Target, Verdict};
use auth_api::sasl::LoginStep;
use auth_api::{Role, Trace};
use common::{Authd, address, context, domain, plain};
use mail_types::Secret;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_site_from_nothing() {
    let authd = Authd::start().await;
    let admin = authd.client(Role::Admin);
    admin
        .create_domain(DomainRecord::new(domain("example.com")))
        .await
        .unwrap();
    let alice = NewMailbox::new(address("alice@example.com"), Secret::new("correct horse"));
    admin.create_mailbox(alice.clone()).await.unwrap();
    let again = admin.create_mailbox(alice).await;
    assert!(matches!(again, Err(AdminError::Exists(_))), "{again:?}");
    let targets = vec!["alice@example.com".into(), "far@away.test".into()];
    let sales = AliasRecord::new("sales@example.com", targets);
    admin.create_alias(sales).await.unwrap();

    let smtpd = authd.client(Role::Smtpd);
    let resolution = smtpd
        .resolve(&address("sales+x@example.com"), Trace::default())
        .await
        .unwrap();
    let Verdict::Deliver(list) = resolution.verdict else {
        panic!("{resolution:?}")
    };
    let finals: Vec<_> = list
        .iter()
        .map(|d| (d.final_address.to_string(), d.target.clone()))
        .collect();
    assert_eq!(
        finals,
        [
            ("alice+x@example.com".to_owned(), Target::Mailbox),
            ("far+x@away.test".to_owned(), Target::Remote)
        ]
    );
    let owned = smtpd
        .check_sender_login(
            &address("alice@example.com"),
            &address("sales@example.com"),
            Trace::default(),
        )
        .await;
    assert_eq!(owned.unwrap(), SenderLogin::Owned);

    let qmgr = authd.client(Role::Qmgr);
    assert_eq!(
        qmgr.route(&address("alice@example.com"), Trace::default())
            .await
            .unwrap(),
        Route::Local
    );
    let deliver = authd.client(Role::Deliver);
    let answer = deliver
        .lookup_mailbox(&address("alice+x@example.com"), Trace::default())
        .await
        .unwrap();
    let MailboxAnswer::Found(mailbox) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(mailbox.maildir, "example.com/alice/");
    authd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_by_plain_and_login() {
    let authd = Authd::with_alice().await;
    let imapd = authd.client(Role::Imapd);
    let context = context();
    assert_eq!(imapd.mechanisms(&context).await.unwrap(), ["PLAIN", "LOGIN"]);

    let (step, _) = imapd
        .login(
            &context,
            "plain",
            Some(plain("Alice@Example.com", "correct horse")),
        )
        .await;
    let LoginStep::Success(account) = step else {
        panic!("{step:?}")
    };
    assert_eq!(account.address, address("alice@example.com"));

    let (step, mut exchange) = imapd.login(&context, "LOGIN", None).await;
    assert_eq!(step, LoginStep::Challenge(b"Username:".to_vec()));
    assert_eq!(
        exchange.next(Secret::new("alice@example.com")).await,
        LoginStep::Challenge(b"Password:".to_vec())
    );
    assert!(matches!(
        exchange.next(Secret::new("correct horse")).await,
        LoginStep::Success(_)
    ));
    assert!(matches!(
        exchange.next(Secret::new("x")).await,
        LoginStep::TemporaryFailure { .. }
    ));

    let mut delays = Vec::new();
    for login in ["alice@example.com", "nobody@example.com", "x' OR '1'='1", "alice"] {
        let (step, _) = imapd.login(&context, "PLAIN", Some(plain(login, "wrong"))).await;
        let LoginStep::Denied {
            delay,
            no_mechanism: false,
            ..
        } = step
        else {
            panic!("{step:?}")
        };
        delays.push(delay.as_secs());
    }
    assert_eq!(delays, [2, 4, 8, 16]);
    let (step, _) = imapd.login(&context, "CRAM-MD5", None).await;
    assert!(matches!(
        step,
        LoginStep::Denied {
            no_mechanism: true,
            ..
        }
    ));
    authd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_no_password_is_asked_for() {
    let authd = Authd::with_alice().await;
    let smtpd = authd.client(Role::Smtpd);
    let mut context = context();
    context.tls = None;
    assert!(smtpd.mechanisms(&context).await.unwrap().is_empty());
    let (step, _) = smtpd
        .login(
            &context,
            "PLAIN",
            Some(plain("alice@example.com", "correct horse")),
        )
        .await;
    assert!(
        matches!(
            step,
            LoginStep::Denied {
                no_mechanism: true,
                ..
            }
        ),
        "{step:?}"
    );
    context.trusted = true;
    let (step, _) = smtpd
        .login(&context, "PLAIN", Some(plain("alice@example.com", "wrong")))
        .await;
    assert!(
        matches!(step, LoginStep::Denied { delay, .. } if delay.is_zero()),
        "{step:?}"
    );
    authd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_serves_only_its_role() {
    let authd = Authd::with_alice().await;
    let alice = address("alice@example.com");
    let denied = |result: Result<(), auth_api::Unavailable>| {
        let reason = result.unwrap_err().reason;
        assert!(reason.contains("PermissionDenied"), "{reason}");
    };
    let deliver = authd.client(Role::Deliver);
    denied(deliver.resolve(&alice, Trace::default()).await.map(drop));
    let domains = deliver.domains(None).all().await.map(drop);
    denied(domains.map_err(|error| auth_api::Unavailable::new(error.to_string())));
    denied(deliver.mechanisms(&context()).await.map(drop));
    denied(
        authd
            .client(Role::Smtpd)
            .route(&alice, Trace::default())
            .await
            .map(drop),
    );
    denied(
        authd
            .client(Role::Imapd)
            .check_sender_login(&alice, &alice, Trace::default())
            .await
            .map(drop),
    );
    let (step, _) = deliver
        .login(
            &context(),
            "PLAIN",
            Some(plain("alice@example.com", "correct horse")),
        )
        .await;
    assert!(matches!(step, LoginStep::TemporaryFailure { .. }));
    authd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_heals_by_itself() {
    let authd = Authd::with_alice().await;
    let smtpd = authd.client(Role::Smtpd);
    let alice = address("alice@example.com");
    smtpd.resolve(&alice, Trace::default()).await.unwrap();
    let again = authd.restart().await;
    // The same client, whose connection is gone.
    smtpd.resolve(&alice, Trace::default()).await.unwrap();
    let (step, _) = smtpd
        .login(
            &context(),
            "PLAIN",
            Some(plain("alice@example.com", "correct horse")),
        )
        .await;
    assert!(matches!(step, LoginStep::Success(_)), "{step:?}");
    let dir = again.stop_keeping().await;
    assert!(smtpd.resolve(&alice, Trace::default()).await.is_err());
    drop(dir);
}
