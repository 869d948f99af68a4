//! One connection: the only async loop, between the socket, the protocol session and the decisions.

mod access;
mod auth;
mod mail;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use auth_api::sasl::Account;
use daemon::{Protocol, TlsInfo};
use events::{About, smtpd};
use mail_types::{Address, SessionId};
use smtp_proto::command::{Hello, HelloKind};
use smtp_proto::reply;
use smtp_proto::server::{self, CloseReason, Event};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use self::mail::Transaction;
use crate::config::Service;
use crate::directory::Directory;
use crate::policy::limits::Counted;
use crate::server::App;
use crate::wire::Wire;

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Its address; none on a Unix socket.
    pub address: Option<SocketAddr>,
    /// Our address.
    pub local: Option<SocketAddr>,
    /// Whether it is not counted.
    pub exempt: bool,
    /// Whether the service is under load, so that it gets less patience.
    pub stressed: bool,
}

/// A session on a stream of any kind.
pub struct Session<D: Directory, S> {
    app: Arc<App<D>>,
    service: Arc<Service>,
    client: Client,
    id: SessionId,
    /// None only while a handshake has the stream.
    wire: Option<Wire<S>>,
    proto: server::Session,
    tls: Option<TlsInfo>,
    login: Option<Account>,
    exchange: Option<D::Login>,
    mechanism: String,
    transaction: Option<Transaction>,
    messages: u32,
}

