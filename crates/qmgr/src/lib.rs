//! The queue manager: owns the spool; routes, sends, tries again, reports.
//!
//! # What it does
//!
//! smtpd puts messages into the spool that cannot be delivered at once. qmgr finds them (by smtpd's hint, and
//! by looking every `queue_scan_interval`), asks authd where each recipient goes, hands local ones to deliver
//! by LMTP and sends the others by SMTP, tries again what failed for a time, and reports to the sender what
//! failed for good. A message is removed when every recipient is final and every report is in the spool.
//!
//! # Sockets
//!
//! Serves `run/qmgr/hint/sock` (smtpd's hint) and `run/qmgr/admin/sock` (mailctl), both gRPC of crate
//! `queue-api`; systemd may pass them as `qmgr-hint` and `qmgr-admin`. Asks `run/authd/qmgr/sock` and
//! `run/lmtp/sock`. Connects to other mail servers and to name servers.
//!
//! # Files
//!
//! `spool_dir`, described in docs/formats/spool.md, under the lock `qmgr.lock`; writes messages of its own
//! (reports) there too.
//!
//! # Signals
//!
//! SIGHUP reads the configuration again. SIGTERM and SIGINT: nothing new is begun, what is being sent may
//! end within `shutdown_timeout`. SIGKILL at any moment loses nothing: the journals say how far it was.
//!
//! # Privileges
//!
//! None. The user owns `tmp-qmgr/` and is in the group of the spool.
//!
//! # Diagnostics
//!
//! The decision log has every route, attempt, answer, wait and report. A damaged spool file is put into
//! `quarantine/` and logged as an error; so is a volume whose sync failed.

pub mod config;
pub mod scheduler;

pub mod manager;
pub mod message;
pub mod recover;
pub mod results;

pub mod bounce;
pub mod inbound;
pub mod job;
pub mod outbound;
pub mod service;

use std::sync::Arc;

use auth_api::client::Client;
use daemon::{BoxError, Context, Daemon, blocking};
use durable::Disk;
use queue_api::server::{serve_hints, serve_queue};
use spool::{Owner, Spool};
use tokio::sync::mpsc;

use crate::config::Settings;
use crate::manager::Manager;
use crate::service::Service;

/// The queue manager as a daemon.
#[derive(Debug)]
pub struct Qmgr;

impl Daemon for Qmgr {
    const NAME: &'static str = "qmgr";
    const ABOUT: &'static str = "The queue manager: routing, retry, reports, outbound SMTP.";
    /// The spool is shared with smtpd through its group.
    const UMASK: u32 = 0o007;
    type Settings = Settings;

    fn settings(config: &::config::Config) -> Result<Settings, BoxError> {
        Ok(Settings::new(config)?)
    }

    async fn run(ctx: Context<Settings>) -> Result<(), BoxError> {
        let settings = ctx.settings();
        let disk = Disk::new();
        disk.on_alarm(|alarm| tracing::error!(?alarm, "disk"));
        let root = settings.spool_dir.clone();
        let spool = blocking(move || {
            let spool = Spool::open(&disk, &root, Owner::Qmgr)?;
            if let Err(error) = spool.self_test() {
                // A full or suspect disk: what is in the spool can still be delivered and removed.
                tracing::error!(error = %daemon::describe(&error), "the spool's volume fails its test");
            }
            Ok::<_, BoxError>(spool)
        })
        .await??;
        let config = ctx.config();
        let hint_socket = ctx.listen_unix("qmgr-hint", &config.general.qmgr_hint_socket())?;
        let admin_socket = ctx.listen_unix("qmgr-admin", &config.general.qmgr_admin_socket())?;
        let (inbox, inputs) = mpsc::unbounded_channel();
        let service = Arc::new(Service::new(inbox.clone()));
        // Whoever asks while the spool is read waits for the answer.
        let hints = serve_hints(
            hint_socket,
            Arc::clone(&service),
            ctx.shutdown.clone().cancelled_owned(),
        );
        let admin = serve_queue(admin_socket, service, ctx.shutdown.clone().cancelled_owned());
        let hints = tokio::spawn(hints);
        let admin = tokio::spawn(admin);
        let reading = spool.clone();
        let recovered = blocking(move || recover::recover(&reading)).await??;
        let authd = Client::connect(&settings.authd_socket);
        let mut manager = Manager::new(ctx.clone(), spool, authd, (inbox, inputs))?;
        manager.adopt(recovered);
        ctx.ready();
        manager.run().await;
        // Both ended with the shutdown; an operator's connection that stays open is not waited for.
        hints.abort();
        admin.abort();
        Ok(())
    }
}
