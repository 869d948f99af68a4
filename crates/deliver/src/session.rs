//! One LMTP connection: the only async loop.

use std::sync::Arc;
use std::time::Instant;

use auth_api::Trace;
use daemon::BlockingError;
use events::About;
use events::deliver::Kind;
use mail_types::{DeliveryKey, MailId, Reply, ReversePath, SessionId};
use maildir_store::StoreError;
use smtp_proto::command::{Mail, Rcpt};
use smtp_proto::reply;
use smtp_proto::server::{EndOfData, Event, Session};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::Server;
use crate::body::{Body, Content, Spill};
use crate::config::{Settings, XID};
use crate::directory::Directory;
use crate::error;
use crate::place::{Job, Outcome, open_mailbox};
use crate::recipient::{self, Recipient};

/// A transaction from MAIL to the last reply.
#[derive(Debug)]
struct Transaction {
    id: MailId,
    sender: ReversePath,
    recipients: Vec<Recipient>,
    body: Body,
    /// A message too big for memory: its file, or why there is none.
    spill: Option<Result<Spill, StoreError>>,
}

impl Transaction {
    /// What events of a failure are about, for each recipient.
    fn failures(&self, session: SessionId) -> Vec<(About, String)> {
        let about = About::session(session).mail(self.id);
        let one = |r: &Recipient| (about.recipient(r.index), r.mailbox.address.to_string());
        self.recipients.iter().map(one).collect()
    }
}

/// What the loop does next, once the borrowed event is gone.
enum Task {
    Mail(Mail),
    Rcpt(Rcpt),
    End(EndOfData),
    Spill,
}

struct Peer<D, S> {
    server: Arc<Server<D>>,
    settings: Arc<Settings>,
    session_id: SessionId,
    session: Session,
    stream: S,
    transaction: Option<Transaction>,
}

/// Serves a connection to its end.
pub(crate) async fn run<D: Directory, S: AsyncRead + AsyncWrite + Unpin + Send>(
    server: Arc<Server<D>>,
    stream: S,
) {
    let settings = server.ctx.settings();
    let now = server.ctx.clock.instant();
    let peer = Peer {
        session_id: server.ctx.new_session_id(),
        session: Session::new(Arc::clone(&settings.protocol), false, now),
        settings,
        server,
        stream,
        transaction: None,
    };
    // A connection that breaks is the client's business; what was promised is done.
    if let Err(error) = peer.talk().await {
        tracing::debug!(%error, "connection broken");
    }
}

impl<D: Directory, S: AsyncRead + AsyncWrite + Unpin + Send> Peer<D, S> {
    async fn talk(mut self) -> std::io::Result<()> {
        let shutdown = self.server.ctx.shutdown.clone();
        self.session.greet();
        loop {
            while let Some(task) = self.step() {
                self.perform(task).await?;
            }
            if let Some(pause) = self.session.take_pause() {
                tokio::time::sleep(pause).await;
            }
            self.flush().await?;
            if self.session.is_closed() {
                return self.stream.shutdown().await;
            }
            let deadline = tokio::time::Instant::from_std(self.session.deadline());
            let idle = self.transaction.is_none();
            tokio::select! {
                biased;
                read = self.stream.read_buf(self.session.input()) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
                () = shutdown.cancelled(), if idle => {
                    let host = self.settings.protocol.hostname.clone();
                    self.session.close(&reply::shutting_down(&host));
                }
                () = tokio::time::sleep_until(deadline) => self.session.on_deadline(),
            }
        }
    }

    /// Takes events until one needs time. None: it is the peer's turn.
    fn step(&mut self) -> Option<Task> {
        let now: Instant = self.server.ctx.clock.instant();
        loop {
            match self.session.next_event(now)? {
                Event::Hello(_) => {
                    self.transaction = None;
                    self.session.accept_hello();
                }
                Event::Mail(mail) => return Some(Task::Mail(mail)),
                Event::Rcpt(rcpt) => return Some(Task::Rcpt(rcpt)),
                Event::Data => self.session.accept_data(),
                Event::Body(bytes) => {
                    if let Some(transaction) = &mut self.transaction {
                        transaction.body.push(bytes);
                        if transaction.body.is_big() {
                            return Some(Task::Spill);
                        }
                    }
                }
                Event::EndOfData(end) => return Some(Task::End(end)),
                Event::Reset => self.transaction = None,
                Event::Refused { command, reply } => tracing::debug!(command, %reply, "command refused"),
                Event::Closing(reason) => tracing::trace!(?reason, "session ends"),
                // Neither is offered, so the session refuses them itself.
                Event::Auth { .. } | Event::AuthResponse(_) | Event::AuthAborted | Event::StartTls => {
                    self.session.answer(&reply::not_implemented());
                }
            }
        }
    }