impl<D, S> Session<D, S>
where
    D: Directory,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    /// A session on a new connection.
    pub fn new(app: Arc<App<D>>, service: Arc<Service>, stream: S, client: Client) -> Self {
        let trusted = client
            .address
            .is_some_and(|address| service.login_trusted.contains(address.ip()));
        let config = service.protocol(trusted, client.stressed);
        let now = app.ctx.clock.instant();
        Self {
            id: app.ctx.new_session_id(),
            proto: server::Session::new(config, service.options.smtpd_tls_wrappermode, now),
            app,
            service,
            client,
            wire: Some(Wire::Plain(stream)),
            tls: None,
            login: None,
            exchange: None,
            mechanism: String::new(),
            transaction: None,
            messages: 0,
        }
    }

    /// Serves it to its end.
    pub async fn run(mut self) {
        self.emit(smtpd::Kind::Connected {
            service: self.service.name.clone(),
            client: text(self.client.address),
            local: text(self.client.local),
        });
        let reason = self.dialogue().await;
        self.abort(&reason);
        self.emit(smtpd::Kind::Disconnected {
            reason,
            messages: self.messages,
        });
    }

    /// The dialogue; the result says how it ended.
    async fn dialogue(&mut self) -> String {
        if self.service.options.smtpd_tls_wrappermode
            && let Err(reason) = self.handshake().await
        {
            return reason;
        }
        self.proto.greet();
        loop {
            let ended = match self.events().await {
                Ok(ended) => ended,
                Err(reason) => return reason,
            };
            if let Err(error) = self.flush().await {
                return lost(&error);
            }
            if let Some(reason) = ended {
                self.linger(reason).await;
                return why(reason).to_owned();
            }
            if let Err(reason) = self.read().await {
                return reason;
            }
        }
    }

    /// Takes all events that the input holds. `Err` ends the session at once, a reason after the output.
    async fn events(&mut self) -> Result<Option<CloseReason>, String> {
        let mut spoke = self.app.ctx.clock.instant();
        loop {
            let now = self.app.ctx.clock.instant();
            // Replies to pipelined commands go out together, but not later than this.
            if now.duration_since(spoke) > TOGETHER && !self.proto.output().is_empty() {
                self.flush().await.map_err(|error| lost(&error))?;
                spoke = now;
            }
            let Some(event) = self.proto.next_event(now) else {
                return Ok(None);
            };
            match event {
                Event::Body(text) => {
                    if let Some(body) = self.transaction.as_mut().and_then(|t| t.body.as_mut()) {
                        body.push(text);
                        if body.needs_flush() {
                            body.flush(&self.app.intake.spooler).await;
                        }
                    }
                }
                Event::Hello(hello) => self.on_hello(&hello).await,
                Event::Mail(mail) => self.on_mail(mail).await,
                Event::Rcpt(rcpt) => self.on_rcpt(rcpt).await,
                Event::Data => self.on_data(),
                Event::EndOfData(end) => self.on_end(end).await,
                Event::Reset => self.abort("RSET"),
                Event::Auth { mechanism, initial } => self.on_auth(mechanism, initial).await,
                Event::AuthResponse(response) => self.on_auth_response(response).await,
                Event::AuthAborted => self.exchange = None,
                Event::StartTls => self.on_starttls().await?,
                Event::Refused { command, reply } => self.on_refused(&command, &reply),
                Event::Closing(reason) => {
                    self.on_closing(reason);
                    return Ok(Some(reason));
                }
            }
        }
    }

    async fn on_hello(&mut self, hello: &Hello) {
        self.abort("EHLO");
        let verb = match hello.kind {
            HelloKind::Helo => "HELO",
            HelloKind::Ehlo => "EHLO",
            HelloKind::Lhlo => "LHLO",
        };
        self.emit(smtpd::Kind::Greeted {
            verb: verb.to_owned(),
            name: hello.name.clone(),
        });
        if self.service.options.smtpd_sasl_auth_enable && (self.proto.is_tls() || self.is_trusted()) {
            let mechanisms = self.mechanisms().await;
            self.proto.set_mechanisms(mechanisms);
        }
        self.proto.accept_hello();
    }

    async fn on_starttls(&mut self) -> Result<(), String> {
        let now = self.app.ctx.clock.instant();
        let ip = self.counted_ip();
        if let Err(reply) = self
            .app
            .rates
            .check(Counted::Handshake, ip, &self.service.options, now)
        {
            self.proto.answer(&reply);
            return Ok(());
        }
        self.abort("STARTTLS");
        self.proto.answer(&reply::start_tls());
        self.flush().await.map_err(|error| lost(&error))?;
        self.handshake().await?;
        // What was learned in clear is forgotten (RFC 3207 4.2): a login too, which a trusted client may have.
        self.login = None;
        self.exchange = None;
        self.mechanism.clear();
        self.proto.tls_started();
        Ok(())
    }

    /// The TLS handshake, with its own deadline.
    async fn handshake(&mut self) -> Result<(), String> {
        let (Some(tls), Some(Wire::Plain(stream))) = (self.app.ctx.tls(), self.wire.take()) else {
            return Err("no certificate".to_owned());
        };
        let protocol = match self.service.options.smtpd_sasl_auth_enable {
            true => Protocol::Smtp,
            false => Protocol::SmtpRelay,
        };
        match tls.accept(stream, protocol).await {
            Ok((stream, info)) => {
                self.wire = Some(Wire::Tls(Box::new(stream)));
                self.emit(smtpd::Kind::TlsStarted {
                    tls: events::Tls {
                        version: info.version.clone(),
                        cipher: info.cipher.clone(),
                    },
                });
                self.tls = Some(info);
                Ok(())
            }
            Err(error) => {
                let reason = daemon::describe(&error);
                self.emit(smtpd::Kind::TlsFailed {
                    reason: reason.clone(),
                });
                Err(reason)
            }
        }
    }

    /// A command that the protocol session refused by itself.
    fn on_refused(&mut self, command: &str, reply: &mail_types::Reply) {
        self.emit(smtpd::Kind::CommandRefused {
            command: command.escape_debug().to_string(),
            reply: reply.into(),
        });
    }

    fn on_closing(&mut self, reason: CloseReason) {
        if !matches!(
            reason,
            CloseReason::Quit | CloseReason::Refused | CloseReason::Timeout | CloseReason::LoginsNotJudged
        ) {
            self.emit(smtpd::Kind::Abuse {
                reason: why(reason).to_owned(),
            });
        }
    }

    /// Waits out what the protocol session wants, then writes what it says.
    async fn flush(&mut self) -> io::Result<()> {
        if let Some(pause) = self.proto.take_pause() {
            self.wait(pause).await;
        }
        let Some(wire) = &mut self.wire else { return Ok(()) };
        if self.proto.output().is_empty() {
            return Ok(());
        }
        let write = async {
            wire.write_all(self.proto.output()).await?;
            wire.flush().await
        };
        let limit = self.service.options.smtpd_timeout.get();
        let written = timeout(limit, write).await;
        self.proto.output_written();
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads something, or comes to the deadline, or to the stop of the daemon.
    async fn read(&mut self) -> Result<(), String> {
        let now = self.app.ctx.clock.instant();
        let limit = self.proto.deadline().saturating_duration_since(now);
        let stoppable = self.proto.expects_command();
        let shutdown = self.app.ctx.shutdown.clone();
        let Some(wire) = &mut self.wire else {
            return Err("no stream".to_owned());
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled(), if stoppable => {
                self.proto.close(&reply::shutting_down(&self.service.hostname));
                Ok(())
            }
            read = timeout(limit, wire.read_buf(self.proto.input())) => match read {
                Err(_) => {
                    self.proto.on_deadline();
                    Ok(())
                }
                Ok(Ok(0)) => Err("connection lost".to_owned()),
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(lost(&error)),
            },
        }
    }

    /// Closes so that the last words arrive: input that was not read would make the kernel throw them away.
    async fn linger(&mut self, reason: CloseReason) {
        let Some(wire) = &mut self.wire else { return };
        let drain = async {
            wire.shutdown().await?;
            if reason == CloseReason::EndlessLine {
                return Ok(());
            }
            let mut rest = (&mut *wire).take(LINGER_OCTETS);
            tokio::io::copy(&mut rest, &mut tokio::io::sink())
                .await
                .map(|_| ())
        };
        // The session is over whatever comes of this.
        let _: Result<io::Result<()>, _> = timeout(LINGER, drain).await;
    }

    /// Waits, unless the daemon stops.
    async fn wait(&self, time: Duration) {
        let shutdown = &self.app.ctx.shutdown;
        shutdown.run_until_cancelled(tokio::time::sleep(time)).await;
    }

    fn emit(&self, kind: smtpd::Kind) {
        self.app.ctx.events.emit(self.about(), kind);
    }

    /// The session, and the message where one is open.
    fn about(&self) -> About {
        let about = About::session(self.id);
        match &self.transaction {
            Some(transaction) => about.mail(transaction.envelope.id),
            None => about,
        }
    }

    /// Who logged in.
    fn login(&self) -> Option<&Address> {
        self.login.as_ref().map(|account| &account.address)
    }

    fn ip(&self) -> Option<IpAddr> {
        self.client.address.map(|address| address.ip())
    }

    /// The address under which the client is counted; none where it is not.
    fn counted_ip(&self) -> Option<IpAddr> {
        self.ip().filter(|_| !self.client.exempt)
    }

    fn is_trusted(&self) -> bool {
        self.ip()
            .is_some_and(|ip| self.service.login_trusted.contains(ip))
    }
}

fn text(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "local".to_owned(), |address| address.to_string())
}

fn lost(error: &io::Error) -> String {
    format!("connection lost: {error}")
}

/// For logs.
fn why(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Quit => "QUIT",
        CloseReason::Refused => "shutdown",
        CloseReason::Timeout => "timeout",
        CloseReason::TooManyErrors => "too many errors",
        CloseReason::TooManyJunkCommands => "too many junk commands",
        CloseReason::TooManyAuthFailures => "too many failed logins",
        CloseReason::LoginsNotJudged => "too many logins that could not be judged",
        CloseReason::TooManyChunks => "too many BDAT commands",
        CloseReason::EndlessLine => "line without end",
        CloseReason::ForeignProtocol => "spoke another protocol",
        CloseReason::InjectedPlaintext => "plaintext behind STARTTLS",
        CloseReason::BodyFlood => "message far above the size limit",
    }
}

/// How long replies to pipelined commands wait for each other.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long, and for how many octets, a closed session still reads.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_OCTETS: u64 = 256 * 1024;
