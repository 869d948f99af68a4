//! Clients that stop in the middle of a login, or hang up there, are nobody else's trouble (architecture.md
//! section 3: dropped calls must not end the shared channel).

// Helpers of tests are tests, which clippy does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use auth_api::sasl::LoginStep;
use auth_api::{Role, Trace};
use common::{Authd, address, context, plain};
use mail_types::Secret;

/// How long an exchange of somebody else may take while all this goes on.
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody else: a whole login and a lookup over the same client.
async fn others_are_served(client: &auth_api::client::Client) {
    let begin = Instant::now();
    let (step, mut exchange) = client
        .login(&context(), "LOGIN", Some(Secret::new("alice@example.com")))
        .await;
    assert!(matches!(step, LoginStep::Challenge(_)), "{step:?}");
    let step = exchange.next(Secret::new("correct horse")).await;
    assert!(matches!(step, LoginStep::Success(_)), "{step:?}");
    client
        .resolve(&address("alice@example.com"), Trace::default())
        .await
        .unwrap();
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_stop_in_the_middle() {
    let authd = Authd::with_alice().await;
    let client = authd.client(Role::Smtpd);
    let mut stopped = Vec::new();
    for _ in 0..300 {
        let (step, mut exchange) = client.login(&context(), "LOGIN", None).await;
        assert!(matches!(step, LoginStep::Challenge(_)), "{step:?}");
        let step = exchange.next(Secret::new("alice@example.com")).await;
        assert!(matches!(step, LoginStep::Challenge(_)), "{step:?}");
        stopped.push(exchange);
    }
    for _ in 0..5 {
        others_are_served(&client).await;
    }
    // And they can still go on.
    let mut last = stopped.pop().unwrap();
    assert!(matches!(
        last.next(Secret::new("correct horse")).await,
        LoginStep::Success(_)
    ));
    authd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_hang_up() {
    let authd = Authd::with_alice().await;
    let client = authd.client(Role::Smtpd);
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        crowd.spawn(async move {
            for turn in 0..100 {
                match turn % 3 {
                    // After a challenge.
                    0 => {
                        let (step, _) = client.login(&context(), "LOGIN", None).await;
                        assert!(matches!(step, LoginStep::Challenge(_)), "{step:?}");
                    }
                    // Without waiting for the answer of authd.
                    1 => {
                        let context = context();
                        let login = client.login(&context, "PLAIN", Some(plain("alice@example.com", "x")));
                        let _ = tokio::time::timeout(Duration::ZERO, login).await;
                    }
                    _ => {
                        let (_, mut exchange) = client.login(&context(), "LOGIN", None).await;
                        let next = exchange.next(Secret::new("alice@example.com"));
                        let _ = tokio::time::timeout(Duration::ZERO, next).await;
                    }
                }
            }
        });
    }
    while !crowd.is_empty() {
        tokio::select! {
            ended = crowd.join_next() => ended.unwrap().unwrap(),
            () = others_are_served(&client) => {}
        }
    }
    others_are_served(&client).await;
    authd.stop().await;
}

/// The same with questions: more dropped calls than h2 allows resets.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_questions_end_no_channel() {
    let authd = Authd::with_alice().await;
    let client = authd.client(Role::Smtpd);
    let alice = address("alice@example.com");
    for _ in 0..3000 {
        let question = client.resolve(&alice, Trace::default());
        let _ = tokio::time::timeout(Duration::ZERO, question).await;
    }
    others_are_served(&client).await;
    authd.stop().await;
}
