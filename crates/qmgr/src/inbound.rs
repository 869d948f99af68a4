//! Handing a message to deliver, or to another LMTP server (RFC 2033): one answer for each recipient.

use std::path::Path;

use auth_api::directory::LmtpHop;
use mail_types::{EnhancedStatus, Reply, xtext_encode};
use smtp_proto::Protocol;
use smtp_proto::client::{Event, Session, Stage, Timeouts};
use smtp_proto::command::{Mail, Param, Rcpt};
use spool::{BodyType, Outcome};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::message::{Addressee, Parcel, Verdict};
use crate::outbound::transaction::{Transaction, transact};
use crate::outbound::{Content, Wire};
use crate::results::Results;
use crate::scheduler::{Health, Service};

/// Which LMTP server.
#[derive(Debug, Clone)]
pub enum Server<'a> {
    /// Our own deliver: its troubles are ours, and it recognises repetitions.
    Deliver(&'a Path),
    /// Somebody else's.
    Other(&'a LmtpHop),
}

impl std::fmt::Display for Server<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deliver(_) => f.write_str("deliver"),
            Self::Other(LmtpHop::Unix(path)) => f.write_str(path),
            Self::Other(LmtpHop::Tcp { host, port }) => write!(f, "{host}:{port}"),
        }
    }
}

/// Hands the message to everybody in the parcel; each gets a verdict.
pub async fn hand_over(
    server: &Server<'_>,
    hostname: &str,
    timeouts: &Timeouts,
    parcel: &Parcel,
    content: &Content,
    results: &Results,
) -> Health {
    for addressee in &parcel.recipients {
        let kind = events::qmgr::Kind::AttemptStarted {
            address: addressee.final_address.to_string(),
            server: server.to_string(),
        };
        results.event(Some(addressee.recipient.index), kind);
    }
    let session = Session::new(Protocol::Lmtp, hostname, timeouts.clone());
    let limit = timeouts.connect;
    let (reason, open) = match server {
        Server::Deliver(path) => match timeout(limit, UnixStream::connect(path)).await {
            Ok(Ok(stream)) => talk(Wire::new(stream, session), server, parcel, content, results).await,
            Ok(Err(error)) => (Some(error.to_string()), nobody(parcel)),
            Err(_) => (Some("connecting timed out".to_owned()), nobody(parcel)),
        },
        Server::Other(LmtpHop::Unix(path)) => match timeout(limit, UnixStream::connect(path)).await {
            Ok(Ok(stream)) => talk(Wire::new(stream, session), server, parcel, content, results).await,
            Ok(Err(error)) => (Some(error.to_string()), nobody(parcel)),
            Err(_) => (Some("connecting timed out".to_owned()), nobody(parcel)),
        },
        Server::Other(LmtpHop::Tcp { host, port }) => {
            match timeout(limit, TcpStream::connect((host.as_str(), *port))).await {
                Ok(Ok(stream)) => talk(Wire::new(stream, session), server, parcel, content, results).await,
                Ok(Err(error)) => (Some(error.to_string()), nobody(parcel)),
                Err(_) => (Some("connecting timed out".to_owned()), nobody(parcel)),
            }
        }
    };
    settle(server, reason, open, parcel, results).await
}

/// Nobody got an answer, and nothing was sent.
fn nobody(parcel: &Parcel) -> Vec<(usize, bool)> {
    (0..parcel.recipients.len()).map(|at| (at, false)).collect()
}

