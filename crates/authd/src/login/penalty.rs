//! How long a client waits after a wrong password: doubling per address (IPv6: per /64) and per account.
//! authd only says how long; the protocol daemon waits.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures are forgotten this long after the last one.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// Most keys remembered.
const MOST: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Network(IpAddr),
    Account(String),
}

/// The failures of late.
#[derive(Debug)]
pub struct Penalties {
    failures: Mutex<HashMap<Key, (u32, Instant)>>,
}

impl Penalties {
    /// Nobody has failed yet.
    pub fn new() -> Self {
        Self {
            failures: Mutex::new(HashMap::new()),
        }
    }

    /// Counts a failure and says how long to wait: `first`, doubled with each further one, at most `most`.
    pub fn failed(
        &self,
        peer: IpAddr,
        account: Option<&str>,
        now: Instant,
        first: Duration,
        most: Duration,
    ) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST {
            failures.retain(|_, (_, last)| now - *last < MEMORY);
        }
        let mut worst = 1;
        let account = account.map(|account| Key::Account(account.to_owned()));
        for key in std::iter::once(Key::Network(network(peer))).chain(account) {
            if failures.len() >= MOST && !failures.contains_key(&key) {
                // Full of fresh ones: an attack. Whoever is new waits longest.
                worst = u32::MAX;
                continue;
            }
            let (count, last) = failures.entry(key).or_insert((0, now));
            if now - *last >= MEMORY {
                *count = 0;
            }
            *count = count.saturating_add(1);
            *last = now;
            worst = worst.max(*count);
        }
        let doublings = (worst - 1).min(16);
        first.saturating_mul(1 << doublings).min(most)
    }

    /// The account's owner logged in. (The address stays counted: who guesses may have an account too.)
    pub fn succeeded(&self, account: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&Key::Account(account.to_owned()));
    }
}

/// What counts as one client.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(2);
    const MOST: Duration = Duration::from_secs(16);

    fn seconds(penalties: &Penalties, peer: &str, account: &str, now: Instant) -> u64 {
        penalties
            .failed(peer.parse().unwrap(), Some(account), now, FIRST, MOST)
            .as_secs()
    }

    #[test]
    fn doubles_per_address_and_per_account() {
        let (penalties, now) = (Penalties::new(), Instant::now());
        let waits: Vec<u64> = (0..5)
            .map(|i| seconds(&penalties, "192.0.2.1", &format!("u{i}"), now))
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 16]);
        assert_eq!(seconds(&penalties, "::ffff:192.0.2.1", "other", now), 16);
        let waits: Vec<u64> = (0..3)
            .map(|i| seconds(&penalties, &format!("192.0.2.1{i}"), "victim", now))
            .collect();
        assert_eq!(waits, [2, 4, 8]);
        penalties.succeeded("victim");
        assert_eq!(seconds(&penalties, "192.0.2.99", "victim", now), 2);
    }

    #[test]
    fn one_network_of_ipv6_is_one_client() {
        let (penalties, now) = (Penalties::new(), Instant::now());
        assert_eq!(seconds(&penalties, "2001:db8::1", "a", now), 2);
        assert_eq!(seconds(&penalties, "2001:db8::ffff:2", "b", now), 4);
        assert_eq!(seconds(&penalties, "2001:db8:0:1::1", "c", now), 2);
        assert_eq!(seconds(&penalties, "2001:db8::1", "a", now + MEMORY), 2);
    }
}
