//! The server: qmgr implements [`Hints`] and [`Queue`] and serves each on its own socket.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use mail_types::MailId;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::convert::mail_id;
use crate::pb::hint_server::{Hint, HintServer};
use crate::pb::queue_server::{Queue as QueueRpc, QueueServer};
use crate::{CALL_TIMEOUT, Flush, QueueError, QueuedMessage, Selection, ShownMessage, pb};

/// Longest request; a delete of 30,000 ids fits.
const MAX_REQUEST: usize = 1 << 20;
/// Longest header list of a request.
const MAX_HEADERS: u32 = 8 << 10;

/// What smtpd tells.
pub trait Hints: Send + Sync + 'static {
    /// A message was published. Must return at once.
    fn arrived(&self, id: MailId);
}

/// What an operator asks. Every method returns the messages that it changed.
pub trait Queue: Send + Sync + 'static {
    /// Sends every message, oldest first, until done or until the receiver is gone.
    fn list(&self, out: mpsc::Sender<QueuedMessage>) -> impl Future<Output = ()> + Send;
    /// One message with its header.
    fn show(&self, id: MailId) -> impl Future<Output = Result<ShownMessage, QueueError>> + Send;
    /// Tries now.
    fn flush(&self, flush: Flush) -> impl Future<Output = Result<Vec<MailId>, QueueError>> + Send;
    /// Puts on hold.
    fn hold(&self, which: Selection) -> impl Future<Output = Result<Vec<MailId>, QueueError>> + Send;
    /// Ends a hold.
    fn release(&self, which: Selection) -> impl Future<Output = Result<Vec<MailId>, QueueError>> + Send;
    /// Forgets routes and retry times.
    fn requeue(&self, which: Selection) -> impl Future<Output = Result<Vec<MailId>, QueueError>> + Send;
    /// Removes without a report.
    fn delete(&self, which: Selection) -> impl Future<Output = Result<Vec<MailId>, QueueError>> + Send;
}

/// Serves hints on `listener` until `shutdown` is over.
pub async fn serve_hints<H: Hints>(
    listener: UnixListener,
    hints: Arc<H>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let service = HintServer::new(HintAdapter(hints)).max_decoding_message_size(MAX_REQUEST);
    builder()
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), shutdown)
        .await
        .map_err(io::Error::other)
}

/// Serves administration on `listener` until `shutdown` is over.
pub async fn serve_queue<Q: Queue>(
    listener: UnixListener,
    queue: Arc<Q>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let service = QueueServer::new(QueueAdapter(queue)).max_decoding_message_size(MAX_REQUEST);
    builder()
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), shutdown)
        .await
        .map_err(io::Error::other)
}

fn builder() -> Server {
    Server::builder()
        .timeout(CALL_TIMEOUT)
        .http2_max_header_list_size(MAX_HEADERS)
}

struct HintAdapter<H>(Arc<H>);

#[tonic::async_trait]
impl<H: Hints> Hint for HintAdapter<H> {
    async fn arrived(
        &self,
        request: Request<pb::ArrivedRequest>,
    ) -> Result<Response<pb::ArrivedResponse>, Status> {
        self.0.arrived(mail_id(&request.into_inner().id)?);
        Ok(Response::new(pb::ArrivedResponse {}))
    }
}

struct QueueAdapter<Q>(Arc<Q>);

type Changed = Result<Response<pb::ChangeResponse>, Status>;

#[tonic::async_trait]
impl<Q: Queue> QueueRpc for QueueAdapter<Q> {
    type ListStream = Pin<Box<dyn Stream<Item = Result<pb::Message, Status>> + Send>>;

    async fn list(&self, _: Request<pb::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let (out, messages) = mpsc::channel(64);
        let queue = Arc::clone(&self.0);
        tokio::spawn(async move { queue.list(out).await });
        Ok(Response::new(Box::pin(
            ReceiverStream::new(messages).map(|message| Ok(message.into())),
        )))
    }

    async fn show(&self, request: Request<pb::ShowRequest>) -> Result<Response<pb::ShowResponse>, Status> {
        let id = mail_id(&request.into_inner().id)?;
        Ok(Response::new(self.0.show(id).await.map_err(status)?.into()))
    }

    async fn flush(&self, request: Request<pb::FlushRequest>) -> Changed {
        changed(self.0.flush(request.into_inner().try_into()?).await)
    }

    async fn hold(&self, request: Request<pb::SelectRequest>) -> Changed {
        changed(self.0.hold(request.into_inner().try_into()?).await)
    }

    async fn release(&self, request: Request<pb::SelectRequest>) -> Changed {
        changed(self.0.release(request.into_inner().try_into()?).await)
    }

    async fn requeue(&self, request: Request<pb::SelectRequest>) -> Changed {
        changed(self.0.requeue(request.into_inner().try_into()?).await)
    }

    async fn delete(&self, request: Request<pb::SelectRequest>) -> Changed {
        changed(self.0.delete(request.into_inner().try_into()?).await)
    }
}

fn changed(result: Result<Vec<MailId>, QueueError>) -> Changed {
    let ids = result.map_err(status)?.iter().map(ToString::to_string).collect();
    Ok(Response::new(pb::ChangeResponse { ids }))
}

fn status(error: QueueError) -> Status {
    match error {
        QueueError::NotFound(id) => Status::not_found(id.to_string()),
        QueueError::Unavailable(reason) => Status::unavailable(reason),
    }
}
