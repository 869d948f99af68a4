//! MySQL and MariaDB: servers that hold the same tables, each with a small pool of our own, a deadline on
//! everything and a circuit breaker.
//!
//! The deadlines are those of robustness.md section 3. A server that is stopped still accepts connections,
//! so the one for connecting covers the handshake; a connection that was given up is never used again.
//!
//! A question goes to the first server that works; one that fails is left alone for a while, and the question
//! goes to the next within its deadline. Changes go to the first server that accepts them.

mod breaker;
mod host;
mod pool;
#[cfg(test)]
mod tests;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use config::{DatabaseHost, DatabasePlace};
use futures_util::future::BoxFuture;
use mail_types::Secret;
use tokio::time::{Instant, timeout};

pub use self::breaker::Change;
use self::host::Host;
use self::work::{Done, Work};
use super::{Arg, Database, DbError, Dialect, HostStatus, Rows, Statement};

/// A transaction may take this long if each of its statements is in time. Whoever asked for it may have less
/// patience, and undoes it by going away.
const CHANGE_TIMEOUT: Duration = Duration::from_mins(10);

/// Where the servers are and how patient we are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The servers, in the order of the configuration.
    pub hosts: Vec<DatabaseHost>,
    /// How long a server that failed is left alone while another one works.
    pub retry_interval: Duration,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// Database.
    pub database: String,
    /// TLS to servers that are reached by TCP.
    pub tls: Option<Tls>,
    /// Most connections to each server.
    pub pool_size: usize,
    /// Most questions that wait for a connection.
    pub queue_limit: usize,
    /// For connecting, with the handshake.
    pub connect_timeout: Duration,
    /// For one query.
    pub query_timeout: Duration,
    /// For one question, with the wait for a connection and the attempts at other servers.
    pub total_timeout: Duration,
}

/// Whom to trust, and who we are.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The authorities, PEM; `None`: the public ones.
    pub authorities: Option<Vec<u8>>,
    /// Our certificate and key, PEM.
    pub identity: Option<(Vec<u8>, Secret)>,
}

/// Hears, with the name of the server, when it goes away and comes back.
pub type Changed = Arc<dyn Fn(&str, Change) + Send + Sync>;

/// The servers.
pub struct Mysql {
    hosts: Vec<Arc<Host>>,
    /// The server that took the last change.
    writer: AtomicUsize,
    total_timeout: Duration,
}

impl Mysql {
    /// Servers that need not be there yet.
    pub fn new(settings: &Settings, changed: &Changed) -> Self {
        let mut places: Vec<(String, DatabasePlace)> = settings
            .hosts
            .iter()
            .map(|host| (host.to_string(), host.place()))
            .collect();
        places.sort_by_key(|(_, place)| matches!(place, DatabasePlace::Tcp { .. }));
        Self {
            hosts: places
                .into_iter()
                .map(|(name, place)| Arc::new(Host::new(name, &place, settings, changed)))
                .collect(),
            writer: AtomicUsize::new(0),
            total_timeout: settings.total_timeout,
        }
    }

    /// The servers to ask, by their numbers, and how many of them work. The others are only asked when these
    /// have failed.
    fn order(&self, begin: usize) -> (Vec<usize>, usize) {
        let all = self.hosts.len();
        let (mut order, failed): (Vec<usize>, Vec<usize>) = (0..all)
            .map(|number| (begin + number) % all)
            .partition(|number| self.hosts[*number].works());
        let working = order.len();
        if working > 0 {
            failed.iter().for_each(|number| self.hosts[*number].look_again());
        }
        order.extend(failed);
        (order, working)
    }

    /// Does the work at the first server that does it.
    async fn run(&self, work: Work<'_>) -> Result<Done, DbError> {
        let changes = matches!(work, Work::Transaction(_));
        let deadline = Instant::now()
            + if changes {
                CHANGE_TIMEOUT
            } else {
                self.total_timeout
            };
        let begin = if changes {
            self.writer.load(Ordering::Relaxed)
        } else {
            0
        };
        let (order, working) = self.order(begin);
        let mut troubles: Vec<String> = Vec::new();
        let mut read_only = true;
        for (index, number) in order.into_iter().enumerate() {
            let host = &self.hosts[number];
            // A server that hangs leaves the next one its share of the time.
            let left = deadline.saturating_duration_since(Instant::now());
            // A change does not go on to it once it has begun.
            let shares = match changes {
                true => 1,
                false => u32::try_from(working.saturating_sub(index)).unwrap_or(1).max(1),
            };
            if left.is_zero() {
                break;
            }
            let trouble = match timeout(left / shares, host.run(&work)).await {
                Ok(Ok(done)) => {
                    if changes {
                        self.writer.store(number, Ordering::Relaxed);
                    }
                    return Ok(done);
                }
                Ok(Err(failure)) if failure.read_only && changes => reason(failure.error),
                Ok(Err(failure)) if failure.elsewhere => {
                    read_only = false;
                    reason(failure.error)
                }
                Ok(Err(failure)) => return Err(failure.error),
                Err(_) if work.repeatable() => {
                    read_only = false;
                    "no answer in time".to_owned()
                }
                Err(_) => return Err(DbError::Away("no answer in time".into())),
            };
            troubles.push(format!("{}: {trouble}", host.name()));
        }
        let all = troubles.join("; ");
        match read_only && changes && !troubles.is_empty() {
            true => Err(DbError::Forbidden(all)),
            false => Err(DbError::Away(all)),
        }
    }
}

/// What an error says beyond its kind.
fn reason(error: DbError) -> String {
    match error {
        DbError::Away(reason) | DbError::Forbidden(reason) | DbError::Refused(reason) => reason,
        other => other.to_string(),
    }
}

impl Database for Mysql {
    fn dialect(&self) -> Dialect {
        Dialect::Mysql
    }

    fn query<'a>(&'a self, sql: &'a str, args: Vec<Arg>) -> BoxFuture<'a, Result<Rows, DbError>> {
        Box::pin(async move {
            match self.run(Work::Select { sql, args: &args }).await? {
                Done::Rows(rows) => Ok(rows),
                Done::Committed | Done::RolledBack => Ok(Rows::default()),
            }
        })
    }

    fn transaction(&self, statements: Vec<Statement>) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async move {
            match self.run(Work::Transaction(&statements)).await? {
                Done::RolledBack => Err(DbError::Conflict),
                Done::Committed | Done::Rows(_) => Ok(()),
            }
        })
    }

    fn hosts(&self) -> Vec<HostStatus> {
        self.hosts.iter().map(|host| host.status()).collect()
    }
}