/// The conversation. Returns why it ended early and who has no verdict (and whether the end of the message
/// was sent to him).
async fn talk<S>(
    mut wire: Wire<S>,
    server: &Server<'_>,
    parcel: &Parcel,
    content: &Content,
    results: &Results,
) -> (Option<String>, Vec<(usize, bool)>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match wire.event().await {
        Ok(Event::Ready) => {}
        Ok(Event::Refused { reply, .. }) => return (Some(reply.to_string()), nobody(parcel)),
        Ok(Event::Failed(failure)) => return (Some(failure.to_string()), nobody(parcel)),
        Ok(_) => return (Some("unexpected answer".to_owned()), nobody(parcel)),
        Err(error) => return (Some(error.to_string()), nobody(parcel)),
    }
    let extensions = wire.session.extensions().clone();
    let private = extensions.has("XPOSTRIDER");
    let envelope = &parcel.envelope;
    let mut mail = Mail::new(envelope.sender.clone());
    mail.params.size = Some(content.len());
    mail.params.eight_bit = envelope.body == BodyType::EightBit;
    mail.params.smtputf8 = envelope.smtputf8 && extensions.has("SMTPUTF8");
    if private {
        mail.params.private = vec![param("XID", Some(parcel.id.to_string()))];
    }
    let ours = matches!(server, Server::Deliver(_));
    let name = server.to_string();
    let judge = move |_: Stage, reply: &Reply| judge(reply, ours, &name);
    let server_name = server.to_string();
    let transaction = Transaction {
        mail,
        rcpts: parcel.recipients.iter().map(|a| rcpt(a, private)).collect(),
        indexes: parcel.recipients.iter().map(|a| a.recipient.index).collect(),
        content,
        judge: &judge,
        results,
        server: &server_name,
    };
    let end = transact(&mut wire, transaction).await;
    if end.broken.is_none() {
        wire.quit().await;
    }
    (end.broken, end.open)
}

fn rcpt(addressee: &Addressee, private: bool) -> Rcpt {
    let mut rcpt = Rcpt::new(addressee.final_address.clone());
    if private {
        let recipient = &addressee.recipient;
        rcpt.params.private = vec![
            param("XIDX", Some(recipient.index.to_string())),
            param("XORIG", Some(xtext_encode(&recipient.original.to_string()))),
        ];
        if addressee.repeated {
            rcpt.params.private.push(param("XREPEAT", None));
        }
    }
    rcpt
}

fn param(keyword: &str, value: Option<String>) -> Param {
    Param {
        keyword: keyword.to_owned(),
        value,
    }
}

/// What an answer means. deliver's 4.3.0 to 4.3.2 are its own trouble and no attempt; 4.3.5 is a mailbox's.
fn judge(reply: &Reply, ours: bool, mta: &str) -> Verdict {
    let reply = reply.clone();
    let mta = if ours { String::new() } else { mta.to_owned() };
    let trouble = match reply.status {
        Some(status) => status.class == 4 && status.subject == 3 && status.detail <= 2,
        None => reply.code == 421,
    };
    if reply.is_positive() {
        Verdict::Final {
            outcome: Outcome::Delivered,
            reply,
            mta,
        }
    } else if reply.is_permanent() {
        Verdict::Final {
            outcome: Outcome::Failed,
            reply,
            mta,
        }
    } else if ours && trouble {
        Verdict::Trouble {
            service: Service::Deliver,
            reason: reply.to_string(),
            repeated: false,
        }
    } else {
        Verdict::Deferred {
            reply,
            mta,
            repeated: false,
        }
    }
}

/// Verdicts for those who got no answer.
async fn settle(
    server: &Server<'_>,
    reason: Option<String>,
    open: Vec<(usize, bool)>,
    parcel: &Parcel,
    results: &Results,
) -> Health {
    let reason = reason.unwrap_or_else(|| "no answer".to_owned());
    let reply = Reply::new(450, EnhancedStatus::new(4, 4, 2), format!("{server}: {reason}"));
    let broken = !open.is_empty();
    for (at, sent) in open {
        let verdict = match server {
            Server::Deliver(_) => Verdict::Trouble {
                service: Service::Deliver,
                reason: reason.clone(),
                repeated: sent,
            },
            Server::Other(_) => Verdict::Deferred {
                reply: reply.clone(),
                mta: String::new(),
                repeated: sent,
            },
        };
        results.give(parcel.recipients[at].recipient.index, verdict).await;
    }
    if broken { Health::Bad(reply) } else { Health::Good }
}
