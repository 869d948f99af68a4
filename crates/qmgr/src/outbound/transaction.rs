//! One transaction of a client session, SMTP or LMTP: envelope, body, and the answer for each recipient as it
//! comes.

use mail_types::Reply;
use smtp_proto::client::{Event, Outcome as Answer, Stage};
use smtp_proto::command::{Mail, Rcpt};
use tokio::io::{AsyncRead, AsyncWrite};

use super::content::{Content, Unreadable};
use super::wire::{Wire, WireError};
use crate::message::Verdict;
use crate::results::Results;

/// What is sent.
pub(crate) struct Transaction<'a> {
    pub(crate) mail: Mail,
    pub(crate) rcpts: Vec<Rcpt>,
    /// The index in the message of each of `rcpts`.
    pub(crate) indexes: Vec<u32>,
    pub(crate) content: &'a Content,
    /// What a final answer means.
    pub(crate) judge: &'a (dyn Fn(Stage, &Reply) -> Verdict + Sync),
    pub(crate) results: &'a Results,
    /// The server, for events.
    pub(crate) server: &'a str,
}

/// How a transaction ended.
pub(crate) struct End {
    /// Recipients that got no verdict, by position, and whether the end of the message was sent to them.
    pub(crate) open: Vec<(usize, bool)>,
    /// Why the connection cannot be used any more; none where it can.
    pub(crate) broken: Option<String>,
}

/// Runs a transaction. Every answer is given to the results at once.
pub(crate) async fn transact<S>(wire: &mut Wire<S>, transaction: Transaction<'_>) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let t = &transaction;
    wire.session.begin(&t.mail, t.rcpts.clone());
    let mut decided = vec![false; t.rcpts.len()];
    let broken = loop {
        match wire.event().await {
            Ok(Event::Mail(reply)) if !reply.is_positive() => {
                t.results.replied(None, t.server, Stage::Mail, &reply);
            }
            Ok(Event::Rcpt(at, reply)) if !reply.is_positive() => {
                t.results
                    .replied(t.indexes.get(at).copied(), t.server, Stage::Rcpt, &reply);
            }
            Ok(Event::SendBody) => match send_body(wire, t.content).await {
                Ok(()) => {}
                Err(reason) => break Some(reason),
            },
            Ok(Event::Verdict(at, reply)) => {
                if let (Some(index), Some(done)) = (t.indexes.get(at), decided.get_mut(at)) {
                    *done = true;
                    t.results
                        .replied(Some(*index), t.server, Stage::EndOfData, &reply);
                    t.results.give(*index, (t.judge)(Stage::EndOfData, &reply)).await;
                }
            }
            Ok(Event::Done) => break None,
            Ok(Event::Failed(failure)) => break Some(failure.to_string()),
            Ok(Event::Closed) => break Some(WireError::Closed.to_string()),
            Ok(_) => {}
            Err(error) => break Some(error.to_string()),
        }
    };
    let mut open = Vec::new();
    for (at, answer) in wire.session.outcomes().into_iter().enumerate() {
        let (Some(index), Some(false)) = (t.indexes.get(at), decided.get(at)) else {
            continue;
        };
        match answer {
            Answer::Replied { stage, reply } => t.results.give(*index, (t.judge)(stage, &reply)).await,
            Answer::NotSent => open.push((at, false)),
            Answer::Unknown => open.push((at, true)),
        }
    }
    End { open, broken }
}

/// Sends the content and its end. After an error the connection must be dropped: the message is not whole.
async fn send_body<S>(wire: &mut Wire<S>, content: &Content) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut n = 0;
    while let Some(piece) = content.piece(n).await.map_err(|e: Unreadable| e.to_string())? {
        wire.session.body(&piece);
        wire.flush().await.map_err(|e| e.to_string())?;
        n += 1;
    }
    wire.session.end_body();
    wire.flush().await.map_err(|e| e.to_string())
}
