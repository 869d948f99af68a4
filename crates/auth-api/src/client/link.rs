//! One connection to authd that is made when needed and replaced when it hangs, and the calls over it.

use std::error::Error as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mail_types::{MailId, SessionId};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::{Trace, Unavailable};

/// The pauses before each further try of a call whose connection failed: authd may just be restarting.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(300)];
/// A call whose caller has given up is taken this much further before it is dropped after all, together
/// with its connection.
const GRACE: Duration = Duration::from_secs(15);
/// Opening the socket takes at most this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What all streams of a connection may have in flight together.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Whether a call that failed with its connection is tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// A question: asking twice is harmless.
    Yes,
    /// A change.
    No,
}

/// A connection, lazily made.
#[derive(Clone)]
pub struct Link {
    state: Arc<State>,
}

struct State {
    socket: PathBuf,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    generation: u64,
    channel: Option<Channel>,
}

impl Link {
    pub fn new(socket: PathBuf) -> Self {
        Self {
            state: Arc::new(State {
                socket,
                current: Mutex::default(),
            }),
        }
    }

    pub fn socket(&self) -> &Path {
        &self.state.socket
    }

    /// The connection in use, with its number.
    pub fn channel(&self) -> (u64, Channel) {
        let mut current = self.state.current.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = &self.state.socket;
        let channel = current
            .channel
            .get_or_insert_with(|| open(socket.clone()))
            .clone();
        (current.generation, channel)
    }

    /// Gives up connection number `generation`: whoever comes next gets a new one.
    pub fn discard(&self, generation: u64) {
        let mut current = self.state.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.generation == generation {
            current.generation += 1;
            current.channel = None;
        }
    }

    /// Makes one call in a task of its own, and waits for it at most `limit`.
    pub async fn call<Req, Resp, F>(
        &self,
        request: Req,
        trace: Trace,
        limit: Duration,
        retry: Retry,
        method: F,
    ) -> Result<Resp, Unavailable>
    where
        Req: Clone + Send + Sync + 'static,
        Resp: Send + 'static,
        F: Method<Req, Resp>,
    {
        let (answer, waiting) = oneshot::channel();
        let link = self.clone();
        tokio::spawn(async move {
            let generation = link.channel().0;
            let tries = link.tries(&request, trace, retry, &method);
            let result = match timeout(limit + GRACE, tries).await {
                Ok(result) => result,
                Err(_) => {
                    link.discard(generation);
                    Err(Unavailable::new("no answer"))
                }
            };
            // Nobody waits any more: fine.
            let _ = answer.send(result);
        });
        match timeout(limit, waiting).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Unavailable::new("the call's task ended")),
            Err(_) => Err(Unavailable::new(format!("no answer within {limit:?}"))),
        }
    }

    async fn tries<Req, Resp, F>(
        &self,
        request: &Req,
        trace: Trace,
        retry: Retry,
        method: &F,
    ) -> Result<Resp, Unavailable>
    where
        Req: Clone,
        F: Method<Req, Resp>,
    {
        let mut pauses = PAUSES.iter();
        loop {
            let result = method
                .call(self.channel().1, traced(request.clone(), trace))
                .await;
            let status = match result {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            let harmless = never_sent(&status) || (retry == Retry::Yes && connection_failed(&status));
            match pauses.next() {
                Some(pause) if harmless => sleep(*pause).await,
                _ => return Err(unavailable(&status)),
            }
        }
    }
}

/// One generated client method: an async closure whose future may move between threads.
pub trait Method<Req, Resp>: Send + Sync + 'static {
    /// Calls it.
    fn call(
        &self,
        channel: Channel,
        request: Request<Req>,
    ) -> impl Future<Output = Result<Response<Resp>, Status>> + Send;
}

impl<Req, Resp, F, Fut> Method<Req, Resp> for F
where
    F: Fn(Channel, Request<Req>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Resp>, Status>> + Send,
{
    fn call(
        &self,
        channel: Channel,
        request: Request<Req>,
    ) -> impl Future<Output = Result<Response<Resp>, Status>> + Send {
        self(channel, request)
    }
}

/// A request with the ids in its metadata.
pub fn traced<Req>(message: Req, trace: Trace) -> Request<Req> {
    let mut request = Request::new(message);
    let ids = [
        ("postrider-session", trace.session.as_ref().map(SessionId::as_str)),
        ("postrider-message", trace.message.as_ref().map(MailId::as_str)),
    ];
    for (key, id) in ids {
        // Ids are ASCII by their type, so the conversion does not fail.
        if let Some(value) = id.and_then(|id| MetadataValue::try_from(id).ok()) {
            request.metadata_mut().insert(key, value);
        }
    }
    request
}

/// Whether a status was made on this side because the connection could not be opened or broke. (What authd
/// says itself has no source.)
pub fn connection_failed(status: &Status) -> bool {
    status.source().is_some()
}

/// Whether the call surely never reached authd: there was no socket, or nobody behind it.
fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(cause) = source {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused)) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Every status is a temporary failure.
pub fn unavailable(status: &Status) -> Unavailable {
    let mut reason = format!("{:?}: {}", status.code(), status.message());
    let mut source = status.source();
    while let Some(cause) = source {
        reason.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Unavailable::new(reason)
}

/// A channel that connects at its first call, and again whenever it finds itself disconnected.
fn open(socket: PathBuf) -> Channel {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    Endpoint::from_static("http://authd.invalid")
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_with_connector_lazy(connector)
}
