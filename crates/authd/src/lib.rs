//! authd: the one place for identity, addresses and passwords.
//!
//! # What it does
//!
//! It answers the other daemons' questions: where does this recipient deliver, how is this address routed,
//! whose mailbox is it, may this login send as that address, is this password right. It alone knows the
//! database: a SQLite file of its own, or a MySQL or MariaDB server with the tables of PostfixAdmin in any
//! form between 2.1 and 4.x. It administers those tables for `mailctl`.
//!
//! When the database is away known users are answered from the replica, where it is kept and not too old; every
//! other answer is a temporary failure: never "no such user", never "wrong password". When it is back, so is the
//! service, without a restart.
//!
//! # Sockets
//!
//! `run_dir/authd/ROLE/sock` for the roles smtpd, qmgr, deliver, imapd, pop3d and admin (systemd socket names
//! `authd-ROLE`). gRPC, `proto/postrider/{directory,sasl,admin}/v1`. The socket decides which methods may be
//! called. Where `[authd.compat]` says so, also the socket of saslauthd and that of Courier's authdaemond
//! (systemd socket names `authd-saslauthd` and `authd-authdaemon`).
//!
//! # Files
//!
//! `state_dir/directory.sqlite` (mode 0600), made on first use, unless `[authd] backend = "mysql"`. The file
//! with the database password. `state_dir/authd.sqlite` (mode 0600): failures, known networks, keys for SCRAM, use
//! of mechanisms. `state_dir/replica.sqlite` (mode 0600), the copy of the directory with its password hashes,
//! beside a MySQL server. The decision log `events_dir/authd.jsonl`.
//!
//! # Signals
//!
//! SIGHUP reads the configuration again and opens the database anew; questions in progress end with the old
//! one. `hash_queue_limit`, `sasl_exchange_timeout`, `run_dir`, `[authd.socket_uids]` and `[authd.compat]` take
//! effect at a restart.
//!
//! # Privileges
//!
//! None. It needs to reach its database and to write `state_dir`; it never sees a mail.
//!
//! # Reading order
//!
//! [`config`] the settings, [`site`] what is in force, [`directory`] the rules about addresses, [`database`]
//! the tables, [`login`] passwords, [`state`] what outlives the process, [`admin`] changes, [`service`]
//! what the sockets serve, [`compat`] those of other servers.

pub mod admin;
pub mod compat;
pub mod config;
pub mod database;
pub mod directory;
pub mod login;
pub mod profile;
pub mod replica;
pub mod service;
pub mod site;
pub mod state;

use std::sync::Arc;

use ::daemon::{BoxError, Context, Daemon};
use auth_api::server::{self, Limits, Services};

use crate::admin::AdminService;
use crate::config::Settings;
use crate::login::{Hashing, Logins};
use crate::service::DirectoryService;
use crate::site::{Site, Sites};
use crate::state::State;

/// The daemon.
#[derive(Debug)]
pub struct Authd;

impl Daemon for Authd {
    const NAME: &'static str = "authd";
    const ABOUT: &'static str = "The one place for identity, addresses and passwords.";

    type Settings = Settings;

    fn settings(config: &::config::Config) -> Result<Settings, BoxError> {
        Ok(Settings::new(config)?)
    }

    async fn run(ctx: Context<Settings>) -> Result<(), BoxError> {
        let settings = ctx.settings();
        let events = ctx.events.clone();
        let first = (*settings).clone();
        let site = {
            let (events, clock) = (events.clone(), ctx.clock.clone());
            ::daemon::blocking(move || Site::open(first, &events, &clock)).await??
        };
        let sites = Arc::new(Sites::new(site));
        let hashing = Arc::new(Hashing::new(settings.hash_queue_limit));
        let state = {
            let (path, now) = (
                settings.logins.state_file.clone(),
                ctx.clock.unix_millis() / 1_000,
            );
            Arc::new(::daemon::blocking(move || State::open(&path, now)).await??)
        };
        let logins = {
            let (sites, hashing, state) = (sites.clone(), hashing.clone(), state.clone());
            let (events, clock) = (events.clone(), ctx.clock.clone());
            ::daemon::blocking(move || Logins::new(sites, hashing, state, events, clock)).await??
        };
        let services = Services {
            directory: Arc::new(DirectoryService::new(
                sites.clone(),
                events.clone(),
                ctx.clock.clone(),
            )),
            admin: Arc::new(AdminService::new(sites.clone(), hashing, events).with_logins(logins.clone())),
            logins: Arc::new(logins),
        };
        let (logins, admin) = (services.logins.clone(), services.admin.clone());
        let compat = compat::Sockets::open(&ctx, sites.clone(), logins, admin)?;
        let mut sockets = tokio::task::JoinSet::new();
        for (role, path, uids) in &settings.sockets {
            let limits = Limits {
                exchange_idle: settings.exchange_idle,
                uids: uids.clone(),
                ..Limits::default()
            };
            let listener = ctx.listen_unix(&format!("authd-{}", role.as_str()), path)?;
            let stop = ctx.shutdown.clone();
            let stopped = async move { stop.cancelled().await };
            sockets.spawn(server::serve(listener, *role, services.clone(), limits, stopped));
        }
        tokio::spawn(reload(ctx.clone(), sites));
        ctx.ready();
        let compat = tokio::spawn(compat.serve());
        while let Some(ended) = sockets.join_next().await {
            ended??;
        }
        compat.await?;
        ::daemon::blocking(move || state.close()).await?;
        Ok(())
    }
}

/// Puts each new configuration in force; where its database cannot be opened the old one stays.
async fn reload(ctx: Context<Settings>, sites: Arc<Sites>) {
    let mut reloads = ctx.reloads();
    while reloads.changed().await.is_ok() {
        let (settings, events) = ((*ctx.settings()).clone(), ctx.events.clone());
        let clock = ctx.clock.clone();
        match ::daemon::blocking(move || Site::open(settings, &events, &clock)).await {
            Ok(Ok(site)) => sites.replace(site),
            Ok(Err(error)) => {
                tracing::error!(
                    error = ::daemon::describe(&error),
                    "the old database stays in use"
                );
            }
            Err(error) => tracing::error!(
                error = ::daemon::describe(&error),
                "the old database stays in use"
            ),
        }
    }
}
