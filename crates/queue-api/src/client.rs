//! The clients: smtpd's hint, which never waits, and mailctl's view of the queue.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mail_types::MailId;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use crate::convert::mail_id;
use crate::pb::hint_client::HintClient as Hint;
use crate::pb::queue_client::QueueClient as Queue;
use crate::{CALL_TIMEOUT, Flush, QueueError, QueuedMessage, Selection, ShownMessage, pb};

/// Hints that may wait for qmgr; more are dropped.
const HINTS: usize = 1024;
/// How long one hint may take before its connection is given up.
const HINT_TIMEOUT: Duration = Duration::from_secs(10);
/// A listing of everything may be large, but each message is not.
const MAX_ANSWER: usize = 4 << 20;

/// Tells qmgr that messages lie in the spool. Lossy: qmgr looks for itself too. Clones share one
/// connection and one task.
#[derive(Debug, Clone)]
pub struct HintClient {
    hints: mpsc::Sender<MailId>,
}

impl HintClient {
    /// Starts the task that sends hints to `socket`. It ends when the last clone is dropped.
    pub fn start(socket: impl AsRef<Path>) -> Self {
        let (hints, waiting) = mpsc::channel(HINTS);
        tokio::spawn(send_hints(socket.as_ref().to_owned(), waiting));
        Self { hints }
    }

    /// Says that message `id` was published. Returns at once; where the line is full or qmgr is away, the
    /// hint is lost.
    pub fn arrived(&self, id: MailId) {
        if self.hints.try_send(id).is_err() {
            tracing::debug!(%id, "hint to qmgr dropped");
        }
    }
}

/// One call at a time; none is dropped before its end or its deadline, and then with its connection.
async fn send_hints(socket: PathBuf, mut waiting: mpsc::Receiver<MailId>) {
    let mut client = Hint::new(open(socket.clone()));
    while let Some(id) = waiting.recv().await {
        let call = client.arrived(pb::ArrivedRequest { id: id.to_string() });
        match timeout(HINT_TIMEOUT, call).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => tracing::debug!(%id, code = ?status.code(), "hint to qmgr failed"),
            Err(_) => client = Hint::new(open(socket.clone())),
        }
    }
}

/// An operator's view of the queue.
#[derive(Debug, Clone)]
pub struct QueueClient {
    channel: Channel,
}

/// The messages of a listing, as they come.
#[derive(Debug)]
pub struct Messages {
    stream: Streaming<pb::Message>,
}

impl Messages {
    /// The next message; none at the end.
    pub async fn next(&mut self) -> Result<Option<QueuedMessage>, QueueError> {
        match within(self.stream.message()).await? {
            Some(message) => Ok(Some(message.try_into()?)),
            None => Ok(None),
        }
    }
}

impl QueueClient {
    /// A client of the admin socket; it connects at the first call.
    pub fn connect(socket: impl AsRef<Path>) -> Self {
        Self {
            channel: open(socket.as_ref().to_owned()),
        }
    }

    /// All messages, oldest first.
    pub async fn list(&self) -> Result<Messages, QueueError> {
        let response = within(self.client().list(pb::ListRequest {})).await?;
        Ok(Messages {
            stream: response.into_inner(),
        })
    }

    /// One message with its header.
    pub async fn show(&self, id: MailId) -> Result<ShownMessage, QueueError> {
        let request = pb::ShowRequest { id: id.to_string() };
        let mut client = self.client();
        match timeout(CALL_TIMEOUT, client.show(request)).await {
            Ok(Err(status)) if status.code() == Code::NotFound => Err(QueueError::NotFound(id)),
            Ok(answer) => Ok(answer.map_err(|s| unavailable(&s))?.into_inner().try_into()?),
            Err(_) => Err(no_answer()),
        }
    }

    /// Tries now what waits for its next attempt. Returns the messages that are tried.
    pub async fn flush(&self, flush: &Flush) -> Result<Vec<MailId>, QueueError> {
        changed(within(self.client().flush(pb::FlushRequest::from(flush))).await?)
    }

    /// Puts on hold. Returns what was not on hold before.
    pub async fn hold(&self, which: &Selection) -> Result<Vec<MailId>, QueueError> {
        changed(within(self.client().hold(pb::SelectRequest::from(which))).await?)
    }

    /// Ends a hold. Returns what was on hold.
    pub async fn release(&self, which: &Selection) -> Result<Vec<MailId>, QueueError> {
        changed(within(self.client().release(pb::SelectRequest::from(which))).await?)
    }

    /// Forgets routes and retry times.
    pub async fn requeue(&self, which: &Selection) -> Result<Vec<MailId>, QueueError> {
        changed(within(self.client().requeue(pb::SelectRequest::from(which))).await?)
    }

    /// Removes messages; nobody gets a report.
    pub async fn delete(&self, which: &Selection) -> Result<Vec<MailId>, QueueError> {
        changed(within(self.client().delete(pb::SelectRequest::from(which))).await?)
    }

    fn client(&self) -> Queue<Channel> {
        Queue::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }
}

fn changed(response: tonic::Response<pb::ChangeResponse>) -> Result<Vec<MailId>, QueueError> {
    let ids = response.into_inner().ids;
    Ok(ids.iter().map(|id| mail_id(id)).collect::<Result<_, _>>()?)
}

async fn within<T>(call: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, QueueError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result.map_err(|status| unavailable(&status)),
        Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> QueueError {
    QueueError::Unavailable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))
}

fn unavailable(status: &tonic::Status) -> QueueError {
    let mut reason = format!("{:?}: {}", status.code(), status.message());
    let mut source = status.source();
    while let Some(cause) = source {
        reason.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    QueueError::Unavailable(reason)
}

/// A channel that connects at its first call, and again whenever it finds itself disconnected.
fn open(socket: PathBuf) -> Channel {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    Endpoint::from_static("http://qmgr.invalid")
        .connect_timeout(Duration::from_secs(2))
        .connect_with_connector_lazy(connector)
}
