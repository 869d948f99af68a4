//! The SASL mechanisms that authd offers, remembered for a few seconds.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::Unavailable;
use crate::sasl::LoginContext;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(10);
/// How long authd is not asked again after it gave none.
const AWAY: Duration = Duration::from_secs(1);
/// How long a greeting or a list of capabilities waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// The kinds of connections that may be offered different things: without TLS (where only clients of
/// `login_trusted_networks` may log in); with it, with or without a channel binding, and with or without a
/// certificate of the client.
const KINDS: usize = 5;

/// What a daemon announces: authd is asked once in ten seconds for each kind of connection, so that a greeting costs
/// no round trip.
#[derive(Debug)]
pub struct Mechanisms {
    at_first: &'static [&'static str],
    known: Mutex<[Option<Answer>; KINDS]>,
}

#[derive(Debug, Clone)]
struct Answer {
    good_until: Instant,
    list: Vec<String>,
}

impl Mechanisms {
    /// Knows nothing yet; `at_first` is announced while authd has never answered, in upper case.
    pub fn new(at_first: &'static [&'static str]) -> Self {
        Self {
            at_first,
            known: Mutex::default(),
        }
    }

    /// What to announce on a connection; `ask` is the call of authd, which is made where the last answer has become
    /// old. While authd is away the last one stands: a client that comes then is told of a temporary failure when
    /// it logs in, and not that it cannot.
    pub async fn offered(
        &self,
        context: &LoginContext,
        ask: impl Future<Output = Result<Vec<String>, Unavailable>>,
    ) -> Vec<String> {
        let which = kind(context);
        let known = self.known()[which].clone();
        if let Some(answer) = &known
            && Instant::now() < answer.good_until
        {
            return answer.list.clone();
        }
        let (list, good) = match timeout(PATIENCE, ask).await {
            Ok(Ok(list)) => (list, FRESH),
            failed => {
                let reason = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => "no answer in time".to_owned(),
                };
                tracing::warn!(session = %context.session, reason, "mechanisms are not known");
                let at_first = || self.at_first.iter().map(|name| (*name).to_owned()).collect();
                (known.map_or_else(at_first, |answer| answer.list), AWAY)
            }
        };
        self.known()[which] = Some(Answer {
            good_until: Instant::now() + good,
            list: list.clone(),
        });
        list
    }

    /// Another thread's panic leaves plain values in order.
    fn known(&self) -> MutexGuard<'_, [Option<Answer>; KINDS]> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind(context: &LoginContext) -> usize {
    context.tls.as_ref().map_or(0, |tls| {
        let bound = !tls.tls_exporter.is_empty() || !tls.tls_server_end_point.is_empty();
        1 + usize::from(bound) + 2 * usize::from(!tls.client_names.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::TlsState;
    use mail_types::SessionId;

    fn context(tls: bool) -> LoginContext {
        LoginContext {
            service: "smtp".into(),
            peer: "192.0.2.1:1".parse().unwrap(),
            local: "192.0.2.2:25".parse().unwrap(),
            session: SessionId::new(1, 1),
            tls: tls.then(|| TlsState {
                version: String::new(),
                cipher: String::new(),
                tls_exporter: vec![],
                tls_server_end_point: vec![],
                client_names: vec![],
            }),
            trusted: !tls,
        }
    }

    async fn says(name: &str) -> Result<Vec<String>, Unavailable> {
        Ok(vec![name.to_owned()])
    }

    async fn away() -> Result<Vec<String>, Unavailable> {
        Err(Unavailable::new("authd is away"))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_good_for_ten_seconds_and_one_kind() {
        let mechanisms = Mechanisms::new(&["LOGIN"]);
        assert_eq!(mechanisms.offered(&context(true), says("PLAIN")).await, ["PLAIN"]);
        let asked_again = async { panic!("asked again") };
        assert_eq!(mechanisms.offered(&context(true), asked_again).await, ["PLAIN"]);
        assert_eq!(mechanisms.offered(&context(false), says("X")).await, ["X"]);
        tokio::time::advance(FRESH).await;
        assert_eq!(mechanisms.offered(&context(true), says("Y")).await, ["Y"]);
    }

    #[tokio::test(start_paused = true)]
    async fn while_authd_is_away_the_last_answer_stands() {
        let mechanisms = Mechanisms::new(&["LOGIN"]);
        let silent = std::future::pending();
        assert_eq!(mechanisms.offered(&context(true), silent).await, ["LOGIN"]);
        let asked_at_once = async { panic!("asked at once") };
        assert_eq!(mechanisms.offered(&context(true), asked_at_once).await, ["LOGIN"]);
        tokio::time::advance(AWAY).await;
        assert_eq!(mechanisms.offered(&context(true), says("PLAIN")).await, ["PLAIN"]);
        tokio::time::advance(FRESH).await;
        assert_eq!(mechanisms.offered(&context(true), away()).await, ["PLAIN"]);
        tokio::time::advance(AWAY).await;
        assert_eq!(mechanisms.offered(&context(true), says("Y")).await, ["Y"]);
    }
}
