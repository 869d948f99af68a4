//! The protocol of Courier's authdaemond: AUTH, PRE, PASSWD and ENUMERATE, one per connection. `FAIL` means no;
//! trouble is no answer at all, which Courier's library reports as a temporary error.

mod request;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use ::daemon::{Connection, Limits, Peer, Refused, Service, Stream};
use auth_api::admin::AdminError;
use auth_api::directory::{Mailbox, MailboxAnswer};
use auth_api::sasl::{Account, LoginStep};
use auth_api::server::Admin as _;
use mail_types::{Address, Secret};
use sasl::password::{Stored, Unmarked};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

use self::request::{Command, MAX_REQUEST, Request};
use super::{Asked, PATIENCE, Shared, answer, whole_login};
use crate::directory::backend::{LoginRow, Source};
use crate::directory::pages::{Kind, Listed, PageRequest};
use crate::login::{Challenge, address};

/// Accounts that are read from the tables at a time.
const PAGE: usize = 500;
/// The service for which the old password of PASSWD is judged, whatever the client names: none of mail, so that
/// an app password does not change the mailbox's own.
const CHANGE: &[u8] = b"passwd";
/// The answer of no.
const FAIL: &[u8] = b"FAIL\n";

/// The service.
pub struct Authdaemon(pub Arc<Shared>);

impl Service for Authdaemon {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn refusal(&self, _: Refused, _: &Peer) -> Vec<u8> {
        Vec::new()
    }

    async fn handle(self: Arc<Self>, connection: Connection) {
        let mut stream = connection.stream;
        let stop = self.0.ctx.shutdown.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = session(&self.0, &mut stream) => {}
        }
    }
}

/// There is no answer: the client shall try again.
struct Trouble;

async fn session(shared: &Shared, stream: &mut Stream) {
    // What is no request gets no answer.
    let Ok(Some(request)) = tokio::time::timeout(PATIENCE, read(stream)).await else {
        return answer(stream, b"").await;
    };
    let peer = request.remote.map(|ip| SocketAddr::new(ip.to_canonical(), 0));
    let text = match request.command {
        Command::Enumerate => return enumerate(shared, stream).await,
        Command::UnknownKind | Command::BadChange => Ok(FAIL.to_vec()),
        Command::Lookup { login } => lookup(shared, &login).await,
        command => judge(shared, command, peer).await,
    };
    // Trouble is the end without a word.
    answer(stream, &text.unwrap_or_default()).await;
}

/// Reads a request, however it is cut into writes.
async fn read(stream: &mut Stream) -> Option<Request> {
    let mut buffer = Zeroizing::new(vec![0; MAX_REQUEST]);
    let mut length = 0;
    loop {
        let count = stream.read(&mut buffer[length..]).await.ok()?;
        length += count;
        match request::parse(&buffer[..length]) {
            Ok(Some(request)) => return Some(request),
            Ok(None) if count > 0 => {}
            _ => return None,
        }
    }
}

/// AUTH and PASSWD: what needs a password.
async fn judge(shared: &Shared, command: Command, peer: Option<SocketAddr>) -> Result<Vec<u8>, Trouble> {
    fn asked<'a>(login: &'a [u8], service: &'a [u8], peer: Option<SocketAddr>) -> Asked<'a> {
        Asked {
            socket: "authdaemon",
            login,
            realm: b"",
            service,
            peer,
        }
    }
    let step = match command {
        Command::Login {
            service,
            login,
            password,
        } => shared.check(asked(&login, &service, peer), password).await,
        Command::Cram {
            service,
            hash,
            login,
            challenge,
            digest,
        } => {
            let challenge = Challenge {
                hash,
                challenge,
                digest,
            };
            shared
                .check_challenge(asked(&login, &service, peer), &challenge)
                .await
        }
        Command::BadAnswer { service } => {
            let reason = "the answer to the challenge is malformed";
            shared.refuse(&asked(b"", &service, peer), reason).await
        }
        Command::ChangePassword { login, old, new } => {
            return match shared.check(asked(&login, CHANGE, peer), old).await {
                LoginStep::Success(account) => change(shared, account, new).await,
                LoginStep::Denied { .. } => Ok(FAIL.to_vec()),
                LoginStep::Challenge(_) | LoginStep::TemporaryFailure { .. } => Err(Trouble),
            };
        }
        _ => return Ok(FAIL.to_vec()),
    };
    match step {
        LoginStep::Success(account) => {
            let text = account_text(shared, &account);
            Ok(finish(text, &passwords(shared, &account.address).await?))
        }
        LoginStep::Denied { .. } => Ok(FAIL.to_vec()),
        LoginStep::Challenge(_) | LoginStep::TemporaryFailure { .. } => Err(Trouble),
    }
}

/// Sets the new password, as the Admin service does.
async fn change(shared: &Shared, account: Account, new: Secret) -> Result<Vec<u8>, Trouble> {
    match shared.admin.set_password(account.address, new).await {
        Ok(()) => Ok(b"OK\n".to_vec()),
        Err(AdminError::Unavailable(_)) => Err(Trouble),
        Err(error) => {
            tracing::info!(%error, "a password was not changed");
            Ok(FAIL.to_vec())
        }
    }
}

