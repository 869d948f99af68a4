//! The SASL mechanisms that authd offers, remembered for a few seconds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth_api::client::Client;
use auth_api::sasl::LoginContext;
use tokio::time::Instant;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(10);

/// The kinds of connections that may be offered different things: without TLS; with it, with or without a
/// channel binding, and with or without a certificate of the client.
const KINDS: usize = 5;

fn kind(context: &LoginContext) -> usize {
    context.tls.as_ref().map_or(0, |tls| {
        let bound = !tls.tls_exporter.is_empty() || !tls.tls_server_end_point.is_empty();
        1 + usize::from(bound) + 2 * usize::from(!tls.client_names.is_empty())
    })
}

/// One answer for each kind of connection.
#[derive(Debug, Default)]
pub(crate) struct Mechanisms {
    answers: Mutex<[Option<Answer>; KINDS]>,
}

#[derive(Debug, Clone)]
struct Answer {
    since: Instant,
    list: Vec<String>,
}

impl Mechanisms {
    /// What to list for a connection. While authd is away the last answer stands; before the first one
    /// nothing is listed (USER and PASS are always there).
    pub(crate) async fn offered(&self, authd: &Client, context: &LoginContext) -> Vec<String> {
        let which = kind(context);
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner)[which].clone();
        if let Some(answer) = &known
            && answer.since.elapsed() < FRESH
        {
            return answer.list.clone();
        }
        match authd.mechanisms(context).await {
            Ok(list) => {
                let answer = Answer {
                    since: Instant::now(),
                    list: list.clone(),
                };
                self.answers.lock().unwrap_or_else(PoisonError::into_inner)[which] = Some(answer);
                list
            }
            Err(error) => {
                tracing::warn!(session = %context.session, %error, "mechanisms are not known");
                known.map(|answer| answer.list).unwrap_or_default()
            }
        }
    }
}
