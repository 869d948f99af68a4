//! How long a client waits after a wrong password: doubling per address (IPv6: per /64), per account, and per
//! account from an address. authd only says how long; the protocol daemon waits.
//!
//! Where an account logged in within 30 days its own penalty does not count, so that nobody can make its
//! owner wait there. An account that is guessed at from many networks at once is judged only now and then for
//! clients of unknown networks: more is a temporary failure for them.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth_api::sasl::FailureRecord;

use crate::state::{self, FailureRow, State, Write};

/// Most keys remembered.
const MOST: usize = 100_000;
/// Most keys forgotten in one write.
const FORGET: usize = 1_000;
/// Guesses from this many networks are no forgotten password any more.
const SPREAD: u32 = 20;

/// What counts as one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

/// The name of [`Network::UNIX`] in lists and in the file.
const UNIX: &str = "unix";

impl Network {
    /// Behind a Unix socket, where clients have no address: a network like others, in which an owner is known
    /// once he logged in there, but whose failures together are those of no client.
    const UNIX: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    /// The network of an address: itself, or its /64. Unspecified addresses are [`Network::UNIX`].
    pub fn of(ip: IpAddr) -> Self {
        match ip.is_unspecified() {
            true => Self::UNIX,
            false => Self::masked(ip),
        }
    }

    fn masked(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case(UNIX) {
            return Some(Self::UNIX);
        }
        let ip = text.strip_suffix("/64").unwrap_or(text).parse().ok();
        ip.map(Self::masked)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            _ if *self == Self::UNIX => f.write_str(UNIX),
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

/// First and longest wait.
pub type Delays = (Duration, Duration);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    account: Option<Arc<str>>,
    network: Option<Network>,
}

impl Key {
    fn write(&self) -> (String, String) {
        (
            self.account.as_deref().unwrap_or_default().to_owned(),
            self.network
                .map(|network| network.to_string())
                .unwrap_or_default(),
        )
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    count: u32,
    /// Seconds since 1970.
    last: u64,
    /// Networks that failed; of an account.
    networks: u32,
    /// When a client of an unknown network was judged last; of an account.
    judged: u64,
}

impl Entry {
    fn fresh(&self, now: u64) -> bool {
        now.saturating_sub(self.last) < state::FAILURES
    }
}

/// The failures of late.
#[derive(Debug)]
pub struct Throttle {
    entries: Mutex<HashMap<Key, Entry>>,
    /// The second in which old entries were removed last.
    swept: AtomicU64,
    state: Arc<State>,
}

/// An account is guessed at from everywhere, and this client is not known to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guessed;

impl Throttle {
    /// With the failures of before.
    pub fn new(state: Arc<State>, rows: &[FailureRow]) -> Self {
        let mut entries = HashMap::new();
        for row in rows.iter().take(MOST) {
            let key = Key {
                account: (!row.account.is_empty()).then(|| row.account.as_str().into()),
                network: Network::parse(&row.network),
            };
            if key.account.is_some() || key.network.is_some() {
                let entry = Entry {
                    count: row.count,
                    last: row.last,
                    networks: 0,
                    judged: 0,
                };
                entries.insert(key, entry);
            }
        }
        let pairs: Vec<Arc<str>> = entries
            .keys()
            .filter(|key| key.network.is_some())
            .filter_map(|key| key.account.clone())
            .collect();
        for account in pairs {
            let key = Key {
                account: Some(account),
                network: None,
            };
            if let Some(entry) = entries.get_mut(&key) {
                entry.networks += 1;
            }
        }
        Self {
            entries: Mutex::new(entries),
            swept: AtomicU64::new(u64::MAX),
            state,
        }
    }

