//! What all sessions share, and the way from the sockets to a session.

use std::sync::Arc;

use auth_api::client::{Client, Mechanisms};
use config::Networks;
use daemon::{BoxError, Connection, Context, Limits, Peer, Refused, blocking};
use queue_api::client::HintClient;
use smtp_proto::reply;
use spool::{Owner, Spool};

use crate::config::{Service as ServiceSettings, Settings};
use crate::directory::Directory;
use crate::intake::Intake;
use crate::intake::body::Budget;
use crate::intake::direct::Deliverer;
use crate::policy::access::NoTables;
use crate::policy::limits::ClientRates;
use crate::session::Session;
use crate::spooler::Spooler;

/// What all sessions share.
pub struct App<D> {
    /// Configuration, clock, log, ids.
    pub ctx: Context<Settings>,
    /// authd.
    pub directory: D,
    /// Where messages go.
    pub intake: Intake,
    /// Memory for bodies.
    pub budget: Budget,
    /// Rates per client.
    pub rates: ClientRates,
    /// Whether the site has access tables.
    pub no_access_tables: NoTables,
    /// What EHLO announces.
    pub mechanisms: Mechanisms,
}

impl<D: Directory> App<D> {
    /// Puts it together around an open spool.
    pub fn new(ctx: Context<Settings>, directory: D, spool: Spool, hints: Option<HintClient>) -> Self {
        let process = ctx.settings().process.clone();
        let hostname = ctx.config().general.myhostname.to_string();
        Self {
            intake: Intake {
                deliverer: Deliverer::new(process.lmtp_socket, hostname),
                spooler: Spooler::new(spool, hints, process.message_size_limit),
                events: ctx.events.clone(),
            },
            budget: Budget::new(process.body_memory_budget, process.body_memory_limit),
            rates: ClientRates::default(),
            no_access_tables: NoTables::default(),
            mechanisms: Mechanisms::new(&["PLAIN", "LOGIN"]),
            directory,
            ctx,
        }
    }
}

/// Opens everything and serves until the stop.
pub async fn run(ctx: Context<Settings>) -> Result<(), BoxError> {
    let settings = ctx.settings();
    let process = settings.process.clone();
    let spool_dir = process.spool_dir.clone();
    let spool = blocking(move || {
        let disk = durable::Disk::new();
        Spool::open(&disk, &spool_dir, Owner::Smtpd)
    })
    .await??;
    let directory = Client::connect(&process.authd_socket);
    let hints = HintClient::start(&process.hint_socket);
    let app = Arc::new(App::new(ctx.clone(), directory, spool, Some(hints)));
    let spooler = app.intake.spooler.clone();
    let first_look = spooler.clone();
    blocking(move || first_look.look(true)).await?;
    let watch = tokio::spawn(spooler.watch(ctx.shutdown.clone()));

    let mut served = tokio::task::JoinSet::new();
    let mut services = Vec::new();
    for (name, service) in &settings.services {
        let listeners = ctx.listen(name, &service.listen)?;
        if listeners.is_empty() {
            tracing::info!(service = %name, "turned off");
            continue;
        }
        services.push((listeners, Listening::new(&app, name.clone())));
    }
    for (listeners, listening) in services {
        let ctx = ctx.clone();
        served.spawn(async move { daemon::serve(&ctx, listeners, Arc::new(listening)).await });
    }
    ctx.ready();
    while let Some(drained) = served.join_next().await {
        let drained = drained?;
        if drained.aborted > 0 {
            tracing::warn!(sessions = drained.aborted, "cut off at the stop");
        }
    }
    ctx.shutdown.cancelled().await;
    watch.await?;
    Ok(())
}

/// One service with its listeners.
struct Listening<D> {
    app: Arc<App<D>>,
    name: String,
}

impl<D: Directory> Listening<D> {
    fn new(app: &Arc<App<D>>, name: String) -> Self {
        Self {
            app: Arc::clone(app),
            name,
        }
    }

    /// The settings in force; none where a reload took the service away (its listeners stay until the stop).
    fn settings(&self) -> Option<Arc<ServiceSettings>> {
        self.app.ctx.settings().services.get(&self.name).cloned()
    }
}

impl<D: Directory> daemon::Service for Listening<D> {
    fn limits(&self) -> Limits {
        match self.settings() {
            Some(service) => Limits {
                connections: service.options.connection_limit,
                per_client: service.options.smtpd_client_connection_count_limit,
                rate: service.options.smtpd_client_connection_rate_limit,
                exceptions: service.exceptions.clone(),
            },
            None => Limits {
                connections: 0,
                per_client: 0,
                rate: 0,
                exceptions: Networks::default(),
            },
        }
    }

    fn refusal(&self, why: Refused, peer: &Peer) -> Vec<u8> {
        let mut words = Vec::new();
        if let Some(service) = self.settings()
            && !service.options.smtpd_tls_wrappermode
        {
            let from = peer.ip().map_or_else(|| "local".to_owned(), |ip| ip.to_string());
            let text = match why {
                Refused::Full => "too many connections".to_owned(),
                Refused::PerClient => format!("too many connections from {from}"),
                Refused::Rate => format!("too many new connections from {from}"),
            };
            reply::encode(&reply::abuse(&service.hostname, &text), &mut words);
        }
        words
    }

    async fn handle(self: Arc<Self>, connection: Connection) {
        let Some(service) = self.settings() else { return };
        let Connection {
            stream,
            peer,
            local,
            exempt,
            load,
            ..
        } = connection;
        let about = crate::session::Client {
            address: peer.address(),
            local,
            exempt,
            stressed: load.stressed(),
        };
        Session::new(Arc::clone(&self.app), service, stream, about)
            .run()
            .await;
    }
}
