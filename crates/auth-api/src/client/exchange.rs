//! One login in progress. A task owns the stream, so that dropping the handle half-closes it instead of
//! resetting it.

use std::time::Duration;

use mail_types::Secret;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::link::{Link, connection_failed, traced, unavailable};
use super::sasl::sasl;
use crate::pb::sasl as pb;
use crate::sasl::{LoginContext, LoginStep};
use crate::{CALL_TIMEOUT, Trace, Unavailable};

/// How long a stream that is over is drained before it is dropped after all.
const DRAIN: Duration = Duration::from_secs(10);
/// The pause before the one further try when the connection could not be used.
const PAUSE: Duration = Duration::from_millis(100);

type Reply = oneshot::Sender<LoginStep>;

/// A login after its first step. Dropping it abandons the login.
#[derive(Debug)]
pub struct Exchange {
    steps: mpsc::Sender<(Secret, Reply)>,
}

impl Exchange {
    /// Opens the stream and takes the first step.
    pub(super) async fn start(
        link: &Link,
        context: &LoginContext,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> (LoginStep, Self) {
        let (steps, commands) = mpsc::channel(1);
        let (reply, answer) = oneshot::channel();
        let start = Start {
            context: context.clone(),
            mechanism: mechanism.to_owned(),
            initial,
        };
        tokio::spawn(run(link.clone(), start, reply, commands));
        (wait(answer).await, Self { steps })
    }

    /// Sends the peer's answer to the last challenge (base64 removed) and waits for the next step.
    pub async fn next(&mut self, response: Secret) -> LoginStep {
        let (reply, answer) = oneshot::channel();
        if self.steps.send((response, reply)).await.is_err() {
            return failure("the exchange is over");
        }
        wait(answer).await
    }
}

struct Start {
    context: LoginContext,
    mechanism: String,
    initial: Option<Secret>,
}

impl Start {
    fn request(&self) -> pb::AuthenticateRequest {
        pb::AuthenticateRequest {
            step: Some(pb::authenticate_request::Step::Start(pb::Start {
                context: Some((&self.context).into()),
                mechanism: self.mechanism.clone(),
                initial_response: self.initial.as_ref().map(|secret| secret.expose().to_vec()),
            })),
        }
    }
}

async fn wait(answer: oneshot::Receiver<LoginStep>) -> LoginStep {
    match timeout(CALL_TIMEOUT, answer).await {
        Ok(Ok(step)) => step,
        Ok(Err(_)) => failure("the exchange is over"),
        Err(_) => failure("no answer in time"),
    }
}

fn failure(reason: impl Into<String>) -> LoginStep {
    LoginStep::TemporaryFailure {
        reason: reason.into(),
    }
}

/// The stream's task: carries steps until a verdict, or until the handle is gone.
async fn run(link: Link, start: Start, reply: Reply, mut commands: mpsc::Receiver<(Secret, Reply)>) {
    let (requests, mut responses) = match timeout(CALL_TIMEOUT * 2, open(&link, &start)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let _ = reply.send(failure(error.reason));
            return;
        }
        Err(_) => {
            link.discard(link.channel().0);
            let _ = reply.send(failure("no answer"));
            return;
        }
    };
    // The initial response is no longer needed; it is wiped here, not at the end of the exchange.
    drop(start);
    let mut reply = reply;
    loop {
        let step = tokio::select! {
            step = receive(&mut responses) => step,
            // The session ended meanwhile: authd need not go on for nobody.
            () = reply.closed() => break,
        };
        let over = !matches!(step, LoginStep::Challenge(_));
        let abandoned = reply.send(step).is_err();
        if over || abandoned {
            break;
        }
        let Some((response, next)) = commands.recv().await else {
            break;
        };
        let request = pb::AuthenticateRequest {
            step: Some(pb::authenticate_request::Step::Response(
                response.expose().to_vec(),
            )),
        };
        if requests.send(request).await.is_err() {
            let _ = next.send(failure("authd closed the exchange"));
            break;
        }
        reply = next;
    }
    drop(commands);
    // Half-close, then let authd end its side: no reset.
    drop(requests);
    let _ = timeout(DRAIN, async {
        while let Ok(Some(_)) = responses.message().await {}
    })
    .await;
}

type Stream = (
    mpsc::Sender<pb::AuthenticateRequest>,
    Streaming<pb::AuthenticateResponse>,
);

async fn open(link: &Link, start: &Start) -> Result<Stream, Unavailable> {
    match try_open(link, start).await {
        Err(status) if connection_failed(&status) => {
            sleep(PAUSE).await;
            try_open(link, start).await.map_err(|status| unavailable(&status))
        }
        other => other.map_err(|status| unavailable(&status)),
    }
}

async fn try_open(link: &Link, start: &Start) -> Result<Stream, Status> {
    let (requests, outgoing) = mpsc::channel(1);
    let trace = Trace {
        session: Some(start.context.session),
        message: None,
    };
    // The channel has room for one, so this does not wait; its receiver is held right here.
    let _ = requests.send(start.request()).await;
    let request = traced(ReceiverStream::new(outgoing), trace);
    let response = sasl(link.channel().1).authenticate(request).await?;
    Ok((requests, response.into_inner()))
}

/// The next step; a stream that ends or breaks is a temporary failure.
async fn receive(responses: &mut Streaming<pb::AuthenticateResponse>) -> LoginStep {
    match responses.message().await {
        Ok(Some(message)) => message
            .try_into()
            .unwrap_or_else(|error: crate::convert::Malformed| failure(error.to_string())),
        Ok(None) => failure("the exchange ended without a verdict"),
        Err(status) => failure(unavailable(&status).reason),
    }
}