    /// Whether a client of a network that its account does not know is judged now.
    pub fn admit(&self, account: &str, now: u64, delays: Delays) -> Result<(), Guessed> {
        let key = Key {
            account: Some(account.into()),
            network: None,
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get_mut(&key) {
            Some(entry) if entry.fresh(now) && entry.networks >= SPREAD => {
                if now.saturating_sub(entry.judged) < delays.1.as_secs() {
                    return Err(Guessed);
                }
                entry.judged = now;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether the wait after the last failure of an account from a network is not over yet.
    pub fn is_penalized(&self, network: Network, account: &str, now: u64, delays: Delays) -> bool {
        let key = Key {
            account: Some(account.into()),
            network: Some(network),
        };
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(&key)
            .is_some_and(|entry| now < entry.last.saturating_add(delay(entry.count, delays).as_secs()))
    }

    /// Counts a failure and says how long to wait. `known`: the account logged in from there lately.
    pub fn failed(
        &self,
        network: Network,
        account: Option<&str>,
        known: bool,
        now: u64,
        delays: Delays,
    ) -> Duration {
        let account: Option<Arc<str>> = account.map(Into::into);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // Everybody waits for this: while it is full of fresh ones, not for each failure.
        if entries.len() >= MOST && self.swept.swap(now, Ordering::Relaxed) != now {
            entries.retain(|_, entry| entry.fresh(now));
        }
        let pair = account.clone().map(|account| Key {
            account: Some(account),
            network: Some(network),
        });
        let mut new_network = pair
            .as_ref()
            .is_some_and(|pair| !entries.get(pair).is_some_and(|entry| entry.fresh(now)));
        let anywhere = account.filter(|_| !known).map(|account| Key {
            account: Some(account),
            network: None,
        });
        let address = (network != Network::UNIX).then_some(Key {
            account: None,
            network: Some(network),
        });
        let mut worst = 1;
        for key in [address, pair, anywhere].into_iter().flatten() {
            if entries.len() >= MOST && !entries.contains_key(&key) {
                // Full of fresh ones: an attack. Whoever is new waits longest.
                worst = u32::MAX;
                // Not remembered, so it would be new each time.
                new_network &= key.account.is_none() || key.network.is_none();
                continue;
            }
            let (account, text) = key.write();
            let entry = entries.entry(key).or_insert(Entry {
                count: 0,
                last: now,
                networks: 0,
                judged: 0,
            });
            if !entry.fresh(now) {
                (entry.count, entry.networks) = (0, 0);
            }
            entry.count = entry.count.saturating_add(1);
            entry.last = now;
            if text.is_empty() && new_network {
                entry.networks = entry.networks.saturating_add(1);
            }
            worst = worst.max(entry.count);
            self.state.write(Write::Failure(FailureRow {
                account,
                network: text,
                count: entry.count,
                last: now,
            }));
        }
        delay(worst, delays)
    }

    /// The account's owner logged in. Its own failures are forgotten where he might have suffered from them;
    /// the address stays counted: who guesses may have an account too.
    pub fn succeeded(&self, network: Network, account: &str, known: bool) {
        let account: Arc<str> = account.into();
        let pair = Key {
            account: Some(account.clone()),
            network: Some(network),
        };
        let anywhere = (!known).then_some(Key {
            account: Some(account.clone()),
            network: None,
        });
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for key in std::iter::once(pair).chain(anywhere) {
            if entries.remove(&key).is_some() {
                self.forget(&key);
            }
        }
    }

    /// Forgets all failures of an account, or of a network and everybody in it.
    pub fn unban(&self, target: &str) -> u32 {
        let network: Option<config::Network> = target.parse().ok();
        let account = target.to_ascii_lowercase();
        let mut hits = Vec::new();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|key, _| {
            let hit = match &network {
                _ if target.eq_ignore_ascii_case(UNIX) => key.network == Some(Network::UNIX),
                Some(network) => key.network.is_some_and(|one| covers(network, target, one)),
                None => key.account.as_deref() == Some(&*account),
            };
            if hit {
                hits.push(key.clone());
            }
            !hit
        });
        drop(entries);
        for keys in hits.chunks(FORGET) {
            let keys = keys.iter().map(Key::write).collect();
            self.state.write(Write::Forget { keys });
        }
        u32::try_from(hits.len()).unwrap_or(u32::MAX)
    }

    /// The failures that count, the latest first.
    pub fn list(&self, now: u64, limit: usize, delays: Delays) -> Vec<FailureRecord> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = entries.iter().filter(|(_, entry)| entry.fresh(now));
        let fresh: Vec<(Key, Entry)> = fresh.map(|(key, entry)| (key.clone(), *entry)).collect();
        drop(entries);
        let mut records: Vec<FailureRecord> = fresh
            .iter()
            .map(|(key, entry)| record(key, entry, delays))
            .collect();
        records.sort_by(|a, b| {
            (b.last, b.count, &a.account, &a.network).cmp(&(a.last, a.count, &b.account, &b.network))
        });
        records.truncate(limit);
        records
    }

    /// Those of a network, of an account, and of the two together.
    pub fn about(&self, network: Network, account: &str, now: u64, delays: Delays) -> Vec<FailureRecord> {
        let account: Arc<str> = account.into();
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        [
            (None, Some(network)),
            (Some(account.clone()), None),
            (Some(account), Some(network)),
        ]
        .into_iter()
        .map(|(account, network)| Key { account, network })
        .filter_map(|key| entries.get(&key).map(|entry| (key, entry)))
        .filter(|(_, entry)| entry.fresh(now))
        .map(|(key, entry)| record(&key, entry, delays))
        .collect()
    }

    fn forget(&self, key: &Key) {
        let keys = vec![key.write()];
        self.state.write(Write::Forget { keys });
    }
}

fn record(key: &Key, entry: &Entry, delays: Delays) -> FailureRecord {
    FailureRecord {
        account: key.account.as_deref().map(str::to_owned),
        network: key.network.map(|network| network.to_string()),
        count: entry.count,
        last: entry.last,
        delay: delay(entry.count.saturating_add(1), delays),
        forgotten: entry.last + state::FAILURES,
    }
}

/// Whether an operator who names `network` means `one`: an address of IPv6 stands for its /64.
fn covers(network: &config::Network, target: &str, one: Network) -> bool {
    network.contains(one.0) || (!target.contains('/') && Network::parse(target) == Some(one))
}

/// The wait after so many failures.
fn delay(count: u32, (first, most): Delays) -> Duration {
    let doublings = count.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(most)
}
