//! The two gRPC services, as inputs of the manager.

use mail_types::MailId;
use queue_api::server::{Hints, Queue};
use queue_api::{Flush, QueueError, QueuedMessage, Selection, ShownMessage};
use tokio::sync::{mpsc, oneshot};

use crate::manager::{Command, Input, Wish};

/// Hands what comes over the sockets to the manager.
#[derive(Debug, Clone)]
pub struct Service {
    manager: mpsc::UnboundedSender<Input>,
}

impl Service {
    /// A service of this manager.
    pub fn new(manager: mpsc::UnboundedSender<Input>) -> Self {
        Self { manager }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, QueueError> {
        let (reply, answer) = oneshot::channel();
        let ending = || QueueError::Unavailable("qmgr is ending".to_owned());
        self.manager
            .send(Input::Command(command(reply)))
            .map_err(|_| ending())?;
        answer.await.map_err(|_| ending())
    }

    async fn change(&self, wish: Wish, which: Selection) -> Result<Vec<MailId>, QueueError> {
        self.ask(|reply| Command::Change(wish, which, reply)).await?
    }
}

impl Hints for Service {
    fn arrived(&self, id: MailId) {
        // At the end of the process hints are lost; the next start finds the message.
        let _ = self.manager.send(Input::Arrived(id));
    }
}

impl Queue for Service {
    async fn list(&self, out: mpsc::Sender<QueuedMessage>) {
        let Ok(messages) = self.ask(Command::List).await else {
            return;
        };
        for message in messages {
            if out.send(message).await.is_err() {
                return;
            }
        }
    }

    async fn show(&self, id: MailId) -> Result<ShownMessage, QueueError> {
        self.ask(|reply| Command::Show(id, reply)).await?
    }

    async fn flush(&self, flush: Flush) -> Result<Vec<MailId>, QueueError> {
        self.ask(|reply| Command::Flush(flush, reply)).await?
    }

    async fn hold(&self, which: Selection) -> Result<Vec<MailId>, QueueError> {
        self.change(Wish::Hold, which).await
    }

    async fn release(&self, which: Selection) -> Result<Vec<MailId>, QueueError> {
        self.change(Wish::Release, which).await
    }

    async fn requeue(&self, which: Selection) -> Result<Vec<MailId>, QueueError> {
        self.change(Wish::Requeue, which).await
    }

    async fn delete(&self, which: Selection) -> Result<Vec<MailId>, QueueError> {
        self.change(Wish::Delete, which).await
    }
}
