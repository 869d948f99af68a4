//! The accept loop: who is served, how many at a time, and how sessions end at a stop.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use config::Networks;
use events::{About, Log, process};
use futures_util::FutureExt;
use nix::errno::Errno;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::blocking::panic_message;
use crate::clock::Clock;
use crate::context::Context;
use crate::limits::{ClientKey, ConcurrencyGuard, ConcurrencyLimiter, Rates};
use crate::listen::{Listener, Peer, Stream};

/// How long accepting pauses where the process has no file descriptors or memory left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// Longest pause between two accepts while nearly all slots are taken.
const CROWDED_PAUSE: Duration = Duration::from_millis(50);

/// Refusals that are logged per second and listener group; the rest is counted.
const LOGGED_PER_SECOND: u64 = 10;

/// Limits of a service (robustness.md section 3).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time. From 90 % on accepting slows down, at 100 % clients are refused.
    pub connections: u32,
    /// Connections of one client at a time.
    pub per_client: u32,
    /// New connections of one client in 60 seconds.
    pub rate: u32,
    /// Networks to which the two limits per client do not apply.
    pub exceptions: Networks,
}

/// Why a client is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// All slots of the service are taken.
    Full,
    /// This client has too many connections.
    PerClient,
    /// This client connects too often.
    Rate,
}

impl Refused {
    /// For logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "all connections of the service are in use",
            Self::PerClient => "too many connections of this client",
            Self::Rate => "too many new connections of this client",
        }
    }
}

/// A service: what it allows, and what it does with a connection.
pub trait Service: Send + Sync + 'static {
    /// The limits in force; asked at every accept, so that a reload takes effect.
    fn limits(&self) -> Limits;

    /// The last words to a client that is not served, e.g. `421 4.7.0 ...`. Not asked for where the listener
    /// is [`Listener::tls_first`].
    fn refusal(&self, why: Refused, peer: &Peer) -> Vec<u8>;

    /// The session. It should watch [`Context::shutdown`] and end at the next good moment.
    fn handle(self: Arc<Self>, connection: Connection) -> impl Future<Output = ()> + Send;
}

/// A connection that is to be served.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub stream: Stream,
    /// Who it is.
    pub peer: Peer,
    /// Our address, of a TCP connection.
    pub local: Option<SocketAddr>,
    /// The name of the listener's service.
    pub service: Arc<str>,
    /// Whether the listener is [`Listener::tls_first`].
    pub tls_first: bool,
    /// Whether the client is exempt from counts and rates.
    pub exempt: bool,
    /// How busy the service is.
    pub load: Load,
}

/// How busy a service is.
#[derive(Debug, Clone)]
pub struct Load(Arc<Gauge>);

#[derive(Debug, Default)]
struct Gauge {
    active: AtomicU32,
    limit: AtomicU32,
    freed: Notify,
}

impl Load {
    /// Whether more than 70 % of the connections are in use: time for shorter timeouts.
    pub fn stressed(&self) -> bool {
        self.above(70)
    }

    /// Connections being served.
    pub fn active(&self) -> u32 {
        self.0.active.load(Ordering::Relaxed)
    }

    fn above(&self, percent: u64) -> bool {
        let limit = u64::from(self.0.limit.load(Ordering::Relaxed));
        u64::from(self.active()) * 100 > limit * percent
    }
}

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Sessions that ran over the deadline and were cut off.
    pub aborted: u64,
    /// Sessions that ended by a panic, since the start.
    pub panicked: u64,
}

/// What the accept loops of one service share.
struct Shared<S> {
    service: Arc<S>,
    load: Load,
    clients: ConcurrencyLimiter<ClientKey>,
    rates: Rates,
    shutdown: CancellationToken,
    events: Log,
    clock: Clock,
    panicked: AtomicU64,
    refusals: Refusals,
}

/// Serves all listeners as one service (they share its limits) until the process is told to stop, then waits
/// for its sessions for `shutdown_timeout` and cuts off what is left.
pub async fn serve<S: Service, D: Send + Sync + 'static>(
    ctx: &Context<D>,
    listeners: Vec<Listener>,
    service: Arc<S>,
) -> Drained {
    let shared = Arc::new(Shared {
        load: Load(Arc::new(Gauge {
            limit: AtomicU32::new(service.limits().connections),
            ..Gauge::default()
        })),
        service,
        clients: ConcurrencyLimiter::default(),
        rates: Rates::default(),
        shutdown: ctx.shutdown.clone(),
        events: ctx.events.clone(),
        clock: ctx.clock.clone(),
        panicked: AtomicU64::new(0),
        refusals: Refusals::default(),
    });
    let mut loops = JoinSet::new();
    for listener in listeners {
        tracing::info!("listening: {listener}");
        let shared = Arc::clone(&shared);
        let ctx = ctx.clone();
        loops.spawn(async move {
            let sessions = accept_loop(&shared, listener).await;
            drain(sessions, ctx.config().general.shutdown_timeout.get()).await
        });
    }
    // A service that is turned off (no listeners) does not end the process.
    ctx.shutdown.cancelled().await;
    let mut aborted = 0;
    while let Some(result) = loops.join_next().await {
        match result {
            Ok(count) => aborted += count,
            Err(error) => tracing::error!(%error, "an accept loop ended by a fault"),
        }
    }
    Drained {
        aborted,
        panicked: shared.panicked.load(Ordering::Relaxed),
    }
}