    async fn perform(&mut self, task: Task) -> std::io::Result<()> {
        match task {
            Task::Mail(mail) => {
                let reply = self.mail(mail).await;
                self.session.answer(&reply);
            }
            Task::Rcpt(rcpt) => {
                let reply = self.rcpt(&rcpt).await;
                self.session.answer(&reply);
            }
            Task::Spill => self.spill().await,
            Task::End(end) => self.end(end).await?,
        }
        Ok(())
    }

    async fn mail(&mut self, mail: Mail) -> Reply {
        let id = match mail.params.private(XID).map(str::parse) {
            None => self.server.ctx.new_mail_id(),
            Some(Ok(id)) => id,
            Some(Err(_)) => return error::bad_parameter(XID),
        };
        if !self.has_room().await {
            return error::no_space();
        }
        self.transaction = Some(Transaction {
            id,
            sender: mail.path,
            recipients: Vec::new(),
            body: Body::new(self.server.memory.clone()),
            spill: None,
        });
        reply::mail_ok()
    }

    async fn has_room(&self) -> bool {
        let now = self.server.ctx.clock.instant();
        let (volume, settings) = (Arc::clone(&self.server.volume), Arc::clone(&self.settings));
        if volume.had_room(&settings.mail_root, now) {
            return true;
        }
        let look = move || volume.has_room(&settings.mail_root, settings.message_size_limit, now);
        daemon::blocking(look).await.unwrap_or(false)
    }

    async fn rcpt(&mut self, rcpt: &Rcpt) -> Reply {
        let Some(transaction) = &mut self.transaction else {
            return reply::out_of_order("need MAIL command");
        };
        let trace = Trace::message(self.session_id, transaction.id);
        let about = About::session(self.session_id).mail(transaction.id);
        let directory = &*self.server.directory;
        let decided =
            recipient::accept(directory, &self.settings, rcpt, &transaction.recipients, trace).await;
        match decided {
            Ok(recipient) => {
                self.server
                    .ctx
                    .events
                    .emit(about.recipient(recipient.index), recipient.accepted());
                transaction.recipients.push(recipient);
                recipient::ok()
            }
            Err(refused) => {
                tracing::info!(id = %transaction.id, to = refused.address, reply = %refused.reply, reason = refused.reason, "recipient refused");
                self.server.ctx.events.emit(about, refused.event());
                refused.reply
            }
        }
    }

    /// Moves what is in memory of a big message to a file beside the first recipient's mail.
    async fn spill(&mut self) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        let bytes = transaction.body.take();
        let file = transaction.spill.take();
        let (store, root) = (self.server.store.clone(), self.settings.mail_root.clone());
        let (id, recipients) = (transaction.id, transaction.recipients.clone());
        let written = daemon::blocking(move || match file {
            None => begin_spill(&store, &root, id, &recipients, &bytes),
            Some(Ok(mut spill)) => spill.write(&bytes).map(|()| spill),
            // It failed before; the rest of the message is read and dropped.
            Some(Err(error)) => Err(error),
        });
        transaction.spill = Some(written.await.unwrap_or_else(|error| Err(fault(&error))));
    }

    /// The message is complete: every recipient's copy is made, side by side, and each gets its reply as
    /// soon as it and those before it are done.
    async fn end(&mut self, end: EndOfData) -> std::io::Result<()> {
        let Some(transaction) = self.transaction.take() else {
            self.refuse_all(&end, &[], &reply::out_of_order("need MAIL command"), MISPLACED);
            return Ok(());
        };
        let id = transaction.id;
        if let Some(fault) = end.fault {
            let reply = error::bad_message(fault, id);
            self.refuse_all(
                &end,
                &transaction.failures(self.session_id),
                &reply,
                "the message breaks the rules",
            );
            return Ok(());
        }
        let failures = transaction.failures(self.session_id);
        let (recipients, content) = match self.content(transaction).await {
            Ok((sender, recipients, content)) => (self.start(id, &sender, recipients), content),
            Err(error) => {
                tracing::warn!(%id, "message not taken: {}", daemon::describe(&error));
                let (reply, reason) = (error::reply_to(&error, id), daemon::describe(&error));
                self.refuse_all(&end, &failures, &reply, &reason);
                return Ok(());
            }
        };
        let content = Arc::new(content);
        if recipients.len() == 1 {
            // The common case needs no task of its own.
            for delivery in recipients {
                let reply = delivery.run(Arc::clone(&content)).await;
                self.session.answer(&reply);
            }
            return Ok(());
        }
        let start = |delivery: Delivery<D>| tokio::spawn(delivery.run(Arc::clone(&content)));
        let tasks: Vec<_> = recipients.into_iter().map(start).collect();
        for task in tasks {
            // While one copy is waited for, the client may already hear of those before it.
            if !task.is_finished() {
                self.flush().await?;
            }
            let reply = task.await;
            let reply = reply.unwrap_or_else(|_| error::with_id(451, (4, 3, 0), "Internal fault", id));
            self.session.answer(&reply);
        }
        Ok(())
    }

    /// One reply for all recipients of a message that went nowhere.
    fn refuse_all(&mut self, end: &EndOfData, failures: &[(About, String)], reply: &Reply, reason: &str) {
        for (about, mailbox) in failures {
            let kind = Kind::DeliveryFailed {
                mailbox: mailbox.clone(),
                reply: reply.into(),
                reason: reason.to_owned(),
            };
            self.server.ctx.events.emit(*about, kind);
        }
        for _ in 0..end.answers {
            self.session.answer(reply);
        }
    }

    async fn content(
        &self,
        transaction: Transaction,
    ) -> Result<(ReversePath, Vec<Recipient>, Content), StoreError> {
        let Transaction {
            sender,
            recipients,
            mut body,
            spill,
            ..
        } = transaction;
        let content = match spill {
            None => body.finish(),
            Some(spill) => {
                let (mut spill, rest) = (spill?, body.take());
                let finished =
                    daemon::blocking(move || spill.write(&rest).and_then(|()| spill.finish())).await;
                finished.unwrap_or_else(|error| Err(fault(&error)))?
            }
        };
        Ok((sender, recipients, content))
    }

    fn start(&self, id: MailId, sender: &ReversePath, recipients: Vec<Recipient>) -> Vec<Delivery<D>> {
        let delivery = |recipient| Delivery {
            server: Arc::clone(&self.server),
            settings: Arc::clone(&self.settings),
            session_id: self.session_id,
            id,
            sender: sender.clone(),
            recipient,
        };
        recipients.into_iter().map(delivery).collect()
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        if self.session.output().is_empty() {
            return Ok(());
        }
        // A client that does not read its replies gets no more time than one that does not write.
        let limit = self.settings.protocol.limits.timeout;
        let write = async {
            self.stream.write_all(self.session.output()).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(limit, write)
            .await
            .map_err(|_| std::io::ErrorKind::TimedOut)??;
        self.session.output_written();
        Ok(())
    }
}

