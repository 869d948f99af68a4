//! The pool on which passwords are verified and hashed: as many at a time as there are processors, a
//! bounded queue before it, never on the async threads.
//!
//! The queue is fair to those who log in for real: clients of networks known to their account come first. In
//! a short queue the first come goes first. In a long one the last come does, for the others have waited so
//! long that they soon give up; when it is full, who waited longest is sent away.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Nobody waits for a result any longer than this: [`auth_api::CALL_DEADLINE`].
const PATIENCE: Duration = auth_api::CALL_DEADLINE;

/// The queue is full, or the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub struct Busy;

/// Who comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Administrators, and clients that logged in before.
    Known,
    /// Everybody else.
    Stranger,
}

/// The pool.
#[derive(Debug, Clone)]
pub struct Hashing {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    workers: usize,
    limit: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    running: usize,
    known: VecDeque<Waiting>,
    strangers: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    turn: oneshot::Sender<Permit>,
    until: Instant,
}

impl Waiting {
    /// Whether somebody still waits for the result.
    fn alive(&self, now: Instant) -> bool {
        now < self.until && !self.turn.is_closed()
    }
}

/// The right to use one processor.
#[derive(Debug)]
struct Permit(Option<Arc<Shared>>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            release(&shared);
        }
    }
}

/// Passes a processor on to who is next.
fn release(shared: &Arc<Shared>) {
    loop {
        let next = {
            let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            match queue.next(Instant::now(), shared.workers) {
                Some(next) => next,
                None => {
                    queue.running -= 1;
                    return;
                }
            }
        };
        match next.turn.send(Permit(Some(shared.clone()))) {
            Ok(()) => return,
            // Gone in this very moment: the next.
            Err(mut permit) => permit.0 = None,
        }
    }
}

impl Queue {
    /// Who is next; those who went away or waited too long are left out.
    fn next(&mut self, now: Instant, workers: usize) -> Option<Waiting> {
        for queue in [&mut self.known, &mut self.strangers] {
            loop {
                let long = queue.len() > 2 * workers;
                let next = if long { queue.pop_back() } else { queue.pop_front() };
                match next {
                    Some(waiting) if waiting.alive(now) => return Some(waiting),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        None
    }

    /// Makes room for one more; false where all who wait come before it.
    fn make_room(&mut self, limit: usize, rank: Rank, now: Instant) -> bool {
        if self.known.len() + self.strangers.len() < limit {
            return true;
        }
        self.known.retain(|waiting| waiting.alive(now));
        self.strangers.retain(|waiting| waiting.alive(now));
        if self.known.len() + self.strangers.len() < limit {
            return true;
        }
        // Dropping its sender tells it.
        match rank {
            Rank::Known => self.strangers.pop_front().or_else(|| self.known.pop_front()),
            Rank::Stranger => self.strangers.pop_front(),
        }
        .is_some()
    }
}

impl Hashing {
    /// A pool with as many workers as processors, and `queue` places to wait.
    pub fn new(queue: usize) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            shared: Arc::new(Shared {
                workers,
                limit: queue,
                queue: Mutex::default(),
            }),
        }
    }

    /// Runs the work of an administrator, or of somebody known, when it is its turn.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        self.run_as(Rank::Known, work).await
    }

