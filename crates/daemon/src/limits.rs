//! Counting what clients do: how many at a time, how many in 60 seconds. IPv6 clients count by /64.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who counts as one client: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientKey(IpAddr);

impl From<IpAddr> for ClientKey {
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
            v4 => v4,
        })
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many of something each key has at a time: connections of a client, sessions of a user.
#[derive(Debug)]
pub struct ConcurrencyLimiter<K: Hash + Eq>(Arc<Mutex<HashMap<K, u32>>>);

impl<K: Hash + Eq> Clone for ConcurrencyLimiter<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Hash + Eq> Default for ConcurrencyLimiter<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Clone> ConcurrencyLimiter<K> {
    /// Counts one more for `key` until the guard is dropped; None where it has `limit` already.
    pub fn try_acquire(&self, key: K, limit: u32) -> Option<ConcurrencyGuard<K>> {
        let mut counts = lock(&self.0);
        let count = counts.entry(key.clone()).or_insert(0);
        if *count >= limit {
            // An entry of 0 can only be one that was just made, by a limit of 0.
            if *count == 0 {
                counts.remove(&key);
            }
            return None;
        }
        *count += 1;
        drop(counts);
        Some(ConcurrencyGuard {
            counts: Arc::clone(&self.0),
            key,
        })
    }

    /// How many `key` has.
    pub fn count(&self, key: &K) -> u32 {
        lock(&self.0).get(key).copied().unwrap_or(0)
    }
}

/// One of a [`ConcurrencyLimiter`]'s count.
#[derive(Debug)]
pub struct ConcurrencyGuard<K: Hash + Eq> {
    counts: Arc<Mutex<HashMap<K, u32>>>,
    key: K,
}

impl<K: Hash + Eq> Drop for ConcurrencyGuard<K> {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// How often each client did something within 60 seconds: connections, messages, recipients, logins, TLS.
/// One of these for each thing that is counted.
#[derive(Debug, Default)]
pub struct Rates(Mutex<Windows>);

#[derive(Debug, Default)]
struct Windows {
    clients: HashMap<ClientKey, Window>,
    swept: Option<Instant>,
}

/// A count since `start`, and that of the window before it: together a good guess for the last 60 seconds.
#[derive(Debug)]
struct Window {
    start: Instant,
    count: u32,
    before: u32,
}

impl Rates {
    /// The length of the window.
    pub const WINDOW: Duration = Duration::from_secs(60);

    /// Clients that are remembered; while more are active, new ones are not counted.
    const MOST: usize = 200_000;

    /// Counts one for `client` and says whether it stays within `limit` per 60 seconds. What is over the
    /// limit is not counted, so that a client which slows down is served again.
    pub fn allow(&self, client: ClientKey, limit: u32, now: Instant) -> bool {
        let mut windows = lock(&self.0);
        windows.sweep(now);
        if windows.clients.len() >= Self::MOST && !windows.clients.contains_key(&client) {
            return true;
        }
        let window = windows.clients.entry(client).or_insert(Window {
            start: now,
            count: 0,
            before: 0,
        });
        window.roll(now);
        if window.recent(now) >= f64::from(limit) {
            return false;
        }
        window.count += 1;
        true
    }
}

impl Windows {
    /// Forgets, once per window, clients that were silent for two.
    fn sweep(&mut self, now: Instant) {
        let last = *self.swept.get_or_insert(now);
        if now.saturating_duration_since(last) >= Rates::WINDOW {
            self.swept = Some(now);
            self.clients
                .retain(|_, window| now.saturating_duration_since(window.start) < 2 * Rates::WINDOW);
        }
    }
}

impl Window {
    fn roll(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.start);
        if age >= 2 * Rates::WINDOW {
            *self = Self {
                start: now,
                count: 0,
                before: 0,
            };
        } else if age >= Rates::WINDOW {
            *self = Self {
                start: self.start + Rates::WINDOW,
                count: 0,
                before: self.count,
            };
        }
    }

    /// The count of this window and the part of the one before that lies within 60 seconds.
    fn recent(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.start).as_secs_f64();
        let rest = (1.0 - age / Rates::WINDOW.as_secs_f64()).clamp(0.0, 1.0);
        f64::from(self.count) + f64::from(self.before) * rest
    }
}
