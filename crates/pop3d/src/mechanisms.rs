//! The SASL mechanisms that authd offers, remembered for a few seconds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth_api::client::Client;
use auth_api::sasl::LoginContext;
use tokio::time::Instant;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(10);

/// One answer for connections with TLS and one for those without.
#[derive(Debug, Default)]
pub(crate) struct Mechanisms {
    answers: Mutex<[Option<Answer>; 2]>,
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
        let which = usize::from(context.tls.is_some());
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
