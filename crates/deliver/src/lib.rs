//! Final delivery into Maildirs over LMTP.
//!
//! # What it does
//!
//! Takes messages from smtpd and qmgr (or any LMTP client) and puts one copy for each recipient into the
//! recipient's Maildir. Each recipient gets a reply of its own after the message (RFC 2033 4.2), and a 250
//! means that the copy is durable: written, synced, renamed into `new/`, directory synced. The copies of one
//! message are made side by side.
//!
//! The private extension `XPOSTRIDER` carries what keeps a delivery from happening twice:
//! `MAIL FROM:<s> XID=<message id>` and `RCPT TO:<final address> XIDX=<index> XORIG=<xtext of the address as
//! typed> [XREPEAT]`. (id, index) is the delivery key; it stands in the file name. With XREPEAT, or when
//! this process has delivered the same key lately, the mailbox is searched for the key first; two sessions
//! never deliver one key at the same time.
//!
//! On top of each copy stand Return-Path, X-Original-To and Delivered-To.
//!
//! # Sockets
//!
//! Listens on `run_dir/lmtp/sock` (systemd socket `lmtp`). Asks authd on `run_dir/authd/deliver/sock` for the
//! mailbox of each recipient.
//!
//! # Files
//!
//! Maildirs below `virtual_mailbox_base`; missing ones are made with mode 0700. `postrider-keys` in each
//! (docs/formats/account.md). The decision log `events_dir/deliver.jsonl`.
//!
//! # Signals
//!
//! As every daemon ([`daemon`]). A session keeps the configuration that it began with.
//!
//! # Privileges
//!
//! None. It runs as the owner of the Maildirs; a mailbox whose row names another uid or gid is deferred with
//! 4.3.5.
//!
//! # Diagnostics
//!
//! 550 5.1.1 no such mailbox; 451 4.3.0 authd or the disk is in trouble; 451 4.3.5 the row cannot be used;
//! 452 4.3.1 the volume is full, or suspect after a failed sync until a self-test passes (every 30 s);
//! 452 4.2.2 disk quota; 451 4.2.0 this mailbox cannot be written. Nothing on the disk is ever a 5xx.

mod body;
mod claims;
mod config;
mod directory;
mod error;
mod place;
mod recipient;
mod session;
mod volume;

use std::sync::Arc;

use auth_api::client::Client;
use daemon::{BoxError, Connection, Context, Limits, Peer, Refused, Service};
use durable::{Alarm, Disk};
use events::About;
use events::deliver::Kind;
use maildir_store::Store;
use smtp_proto::reply;

pub use config::Settings;
pub use directory::Directory;

use crate::body::Memory;
use crate::claims::Claims;
use crate::volume::{TEST_INTERVAL, Volume};

#[cfg(test)]
mod tests;

/// The daemon.
#[derive(Debug)]
pub struct Deliver;

impl daemon::Daemon for Deliver {
    const NAME: &'static str = "deliver";
    const ABOUT: &'static str = "Final delivery into Maildirs, over LMTP.";
    type Settings = Settings;

    fn settings(config: &::config::Config) -> Result<Settings, BoxError> {
        Ok(Settings::new(config))
    }

    async fn run(ctx: Context<Settings>) -> Result<(), BoxError> {
        let config = ctx.config();
        let socket = ::config::ListenAddr::Unix(config.general.lmtp_socket());
        let listeners = ctx.listen("lmtp", &[socket])?;
        let directory = Client::connect(config.general.authd_socket("deliver"));
        let server = Arc::new(Server::new(ctx.clone(), Disk::new(), directory));
        let tests = tokio::spawn(Arc::clone(&server).test_volume());
        ctx.ready();
        let drained = daemon::serve(&ctx, listeners, Arc::clone(&server)).await;
        tests.abort();
        tracing::info!(aborted = drained.aborted, "all sessions ended");
        Ok(())
    }
}

/// What all sessions share.
pub struct Server<D> {
    ctx: Context<Settings>,
    store: Store,
    claims: Claims,
    volume: Arc<Volume>,
    memory: Memory,
    directory: Arc<D>,
}

impl<D: Directory> Server<D> {
    /// A server on `disk` that asks `directory`.
    pub fn new(ctx: Context<Settings>, disk: Disk, directory: D) -> Self {
        let log = ctx.events.clone();
        disk.on_alarm(move |alarm| match alarm {
            Alarm::SyncFailed { name, reason, .. } => {
                tracing::error!(
                    name,
                    reason,
                    "a sync failed: the mail volume takes no mail until it passes a test"
                );
                let reason = format!("sync of {name}: {reason}");
                log.emit(About::process(), Kind::VolumeSuspect { reason });
            }
            Alarm::Recovered { .. } => {
                tracing::warn!("the mail volume passed its test and takes mail again");
                log.emit(About::process(), Kind::VolumeHealthy {});
            }
        });
        let host = ctx.config().general.myhostname.to_string();
        Self {
            store: Store::new(disk.clone(), &host),
            ctx,
            claims: Claims::default(),
            volume: Arc::new(Volume::new(disk)),
            memory: Memory::default(),
            directory: Arc::new(directory),
        }
    }

    /// Tests the volume at the start, and every 30 s while it is suspect.
    async fn test_volume(self: Arc<Self>) {
        let mut always = true;
        loop {
            let root = self.ctx.settings().mail_root.clone();
            let volume = Arc::clone(&self.volume);
            match daemon::blocking(move || volume.test(&root, always)).await {
                Ok(Err(error)) => tracing::warn!("test of the mail volume: {}", daemon::describe(&error)),
                Ok(Ok(())) => {}
                Err(_) => return,
            }
            always = false;
            tokio::time::sleep(TEST_INTERVAL).await;
        }
    }
}

impl<D: Directory> Service for Server<D> {
    fn limits(&self) -> Limits {
        Limits {
            connections: self.ctx.settings().connections,
            per_client: u32::MAX,
            rate: u32::MAX,
            exceptions: ::config::Networks::default(),
        }
    }

    fn refusal(&self, why: Refused, _: &Peer) -> Vec<u8> {
        let mut out = Vec::new();
        let host = &self.ctx.settings().protocol.hostname;
        reply::encode(
            &reply::new(421, (4, 3, 2), format!("{host} {}", why.as_str())),
            &mut out,
        );
        out
    }

    async fn handle(self: Arc<Self>, connection: Connection) {
        session::run(self, connection.stream).await;
    }
}
