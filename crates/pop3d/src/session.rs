//! One session from greeting to close: the only async loop of this process.

use std::sync::Arc;
use std::time::Duration;

use auth_api::sasl::{Account, LoginContext, TlsState};
use events::{About, access};
use mail_types::SessionId;
use pop3_proto::framing::Expect;
use pop3_proto::server::{
    Authorization, AuthorizationStep, LoginRequest, Policy, Transaction, TransactionStep,
};
use pop3_proto::{Command, Line, Reply, command};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use crate::commands;
use crate::config::Settings;
use crate::error::End;
use crate::login::{self, Verdict};
use crate::maildrop::{Locked, Snapshot, blocking};
use crate::service::Shared;
use crate::wire::Wire;

/// Wrong commands after the login; one more closes the connection (robustness.md section 3).
const TRANSACTION_ERRORS: u32 = 20;
/// The same before it.
const AUTHORIZATION_ERRORS: u32 = 3;
/// How long a login waits for the lock of the maildrop, and how often it asks.
const LOCK_WAIT: Duration = Duration::from_millis(700);
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Time to log in while most connections are in use.
const STRESSED_LOGIN: Duration = Duration::from_secs(10);

/// What a session knows beside its connection.
pub(crate) struct Session {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    context: LoginContext,
    /// Whether rates do not count for this client.
    exempt: bool,
    /// Until then somebody has to be logged in.
    login_deadline: Instant,
}

/// A maildrop that was locked and counted.
type Ready = (Transaction<Snapshot>, Arc<Locked>);

/// Where AUTHORIZATION led.
enum Next {
    StartTls(Authorization),
    Transaction(Ready),
    Closed,
}

impl Session {
    /// Makes a session; one that begins while the service is nearly full has less time to log in.
    pub(crate) fn new(shared: Arc<Shared>, context: LoginContext, exempt: bool, stressed: bool) -> Self {
        let settings = shared.settings();
        let limit = if stressed { STRESSED_LOGIN } else { Duration::MAX };
        let login_deadline = Instant::now() + settings.login_timeout.min(limit);
        Self {
            shared,
            settings,
            context,
            exempt,
            login_deadline,
        }
    }

    fn id(&self) -> SessionId {
        self.context.session
    }

    fn emit(&self, kind: access::Kind) {
        self.shared.events.emit(About::session(self.id()), kind);
    }

    /// Serves a connection to its end; `implicit` where TLS comes first (RFC 8314 3.2).
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(mut self, stream: S, implicit: bool) {
        let end = if implicit {
            self.serve_tls(stream, None).await
        } else {
            self.serve_clear(stream).await
        };
        if let Err(end) = &end {
            if end.is_abuse() {
                self.emit(access::Kind::Abuse {
                    reason: end.to_string(),
                });
            }
            tracing::info!(session = %self.id(), reason = %daemon::describe(end), "session ended");
        }
        let reason = end.map_or_else(|end| end.to_string(), |()| "QUIT".to_owned());
        self.emit(access::Kind::Disconnected { reason });
    }

    /// A connection that begins in the clear: perhaps STLS, perhaps a trusted network.
    async fn serve_clear<S: AsyncRead + AsyncWrite + Unpin + Send>(&mut self, stream: S) -> Result<(), End> {
        let mut wire = self.wire(stream);
        Authorization::greeting().write(&mut wire.out);
        let state = Authorization::new(self.policy());
        match self.authorization(&mut wire, state).await {
            Ok(Next::StartTls(state)) => {
                let stream = wire.into_stream().await?;
                self.serve_tls(stream, Some(state)).await
            }
            next => self.go_on(wire, next).await,
        }
    }

