//! The sockets of saslauthd and Courier's authdaemond, so that other software of the site asks us instead.
//! Off unless configured. What they check goes through [`Logins`] like everything else.

mod authdaemon;
mod saslauthd;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::config::{ListenAddr, Networks};
use ::daemon::{BoxError, Context, Limits, Listener, Service, Stream};
use auth_api::CALL_DEADLINE;
use auth_api::sasl::{LoginContext, LoginStep};
use mail_types::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::admin::AdminService;
use crate::config::Settings as AuthdSettings;
use crate::login::{Challenge, Logins};
use crate::site::Sites;

/// How long a client may take for its request, and for taking the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long we read what a client still sends after our answer. Closing earlier would reset the connection,
/// and the client would never see the answer.
const LINGER: Duration = Duration::from_secs(2);
/// Who asks where nobody says so.
const UNKNOWN_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// Longest login taken: an address is at most 64 + 1 + 255 octets.
const MAX_LOGIN: usize = 320;

/// `[authd.compat]` as checked values.
#[derive(Debug, Clone)]
pub struct Settings {
    saslauthd: Option<SocketFile>,
    authdaemon: Option<SocketFile>,
    /// Whether answers hold what the password columns hold.
    show_passwords: bool,
    connection_limit: u32,
    /// HOME of all accounts.
    mail_root: PathBuf,
}

/// Where a socket lies, and who may connect.
#[derive(Debug, Clone)]
struct SocketFile {
    path: PathBuf,
    mode: u32,
    group: Option<String>,
}

impl Settings {
    /// Reads the section.
    pub fn new(general: &::config::General, compat: &::config::Compat) -> Self {
        let socket =
            |path: &Option<::config::AbsolutePath>, mode: ::config::FileMode, group: &Option<String>| {
                path.as_ref().map(|path| SocketFile {
                    path: path.as_path().to_owned(),
                    mode: mode.get(),
                    group: group.clone(),
                })
            };
        Self {
            saslauthd: socket(
                &compat.saslauthd_socket,
                compat.saslauthd_mode,
                &compat.saslauthd_group,
            ),
            authdaemon: socket(
                &compat.authdaemon_socket,
                compat.authdaemon_mode,
                &compat.authdaemon_group,
            ),
            show_passwords: compat.authdaemon_show_passwords,
            connection_limit: compat.connection_limit,
            mail_root: general.virtual_mailbox_base.as_path().to_owned(),
        }
    }
}

/// What both protocols need.
pub struct Shared {
    ctx: Context<AuthdSettings>,
    sites: Arc<Sites>,
    logins: Arc<Logins>,
    admin: Arc<AdminService>,
}

/// The sockets, open but not yet served.
pub struct Sockets {
    shared: Arc<Shared>,
    saslauthd: Vec<Listener>,
    authdaemon: Vec<Listener>,
}

impl Sockets {
    /// Opens those that are configured.
    pub fn open(
        ctx: &Context<AuthdSettings>,
        sites: Arc<Sites>,
        logins: Arc<Logins>,
        admin: Arc<AdminService>,
    ) -> Result<Self, BoxError> {
        let settings = &ctx.settings().compat;
        Ok(Self {
            saslauthd: listen(ctx, "authd-saslauthd", settings.saslauthd.as_ref())?,
            authdaemon: listen(ctx, "authd-authdaemon", settings.authdaemon.as_ref())?,
            shared: Arc::new(Shared {
                ctx: ctx.clone(),
                sites,
                logins,
                admin,
            }),
        })
    }

    /// Serves them until the process stops.
    pub async fn serve(self) {
        let ctx = self.shared.ctx.clone();
        let mut services = JoinSet::new();
        if !self.saslauthd.is_empty() {
            let service = saslauthd::Saslauthd(self.shared.clone());
            services.spawn(serve(ctx.clone(), self.saslauthd, service));
        }
        if !self.authdaemon.is_empty() {
            let service = authdaemon::Authdaemon(self.shared.clone());
            services.spawn(serve(ctx, self.authdaemon, service));
        }
        services.join_all().await;
    }
}

async fn serve<S: Service>(ctx: Context<AuthdSettings>, listeners: Vec<Listener>, service: S) {
    ::daemon::serve(&ctx, listeners, Arc::new(service)).await;
}

/// Opens one socket: systemd's under `name`, or our own with the mode and group that are configured.
fn listen(
    ctx: &Context<AuthdSettings>,
    name: &str,
    socket: Option<&SocketFile>,
) -> Result<Vec<Listener>, BoxError> {
    let Some(socket) = socket else {
        return Ok(Vec::new());
    };
    let directory = socket.path.parent().unwrap_or(Path::new("/"));
    let had_directory = directory.exists();
    let listeners = ctx.listen(name, &[ListenAddr::Unix(socket.path.clone())])?;
    // A socket that systemd opened is systemd's: it has modes and groups of its own.
    let ours =
        std::fs::metadata(&socket.path).is_ok_and(|file| file.uid() == nix::unistd::geteuid().as_raw());
    if ours {
        protect(socket, (!had_directory).then_some(directory))
            .map_err(|error| format!("{}: {error}", socket.path.display()))?;
    }
    Ok(listeners)
}

/// Sets mode and group of a socket, and the group of the directory that was made for it.
fn protect(socket: &SocketFile, directory: Option<&Path>) -> std::io::Result<()> {
    // The group first: nobody of the old one shall come in by the new mode.
    if let Some(name) = &socket.group {
        let group = nix::unistd::Group::from_name(name)?.ok_or_else(|| {
            std::io::Error::new(
                std::io::ErrorKind::NotFound,
                format!("there is no group {name:?}"),
            )
        })?;
        for path in directory.into_iter().chain([&*socket.path]) {
            std::os::unix::fs::chown(path, None, Some(group.gid.as_raw()))?;
        }
    }
    std::fs::set_permissions(&socket.path, std::fs::Permissions::from_mode(socket.mode))
}

