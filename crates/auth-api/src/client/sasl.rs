//! The Sasl service's methods of [`Client`].

use mail_types::{Address, Secret};
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::link::Retry;
use super::{Client, Exchange, MAX_ANSWER};
use crate::convert::Malformed;
use crate::pb::sasl as pb;
use crate::pb::sasl::sasl_client::SaslClient;
use crate::sasl::{
    FailureRecord, LoginContext, LoginExplanation, LoginQuery, LoginStep, MechanismUsage, Validity,
};
use crate::{CALL_TIMEOUT, MAX_SESSIONS, Trace, Unavailable};

impl Client {
    /// The SASL mechanisms to offer to a connection, best first (roles smtpd, imapd, pop3d, admin).
    pub async fn mechanisms(&self, context: &LoginContext) -> Result<Vec<String>, Unavailable> {
        let request = pb::MechanismsRequest {
            context: Some(context.into()),
        };
        let trace = Trace {
            session: Some(context.session),
            message: None,
        };
        let answer = self
            .inner
            .logins
            .call(
                request,
                trace,
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| sasl(channel).mechanisms(request).await,
            )
            .await?;
        Ok(answer.mechanisms)
    }

    /// Starts a login and takes its first step. `initial` is the initial response, base64 removed, where the
    /// client sent one. While the step is a challenge, go on with [`Exchange::next`]; drop the exchange to
    /// abandon it. Trouble of any kind is [`LoginStep::TemporaryFailure`].
    pub async fn login(
        &self,
        context: &LoginContext,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> (LoginStep, Exchange) {
        Exchange::start(&self.inner.logins, context, mechanism, initial).await
    }

    /// Whether the sessions of these logins (address and revision of the [`crate::sasl::Account`]) may go on:
    /// one answer for each, in their order (roles smtpd, imapd, pop3d, admin). Trouble ends no session.
    pub async fn still_valid(&self, sessions: Vec<(Address, u64)>) -> Result<Vec<Validity>, Unavailable> {
        let mut validities = Vec::with_capacity(sessions.len());
        for batch in batches(&sessions) {
            let request = pb::StillValidRequest {
                sessions: batch
                    .iter()
                    .map(|(address, revision)| pb::OpenSession {
                        address: address.to_string(),
                        revision: *revision,
                    })
                    .collect(),
            };
            let answer = self
                .inner
                .logins
                .call(
                    request,
                    Trace::default(),
                    CALL_TIMEOUT,
                    Retry::Yes,
                    async |channel, request| sasl(channel).still_valid(request).await,
                )
                .await?;
            if answer.validities.len() != batch.len() {
                return Err(Malformed("answer: not one for each session").into());
            }
            validities.extend(answer.validities.into_iter().map(Validity::from));
        }
        Ok(validities)
    }

    /// How a login is judged, question by question (role admin).
    pub async fn explain_login(&self, query: &LoginQuery) -> Result<LoginExplanation, Unavailable> {
        let answer = self
            .inner
            .logins
            .call(
                query.clone(),
                Trace::default(),
                CALL_TIMEOUT,
                Retry::No,
                async |channel, request: tonic::Request<LoginQuery>| {
                    let request = request.map(|query| pb::ExplainLoginRequest::from(&query));
                    sasl(channel).explain_login(request).await
                },
            )
            .await?;
        Ok(answer.into())
    }

    /// The failures that are remembered, the latest first, at most `limit` (role admin).
    pub async fn failures(&self, limit: u32) -> Result<Vec<FailureRecord>, Unavailable> {
        let rows = self
            .inner
            .logins
            .call(
                pb::FailuresRequest { limit },
                Trace::default(),
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| collect(sasl(channel).failures(request).await?).await,
            )
            .await?;
        Ok(rows.into_iter().map(FailureRecord::from).collect())
    }

    /// Forgets the failures of an address, a network or an account; how many entries those were (role admin).
    pub async fn unban(&self, target: &str) -> Result<u32, Unavailable> {
        let request = pb::UnbanRequest {
            target: target.to_owned(),
        };
        let answer = self
            .inner
            .logins
            .call(
                request,
                Trace::default(),
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| sasl(channel).unban(request).await,
            )
            .await?;
        Ok(answer.forgotten)
    }

    /// Who logs in with which mechanism, by account (role admin).
    pub async fn mechanism_usage(&self) -> Result<Vec<MechanismUsage>, Unavailable> {
        let rows = self
            .inner
            .logins
            .call(
                pb::MechanismUsageRequest {},
                Trace::default(),
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| collect(sasl(channel).mechanism_usage(request).await?).await,
            )
            .await?;
        Ok(rows.into_iter().map(MechanismUsage::from).collect())
    }
}

/// Pieces of a list of sessions of which each fits into one request, by their number and by their length.
pub(super) fn batches(mut sessions: &[(Address, u64)]) -> impl Iterator<Item = &[(Address, u64)]> {
    std::iter::from_fn(move || {
        let mut length = 0;
        let fitting = sessions.iter().take(MAX_SESSIONS).take_while(|(address, _)| {
            length += address.to_string().len() + FRAMING;
            length <= MAX_BATCH
        });
        let (batch, rest) = sessions.split_at(fitting.count());
        sessions = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

/// Bytes of one batch at most; a request may have 64 KiB.
const MAX_BATCH: usize = 48 << 10;
/// Bytes of one session beside its address, at most: tags, lengths and the revision as a varint.
const FRAMING: usize = 20;

/// The whole of a list, or an error.
async fn collect<T>(response: Response<Streaming<T>>) -> Result<Response<Vec<T>>, Status> {
    let mut stream = response.into_inner();
    let mut rows = Vec::new();
    while let Some(row) = stream.message().await? {
        rows.push(row);
    }
    Ok(Response::new(rows))
}

pub(super) fn sasl(channel: Channel) -> SaslClient<Channel> {
    SaslClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}
