//! What the listeners call for each connection, and what all sessions share.

use std::net::SocketAddr;
use std::sync::Arc;

use auth_api::client::{Client, Mechanisms, Sessions};
use auth_api::sasl::LoginContext;
use daemon::limits::Rates;
use daemon::{CancellationToken, Connection, Context, Limits, Peer, Refused, Service};
use events::{About, access};
use pop3_proto::{Reply, ResponseCode};

use crate::config::Settings;
use crate::maildrop::Maildirs;
use crate::session::Session;

/// The name of the listener on which TLS comes first.
pub(crate) const TLS_SERVICE: &str = "pop3s";
/// The name of the listener that begins in the clear.
pub(crate) const CLEAR_SERVICE: &str = "pop3";

/// Shared by all sessions of the process.
pub(crate) struct Shared {
    ctx: Context<Settings>,
    pub(crate) events: events::Log,
    pub(crate) shutdown: CancellationToken,
    pub(crate) authd: Client,
    /// Those that have logged in.
    pub(crate) sessions: Sessions,
    pub(crate) maildirs: Maildirs,
    pub(crate) mechanisms: Mechanisms,
    logins: Rates,
    handshakes: Rates,
}

impl Shared {
    pub(crate) fn new(ctx: Context<Settings>, maildirs: Maildirs) -> Self {
        Self {
            events: ctx.events.clone(),
            shutdown: ctx.shutdown.clone(),
            authd: Client::connect(ctx.settings().authd_socket.clone()),
            sessions: Sessions::default(),
            maildirs,
            // USER and PASS are always there.
            mechanisms: Mechanisms::new(&[]),
            logins: Rates::default(),
            handshakes: Rates::default(),
            ctx,
        }
    }

    /// The settings as they are now; a session keeps those that it began with.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.ctx.settings()
    }

    /// Asks authd again and again whether open sessions may go on, until the stop.
    pub(crate) async fn watch_sessions(self: Arc<Self>) {
        let every = || self.settings().session_check_interval;
        let (sessions, authd) = (self.sessions.clone(), self.authd.clone());
        sessions.watch(authd, every, self.shutdown.clone()).await;
    }

    /// The certificate as it is now.
    pub(crate) fn tls(&self) -> Option<Arc<daemon::Tls>> {
        self.ctx.tls()
    }

    /// Counts a login of this client; false when it has had too many in the last 60 seconds.
    pub(crate) fn login_allowed(&self, peer: SocketAddr, limit: u32) -> bool {
        self.logins
            .allow(peer.ip().into(), limit, self.ctx.clock.instant())
    }

    /// The same for TLS handshakes.
    pub(crate) fn handshake_allowed(&self, peer: SocketAddr, limit: u32) -> bool {
        self.handshakes
            .allow(peer.ip().into(), limit, self.ctx.clock.instant())
    }
}

/// POP3 on all listeners of this process.
pub(crate) struct Pop3 {
    pub(crate) shared: Arc<Shared>,
}

impl Service for Pop3 {
    fn limits(&self) -> Limits {
        let settings = self.shared.settings();
        Limits {
            connections: settings.connection_limit,
            per_client: settings.client_connection_count_limit,
            rate: settings.client_connection_rate_limit,
            exceptions: settings.client_event_limit_exceptions.clone(),
        }
    }

    /// Said in the clear only; where TLS comes first the connection just closes.
    fn refusal(&self, _: Refused, _: &Peer) -> Vec<u8> {
        let mut words = Vec::new();
        Reply::err_code(
            ResponseCode::SysTemp,
            "Too many connections, please try again later.",
        )
        .write(&mut words);
        words
    }

    async fn handle(self: Arc<Self>, connection: Connection) {
        // Over a Unix socket (a proxy on this host) there is no address to speak of.
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let peer = connection.peer.address().unwrap_or(nowhere);
        let local = connection.local.unwrap_or(nowhere);
        let context = LoginContext {
            service: "pop3".to_owned(),
            peer,
            local,
            session: self.shared.ctx.new_session_id(),
            tls: None,
            trusted: self.shared.settings().login_trusted_networks.contains(peer.ip()),
        };
        let connected = access::Kind::Connected {
            service: connection.service.to_string(),
            client: peer.to_string(),
            local: local.to_string(),
        };
        self.shared
            .events
            .emit(About::session(context.session), connected);
        let session = Session::new(
            Arc::clone(&self.shared),
            context,
            connection.exempt,
            connection.load.stressed(),
        );
        session.serve(connection.stream, connection.tls_first).await;
    }
}
