//! pop3d: lets people fetch their mail with POP3.
//!
//! # What it does
//!
//! Speaks POP3 (RFC 1939) with TOP and UIDL, CAPA, RESP-CODES and PIPELINING (RFC 2449), STLS (RFC 2595),
//! AUTH (RFC 5034), AUTH-RESP-CODE (RFC 3206) and UTF8 (RFC 6856) over the INBOX of the Maildirs. The rules
//! that matter most:
//!
//! * Nobody logs in before TLS, but for peers in `login_trusted_networks`.
//! * It knows no passwords and no mechanism: USER and PASS become PLAIN, everything goes to authd. When authd
//!   or its database is away the reply is `-ERR [SYS/TEMP]`, never "login failed", and the connection stays
//!   until the tenth time.
//! * One session per maildrop: the second one hears `-ERR [IN-USE]`, after a short wait in case the first is
//!   just ending. IMAP sessions do not count.
//! * A session whose mailbox was turned off, moved or given another password ends within 30 s: the connection
//!   closes and nothing is removed (`session_check_interval`; trouble with authd ends none).
//! * A message is removed by QUIT after DELE and by nothing else.
//! * Unique ids are made of UID and UIDVALIDITY of the UID log, so they outlive restarts, caches and changes
//!   by IMAP.
//!
//! # Sockets
//!
//! Listens on `pop3d.listen` (110, STLS) and `pop3d.listen_tls` (995, TLS first), or takes the sockets named
//! `pop3` and `pop3s` from systemd. Connects to `run_dir/authd/pop3d/sock`.
//!
//! # Files
//!
//! Reads and removes messages below `virtual_mailbox_base`; moves them from `new/` to `cur/` and writes the
//! UID log through crate `maildir-store`. Writes decisions to `events_dir/pop3d.jsonl`.
//!
//! # Signals
//!
//! SIGHUP reads the configuration and the certificate again (sessions keep what they began with, a bad one
//! changes nothing). SIGTERM and SIGINT stop: listeners close, sessions end between two commands without
//! removing anything, within `shutdown_timeout`.
//!
//! # Privileges
//!
//! The owner of the Maildirs; none beyond.
//!
//! # Limits
//!
//! Lines 255 octets (AUTH 12,288), 3 wrong commands and 3 failed logins before the login, 20 wrong commands
//! after it, and the options of `[pop3d]`. A session holds 17 octets for each message, and two pieces of
//! 16 KiB for what it sends, however long the answer and however slow the client.
//!
//! # In reading order
//!
//! `config` → `service` (one connection comes) → `session` (the loop) → `login` → `maildrop` → `commands`;
//! `wire` is the connection with its deadlines, `error` why a session ends,
//! `volume` what happens after a disk fault.

mod commands;
mod config;
mod error;
mod login;
mod maildrop;
mod service;
mod session;
#[cfg(test)]
mod tests;
mod volume;
mod wire;

use std::sync::Arc;

use daemon::{BoxError, Context, Daemon};

pub use crate::config::Settings;
use crate::maildrop::Maildirs;
use crate::service::{CLEAR_SERVICE, Pop3, Shared, TLS_SERVICE};

/// The process.
pub struct Pop3d;

impl Daemon for Pop3d {
    const NAME: &'static str = "pop3d";
    const ABOUT: &'static str = "The POP3 server.";
    const USES_TLS: bool = true;
    type Settings = Settings;

    fn settings(config: &::config::Config) -> Result<Settings, BoxError> {
        Ok(Settings::new(config))
    }

    async fn run(ctx: Context<Settings>) -> Result<(), BoxError> {
        let settings = ctx.settings();
        let mut listeners = ctx.listen(CLEAR_SERVICE, &settings.listen)?;
        let secure = ctx.listen(TLS_SERVICE, &settings.listen_tls)?;
        listeners.extend(secure.into_iter().map(daemon::Listener::tls_first));
        let disk = durable::Disk::new();
        disk.on_alarm(volume::tell);
        let maildirs = Maildirs {
            base: disk.open_root(&settings.virtual_mailbox_base)?,
            store: maildir_store::Store::new(disk, &settings.myhostname),
        };
        let watch = tokio::spawn(volume::watch(maildirs.clone(), ctx.shutdown.clone()));
        let shared = Arc::new(Shared::new(ctx.clone(), maildirs.clone()));
        let sessions = tokio::spawn(Arc::clone(&shared).watch_sessions());
        ctx.ready();
        daemon::serve(&ctx, listeners, Arc::new(Pop3 { shared })).await;
        sessions.await?;
        watch.await?;
        volume::settle(maildirs).await;
        Ok(())
    }
}
