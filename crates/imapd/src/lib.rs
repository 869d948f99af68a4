//! imapd: lets people read and keep their mail with IMAP.
//!
//! # What it does
//!
//! Speaks IMAP4rev1 (RFC 3501) with LITERAL+ (RFC 7888), SASL-IR (4959), ID (2971), ENABLE (5161), NAMESPACE
//! (2342), IDLE (2177), UIDPLUS (4315), UNSELECT (3691), MOVE (6851), CHILDREN (3348) and SPECIAL-USE (6154)
//! over Maildirs. The rules that matter most:
//!
//! * Nobody logs in before TLS, but for peers in `login_trusted_networks`; until then LOGINDISABLED stands in
//!   the capabilities and no `AUTH=`.
//! * It knows no passwords and no mechanism: LOGIN becomes PLAIN, everything goes to authd. When authd or its
//!   database is away the reply is `NO [UNAVAILABLE]`, never "login failed", and the connection stays
//!   until the tenth time.
//! * A session whose mailbox was turned off, moved or given another password hears `* BYE [EXPIRED]` within
//!   30 s (`session_check_interval`; trouble with authd ends none).
//! * Positive replies about messages are sent when the store says that they are durable.
//! * Two sessions on one folder see each other's changes; numbers change only where EXPUNGE may be sent
//!   (RFC 3501 7.4.1).
//! * Names are prefix empty, separator `.`; `INBOX.x` is another name of `x`.
//!
//! # Sockets
//!
//! Listens on `imapd.listen` (143, STARTTLS) and `imapd.listen_tls` (993, TLS first), or takes the sockets
//! named `imap` and `imaps` from systemd. Connects to `run_dir/authd/imapd/sock`.
//!
//! # Files
//!
//! Reads and writes below `virtual_mailbox_base` through crate `maildir-store`, and watches the directories
//! of folders in IDLE with inotify. Writes decisions to `events_dir/imapd.jsonl`.
//!
//! # Signals
//!
//! SIGHUP reads the configuration and the certificate again (sessions keep what they began with, a bad one
//! changes nothing). SIGTERM and SIGINT stop: listeners close, sessions hear BYE between two commands, within
//! `shutdown_timeout`.
//!
//! # Privileges
//!
//! The owner of the Maildirs; none beyond. Whoever owns this process has every Maildir.
//!
//! # Limits
//!
//! Those of `imap_proto::framing::Limits` for what is read, 3 wrong commands and 3 failed logins before the
//! login, 20 wrong commands in a row after it, and the options of `[imapd]`. Commands that a client sends
//! ahead wait in the socket. An idle session holds no buffer; the view of a folder is shared.
//!
//! # In reading order
//!
//! `config` → `service` (one connection comes) → `session` (the loop) → `login` → `commands` (one file each)
//! → `mailbox` (numbers to UIDs) → `updates` (what others changed) → `idle`, `notify`. Beside them: `wire` is
//! the connection with its deadlines, `store` the way to the files, `volume` what is done about a disk that
//! failed, `warm` folders that somebody may come back for, `error` why a session ends or a command is
//! refused, `capability` what is offered.

mod capability;
mod commands;
mod config;
mod error;
mod idle;
mod login;
mod mailbox;
mod notify;
mod service;
mod session;
mod store;
#[cfg(test)]
mod tests;
mod updates;
mod volume;
mod warm;
mod wire;

use std::sync::Arc;

use daemon::{BoxError, Context, Daemon};

pub use crate::config::Settings;
use crate::service::{CLEAR_SERVICE, Imap, Shared, TLS_SERVICE};
use crate::store::Maildirs;

/// The process.
pub struct Imapd;

impl Daemon for Imapd {
    const NAME: &'static str = "imapd";
    const ABOUT: &'static str = "The IMAP server.";
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
        let maildirs = Maildirs::open(&settings)?;
        let shared = Arc::new(Shared::new(ctx.clone(), maildirs.clone()));
        let warm = Arc::clone(&shared.warm);
        let watch = tokio::spawn(volume::watch(maildirs.clone(), warm, ctx.shutdown.clone()));
        let sessions = tokio::spawn(Arc::clone(&shared).watch_sessions());
        ctx.ready();
        daemon::serve(&ctx, listeners, Arc::new(Imap { shared })).await;
        sessions.await?;
        watch.await?;
        volume::settle(maildirs).await;
        Ok(())
    }
}
