//! The circuit breaker: after some failures in a row nobody waits for a dead server any more; one question
//! per second tries whether it is back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// Time between two probes while it is open.
const PAUSE: Duration = Duration::from_secs(1);
/// A probe that did not end by then (its caller vanished) does not count any more.
const PROBE: Duration = Duration::from_secs(2);

/// What became of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was there and fails now; why.
    Lost(String),
    /// It is back after this time.
    Back(Duration),
}

/// The state.
#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
}

/// Failures in a row, as long as they last.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// The first.
    pub since: Instant,
    /// The last.
    pub last: Instant,
    /// Why it failed last.
    pub why: String,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    trouble: Option<Trouble>,
    /// While open: when the next probe may begin.
    next_probe: Option<Instant>,
}

impl Breaker {
    /// Whether a question may go to the server now.
    pub fn admit(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state.failures < FAILURES {
            return true;
        }
        match state.next_probe {
            Some(at) if now < at => false,
            _ => {
                // This one is the probe; the next may begin when it surely has ended.
                state.next_probe = Some(now + PROBE + PAUSE);
                true
            }
        }
    }

    /// The server answered.
    pub fn success(&self, now: Instant) -> Option<Change> {
        let mut state = self.lock();
        let trouble = state.trouble.take();
        *state = State::default();
        trouble.map(|trouble| Change::Back(now - trouble.since))
    }

    /// It did not.
    pub fn failure(&self, now: Instant, why: &str) -> Option<Change> {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        state.next_probe = Some(now + PAUSE);
        let first = state.trouble.is_none();
        state.trouble = Some(Trouble {
            since: state.trouble.as_ref().map_or(now, |trouble| trouble.since),
            last: now,
            why: why.to_owned(),
        });
        first.then(|| Change::Lost(why.to_owned()))
    }

    /// The failures since it worked last.
    pub fn trouble(&self) -> Option<Trouble> {
        self.lock().trouble.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_probes_and_closes() {
        let breaker = Breaker::default();
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert_eq!(
            breaker.failure(at(0.0), "gone"),
            Some(Change::Lost("gone".into()))
        );
        for _ in 0..4 {
            assert!(breaker.admit(at(0.1)));
            assert_eq!(breaker.failure(at(0.2), "gone"), None);
        }
        assert!(!breaker.admit(at(0.5)));
        // One probe after a second; a second question meanwhile does not wait with it.
        assert!(breaker.admit(at(1.3)));
        assert!(!breaker.admit(at(1.4)));
        breaker.failure(at(1.5), "gone");
        assert!(!breaker.admit(at(2.0)));
        assert!(breaker.admit(at(2.6)));
        assert_eq!(
            breaker.success(at(2.7)),
            Some(Change::Back(Duration::from_secs_f64(2.7)))
        );
        assert!(breaker.admit(at(2.8)) && breaker.success(at(2.9)).is_none());
    }

    #[test]
    fn a_probe_that_vanished_does_not_block() {
        let breaker = Breaker::default();
        let start = Instant::now();
        for _ in 0..5 {
            breaker.failure(start, "gone");
        }
        assert!(breaker.admit(start + PAUSE));
        assert!(!breaker.admit(start + PAUSE + PROBE));
        assert!(breaker.admit(start + PAUSE + PROBE + PAUSE));
    }
}