    /// Runs `work` when it is its turn. A caller that goes away while it waits gives its place up.
    pub async fn run_as<T: Send + 'static>(
        &self,
        rank: Rank,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let permit = self.turn(rank).await?;
        let task = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even when nobody waits for it any more.
            let _held = permit;
            work()
        });
        task.await.map_err(|_| Busy)
    }

    async fn turn(&self, rank: Rank) -> Result<Permit, Busy> {
        let waiting = {
            let now = Instant::now();
            let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.running < self.shared.workers {
                queue.running += 1;
                return Ok(Permit(Some(self.shared.clone())));
            }
            if !queue.make_room(self.shared.limit, rank, now) {
                return Err(Busy);
            }
            let (turn, waiting) = oneshot::channel();
            let entry = Waiting {
                turn,
                until: now + PATIENCE,
            };
            match rank {
                Rank::Known => queue.known.push_back(entry),
                Rank::Stranger => queue.strangers.push_back(entry),
            }
            waiting
        };
        waiting.await.map_err(|_| Busy)
    }

    /// How many wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        let queue = self.shared.queue.lock().unwrap();
        queue.known.len() + queue.strangers.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A pool whose workers are all held until the sender is dropped.
    async fn held(queue: usize) -> (Hashing, mpsc::Sender<()>) {
        let hashing = Hashing::new(queue);
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(Mutex::new(blocked));
        for _ in 0..hashing.shared.workers {
            let (hashing, blocked) = (hashing.clone(), blocked.clone());
            tokio::spawn(async move { hashing.run(move || blocked.lock().unwrap().recv().is_ok()).await });
        }
        while hashing.shared.queue.lock().unwrap().running < hashing.shared.workers {
            tokio::task::yield_now().await;
        }
        (hashing, release)
    }

    /// Adds one to the queue; its number is sent when it runs.
    async fn queue(
        hashing: &Hashing,
        rank: Rank,
        number: usize,
        ran: &mpsc::Sender<usize>,
    ) -> tokio::task::JoinHandle<Result<(), Busy>> {
        let before = hashing.waiting();
        let (pool, ran) = (hashing.clone(), ran.clone());
        let task = tokio::spawn(async move { pool.run_as(rank, move || ran.send(number).unwrap()).await });
        while hashing.waiting() == before && !task.is_finished() {
            tokio::task::yield_now().await;
        }
        task
    }

    /// The order in which those who wait get their turn, one after the other.
    fn order(hashing: &Hashing) -> usize {
        let mut queue = hashing.shared.queue.lock().unwrap();
        let next = queue.next(Instant::now(), hashing.shared.workers);
        drop(queue);
        // Its own permit, which nobody counted.
        next.map_or(0, |next| next.turn.send(Permit(None)).map_or(0, |()| 1))
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_the_oldest_stranger_goes() {
        let (hashing, release) = held(2).await;
        let (ran, runs) = mpsc::channel();
        let first = queue(&hashing, Rank::Stranger, 1, &ran).await;
        let second = queue(&hashing, Rank::Known, 2, &ran).await;
        let third = tokio::spawn({
            let (hashing, ran) = (hashing.clone(), ran.clone());
            async move { hashing.run_as(Rank::Stranger, move || ran.send(3).unwrap()).await }
        });
        assert_eq!(first.await.unwrap(), Err(Busy));
        let fourth = tokio::spawn({
            let (hashing, ran) = (hashing.clone(), ran.clone());
            async move { hashing.run_as(Rank::Known, move || ran.send(4).unwrap()).await }
        });
        assert_eq!(third.await.unwrap(), Err(Busy));
        // Only known ones wait: a stranger finds no room.
        assert_eq!(hashing.run_as(Rank::Stranger, || ()).await, Err(Busy));
        drop(release);
        assert_eq!(second.await.unwrap(), Ok(()));
        assert_eq!(fourth.await.unwrap(), Ok(()));
        let mut runs: Vec<usize> = runs.try_iter().collect();
        runs.sort_unstable();
        assert_eq!(runs, [2, 4]);
        assert_eq!(hashing.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn known_ones_first_and_the_last_first_where_many_wait() {
        let (hashing, _release) = held(1_000).await;
        let (ran, runs) = mpsc::channel();
        let many = 2 * hashing.shared.workers + 2;
        let mut tasks = Vec::new();
        for number in 0..many {
            tasks.push(queue(&hashing, Rank::Stranger, number, &ran).await);
        }
        tasks.push(queue(&hashing, Rank::Known, 1_000, &ran).await);
        let mut seen = Vec::new();
        for _ in 0..4 {
            assert_eq!(order(&hashing), 1);
            let number = loop {
                match runs.try_recv() {
                    Ok(number) => break number,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            seen.push(number);
        }
        // Two were too many: the last come first; then the first.
        assert_eq!(seen, [1_000, many - 1, many - 2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gave_up_costs_nothing() {
        let (hashing, release) = held(10).await;
        let (ran, runs) = mpsc::channel();
        let gone = queue(&hashing, Rank::Known, 1, &ran).await;
        gone.abort();
        let _late = queue(&hashing, Rank::Known, 2, &ran).await;
        tokio::time::advance(PATIENCE).await;
        let fresh = queue(&hashing, Rank::Stranger, 3, &ran).await;
        drop(release);
        assert_eq!(fresh.await.unwrap(), Ok(()));
        assert_eq!(runs.try_iter().collect::<Vec<_>>(), [3]);
    }
}
