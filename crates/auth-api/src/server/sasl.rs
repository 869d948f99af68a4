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
use crate::convert::Malformed;
use crate::pb::sasl as pb;
use crate::sasl::{LoginContext, LoginStep};
use crate::{CALL_DEADLINE, Role};

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
