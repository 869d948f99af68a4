//! What is offered, by state of the session.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth_api::client::Client;
use auth_api::sasl::LoginContext;
use tokio::time::Instant;

/// Before the login.
const BEFORE: [&str; 4] = ["IMAP4rev1", "LITERAL+", "SASL-IR", "ID"];

/// After it.
pub(crate) const AFTER: [&str; 12] = [
    "IMAP4rev1",
    "LITERAL+",
    "ID",
    "ENABLE",
    "NAMESPACE",
    "IDLE",
    "UIDPLUS",
    "UNSELECT",
    "MOVE",
    "CHILDREN",
    "SPECIAL-USE",
    "SASL-IR",
];

/// The capabilities before the login. `starttls`: it can still be asked for; `login`: a password may be sent.
pub(crate) fn before_login(starttls: bool, login: bool, mechanisms: &[String]) -> Vec<String> {
    let mut list: Vec<String> = BEFORE.iter().map(|name| (*name).to_owned()).collect();
    if starttls {
        list.push("STARTTLS".to_owned());
    }
    if login {
        list.extend(mechanisms.iter().map(|mechanism| format!("AUTH={mechanism}")));
    } else {
        list.push("LOGINDISABLED".to_owned());
    }
    list
}

/// What authd said, and when.
type Answer = (Instant, Vec<String>);

/// The SASL mechanisms that authd offers, remembered for a few seconds.
#[derive(Debug, Default)]
pub(crate) struct Mechanisms {
    /// For each kind of connection.
    known: Mutex<[Option<Answer>; KINDS]>,
}

impl Mechanisms {
    /// What to list for a connection. While authd is away the last answer stands, and before the first one
    /// what it always has: a greeting must not wait, and a login will say that there is trouble.
    pub(crate) async fn offered(&self, authd: &Client, context: &LoginContext) -> Vec<String> {
        let which = kind(context);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner)[which].clone();
        if let Some((since, list)) = &known
            && since.elapsed() < FRESH
        {
            return list.clone();
        }
        let answer = tokio::time::timeout(PATIENCE, authd.mechanisms(context)).await;
        let list = match answer {
            Ok(Ok(list)) => list,
            _ => known.map_or_else(|| vec!["PLAIN".to_owned(), "LOGIN".to_owned()], |(_, list)| list),
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner)[which] =
            Some((Instant::now(), list.clone()));
        list
    }
}

/// The kinds of connections that may be offered different things: without TLS; with it, with or without a
/// channel binding, and with or without a certificate of the client.
const KINDS: usize = 5;

fn kind(context: &LoginContext) -> usize {
    context.tls.as_ref().map_or(0, |tls| {
        let bound = !tls.tls_exporter.is_empty() || !tls.tls_server_end_point.is_empty();
        1 + usize::from(bound) + 2 * usize::from(!tls.client_names.is_empty())
    })
}

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(10);
/// How long a greeting waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);
