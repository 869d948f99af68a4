//! smtpd: the SMTP server. It holds the dialogue and decides what is accepted.
//!
//! # What it does
//!
//! Takes mail on the services of `[smtpd.service.NAME]`: `mx` (25) from other servers, `submission` (587) and
//! `submissions` (465) from users who log in. Every recipient is resolved at RCPT by authd; at the end of DATA
//! the message goes to deliver over LMTP where all recipients are mailboxes here, and into the spool where
//! anything has to wait (architecture.md section 2). The client hears 250 when one of the two is durable.
//!
//! # Sockets
//!
//! Listens on the services' addresses, or on the sockets that systemd passes under their names. Asks
//! `run_dir/authd/smtpd/sock` (gRPC), delivers to `run_dir/lmtp/sock` (LMTP, connections are kept and used
//! again), hints `run_dir/qmgr/hint/sock` (gRPC, lossy).
//!
//! # Files
//!
//! Writes messages into `spool_dir/tmp-smtpd/` and renames them into `spool_dir/incoming/`; clears the former
//! at start. Bodies stay in memory up to `body_memory_limit`. Decisions go to `events_dir/smtpd.jsonl`.
//!
//! # Signals
//!
//! SIGHUP reads configuration and certificate again: new sessions use them, listeners stay. SIGTERM stops
//! accepting; sessions end at their next command with 421, messages on their way come to their end.
//!
//! # Privileges
//!
//! None; group `postrider-spool` for the spool. It sees no Maildir and no database.
//!
//! # Diagnostics
//!
//! Every reply that refuses something is an event with its reason. When authd is away, RCPT is 451 and AUTH
//! 454; when deliver is away, local mail goes into the spool; when the spool is full, only mail that needs it
//! is refused (452).

pub mod config;
pub mod directory;
pub mod envelope;
pub mod error;
pub mod intake;
pub mod policy;
pub mod received;
pub mod server;
pub mod session;
pub mod spooler;
mod wire;

use daemon::{BoxError, Context, Daemon};

use crate::config::Settings;

/// The daemon, for [`daemon::run`].
#[derive(Debug)]
pub struct Smtpd;

impl Daemon for Smtpd {
    const NAME: &'static str = "smtpd";
    const ABOUT: &'static str = "The SMTP server: holds the dialogue and decides what is accepted.";
    const USES_TLS: bool = true;
    // Group postrider-spool reads what we write into the spool.
    const UMASK: u32 = 0o007;

    type Settings = Settings;

    fn settings(config: &::config::Config) -> Result<Settings, BoxError> {
        Ok(Settings::new(config)?)
    }

    async fn run(ctx: Context<Settings>) -> Result<(), BoxError> {
        server::run(ctx).await
    }
}
