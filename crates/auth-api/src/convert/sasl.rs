//! `postrider.sasl.v1`.

use std::time::Duration;

use super::{Malformed, address};
use crate::pb::sasl as pb;
use crate::sasl::{Account, LoginContext, LoginStep, TlsState};

impl From<&LoginContext> for pb::Context {
    fn from(context: &LoginContext) -> Self {
        Self {
            service: context.service.clone(),
            peer: context.peer.to_string(),
            local: context.local.to_string(),
            session: context.session.to_string(),
            tls: context.tls.as_ref().map(|tls| pb::Tls {
                version: tls.version.clone(),
                cipher: tls.cipher.clone(),
                tls_exporter: tls.tls_exporter.clone(),
                tls_server_end_point: tls.tls_server_end_point.clone(),
            }),
            trusted: context.trusted,
        }
    }
}

impl TryFrom<pb::Context> for LoginContext {
    type Error = Malformed;
    fn try_from(context: pb::Context) -> Result<Self, Malformed> {
        Ok(Self {
            service: context.service,
            peer: context.peer.parse().map_err(|_| Malformed("peer address"))?,
            local: context.local.parse().map_err(|_| Malformed("local address"))?,
            session: context.session.parse().map_err(|_| Malformed("session id"))?,
            tls: context.tls.map(|tls| TlsState {
                version: tls.version,
                cipher: tls.cipher,
                tls_exporter: tls.tls_exporter,
                tls_server_end_point: tls.tls_server_end_point,
            }),
            trusted: context.trusted,
        })
    }
}

impl From<LoginStep> for pb::AuthenticateResponse {
    fn from(step: LoginStep) -> Self {
        use pb::authenticate_response::Step as S;
        Self {
            step: Some(match step {
                LoginStep::Challenge(bytes) => S::Challenge(bytes),
                LoginStep::Success(account) => S::Success(pb::Account {
                    address: account.address.to_string(),
                    maildir: account.maildir,
                    uid: account.uid,
                    gid: account.gid,
                    quota: account.quota,
                    revision: account.revision,
                }),
                LoginStep::Denied {
                    delay,
                    reason,
                    no_mechanism,
                } => S::Denied(pb::Denied {
                    delay_millis: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                    reason,
                    no_mechanism,
                }),
                LoginStep::TemporaryFailure { reason } => S::TemporaryFailure(reason),
            }),
        }
    }
}

impl TryFrom<pb::AuthenticateResponse> for LoginStep {
    type Error = Malformed;
    fn try_from(response: pb::AuthenticateResponse) -> Result<Self, Malformed> {
        use pb::authenticate_response::Step as S;
        Ok(match response.step.ok_or(Malformed("login step"))? {
            S::Challenge(bytes) => Self::Challenge(bytes),
            S::Success(account) => Self::Success(Account {
                address: address(&account.address)?,
                maildir: account.maildir,
                uid: account.uid,
                gid: account.gid,
                quota: account.quota,
                revision: account.revision,
            }),
            S::Denied(denied) => Self::Denied {
                delay: Duration::from_millis(denied.delay_millis),
                reason: denied.reason,
                no_mechanism: denied.no_mechanism,
            },
            S::TemporaryFailure(reason) => Self::TemporaryFailure { reason },
        })
    }
}
