//! One server: its connections and whether it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use config::DatabasePlace;
use mysql_async::prelude::Queryable as _;
use mysql_async::{ClientIdentity, Opts, OptsBuilder, SslOpts};
use tokio::time::{Instant, timeout};

use super::breaker::Change;
use super::pool::Pool;
use super::work::{Done, Work, meaning};
use super::{Changed, Settings};
use crate::database::{DbError, HostStatus};

/// How long looking whether a server is back may take (robustness.md section 3).
const PROBE: Duration = Duration::from_secs(2);

/// A server.
pub struct Host {
    name: String,
    pool: Pool,
    query_timeout: Duration,
    retry_interval: Duration,
    probing: AtomicBool,
}

/// Why a server did not do it.
pub struct Failure {
    /// The error.
    pub error: DbError,
    /// Whether another server may be asked: this one did not work, and has not begun a transaction.
    pub elsewhere: bool,
    /// It takes no changes, but another server may.
    pub read_only: bool,
}

impl Host {
    /// A server that need not be there yet.
    pub fn new(name: String, place: &DatabasePlace, settings: &Settings, changed: &Changed) -> Self {
        let (hears, host) = (changed.clone(), name.clone());
        let changed = move |change: Change| hears(&host, change);
        Self {
            name,
            pool: Pool::new(opts(place, settings), settings, Box::new(changed)),
            query_timeout: settings.query_timeout,
            retry_interval: settings.retry_interval,
            probing: AtomicBool::new(false),
        }
    }

    /// How it is written in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the last attempt succeeded (or there was none yet).
    pub fn works(&self) -> bool {
        self.pool.breaker().trouble().is_none()
    }

    /// For the operator.
    pub fn status(&self) -> HostStatus {
        let trouble = self.pool.breaker().trouble();
        HostStatus {
            name: self.name.clone(),
            away_for: trouble.as_ref().map(|trouble| trouble.since.elapsed()),
            error: trouble.map(|trouble| trouble.why),
        }
    }

    /// Looks in the background whether it is back, once its pause is over. Questions meanwhile go elsewhere.
    pub fn look_again(self: &Arc<Self>) {
        let over = |at: Instant| at.elapsed() >= self.retry_interval;
        let due = self
            .pool
            .breaker()
            .trouble()
            .is_some_and(|trouble| over(trouble.last));
        if !due || self.probing.swap(true, Ordering::AcqRel) {
            return;
        }
        let host = self.clone();
        tokio::spawn(async move {
            let work = Work::Select {
                sql: "SELECT 1",
                args: &[],
            };
            // Success and failure are counted on the way.
            let _ = timeout(PROBE, host.run(&work)).await;
            host.probing.store(false, Ordering::Release);
        });
    }

    /// Does the work on a connection. One from the pool that turns out to be dead (the server was restarted)
    /// is replaced once.
    pub async fn run(&self, work: &Work<'_>) -> Result<Done, Failure> {
        let unreached = |error| Failure {
            error,
            elsewhere: true,
            read_only: false,
        };
        let (mut lease, mut pooled) = self.pool.get().await.map_err(unreached)?;
        if pooled && !work.repeatable() {
            pooled = false;
            let alive = timeout(self.query_timeout, lease.conn().map_err(unreached)?.ping()).await;
            if !matches!(alive, Ok(Ok(()))) {
                lease.replace().await.map_err(unreached)?;
            }
        }
        loop {
            let each = self.query_timeout;
            // A transaction has that for each of its statements, however many there are.
            let limit = if work.repeatable() { each } else { Duration::MAX };
            let attempt = timeout(limit, work.perform(lease.conn().map_err(unreached)?, each));
            let error = match attempt.await {
                Ok(Ok(done)) => {
                    lease.keep();
                    return Ok(done);
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    let error = DbError::Away("a query took too long".into());
                    lease.fail(&error.to_string());
                    return Err(Failure {
                        error,
                        elsewhere: work.repeatable(),
                        read_only: false,
                    });
                }
            };
            let meaning = meaning(&error);
            if meaning.server_works {
                if meaning.reusable {
                    lease.keep();
                } else {
                    lease.close();
                }
                return Err(Failure {
                    error: meaning.error,
                    elsewhere: false,
                    read_only: meaning.read_only,
                });
            }
            if !(pooled && work.repeatable()) {
                lease.fail(&meaning.error.to_string());
                return Err(Failure {
                    error: meaning.error,
                    elsewhere: work.repeatable(),
                    read_only: false,
                });
            }
            pooled = false;
            lease.replace().await.map_err(unreached)?;
        }
    }
}

fn opts(place: &DatabasePlace, settings: &Settings) -> Opts {
    let password = settings
        .password
        .as_ref()
        .and_then(|password| password.expose_str())
        .map(str::to_owned);
    let builder = OptsBuilder::default()
        // Otherwise the driver leaves a TCP connection for a socket it finds in the server's variables.
        .prefer_socket(false)
        .user(Some(settings.user.clone()))
        .pass(password)
        .db_name(Some(settings.database.clone()))
        .tcp_nodelay(true)
        // "Affected" is to mean "found", so that a change to the same value is no conflict.
        .client_found_rows(true);
    match place {
        DatabasePlace::Socket(path) => builder.socket(Some(path.to_string_lossy().into_owned())),
        DatabasePlace::Tcp { host, port } => builder
            .ip_or_hostname(host.clone())
            .tcp_port(*port)
            .ssl_opts(settings.tls.as_ref().map(ssl_opts)),
    }
    .into()
}

/// The name that is verified is the one in `hosts`.
fn ssl_opts(tls: &super::Tls) -> SslOpts {
    let options = match &tls.authorities {
        Some(pem) => SslOpts::default()
            .with_disable_built_in_roots(true)
            .with_root_certs(vec![pem.clone().into()]),
        None => SslOpts::default(),
    };
    options.with_client_identity(tls.identity.as_ref().map(|(certificate, key)| {
        ClientIdentity::new(certificate.clone().into(), key.expose().to_vec().into())
    }))
}
