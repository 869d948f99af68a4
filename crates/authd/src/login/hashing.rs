//! The pool on which passwords are verified and hashed: as many at a time as there are processors, a
//! bounded queue before it, never on the async threads.

use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// The queue is full, or the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub struct Busy;

/// The pool.
#[derive(Debug)]
pub struct Hashing {
    places: Arc<Semaphore>,
    permits: Arc<Semaphore>,
}

impl Hashing {
    /// A pool with as many workers as processors, and `queue` places to wait.
    pub fn new(queue: usize) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            places: Arc::new(Semaphore::new(workers + queue)),
            permits: Arc::new(Semaphore::new(workers)),
        }
    }

    /// Runs `work` when it is its turn. A caller that goes away while it waits gives its place up.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Busy)?;
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Busy)?;
        let task = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even when nobody waits for it any more.
            let _held = (place, permit);
            work()
        });
        task.await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let hashing = Arc::new(Hashing::new(1));
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(std::sync::Mutex::new(blocked));
        let mut tasks = Vec::new();
        for _ in 0..=workers {
            let (hashing, blocked) = (hashing.clone(), blocked.clone());
            tasks.push(tokio::spawn(async move {
                hashing.run(move || blocked.lock().unwrap().recv().is_ok()).await
            }));
        }
        while hashing.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hashing.run(|| ()).await, Err(Busy));
        for _ in &tasks {
            release.send(()).unwrap();
        }
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(true));
        }
        assert_eq!(hashing.run(|| 7).await, Ok(7));
    }
}
