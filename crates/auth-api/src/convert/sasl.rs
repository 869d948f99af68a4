//! `postrider.sasl.v1`.

use std::time::Duration;

use mail_types::Secret;

use super::{Malformed, address};
use crate::pb::sasl as pb;
use crate::sasl::{
    Account, FailureRecord, LoginContext, LoginExplanation, LoginQuery, LoginQuestion, LoginStep,
    MechanismOffer, MechanismUsage, TlsState, Validity,
};

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
                client_names: tls.client_names.clone(),
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
                client_names: tls.client_names,
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
                    malformed,
                } => S::Denied(pb::Denied {
                    delay_millis: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                    reason,
                    no_mechanism,
                    malformed,
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
                malformed: denied.malformed,
            },
            S::TemporaryFailure(reason) => Self::TemporaryFailure { reason },
        })
    }
}

impl From<Validity> for pb::Validity {
    fn from(validity: Validity) -> Self {
        Self {
            ended: match validity {
                Validity::Valid => None,
                Validity::Ended { reason } => Some(reason),
            },
        }
    }
}

impl From<pb::Validity> for Validity {
    fn from(validity: pb::Validity) -> Self {
        match validity.ended {
            None => Self::Valid,
            Some(reason) => Self::Ended { reason },
        }
    }
}

impl From<&LoginQuery> for pb::ExplainLoginRequest {
    fn from(query: &LoginQuery) -> Self {
        Self {
            context: Some((&query.context).into()),
            login: query.login.clone(),
            mechanism: query.mechanism.clone(),
            password: query.password.as_ref().map(|secret| secret.expose().to_vec()),
        }
    }
}

impl TryFrom<pb::ExplainLoginRequest> for LoginQuery {
    type Error = Malformed;
    fn try_from(request: pb::ExplainLoginRequest) -> Result<Self, Malformed> {
        Ok(Self {
            context: request.context.ok_or(Malformed("login context"))?.try_into()?,
            login: request.login,
            mechanism: request.mechanism,
            password: request.password.map(Secret::new),
        })
    }
}

impl From<LoginExplanation> for pb::ExplainLoginResponse {
    fn from(explanation: LoginExplanation) -> Self {
        let question = |question: LoginQuestion| pb::LoginQuestion {
            question: question.question,
            key: question.key,
            answer: question.answer,
            source: question.source,
        };
        let offer = |offer: MechanismOffer| pb::MechanismOffer {
            name: offer.name,
            offered: offer.offered,
            reason: offer.reason,
        };
        Self {
            questions: explanation.questions.into_iter().map(question).collect(),
            mechanisms: explanation.mechanisms.into_iter().map(offer).collect(),
            verdict: explanation.verdict,
            possible: explanation.possible,
            temporary: explanation.temporary,
            tried: explanation.tried,
        }
    }
}

impl From<pb::ExplainLoginResponse> for LoginExplanation {
    fn from(response: pb::ExplainLoginResponse) -> Self {
        let question = |question: pb::LoginQuestion| LoginQuestion {
            question: question.question,
            key: question.key,
            answer: question.answer,
            source: question.source,
        };
        let offer = |offer: pb::MechanismOffer| MechanismOffer {
            name: offer.name,
            offered: offer.offered,
            reason: offer.reason,
        };
        Self {
            questions: response.questions.into_iter().map(question).collect(),
            mechanisms: response.mechanisms.into_iter().map(offer).collect(),
            verdict: response.verdict,
            possible: response.possible,
            temporary: response.temporary,
            tried: response.tried,
        }
    }
}

impl From<FailureRecord> for pb::Failure {
    fn from(record: FailureRecord) -> Self {
        Self {
            account: record.account,
            network: record.network,
            count: record.count,
            last: record.last,
            delay_millis: u64::try_from(record.delay.as_millis()).unwrap_or(u64::MAX),
            forgotten: record.forgotten,
        }
    }
}

impl From<pb::Failure> for FailureRecord {
    fn from(failure: pb::Failure) -> Self {
        Self {
            account: failure.account,
            network: failure.network,
            count: failure.count,
            last: failure.last,
            delay: Duration::from_millis(failure.delay_millis),
            forgotten: failure.forgotten,
        }
    }
}

impl From<MechanismUsage> for pb::Usage {
    fn from(usage: MechanismUsage) -> Self {
        Self {
            account: usage.account,
            mechanism: usage.mechanism,
            service: usage.service,
            count: usage.count,
            last: usage.last,
            scram_keys: usage.scram_keys,
        }
    }
}

impl From<pb::Usage> for MechanismUsage {
    fn from(usage: pb::Usage) -> Self {
        Self {
            account: usage.account,
            mechanism: usage.mechanism,
            service: usage.service,
            count: usage.count,
            last: usage.last,
            scram_keys: usage.scram_keys,
        }
    }
}
