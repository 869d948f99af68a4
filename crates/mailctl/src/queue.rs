//! `mailctl queue`: mail that waits.

use clap::{Args, Subcommand};
use mail_types::{Domain, MailId};
use queue_api::client::QueueClient;
use queue_api::{FinishedRecipient, Flush, QueuedMessage, QueuedRecipient, Selection, ShownMessage};
use serde::Serialize;
use serde_json::json;

use crate::error::Failure;
use crate::output::{clean, count, local_time, rough_duration, size, wrapped};
use crate::session::Session;

/// The queue.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what waits, oldest first
    List,
    /// Show one message: its recipients, what became of them, its header
    Show {
        /// The message's id
        id: MailId,
    },
    /// Try now what waits for its next attempt: everything, one message, or the mail for a domain
    Flush {
        /// The message's id
        id: Option<MailId>,
        /// Only mail for this domain
        #[arg(long, conflicts_with = "id")]
        domain: Option<Domain>,
    },
    /// Put messages on hold: no attempts until they are released
    Hold(Which),
    /// Release messages from hold
    Release(Which),
    /// Start messages over: routes and times of the next attempt are forgotten
    Requeue(Which),
    /// Delete messages; nobody is told
    Delete(Which),
}

/// Which messages.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Ids of messages
    #[arg(required_unless_present = "all")]
    ids: Vec<MailId>,
    /// All messages of the queue
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

impl From<Which> for Selection {
    fn from(which: Which) -> Self {
        if which.all {
            Self::All
        } else {
            Self::Ids(which.ids)
        }
    }
}

/// A message as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    status: &'static str,
    size: u64,
    arrival: String,
    sender: String,
    recipients: Vec<RecipientRow>,
    parent: Option<String>,
}

/// A recipient that waits.
#[derive(Debug, Serialize)]
struct RecipientRow {
    index: u32,
    address: String,
    original: String,
    state: &'static str,
    reason: String,
    attempts: u32,
    next_attempt_seconds: Option<u64>,
}

impl From<QueuedMessage> for Row {
    fn from(message: QueuedMessage) -> Self {
        Self {
            id: message.id.to_string(),
            status: message.status.as_str(),
            size: message.size,
            arrival: local_time(message.arrival_ms),
            sender: message.sender.to_string(),
            parent: message.parent.map(|id| id.to_string()),
            recipients: message.recipients.into_iter().map(RecipientRow::from).collect(),
        }
    }
}

impl From<QueuedRecipient> for RecipientRow {
    fn from(recipient: QueuedRecipient) -> Self {
        Self {
            index: recipient.index,
            state: if recipient.active { "active" } else { "waiting" },
            address: recipient.address,
            original: recipient.original,
            reason: recipient.reason,
            attempts: recipient.attempts,
            next_attempt_seconds: recipient.next_attempt.map(|wait| wait.as_secs()),
        }
    }
}

impl RecipientRow {
    fn text(&self) -> String {
        let mut text = clean(&self.address);
        if !self.reason.is_empty() {
            text.push_str(&format!(": {}", clean(&self.reason)));
        }
        if let Some(seconds) = self.next_attempt_seconds {
            text.push_str(&format!(
                " (again in {})",
                rough_duration(std::time::Duration::from_secs(seconds))
            ));
        }
        text
    }
}

fn sender(text: &str) -> String {
    if text.is_empty() {
        "<>".to_owned()
    } else {
        clean(text)
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let qmgr = session.qmgr()?;
    match command {
        Command::List => list(&qmgr, session).await,
        Command::Show { id } => {
            show(qmgr.show(id).await?, session);
            Ok(())
        }
        Command::Flush { id, domain } => {
            let what = match (id, domain) {
                (Some(id), _) => Flush::Message(id),
                (None, Some(domain)) => Flush::Domain(domain),
                (None, None) => Flush::All,
            };
            changed("tried now", &qmgr.flush(&what).await?, session)
        }
        Command::Hold(which) => changed("put on hold", &qmgr.hold(&which.into()).await?, session),
        Command::Release(which) => changed("released", &qmgr.release(&which.into()).await?, session),
        Command::Requeue(which) => changed("started over", &qmgr.requeue(&which.into()).await?, session),
        Command::Delete(which) => {
            let asked = if which.all { 0 } else { which.ids.len() };
            let done = qmgr.delete(&which.into()).await?;
            if done.len() < asked {
                let message = format!("{} of {asked} messages were not in the queue", asked - done.len());
                changed("deleted", &done, session)?;
                return Err(Failure::not_found(message, "mailctl queue list shows what waits"));
            }
            changed("deleted", &done, session)
        }
    }
}

fn changed(what: &str, ids: &[MailId], session: &Session) -> Result<(), Failure> {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut text = format!("{} {what}", count(texts.len(), "message"));
    if (1..=20).contains(&texts.len()) {
        text.push_str(&format!(": {}", texts.join(" ")));
    }
    session.output.done(&json!({ "messages": texts }), &text);
    Ok(())
}

async fn list(qmgr: &QueueClient, session: &Session) -> Result<(), Failure> {
    let mut messages = qmgr.list().await?;
    let mut rows = Vec::new();
    while let Some(message) = messages.next().await? {
        rows.push(Row::from(message));
    }
    if session.output.json {
        session.output.value(&rows);
        return Ok(());
    }
    // Like mailq: reasons are long, so each recipient has lines of its own.
    for row in &rows {
        let sender = sender(&row.sender);
        let line = format!(
            "{}  {:<8}  {:>8}  {}  {sender}",
            row.id,
            row.status,
            size(row.size),
            row.arrival
        );
        session.output.line(&line);
        for recipient in &row.recipients {
            for line in wrapped("      ", &recipient.text()) {
                session.output.line(&line);
            }
        }
    }
    let bytes = rows.iter().map(|row| row.size).sum();
    let total = match rows.len() {
        0 => "the queue is empty".to_owned(),
        many => format!("{}, {}", count(many, "message"), size(bytes)),
    };
    session.output.line(&total);
    Ok(())
}

fn show(shown: ShownMessage, session: &Session) {
    let header = String::from_utf8_lossy(&shown.header).into_owned();
    let finished: Vec<_> = shown.finished.iter().map(finished_json).collect();
    let row = Row::from(shown.message);
    if session.output.json {
        let mut value = json!(row);
        value["finished"] = finished.into();
        value["header"] = header.into();
        session.output.value(&value);
        return;
    }
    let mut fields = vec![
        ("id", row.id.clone()),
        ("status", row.status.to_owned()),
        ("size", size(row.size)),
        ("arrival", row.arrival.clone()),
        ("sender", sender(&row.sender)),
    ];
    fields.extend(row.parent.clone().map(|parent| ("caused by", parent)));
    for recipient in &row.recipients {
        fields.push((
            "waiting",
            format!(
                "[{}] {}, {}",
                recipient.index,
                recipient.text(),
                count(recipient.attempts as usize, "attempt")
            ),
        ));
    }
    for done in &shown.finished {
        fields.push((
            "done",
            format!(
                "[{}] {}: {} {}",
                done.index,
                clean(&done.address),
                done.outcome,
                clean(&done.reply)
            ),
        ));
    }
    session.output.fields(&row, &fields);
    session.output.line("");
    for line in header.lines() {
        session.output.line(&clean(&line.replace('\t', "        ")));
    }
}

fn finished_json(done: &FinishedRecipient) -> serde_json::Value {
    json!({ "index": done.index, "address": done.address, "outcome": done.outcome, "reply": done.reply })
}