/// Accepts until the stop; the listener is closed when it returns.
async fn accept_loop<S: Service>(shared: &Arc<Shared<S>>, listener: Listener) -> JoinSet<()> {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return sessions,
            Some(_) = sessions.join_next() => {}
            accepted = next(shared, &listener) => match accepted {
                Ok((stream, peer)) => admit(shared, &listener, stream, peer, &mut sessions),
                Err(error) if is_exhausted(&error) => {
                    tracing::error!(%error, service = %listener.name, "accepting pauses");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                // The client went away between connect and accept.
                Err(error) => tracing::debug!(%error, service = %listener.name, "accept"),
            },
        }
    }
}

/// The next connection; above 90 % only after a slot became free or a short pause, so that a flood waits in
/// the kernel's queue.
async fn next<S>(shared: &Shared<S>, listener: &Listener) -> std::io::Result<(Stream, Peer)> {
    if shared.load.above(90) {
        let _ = tokio::time::timeout(CROWDED_PAUSE, shared.load.0.freed.notified()).await;
    }
    listener.accept().await
}

fn is_exhausted(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
    )
}

fn admit<S: Service>(
    shared: &Arc<Shared<S>>,
    listener: &Listener,
    stream: Stream,
    peer: Peer,
    sessions: &mut JoinSet<()>,
) {
    let limits = shared.service.limits();
    let exempt = peer.ip().is_none_or(|ip| limits.exceptions.contains(ip));
    let slot = match take_slot(shared, &limits, &peer, exempt) {
        Ok(slot) => slot,
        Err(why) => {
            shared.refuse(listener, why, stream, &peer);
            return;
        }
    };
    let connection = Connection {
        local: stream.local_addr(),
        stream,
        peer,
        service: Arc::clone(&listener.name),
        tls_first: listener.tls_first,
        exempt,
        load: shared.load.clone(),
    };
    let shared = Arc::clone(shared);
    sessions.spawn(async move {
        let _slot = slot;
        let name = Arc::clone(&connection.service);
        let session = AssertUnwindSafe(Arc::clone(&shared.service).handle(connection));
        if let Err(panic) = session.catch_unwind().await {
            shared.panicked.fetch_add(1, Ordering::Relaxed);
            let message = panic_message(panic.as_ref());
            tracing::error!(%peer, service = %name, message, "a session panicked");
            let kind = process::Kind::SessionPanicked {
                service: name.to_string(),
                client: peer.to_string(),
            };
            shared.events.emit(About::process(), kind);
        }
    });
}

/// One of the service's connections; freed when dropped.
struct Slot {
    load: Load,
    _client: Option<ConcurrencyGuard<ClientKey>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.0.active.fetch_sub(1, Ordering::Relaxed);
        self.load.0.freed.notify_one();
    }
}

fn take_slot<S>(shared: &Shared<S>, limits: &Limits, peer: &Peer, exempt: bool) -> Result<Slot, Refused> {
    let gauge = &shared.load.0;
    gauge.limit.store(limits.connections, Ordering::Relaxed);
    let before = gauge.active.fetch_add(1, Ordering::Relaxed);
    let mut slot = Slot {
        load: shared.load.clone(),
        _client: None,
    };
    if before >= limits.connections {
        return Err(Refused::Full);
    }
    if let (false, Some(ip)) = (exempt, peer.ip()) {
        let client = ClientKey::from(ip);
        if !shared.rates.allow(client, limits.rate, shared.clock.instant()) {
            return Err(Refused::Rate);
        }
        let guard = shared.clients.try_acquire(client, limits.per_client);
        slot._client = Some(guard.ok_or(Refused::PerClient)?);
    }
    Ok(slot)
}

impl<S: Service> Shared<S> {
    fn refuse(&self, listener: &Listener, why: Refused, stream: Stream, peer: &Peer) {
        let words = if listener.tls_first {
            Vec::new()
        } else {
            self.service.refusal(why, peer)
        };
        stream.last_words(&words);
        let Some(unlogged) = self.refusals.may_log(self.clock.instant()) else {
            return;
        };
        let name = &listener.name;
        tracing::warn!(%peer, service = %name, unlogged, "not served: {}", why.as_str());
        let kind = process::Kind::ConnectionRefused {
            service: name.to_string(),
            client: peer.to_string(),
            reason: why.as_str().to_owned(),
        };
        self.events.emit(About::process(), kind);
    }
}

/// Keeps a flood of refusals from becoming a flood of log lines.
#[derive(Default)]
struct Refusals(std::sync::Mutex<Option<(Instant, u64)>>);

impl Refusals {
    /// Whether one more may be logged in this second; the value is the number left out in the last one.
    fn may_log(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (start, count) = state.get_or_insert((now, 0));
        let mut left_out = 0;
        if now.saturating_duration_since(*start) >= Duration::from_secs(1) {
            left_out = count.saturating_sub(LOGGED_PER_SECOND);
            (*start, *count) = (now, 0);
        }
        *count += 1;
        (*count <= LOGGED_PER_SECOND).then_some(left_out)
    }
}

/// Waits for the sessions, at most `limit`; the result is the number of those that were cut off.
async fn drain(mut sessions: JoinSet<()>, limit: Duration) -> u64 {
    let all = async { while sessions.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, all).await.is_ok() {
        return 0;
    }
    let left = sessions.len() as u64;
    sessions.shutdown().await;
    left
}
