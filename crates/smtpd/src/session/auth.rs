//! Logins: bytes carried between the client and authd, and the wait after a wrong password.

use std::net::SocketAddr;

use auth_api::sasl::{LoginContext, LoginStep, TlsState};
use events::smtpd;
use mail_types::Secret;
use smtp_proto::reply;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use crate::directory::{Directory, Login as _};
use crate::policy::limits::Counted;

impl<D, S> Session<D, S>
where
    D: Directory,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    /// The mechanisms to announce.
    pub(super) async fn mechanisms(&self) -> Vec<String> {
        let context = self.login_context();
        let ask = self.app.directory.mechanisms(&context);
        self.app.mechanisms.offered(&context, ask).await
    }

    pub(super) async fn on_auth(&mut self, mechanism: String, initial: Option<Secret>) {
        let now = self.app.ctx.clock.instant();
        let ip = self.counted_ip();
        if let Err(reply) = self
            .app
            .rates
            .check(Counted::Login, ip, &self.service.options, now)
        {
            self.proto.answer(&reply);
            return;
        }
        let context = self.login_context();
        let (step, exchange) = self.app.directory.login(&context, &mechanism, initial).await;
        self.mechanism = mechanism;
        self.exchange = Some(exchange);
        self.on_step(step).await;
    }

    pub(super) async fn on_auth_response(&mut self, response: Secret) {
        let Some(exchange) = &mut self.exchange else {
            self.proto.answer(&reply::auth_unavailable());
            return;
        };
        let step = exchange.next(response).await;
        self.on_step(step).await;
    }

    async fn on_step(&mut self, step: LoginStep) {
        let mechanism = self.mechanism.clone();
        match step {
            LoginStep::Challenge(challenge) => {
                self.proto.challenge(&challenge);
                return;
            }
            LoginStep::Success(account) => {
                self.emit(smtpd::Kind::AuthSucceeded {
                    mechanism,
                    login: account.address.to_string(),
                });
                self.login = Some(account);
                self.proto.answer(&reply::auth_ok());
            }
            LoginStep::Denied {
                delay,
                reason,
                no_mechanism,
                malformed,
            } => {
                self.emit(smtpd::Kind::AuthFailed { mechanism, reason });
                if !self.is_trusted() {
                    self.wait(delay).await;
                }
                let reply = match malformed {
                    true => reply::auth_server_first(),
                    false => reply::auth_failed(no_mechanism),
                };
                self.proto.answer(&reply);
            }
            LoginStep::TemporaryFailure { reason } => {
                tracing::warn!(session = %self.id, reason, "login cannot be judged");
                self.emit(smtpd::Kind::AuthUnavailable { mechanism, reason });
                self.proto.answer(&reply::auth_unavailable());
            }
        }
        self.exchange = None;
    }

    fn login_context(&self) -> LoginContext {
        LoginContext {
            service: "smtp".to_owned(),
            peer: self.client.address.unwrap_or(NOWHERE),
            local: self.client.local.unwrap_or(NOWHERE),
            session: self.id,
            tls: self.tls.as_ref().map(|tls| TlsState {
                version: tls.version.clone(),
                cipher: tls.cipher.clone(),
                tls_exporter: tls.tls_exporter.clone(),
                tls_server_end_point: tls.server_end_point.clone(),
                client_names: tls.client_names.clone(),
            }),
            trusted: self.is_trusted(),
        }
    }
}

/// Stands for the address of a client on a Unix socket, which has none.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
