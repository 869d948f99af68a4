//! Claims on delivery keys: the same delivery never runs twice at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mail_types::DeliveryKey;
use tokio::sync::OwnedMutexGuard;

/// All claims of the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    keys: Arc<Mutex<HashMap<DeliveryKey, Arc<tokio::sync::Mutex<()>>>>>,
}

/// The right to deliver a key; ended by dropping it.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    key: DeliveryKey,
    /// Whether another delivery of this key ran before it in this process: then it is to be searched for.
    pub(crate) waited: bool,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Claims {
    /// Claims `key`, waiting for whoever has it (architecture.md section 2, "One id").
    pub(crate) async fn claim(&self, key: DeliveryKey) -> Claim {
        let (lock, waited) = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = keys.contains_key(&key);
            (Arc::clone(keys.entry(key).or_default()), waited)
        };
        let guard = lock.lock_owned().await;
        Claim {
            claims: self.clone(),
            key,
            waited,
            guard: Some(guard),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut keys = self.claims.keys.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        // The map's own reference is the last one: nobody waits.
        if keys
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_claimant_waits_and_knows_it() {
        let claims = Claims::default();
        let key = DeliveryKey {
            id: "0Rz4567890abcdefghiR".parse().unwrap(),
            recipient: 0,
        };
        let first = claims.claim(key).await;
        assert!(!first.waited);
        let others = claims.clone();
        let second = tokio::spawn(async move { others.claim(key).await.waited });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert!(!claims.claim(DeliveryKey { recipient: 1, ..key }).await.waited);
        drop(first);
        assert!(second.await.unwrap());
        assert!(claims.keys.lock().unwrap().is_empty());
    }
}