/// PRE: the account of a login, without its password.
async fn lookup(shared: &Shared, login: &[u8]) -> Result<Vec<u8>, Trouble> {
    let site = shared.sites.current();
    let Some(address) = whole_login(login, b"").and_then(|login| address(&login, &site)) else {
        return Ok(FAIL.to_vec());
    };
    let found = site.directory.login_row(&address).await.map_err(|_| Trouble)?;
    let active = |row: &LoginRow| row.mailbox.active && row.domain_active;
    match found.row {
        Some(row) if active(&row) => match site.directory.usable(&row.mailbox) {
            MailboxAnswer::Found(mailbox) => {
                let unmarked = site.unmarked_passwords().await.map_err(|_| Trouble)?;
                let shown = shown(shared, &row, unmarked);
                Ok(finish(mailbox_text(shared, &mailbox), &shown))
            }
            _ => Err(Trouble),
        },
        // The copy knows neither who is not there any more nor who is there by now.
        _ if found.source == Source::Replica => Err(Trouble),
        _ => Ok(FAIL.to_vec()),
    }
}

/// The lines of an account.
fn account_text(shared: &Shared, account: &Account) -> String {
    lines(
        shared,
        &account.address,
        &account.maildir,
        (account.uid, account.gid),
        account.quota,
    )
}

/// The same of a mailbox.
fn mailbox_text(shared: &Shared, mailbox: &Mailbox) -> String {
    lines(
        shared,
        &mailbox.address,
        &mailbox.maildir,
        (mailbox.uid, mailbox.gid),
        mailbox.quota,
    )
}

fn lines(shared: &Shared, address: &Address, maildir: &str, (uid, gid): (u32, u32), quota: u64) -> String {
    let home = shared.ctx.settings().compat.mail_root.display().to_string();
    let mut text = format!("UID={uid}\nGID={gid}\nHOME={home}\nADDRESS={address}\nMAILDIR={maildir}\n");
    if quota > 0 {
        let _ = writeln!(text, "QUOTA={quota}S");
    }
    text
}

/// The whole answer.
fn finish(mut text: String, passwords: &str) -> Vec<u8> {
    text.push_str(passwords);
    text.push_str(".\n");
    text.into_bytes()
}

/// The lines with the stored password, where the site shows them.
async fn passwords(shared: &Shared, address: &Address) -> Result<Zeroizing<String>, Trouble> {
    if !shared.ctx.settings().compat.show_passwords {
        return Ok(Zeroizing::default());
    }
    let site = shared.sites.current();
    let found = site.directory.login_row(address).await.map_err(|_| Trouble)?;
    let unmarked = site.unmarked_passwords().await.map_err(|_| Trouble)?;
    Ok(found
        .row
        .map(|row| shown(shared, &row, unmarked))
        .unwrap_or_default())
}

fn shown(shared: &Shared, row: &LoginRow, unmarked: Unmarked) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    if !shared.ctx.settings().compat.show_passwords {
        return text;
    }
    let column = row.password.expose_str().unwrap_or_default();
    let stored = Stored::parse(column, unmarked).ok();
    let cleartext = stored
        .as_ref()
        .and_then(Stored::cleartext)
        .or(row.cleartext.as_ref());
    let cleartext = cleartext.and_then(Secret::expose_str);
    let hash = stored
        .as_ref()
        .is_some_and(|stored| stored.cleartext().is_none() && !stored.is_locked());
    // A line break would be a line of its own, of whatever the column says.
    let clean = |value: &&str| !value.is_empty() && !value.chars().any(char::is_control);
    if let Some(column) = Some(column).filter(|_| hash).filter(clean) {
        let _ = writeln!(text, "PASSWD={column}");
    }
    if let Some(cleartext) = cleartext.filter(clean) {
        let _ = writeln!(text, "PASSWD2={cleartext}");
    }
    text
}

/// ENUMERATE: all active accounts, as they are read. Without the dot at the end the client knows that the list
/// is not complete.
async fn enumerate(shared: &Shared, stream: &mut Stream) {
    let site = shared.sites.current();
    let home = shared.ctx.settings().compat.mail_root.display().to_string();
    let mut after: Option<String> = None;
    let mut text = "# postrider\n\n".to_owned();
    loop {
        let request = PageRequest {
            kind: Kind::Mailbox,
            after: after.as_deref(),
            limit: PAGE,
            changed_since: None,
        };
        let Ok(Some(page)) = site.backend.page(request).await else {
            return answer(stream, b"").await;
        };
        for (_, row) in page.rows {
            let Listed::Mailbox(row) = row else { continue };
            if !row.mailbox.active || !row.domain_active {
                continue;
            }
            if let MailboxAnswer::Found(mailbox) = site.directory.usable(&row.mailbox) {
                let Mailbox {
                    address,
                    maildir,
                    uid,
                    gid,
                    ..
                } = mailbox;
                let _ = writeln!(text, "{address}\t{uid}\t{gid}\t{home}\t{maildir}\t");
            }
        }
        after = page.next;
        if after.is_none() {
            text.push_str(".\n");
            return answer(stream, text.as_bytes()).await;
        }
        match tokio::time::timeout(PATIENCE, stream.write_all(text.as_bytes())).await {
            Ok(Ok(())) => text.clear(),
            _ => return,
        }
    }
}
