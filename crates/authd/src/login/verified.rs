//! Credentials that were verified a moment ago, so that a mail program which opens ten connections costs one
//! hash. An entry is bound to the stored hash: a changed row is a miss.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mail_types::Secret;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// How long an entry holds.
const LIFETIME: Duration = Duration::from_secs(300);
/// Most entries.
const MOST: usize = 50_000;

/// The keyed digest of a login, its stored hash and the password that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proof([u8; 32]);

/// The entries, under a key of this process.
pub struct Verified {
    key: Zeroizing<[u8; 32]>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// Until when each holds.
    until: HashMap<Proof, Instant>,
    /// In the order in which they end; one that was renewed stands here more than once.
    order: VecDeque<(Proof, Instant)>,
}

impl Verified {
    /// Empty, with a random key.
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            key: Zeroizing::new(key),
            entries: Mutex::default(),
        }
    }

    /// The proof that these belong together.
    pub fn proof(&self, login: &str, stored: &Secret, password: &Secret) -> Proof {
        let mut digest = Sha256::new();
        digest.update(*self.key);
        for part in [login.as_bytes(), stored.expose(), password.expose()] {
            // With the lengths nothing can move from one part to the next.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Proof(digest.finalize().into())
    }

    /// Whether the proof was found good lately.
    pub fn knows(&self, proof: Proof, now: Instant) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.until.get(&proof).is_some_and(|until| now < *until)
    }

    /// Remembers a proof; where there are too many, the oldest goes.
    pub fn remember(&self, proof: Proof, now: Instant) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = &mut *entries;
        while let Some((oldest, until)) = entries.order.front() {
            if now < *until && entries.order.len() < MOST {
                break;
            }
            if entries.until.get(oldest) == Some(until) {
                entries.until.remove(oldest);
            }
            entries.order.pop_front();
        }
        let until = now + LIFETIME;
        entries.until.insert(proof, until);
        entries.order.push_back((proof, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_to_login_hash_and_password() {
        let verified = Verified::new([1; 32]);
        let now = Instant::now();
        let proof = |login: &str, stored: &str, password: &str| {
            verified.proof(login, &Secret::new(stored), &Secret::new(password))
        };
        verified.remember(proof("u", "$6$a", "pw"), now);
        assert!(verified.knows(proof("u", "$6$a", "pw"), now));
        for other in [
            proof("v", "$6$a", "pw"),
            proof("u", "$6$b", "pw"),
            proof("u", "$6$a", "pv"),
            proof("u$", "6$a", "pw"),
        ] {
            assert!(!verified.knows(other, now));
        }
        assert!(!verified.knows(proof("u", "$6$a", "pw"), now + LIFETIME));
        assert_ne!(
            Verified::new([2; 32]).proof("u", &Secret::new("s"), &Secret::new("p")),
            proof("u", "s", "p")
        );
    }

    #[test]
    fn the_oldest_goes() {
        let verified = Verified::new([1; 32]);
        let now = Instant::now();
        let proof = |number: usize| verified.proof(&number.to_string(), &Secret::new("s"), &Secret::new("p"));
        for number in 0..=MOST {
            verified.remember(proof(number), now);
        }
        assert!(
            !verified.knows(proof(0), now)
                && verified.knows(proof(1), now)
                && verified.knows(proof(MOST), now)
        );
        // One that was renewed holds on, and those that are over leave room.
        verified.remember(proof(1), now + Duration::from_secs(1));
        verified.remember(proof(2), now + LIFETIME);
        let later = now + LIFETIME;
        assert!(
            verified.knows(proof(1), later)
                && verified.knows(proof(2), later)
                && !verified.knows(proof(3), later)
        );
        let entries = verified.entries.lock().unwrap();
        assert_eq!((entries.until.len(), entries.order.len()), (2, 2));
    }
}