    /// A connection whose TLS handshake is due: `before` is the state that STLS left, if it was that.
    async fn serve_tls<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        stream: S,
        before: Option<Authorization>,
    ) -> Result<(), End> {
        let stream = self.handshake(stream).await?;
        let mut wire = self.wire(stream);
        let state = match before {
            Some(state) => state.after_stls(self.policy()),
            None => {
                Authorization::greeting().write(&mut wire.out);
                Authorization::new(self.policy())
            }
        };
        // A second StartTls cannot come: the policy no longer offers it.
        let next = self.authorization(&mut wire, state).await;
        self.go_on(wire, next).await
    }

    /// What comes after AUTHORIZATION, and the close.
    async fn go_on<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut wire: Wire<S>,
        next: Result<Next, End>,
    ) -> Result<(), End> {
        let result = match next {
            Ok(Next::Transaction((state, maildrop))) => self.transaction(&mut wire, state, maildrop).await,
            Ok(_) => Ok(()),
            Err(end) => Err(end),
        };
        match &result {
            Ok(()) => wire.close().await,
            Err(_) => wire.abort().await,
        }
        result
    }

    fn wire<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Wire<S> {
        Wire::new(stream, self.settings.output_timeout, self.shared.shutdown.clone())
    }

    fn policy(&self) -> Policy {
        let secure = self.context.tls.is_some();
        Policy {
            stls: !secure && self.shared.tls().is_some(),
            login: secure || self.context.trusted,
            error_limit: AUTHORIZATION_ERRORS,
            failure_limit: self.settings.auth_failure_limit,
        }
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        stream: S,
    ) -> Result<daemon::TlsStream<S>, End> {
        let tls = self.shared.tls().ok_or(End::Tls)?;
        if !self.exempt
            && !self
                .shared
                .handshake_allowed(self.context.peer, self.settings.client_new_tls_session_rate_limit)
        {
            return Err(End::Tls);
        }
        match tls.accept(stream, daemon::Protocol::Pop3).await {
            Ok((stream, info)) => {
                self.emit(access::Kind::TlsStarted {
                    tls: events::Tls {
                        version: info.version.clone(),
                        cipher: info.cipher.clone(),
                    },
                });
                self.context.tls = Some(TlsState {
                    version: info.version,
                    cipher: info.cipher,
                    tls_exporter: info.tls_exporter,
                    tls_server_end_point: info.server_end_point,
                    client_names: info.client_names,
                });
                Ok(stream)
            }
            Err(error) => {
                self.emit(access::Kind::TlsFailed {
                    reason: daemon::describe(&error).to_string(),
                });
                Err(End::Tls)
            }
        }
    }

    /// AUTHORIZATION, until a login, STLS or the end.
    async fn authorization<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &mut Wire<S>,
        mut state: Authorization,
    ) -> Result<Next, End> {
        loop {
            let mut step = match wire.next_line(Expect::Command, self.login_deadline).await? {
                Line::Complete(line) => {
                    let command = command::parse(&line);
                    if matches!(command, Ok(Command::Capa | Command::AuthList)) && state.policy().login {
                        let ask = self.shared.authd.mechanisms(&self.context);
                        let offered = self.shared.mechanisms.offered(&self.context, ask).await;
                        state.set_mechanisms(offered);
                    }
                    state.handle(command)
                }
                Line::TooLong => state.line_too_long(),
                Line::Hopeless => return Err(End::EndlessLine),
            };
            if let AuthorizationStep::Login(request) = step {
                match self.log_in(wire, &mut state, request).await? {
                    Ok((maildrop, snapshot)) => {
                        let (transaction, reply) = state.log_in(snapshot, TRANSACTION_ERRORS);
                        reply.write(&mut wire.out);
                        return Ok(Next::Transaction((transaction, Arc::new(maildrop))));
                    }
                    Err(after) => step = after,
                }
            }
            match step {
                AuthorizationStep::Reply(reply) => reply.write(&mut wire.out),
                AuthorizationStep::StartTls(reply) => {
                    reply.write(&mut wire.out);
                    return Ok(Next::StartTls(state));
                }
                AuthorizationStep::Close(reply) => {
                    reply.write(&mut wire.out);
                    return Ok(Next::Closed);
                }
                AuthorizationStep::Login(_) => {}
            }
            wire.flush_full().await?;
        }
    }

    /// Runs a login and opens the maildrop, or says how to go on without.
    async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &mut Wire<S>,
        state: &mut Authorization,
        request: LoginRequest,
    ) -> Result<Result<(Locked, Snapshot), AuthorizationStep>, End> {
        let mechanism = request.mechanism.clone();
        if !self.exempt
            && !self
                .shared
                .login_allowed(self.context.peer, self.settings.client_auth_rate_limit)
        {
            self.emit(access::Kind::AuthUnavailable {
                mechanism,
                reason: "too many logins of this client".into(),
            });
            return Ok(Err(AuthorizationStep::Reply(Authorization::unavailable())));
        }
        let verdict = login::exchange(
            &self.shared.authd,
            &self.context,
            request,
            wire,
            self.login_deadline,
        )
        .await?;
        Ok(match verdict {
            Verdict::Account(account) => {
                let login = account.address.to_string();
                tracing::info!(session = %self.id(), peer = %self.context.peer, login, mechanism, "login");
                self.emit(access::Kind::AuthSucceeded { mechanism, login });
                // Before the maildrop is opened: what changes meanwhile is seen too.
                let login = self.shared.sessions.open(&account);
                let opened = self.open(account).await;
                if opened.is_ok() {
                    wire.watch(login);
                }
                opened
            }
            Verdict::Denied(reason) => {
                tracing::warn!(session = %self.id(), peer = %self.context.peer, mechanism, reason, "login failed");
                self.emit(access::Kind::AuthFailed { mechanism, reason });
                Err(state.refused())
            }
            Verdict::NoMechanism => Err(state.no_mechanism()),
            Verdict::Unavailable(reason) => {
                tracing::error!(session = %self.id(), peer = %self.context.peer, reason, "login cannot be judged");
                self.emit(access::Kind::AuthUnavailable { mechanism, reason });
                Err(state.undecided())
            }
            Verdict::Broken(error) => Err(state.broken_exchange(error)),
            Verdict::TooLong => Err(state.line_too_long()),
        })
    }

    /// Locks and counts the maildrop of an account. A client that lost its connection comes back before we
    /// have seen the end of its old session, so a lock that is taken is asked for a little longer.
    async fn open(&self, account: Account) -> Result<(Locked, Snapshot), AuthorizationStep> {
        let until = Instant::now() + LOCK_WAIT;
        loop {
            let maildirs = self.shared.maildirs.clone();
            let wanted = account.clone();
            match blocking(move || maildirs.open(&wanted)).await {
                Ok(Some((maildrop, snapshot))) => {
                    let messages = pop3_proto::server::Maildrop::len(&snapshot) as u64;
                    let login = account.address.to_string();
                    self.emit(access::Kind::Opened {
                        login,
                        folder: "INBOX".into(),
                        messages,
                    });
                    return Ok((maildrop, snapshot));
                }
                Ok(None) if Instant::now() < until => sleep(LOCK_PAUSE).await,
                Ok(None) => return Err(AuthorizationStep::Reply(Authorization::in_use())),
                Err(error) => {
                    let reason = daemon::describe(&error);
                    tracing::warn!(session = %self.id(), login = %account.address, reason, "maildrop cannot be opened");
                    return Err(AuthorizationStep::Reply(Authorization::unavailable()));
                }
            }
        }
    }

    /// TRANSACTION, and UPDATE after QUIT. An end without QUIT removes nothing.
    async fn transaction<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &mut Wire<S>,
        mut state: Transaction<Snapshot>,
        maildrop: Arc<Locked>,
    ) -> Result<(), End> {
        loop {
            let deadline = Instant::now() + self.settings.idle_timeout;
            let step = match wire.next_line(Expect::Command, deadline).await? {
                Line::Complete(line) => state.handle(command::parse(&line)),
                Line::TooLong => state.line_too_long(),
                Line::Hopeless => return Err(End::EndlessLine),
            };
            match step {
                TransactionStep::Reply(reply) => reply.write(&mut wire.out),
                TransactionStep::Scan(scan) => commands::scan(wire, &state, scan).await?,
                TransactionStep::Retrieve { index, extent } => {
                    commands::retrieve(wire, &state, &maildrop, index, extent).await?;
                }
                TransactionStep::Close(reply) => {
                    reply.write(&mut wire.out);
                    return Ok(());
                }
                TransactionStep::Quit => {
                    let reply = self.update(state, maildrop).await;
                    reply.write(&mut wire.out);
                    return Ok(());
                }
            }
            wire.flush_full().await?;
        }
    }

    /// UPDATE: removes the messages, then frees the maildrop, then replies.
    async fn update(&self, state: Transaction<Snapshot>, maildrop: Arc<Locked>) -> Reply {
        let update = state.quit();
        let login = maildrop.login().to_owned();
        let (reply, removed) = commands::update(&update, maildrop).await;
        if removed > 0 {
            self.emit(access::Kind::Expunged {
                login,
                folder: "INBOX".into(),
                messages: removed as u64,
            });
        }
        reply
    }
}
