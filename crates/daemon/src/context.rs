//! What a running daemon has at hand: configuration, log, clock, TLS, shutdown.

use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use config::{Config, ListenAddr};
use events::Log;
use mail_types::{MailId, SessionId};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, random};
use crate::listen::{Inherited, ListenError, Listener};
use crate::systemd;
use crate::tls::Tls;

/// What a running daemon has at hand. Clones are cheap and share everything.
pub struct Context<S> {
    pub(crate) shared: Arc<Shared<S>>,
    /// Cancelled when the process is told to stop.
    pub shutdown: CancellationToken,
    /// The decision log.
    pub events: Log,
    /// The clock.
    pub clock: Clock,
}

pub(crate) struct Shared<S> {
    pub(crate) config: ArcSwap<Config>,
    pub(crate) settings: ArcSwap<S>,
    pub(crate) tls: ArcSwapOption<Tls>,
    pub(crate) reloads: watch::Sender<u64>,
    inherited: Inherited,
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            shutdown: self.shutdown.clone(),
            events: self.events.clone(),
            clock: self.clock.clone(),
        }
    }
}

impl<S> Context<S> {
    pub(crate) fn new(
        config: Config,
        settings: S,
        tls: Option<Tls>,
        events: Log,
        clock: Clock,
        inherited: Inherited,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                config: ArcSwap::from_pointee(config),
                settings: ArcSwap::from_pointee(settings),
                tls: ArcSwapOption::from(tls.map(Arc::new)),
                reloads: watch::Sender::new(0),
                inherited,
            }),
            shutdown: CancellationToken::new(),
            events,
            clock,
        }
    }

    /// A context for a test: events go to memory (the second part), the clock is the system's, TLS is loaded
    /// where the configuration has it.
    pub fn for_test(config: Config, settings: S) -> (Self, events::Memory) {
        let (events, memory) = Log::memory("test");
        let tls = Tls::load(&config).ok().flatten();
        let context = Self::new(config, settings, tls, events, Clock::system(), Inherited::none());
        (context, memory)
    }

    /// The configuration in force; a session takes it once and keeps it.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config.load_full()
    }

    /// The daemon's own settings in force.
    pub fn settings(&self) -> Arc<S> {
        self.shared.settings.load_full()
    }

    /// Changes with every reload that took effect; the value counts them.
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.shared.reloads.subscribe()
    }

    /// The certificate in use; None where none is configured.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.shared.tls.load_full()
    }

    /// A new message id.
    pub fn new_mail_id(&self) -> MailId {
        MailId::new(self.clock.unix_millis(), random())
    }

    /// A new session id.
    pub fn new_session_id(&self) -> SessionId {
        SessionId::new(self.clock.unix_millis(), random())
    }

    /// 64 random bits.
    pub fn random_u64(&self) -> u64 {
        (random() & u128::from(u64::MAX)) as u64
    }

    /// Opens the listeners of the service `name`: the sockets that systemd passed under that name, or where
    /// there are none, `addresses`.
    pub fn listen(&self, name: &str, addresses: &[ListenAddr]) -> Result<Vec<Listener>, ListenError> {
        self.shared.inherited.listen(name, addresses)
    }

    /// Opens one Unix socket for gRPC: the one that systemd passed under `name`, or else `path`.
    pub fn listen_unix(&self, name: &str, path: &Path) -> Result<UnixListener, ListenError> {
        self.shared.inherited.listen_unix(name, path)
    }

    /// Tells the service manager that all sockets are open and served.
    pub fn ready(&self) {
        self.shared.inherited.warn_of_unused();
        systemd::ready();
        tracing::info!("ready");
    }
}
