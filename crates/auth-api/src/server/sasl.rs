//! `postrider.sasl.v1.Sasl`: translation, and the task that carries one exchange.

use std::sync::Arc;
use std::time::Duration;

use mail_types::Secret;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::allow::{Method, check};
use super::{Exchange, Logins, within};
use crate::convert::{Malformed, address};
use crate::pb::sasl as pb;
use crate::sasl::{LoginContext, LoginStep};
use crate::{CALL_DEADLINE, MAX_SESSIONS, Role};

/// Most failures listed where the client does not say.
const DEFAULT_FAILURES: usize = 1_000;

pub struct Service<L> {
    pub role: Role,
    pub logins: Arc<L>,
    pub idle: Duration,
}

#[tonic::async_trait]
impl<L: Logins> pb::sasl_server::Sasl for Service<L> {
    async fn mechanisms(
        &self,
        request: Request<pb::MechanismsRequest>,
    ) -> Result<Response<pb::MechanismsResponse>, Status> {
        check(self.role, Method::Sasl)?;
        let context = context(request.into_inner().context)?;
        let mechanisms = within(CALL_DEADLINE, self.logins.mechanisms(context)).await?;
        Ok(Response::new(pb::MechanismsResponse { mechanisms }))
    }

    type AuthenticateStream = ReceiverStream<Result<pb::AuthenticateResponse, Status>>;

    async fn authenticate(
        &self,
        request: Request<Streaming<pb::AuthenticateRequest>>,
    ) -> Result<Response<Self::AuthenticateStream>, Status> {
        check(self.role, Method::Sasl)?;
        let (replies, stream) = mpsc::channel(1);
        let (logins, idle) = (self.logins.clone(), self.idle);
        // The headers of the answer go out at once; the exchange has a task of its own.
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            if let Err(status) = exchange(&*logins, &mut requests, &replies, idle).await {
                let _ = replies.send(Err(status)).await;
            }
            // The client half-closes after the verdict. Waiting for that keeps h2 from resetting the stream.
            let _ = timeout(CALL_DEADLINE, async {
                while let Ok(Some(_)) = requests.message().await {}
            })
            .await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn still_valid(
        &self,
        request: Request<pb::StillValidRequest>,
    ) -> Result<Response<pb::StillValidResponse>, Status> {
        check(self.role, Method::Sasl)?;
        let sessions = request.into_inner().sessions;
        if sessions.len() > MAX_SESSIONS {
            return Err(Malformed("list of sessions: it is too long").into());
        }
        let sessions: Vec<_> = sessions
            .iter()
            .map(|session| Ok((address(&session.address)?, session.revision)))
            .collect::<Result<_, Malformed>>()?;
        let validities = within(CALL_DEADLINE, self.logins.still_valid(self.role, sessions)).await?;
        Ok(Response::new(pb::StillValidResponse {
            validities: validities.into_iter().map(Into::into).collect(),
        }))
    }

    async fn explain_login(
        &self,
        request: Request<pb::ExplainLoginRequest>,
    ) -> Result<Response<pb::ExplainLoginResponse>, Status> {
        check(self.role, Method::LoginReports)?;
        let query = request.into_inner().try_into()?;
        let explanation = within(CALL_DEADLINE, self.logins.explain(query)).await?;
        Ok(Response::new(explanation.into()))
    }

    type FailuresStream = Rows<pb::Failure>;

    async fn failures(
        &self,
        request: Request<pb::FailuresRequest>,
    ) -> Result<Response<Self::FailuresStream>, Status> {
        check(self.role, Method::LoginReports)?;
        let limit = match request.into_inner().limit {
            0 => DEFAULT_FAILURES,
            limit => limit as usize,
        };
        list(self.logins.failures(limit)).await
    }

    async fn unban(&self, request: Request<pb::UnbanRequest>) -> Result<Response<pb::UnbanResponse>, Status> {
        check(self.role, Method::LoginReports)?;
        let work = self.logins.unban(request.into_inner().target);
        let forgotten = within(CALL_DEADLINE, work).await?;
        Ok(Response::new(pb::UnbanResponse { forgotten }))
    }

    type MechanismUsageStream = Rows<pb::Usage>;

    async fn mechanism_usage(
        &self,
        _request: Request<pb::MechanismUsageRequest>,
    ) -> Result<Response<Self::MechanismUsageStream>, Status> {
        check(self.role, Method::LoginReports)?;
        list(self.logins.mechanism_usage()).await
    }
}

type Rows<T> = futures_util::stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

/// Runs a list within its deadline.
async fn list<R, T: From<R>>(
    work: impl Future<Output = Result<Vec<R>, crate::Unavailable>>,
) -> Result<Response<Rows<T>>, Status> {
    let rows: Vec<Result<T, Status>> = within(CALL_DEADLINE, work)
        .await?
        .into_iter()
        .map(|row| Ok(row.into()))
        .collect();
    Ok(Response::new(futures_util::stream::iter(rows)))
}

fn context(context: Option<pb::Context>) -> Result<LoginContext, Malformed> {
    context.ok_or(Malformed("login context"))?.try_into()
}

/// Carries steps until a verdict, an idle end, or until the client half-closed.
async fn exchange<L: Logins>(
    logins: &L,
    requests: &mut Streaming<pb::AuthenticateRequest>,
    replies: &mpsc::Sender<Result<pb::AuthenticateResponse, Status>>,
    idle: Duration,
) -> Result<(), Status> {
    use pb::authenticate_request::Step;
    let Some(Step::Start(start)) = next(requests, idle).await? else {
        return Err(Malformed("exchange: it does not begin with a start").into());
    };
    let mut exchange = logins.begin(context(start.context)?, &start.mechanism);
    let mut response = start.initial_response.map(Secret::new);
    loop {
        let step = tokio::select! {
            step = timeout(CALL_DEADLINE, exchange.step(response.take())) => step.unwrap_or_else(|_| {
                LoginStep::TemporaryFailure {
                    reason: "authd was too slow".into(),
                }
            }),
            // Half-closed while we work: abandoned. What waits for a processor gives its place up.
            early = requests.message() => return match early? {
                None => Ok(()),
                Some(_) => Err(Malformed("exchange: a response without a challenge").into()),
            },
        };
        let over = !matches!(step, LoginStep::Challenge(_));
        if replies.send(Ok(step.into())).await.is_err() || over {
            return Ok(());
        }
        response = match next(requests, idle).await? {
            Some(Step::Response(bytes)) => Some(Secret::new(bytes)),
            Some(Step::Start(_)) => return Err(Malformed("exchange: it begins twice").into()),
            // Abandoned.
            None => return Ok(()),
        };
    }
}

/// The next request; `None` where the client half-closed.
async fn next(
    requests: &mut Streaming<pb::AuthenticateRequest>,
    idle: Duration,
) -> Result<Option<pb::authenticate_request::Step>, Status> {
    match timeout(idle, requests.message()).await {
        Ok(message) => Ok(message?.and_then(|m| m.step)),
        Err(_) => Err(Status::deadline_exceeded("the exchange was idle")),
    }
}
