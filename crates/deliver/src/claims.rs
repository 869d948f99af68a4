//! Claims on delivery keys: the same delivery never runs twice at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mail_types::DeliveryKey;
use tokio::sync::OwnedMutexGuard;

/// All claims of the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Deliveries that are going on.
    running: HashMap<DeliveryKey, Arc<tokio::sync::Mutex<()>>>,
    /// Keys that were delivered lately, and their order.
    recent: HashSet<DeliveryKey>,
    order: VecDeque<DeliveryKey>,
}

/// The right to deliver a key; ended by dropping it.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    key: DeliveryKey,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Claims {
    /// Claims `key`, waiting for whoever has it (architecture.md section 2, "One id").
    pub(crate) async fn claim(&self, key: DeliveryKey) -> Claim {
        let lock = Arc::clone(self.lock().running.entry(key).or_default());
        let guard = lock.lock_owned().await;
        Claim {
            claims: self.clone(),
            key,
            guard: Some(guard),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Whether this process has delivered the key lately, so that the mailbox is to be searched. A client
    /// that gave up waiting may have handed the message to somebody else, who was faster, although its first
    /// attempt still lay here unread.
    pub(crate) fn was_delivered(&self) -> bool {
        self.claims.lock().recent.contains(&self.key)
    }

    /// The copy is durable.
    pub(crate) fn delivered(&self) {
        let mut shared = self.claims.lock();
        if shared.recent.insert(self.key) {
            shared.order.push_back(self.key);
        }
        if shared.order.len() > RECENT
            && let Some(oldest) = shared.order.pop_front()
        {
            shared.recent.remove(&oldest);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut shared = self.claims.lock();
        self.guard = None;
        // The map's own reference is the last one: nobody waits.
        let last = |lock: &Arc<tokio::sync::Mutex<()>>| Arc::strong_count(lock) == 1;
        if shared.running.get(&self.key).is_some_and(last) {
            shared.running.remove(&self.key);
        }
    }
}

/// Keys that are remembered: half a minute of the highest rate, hours of an ordinary one.
const RECENT: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(recipient: u32) -> DeliveryKey {
        DeliveryKey {
            id: "0Rz4567890abcdefghiR".parse().unwrap(),
            recipient,
        }
    }

    #[tokio::test]
    async fn the_second_claimant_waits_and_hears_of_the_first() {
        let claims = Claims::default();
        let first = claims.claim(key(0)).await;
        assert!(!first.was_delivered());
        let others = claims.clone();
        let second = tokio::spawn(async move { others.claim(key(0)).await.was_delivered() });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert!(!claims.claim(key(1)).await.was_delivered());
        first.delivered();
        drop(first);
        assert!(second.await.unwrap());
        assert!(claims.lock().running.is_empty());
        assert!(claims.claim(key(0)).await.was_delivered(), "also later");
    }

    #[tokio::test]
    async fn only_so_many_keys_are_remembered() {
        let claims = Claims::default();
        for n in 0..=RECENT as u32 {
            claims.claim(key(n)).await.delivered();
        }
        assert_eq!(claims.lock().recent.len(), RECENT);
        assert!(!claims.claim(key(0)).await.was_delivered());
        assert!(claims.claim(key(1)).await.was_delivered());
    }
}
