//! Direct delivery: the message over LMTP to deliver, on connections that are kept and used again.

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use daemon::blocking;
use smtp_proto::Protocol;
use smtp_proto::client::{Event, Outcome, Session, Timeouts};
use smtp_proto::command::{Mail, Param, Rcpt};
use spool::Writer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout_at;

use super::body::Stored;
use crate::envelope::Envelope;

/// deliver, as this daemon sees it.
#[derive(Debug, Clone)]
pub struct Deliverer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: PathBuf,
    hostname: String,
    idle: Mutex<Vec<Connection>>,
}

/// What came of an attempt.
#[derive(Debug)]
pub struct Attempt {
    /// One for each recipient, in their order.
    pub outcomes: Vec<Outcome>,
    /// What went wrong on the way, for the log.
    pub trouble: Option<String>,
}

/// Why a dialogue with deliver did not come to its end.
#[derive(Debug, thiserror::Error)]
enum DirectError {
    #[error("cannot connect to deliver")]
    Connect(#[source] io::Error),
    #[error("the connection to deliver broke")]
    Broken(#[source] io::Error),
    #[error("deliver closed the connection")]
    Closed,
    #[error("deliver took too long")]
    Late,
    #[error("deliver refused the session: {0}")]
    Refused(mail_types::Reply),
    #[error("the dialogue with deliver failed")]
    Dialogue(#[from] smtp_proto::client::Failure),
    #[error("deliver does not announce XPOSTRIDER")]
    NotOurs,
    #[error("cannot read the message back")]
    Body(#[source] io::Error),
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    session: Session,
}

impl Deliverer {
    /// Delivers to `socket`; `hostname` is said in LHLO. Nothing is opened yet.
    pub fn new(socket: PathBuf, hostname: String) -> Self {
        Self {
            shared: Arc::new(Shared {
                socket,
                hostname,
                idle: Mutex::default(),
            }),
        }
    }

    /// Tries to deliver; `top` goes before the message. Comes back within `limit`.
    pub async fn deliver(&self, envelope: &Envelope, top: &str, stored: &Stored, limit: Duration) -> Attempt {
        let mut delivery = Delivery {
            commands: commands(envelope, stored),
            top,
            stored,
            deadline: Instant::now() + limit,
        };
        let mut first = None;
        if let Some(connection) = self.take_idle() {
            let attempt = self.run(connection, &delivery).await;
            // A connection that was kept may have died since, with a restart of deliver: a fresh one may
            // try. What may have been delivered is marked, so that deliver looks before it delivers again.
            let silent = |outcome: &Outcome| matches!(outcome, Outcome::NotSent | Outcome::Unknown);
            if attempt.trouble.is_none() || !attempt.outcomes.iter().all(silent) {
                return attempt;
            }
            delivery.mark_repeated(&attempt.outcomes);
            first = Some(attempt);
        }
        let fresh = match self.connect(delivery.deadline).await {
            Ok(connection) => self.run(connection, &delivery).await,
            Err(error) => Attempt {
                outcomes: vec![Outcome::NotSent; envelope.recipients.len()],
                trouble: Some(daemon::describe(&error)),
            },
        };
        match first {
            Some(first) => merge(&first, fresh),
            None => fresh,
        }
    }

    async fn run(&self, mut connection: Connection, delivery: &Delivery<'_>) -> Attempt {
        let result = connection.transact(delivery).await;
        let outcomes = connection.session.outcomes();
        let trouble = match result {
            Ok(()) => {
                self.keep(connection);
                None
            }
            Err(error) => Some(daemon::describe(&error)),
        };
        Attempt { outcomes, trouble }
    }

    async fn connect(&self, deadline: Instant) -> Result<Connection, DirectError> {
        let stream = timeout_at(deadline.into(), UnixStream::connect(&self.shared.socket))
            .await
            .map_err(|_| DirectError::Late)?
            .map_err(DirectError::Connect)?;
        // The deadline of the whole attempt is what counts.
        let timeouts = Timeouts::uniform(Duration::from_secs(3600));
        let session = Session::new(Protocol::Lmtp, self.shared.hostname.clone(), timeouts);
        let mut connection = Connection { stream, session };
        match connection.next(deadline).await? {
            Event::Ready if connection.session.extensions().has("XPOSTRIDER") => Ok(connection),
            Event::Ready => Err(DirectError::NotOurs),
            Event::Refused { reply, .. } => Err(DirectError::Refused(reply)),
            Event::Failed(failure) => Err(failure.into()),
            _ => Err(DirectError::Closed),
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle().pop()
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        if connection.session.is_idle() && idle.len() < KEPT {
            idle.push(connection);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// The next event; writes and reads as needed.
    async fn next(&mut self, deadline: Instant) -> Result<Event, DirectError> {
        loop {
            if let Some(event) = self.session.next_event(Instant::now()) {
                return Ok(event);
            }
            self.write(deadline).await?;
            let read = timeout_at(deadline.into(), self.stream.read_buf(self.session.input()));
            match read.await {
                Err(_) => return Err(DirectError::Late),
                Ok(Err(error)) => return Err(DirectError::Broken(error)),
                Ok(Ok(0)) => return Err(DirectError::Closed),
                Ok(Ok(_)) => {}
            }
        }
    }

    async fn write(&mut self, deadline: Instant) -> Result<(), DirectError> {
        if self.session.output().is_empty() {
            return Ok(());
        }
        let written = timeout_at(deadline.into(), self.stream.write_all(self.session.output())).await;
        self.session.output_written();
        match written {
            Err(_) => Err(DirectError::Late),
            Ok(Err(error)) => Err(DirectError::Broken(error)),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// From MAIL to the last verdict.
    async fn transact(&mut self, delivery: &Delivery<'_>) -> Result<(), DirectError> {
        let (mail, rcpts) = &delivery.commands;
        match delivery.stored {
            // One round trip where the message is at hand.
            Stored::Memory(body, _) if self.session.takes_whole() => {
                let whole = [delivery.top.as_bytes(), body];
                self.session.begin_whole(mail, rcpts.clone(), &whole);
            }
            _ => self.session.begin(mail, rcpts.clone()),
        }
        loop {
            match self.next(delivery.deadline).await {
                Err(DirectError::Broken(error)) => {
                    self.last_words().await;
                    return Err(DirectError::Broken(error));
                }
                Err(error) => return Err(error),
                Ok(Event::SendBody) => match self.send(delivery).await {
                    Err(DirectError::Broken(error)) => {
                        self.last_words().await;
                        return Err(DirectError::Broken(error));
                    }
                    sent => sent?,
                },
                Ok(Event::Done) => return Ok(()),
                Ok(Event::Failed(failure)) => return Err(failure.into()),
                Ok(Event::Refused { reply, .. }) => return Err(DirectError::Refused(reply)),
                Ok(Event::Closed) => return Err(DirectError::Closed),
                Ok(
                    Event::Ready
                    | Event::StartTls
                    | Event::TlsRefused(_)
                    | Event::Mail(_)
                    | Event::Rcpt(..)
                    | Event::Verdict(..),
                ) => {}
            }
        }
    }

    async fn send(&mut self, delivery: &Delivery<'_>) -> Result<(), DirectError> {
        self.session.body(delivery.top.as_bytes());
        match delivery.stored {
            Stored::Memory(body, _) => self.session.body(body),
            Stored::File(writer) => self.send_file(writer, delivery.deadline).await?,
        }
        self.session.end_body();
        self.write(delivery.deadline).await
    }

    async fn send_file(&mut self, writer: &Writer, deadline: Instant) -> Result<(), DirectError> {
        let mut reader = writer
            .body_reader()
            .map_err(|error| DirectError::Body(io::Error::other(error)))?;
        loop {
            let piece = blocking(move || {
                let mut piece = Vec::with_capacity(PIECE as usize);
                let read = (&mut reader).take(PIECE).read_to_end(&mut piece);
                (reader, read.map(|_| piece))
            });
            let (back, piece) = piece
                .await
                .map_err(|fault| DirectError::Body(io::Error::other(fault)))?;
            reader = back;
            let piece = piece.map_err(DirectError::Body)?;
            if piece.is_empty() {
                return Ok(());
            }
            self.session.body(&piece);
            self.write(deadline).await?;
        }
    }

    /// deliver closed while the body was on its way: it may have said why.
    async fn last_words(&mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        while self
            .next(deadline)
            .await
            .is_ok_and(|event| !matches!(event, Event::Failed(_)))
        {}
    }
}

/// The outcome of a second attempt, after a first one without any answer: only a delivery or a refusal for good
/// settles what may have been delivered by the first.
fn merge(first: &Attempt, mut second: Attempt) -> Attempt {
    for (outcome, before) in second.outcomes.iter_mut().zip(&first.outcomes) {
        let settled = match outcome {
            Outcome::Replied { reply, .. } => reply.is_positive() || reply.is_permanent(),
            Outcome::NotSent | Outcome::Unknown => false,
        };
        if *before == Outcome::Unknown && !settled {
            *outcome = Outcome::Unknown;
            second.trouble = second.trouble.or_else(|| first.trouble.clone());
        }
    }
    second
}

/// One message and where it goes.
struct Delivery<'a> {
    commands: (Mail, Vec<Rcpt>),
    top: &'a str,
    stored: &'a Stored,
    deadline: Instant,
}

impl Delivery<'_> {
    /// Marks the recipients that may have the message already (XREPEAT).
    fn mark_repeated(&mut self, outcomes: &[Outcome]) {
        for (rcpt, outcome) in self.commands.1.iter_mut().zip(outcomes) {
            if *outcome == Outcome::Unknown {
                rcpt.params.private.push(Param {
                    keyword: "XREPEAT".to_owned(),
                    value: None,
                });
            }
        }
    }
}

/// MAIL and RCPT as deliver wants them (private extension XPOSTRIDER).
fn commands(envelope: &Envelope, stored: &Stored) -> (Mail, Vec<Rcpt>) {
    let private = |keyword: &str, value: Option<String>| Param {
        keyword: keyword.to_owned(),
        value,
    };
    let mut mail = Mail::new(envelope.sender().clone());
    mail.params.smtputf8 = envelope.mail.params.smtputf8;
    mail.params.eight_bit = true;
    mail.params.size = Some(match stored {
        Stored::Memory(body, _) => body.len() as u64,
        Stored::File(writer) => writer.body_len(),
    });
    mail.params.private = vec![private("XID", Some(envelope.id.to_string()))];
    let rcpts = envelope.recipients.iter().map(|recipient| {
        let mut rcpt = Rcpt::new(recipient.final_address.clone());
        let original = mail_types::xtext_encode(&recipient.original.to_string());
        rcpt.params.private = vec![
            private("XIDX", Some(recipient.index.to_string())),
            private("XORIG", Some(original)),
        ];
        rcpt
    });
    (mail, rcpts.collect())
}

/// Idle connections that are kept.
const KEPT: usize = 64;
/// How much of a file is read and sent at once.
const PIECE: u64 = 256 * 1024;
/// How long deliver's last words are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
