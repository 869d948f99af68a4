//! The connections: at most so many, a bounded queue for them, none kept that misbehaved.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::{Conn, Opts};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::Settings;
use super::breaker::{Breaker, Change};
use crate::database::DbError;

/// An idle connection is closed after this time; the server's own limit may be short.
const IDLE: Duration = Duration::from_secs(60);

/// A server that was silent for so long while questions were given up has failed. Less is the business of
/// those who gave up: they hung up, or there was too much to do.
const SILENT: Duration = Duration::from_millis(900);
/// Questions that were given up longer ago do not count any more.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// The connections.
pub struct Pool {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

struct Shared {
    opts: Opts,
    connect_timeout: Duration,
    idle: Mutex<Vec<(Conn, Instant)>>,
    breaker: Breaker,
    /// Since when nothing was heard of the server, and when a question was given up last.
    silent: Mutex<Option<(Instant, Instant)>>,
    changed: Box<dyn Fn(Change) + Send + Sync>,
}

impl Pool {
    pub fn new(opts: Opts, settings: &Settings, changed: Box<dyn Fn(Change) + Send + Sync>) -> Self {
        Self {
            shared: Arc::new(Shared {
                opts,
                connect_timeout: settings.connect_timeout,
                idle: Mutex::default(),
                breaker: Breaker::default(),
                silent: Mutex::default(),
                changed,
            }),
            permits: Arc::new(Semaphore::new(settings.pool_size)),
            // Whoever holds a place here works or waits.
            queue: Arc::new(Semaphore::new(settings.pool_size + settings.queue_limit)),
        }
    }

    /// Whether the server works.
    pub fn breaker(&self) -> &Breaker {
        &self.shared.breaker
    }

    /// A connection; true where it was idle before and may have died meanwhile.
    pub async fn get(&self) -> Result<(Lease, bool), DbError> {
        let away = |text: &str| DbError::Away(text.to_owned());
        let place = self
            .queue
            .clone()
            .try_acquire_owned()
            .map_err(|_| away("too many questions wait"))?;
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| away("closed"))?;
        // Asked after the wait, so that a queue does not outlive its server.
        if !self.shared.breaker.admit(Instant::now()) {
            return Err(away("it did not answer lately"));
        }
        let mut lease = Lease {
            shared: self.shared.clone(),
            conn: None,
            settled: false,
            began: Instant::now(),
            _places: [place, permit],
        };
        let pooled = self.shared.take_idle();
        let was_idle = pooled.is_some();
        match pooled {
            Some(conn) => lease.conn = Some(conn),
            None => lease.connect().await?,
        }
        Ok((lease, was_idle))
    }
}

impl Shared {
    /// The connection that was used last, and so is the least likely to be dead.
    fn take_idle(&self) -> Option<Conn> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.retain(|(_, since)| now - *since < IDLE);
        idle.pop().map(|(conn, _)| conn)
    }

    /// A question that began then is given up now. True where the server was silent for too long.
    fn gave_up(&self, began: Instant, now: Instant) -> bool {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let since = silent
            .filter(|(_, last)| now - *last < FORGOTTEN)
            .map_or(began, |(since, _)| since.min(began));
        *silent = Some((since, now));
        now - since >= SILENT
    }

    /// The server answered, or its failure was counted.
    fn heard(&self) {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn clear_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A connection in use. Unless it is [`kept`](Self::keep), it is closed when it is dropped, and counts as a
/// failure of the server where that was silent for a while: a deadline that cut the work off leaves no other
/// trace.
pub struct Lease {
    shared: Arc<Shared>,
    conn: Option<Conn>,
    settled: bool,
    began: Instant,
    _places: [OwnedSemaphorePermit; 2],
}

impl Lease {
    /// The connection.
    pub fn conn(&mut self) -> Result<&mut Conn, DbError> {
        self.conn
            .as_mut()
            .ok_or_else(|| DbError::Away("not connected".into()))
    }

    /// Opens a new connection in place of one that was dead. The other idle ones are dead too.
    pub async fn replace(&mut self) -> Result<(), DbError> {
        self.conn = None;
        self.shared.clear_idle();
        self.connect().await
    }

    async fn connect(&mut self) -> Result<(), DbError> {
        let limit = self.shared.connect_timeout;
        let away = |why: String| DbError::Away(format!("connecting: {why}"));
        match timeout(limit, Conn::new(self.shared.opts.clone())).await {
            Ok(Ok(conn)) => {
                self.conn = Some(conn);
                Ok(())
            }
            Ok(Err(error)) => {
                let error = away(error.to_string());
                self.fail(&error.to_string());
                Err(error)
            }
            Err(_) => {
                let error = away(format!("no answer within {limit:?}"));
                self.fail(&error.to_string());
                Err(error)
            }
        }
    }

    /// The server answered and the connection is in order: it goes back.
    pub fn keep(mut self) {
        self.settled = true;
        if let Some(conn) = self.conn.take() {
            let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((conn, Instant::now()));
        }
        self.shared.heard();
        if let Some(change) = self.shared.breaker.success(Instant::now()) {
            (self.shared.changed)(change);
        }
    }

    /// The server answered, but the connection is not to be used again: it holds rights as they were when it
    /// was opened.
    pub fn close(mut self) {
        drop(self.conn.take());
        self.keep();
    }

    /// The server failed.
    pub fn fail(&mut self, why: &str) {
        self.settled = true;
        self.shared.heard();
        self.shared.clear_idle();
        if let Some(change) = self.shared.breaker.failure(Instant::now(), why) {
            (self.shared.changed)(change);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.settled && self.shared.gave_up(self.began, Instant::now()) {
            self.fail("a query was given up");
        }
    }
}