impl Shared {
    fn limits(&self) -> Limits {
        let connections = self.ctx.settings().compat.connection_limit;
        Limits {
            connections,
            per_client: connections,
            rate: u32::MAX,
            exceptions: Networks::default(),
        }
    }

    /// Checks a login and password as any other, and waits as long as a denied client has to.
    async fn check(&self, asked: Asked<'_>, password: Secret) -> LoginStep {
        // What is no login is judged too: it counts, and stands in the decision log.
        let login = whole_login(asked.login, asked.realm).unwrap_or_default();
        let context = self.context(asked.service, asked.peer);
        let step = self.logins.check_plain(context, asked.socket, &login, password);
        slowly(in_time(step).await).await
    }

    /// The same for the answer to a challenge.
    async fn check_challenge(&self, asked: Asked<'_>, challenge: &Challenge) -> LoginStep {
        // What is no login is judged too: it counts, and stands in the decision log.
        let login = whole_login(asked.login, asked.realm).unwrap_or_default();
        let context = self.context(asked.service, asked.peer);
        let step = self
            .logins
            .check_challenge(context, asked.socket, &login, challenge);
        slowly(in_time(step).await).await
    }

    /// Denies what nobody needs to look at; it counts like any other failure.
    async fn refuse(&self, asked: &Asked<'_>, reason: &'static str) -> LoginStep {
        let context = self.context(asked.service, asked.peer);
        slowly(self.logins.deny(context, asked.socket, reason).await).await
    }

    fn context(&self, service: &[u8], peer: Option<SocketAddr>) -> LoginContext {
        LoginContext {
            service: service_name(service),
            peer: peer.unwrap_or(UNKNOWN_PEER),
            local: UNKNOWN_PEER,
            session: self.ctx.new_session_id(),
            tls: None,
            trusted: false,
        }
    }
}

/// The login with the realm of the request where it has no domain; [`Logins`] knows the site's own realm. `None`:
/// it could not be one.
fn whole_login(login: &[u8], realm: &[u8]) -> Option<String> {
    let login = std::str::from_utf8(login).ok()?;
    let realm = std::str::from_utf8(realm).ok()?;
    let login = if login.contains('@') || realm.is_empty() {
        login.to_owned()
    } else {
        format!("{login}@{realm}")
    };
    let usable = !login.is_empty() && login.len() <= MAX_LOGIN && !login.chars().any(char::is_control);
    usable.then_some(login)
}

/// The verdict, or a temporary failure where it takes longer than our own daemons would wait for it.
async fn in_time(verdict: impl Future<Output = LoginStep>) -> LoginStep {
    tokio::time::timeout(CALL_DEADLINE, verdict)
        .await
        .unwrap_or_else(|_| {
            let reason = "no verdict in time".to_owned();
            tracing::warn!(reason, "a login of the compat sockets cannot be judged");
            LoginStep::TemporaryFailure { reason }
        })
}

/// A verdict, after the wait of a denied one.
async fn slowly(step: LoginStep) -> LoginStep {
    if let LoginStep::Denied { delay, .. } = &step {
        tokio::time::sleep(*delay).await;
    }
    step
}

/// A login as a client of the sockets names it.
struct Asked<'a> {
    /// Which socket, for the audit.
    socket: &'static str,
    login: &'a [u8],
    realm: &'a [u8],
    service: &'a [u8],
    peer: Option<SocketAddr>,
}

/// The service in our words. Others keep their name as far as it is harmless.
fn service_name(name: &[u8]) -> String {
    let name: String = name
        .iter()
        .take(32)
        .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    match &*name {
        "smtp" | "smtps" | "esmtp" | "esmtps" | "submission" | "submissions" => "smtp".to_owned(),
        "imap" | "imaps" => "imap".to_owned(),
        "pop" | "pop3" | "pops" | "pop3s" => "pop3".to_owned(),
        "" => "other".to_owned(),
        _ => name,
    }
}

/// Sends the answer, which is empty for trouble, and closes, after what the client still sends was read.
async fn answer(stream: &mut Stream, bytes: &[u8]) {
    let send = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await
    };
    if !matches!(tokio::time::timeout(PATIENCE, send).await, Ok(Ok(()))) {
        return;
    }
    let mut rest = [0; 1024];
    let drain = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services() {
        for (given, ours) in [
            ("imap", "imap"),
            ("IMAPS", "imap"),
            ("esmtp", "smtp"),
            ("pop3s", "pop3"),
            ("webmail", "webmail"),
            ("a\nb\u{1b}[", "ab"),
            ("", "other"),
        ] {
            assert_eq!(service_name(given.as_bytes()), ours);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_that_does_not_come_is_a_temporary_failure() {
        let began = tokio::time::Instant::now();
        let step = slowly(in_time(std::future::pending()).await).await;
        assert!(matches!(step, LoginStep::TemporaryFailure { .. }), "{step:?}");
        assert_eq!(began.elapsed(), CALL_DEADLINE);
        // The wait of a denied client is no part of it.
        let delay = CALL_DEADLINE * 4;
        let denied = LoginStep::Denied {
            delay,
            reason: String::new(),
            no_mechanism: false,
            malformed: false,
        };
        let began = tokio::time::Instant::now();
        let step = slowly(in_time(std::future::ready(denied)).await).await;
        assert!(matches!(step, LoginStep::Denied { .. }), "{step:?}");
        assert_eq!(began.elapsed(), delay);
    }
}