/// One copy on its way.
struct Delivery<D> {
    server: Arc<Server<D>>,
    settings: Arc<Settings>,
    session_id: SessionId,
    id: MailId,
    sender: ReversePath,
    recipient: Recipient,
}

impl<D: Directory> Delivery<D> {
    /// Makes the copy. What has begun on the disk comes to its end even where this is dropped: the claim
    /// is held until the copy is durable or given up.
    async fn run(self, content: Arc<Content>) -> Reply {
        let key = DeliveryKey {
            id: self.id,
            recipient: self.recipient.index,
        };
        let claim = self.server.claims.claim(key).await;
        let id = self.id;
        let about = About::session(self.session_id)
            .mail(id)
            .recipient(self.recipient.index);
        let events = self.server.ctx.events.clone();
        let to = self.recipient.address.clone();
        let done = daemon::blocking(move || {
            let job = Job {
                store: &self.server.store,
                mail_root: &self.settings.mail_root,
                id,
                sender: &self.sender,
                recipient: &self.recipient,
                search: self.recipient.repeated || claim.was_delivered(),
            };
            let outcome = job.run(&content);
            if outcome.reply.is_positive() {
                claim.delivered();
            }
            drop(claim);
            outcome
        });
        let outcome = done.await.unwrap_or_else(|error| Outcome {
            reply: error::reply_to(&fault(&error), id),
            events: Vec::new(),
        });
        for event in outcome.events {
            events.emit(about, event);
        }
        log(id, &to.to_string(), &outcome.reply);
        outcome.reply
    }
}

fn log(id: MailId, to: &str, reply: &Reply) {
    if reply.is_positive() {
        tracing::info!(%id, to, "{reply}");
    } else {
        tracing::warn!(%id, to, "{reply}");
    }
}

/// The file of a big message, in the `tmp/` of the first recipient whose mailbox can be written.
fn begin_spill(
    store: &maildir_store::Store,
    root: &std::path::Path,
    id: MailId,
    recipients: &[Recipient],
    front: &[u8],
) -> Result<Spill, StoreError> {
    let mut last = None;
    for recipient in recipients {
        let key = DeliveryKey {
            id,
            recipient: recipient.index,
        };
        let begun = open_mailbox(store, root, recipient)
            .and_then(|mailbox| mailbox.incoming(key))
            .and_then(|incoming| Spill::begin(incoming, front));
        match begun {
            Ok(spill) => return Ok(spill),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(StoreError::NotFound))
}

/// A fault of the program, as an error of the disk: temporary for whoever asked.
fn fault(error: &BlockingError) -> StoreError {
    let source = std::io::Error::other(error.to_string());
    StoreError::Disk {
        doing: "deliver",
        source: durable::Error::io("run", "", source),
    }
}

/// Cannot happen: the session asks only within a transaction.
const MISPLACED: &str = "no transaction";
