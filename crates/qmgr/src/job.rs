//! One job from beginning to end, in a task of its own: open the message, prepare the journal, send.

use std::sync::Arc;
use std::time::Duration;

use daemon::blocking;
use mail_types::{EnhancedStatus, Reply};
use smtp_proto::client::Timeouts;
use spool::{Outcome, ReadError};

use crate::config::Settings;
use crate::inbound::{Server, hand_over};
use crate::message::{Parcel, Text, Verdict, came_past};
use crate::outbound::{Content, Sender};
use crate::results::Results;
use crate::scheduler::{Destination, Health, Service};

/// What a job tells about itself at its end, beside the verdicts.
#[derive(Debug)]
pub struct Ended {
    /// How the destination did.
    pub health: Health,
    /// The whole file was checked.
    pub verified: bool,
    /// The file is damaged, for this reason.
    pub damaged: Option<String>,
}

impl Ended {
    /// Nothing can be said.
    pub fn nothing() -> Self {
        Self {
            health: Health::Unknown,
            verified: false,
            damaged: None,
        }
    }
}

/// deliver answers when its files are synced; a disk under load takes its time.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a job; each recipient of the parcel gets a verdict, unless the file is damaged.
pub async fn run(
    parcel: Parcel,
    destination: Destination,
    sender: Arc<Sender>,
    settings: Arc<Settings>,
    results: Results,
    shuffle: u64,
) -> Ended {
    let local = destination == Destination::Local;
    let (spool, id, verified) = (results.spool.clone(), parcel.id, parcel.verified);
    let opened = blocking(move || {
        if !local {
            // So that the record of a result needs no space when it has to be written.
            spool
                .prepare_journal(id)
                .map_err(|e| Trouble::Spool(daemon::describe(&e)))?;
        }
        let text = Text::open(&spool, id, verified)?;
        let header = if local { Vec::new() } else { text.header()? };
        Ok::<_, Trouble>((text, header))
    });
    let (text, header) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(Trouble::Damaged(reason))) => {
            return Ended {
                damaged: Some(reason),
                ..Ended::nothing()
            };
        }
        Ok(Err(Trouble::Spool(reason))) => return spool_trouble(&parcel, &results, &reason).await,
        Err(error) => return spool_trouble(&parcel, &results, &error.to_string()).await,
    };
    let health = match &destination {
        Destination::Local => {
            let content = Content::Stored {
                top: parcel.envelope.top.clone().into_bytes(),
                text,
            };
            let server = Server::Deliver(&settings.lmtp_socket);
            let timeouts = Timeouts::uniform(LOCAL_TIMEOUT);
            hand_over(
                &server,
                &settings.hostname,
                &timeouts,
                &parcel,
                &content,
                &results,
            )
            .await
        }
        Destination::Lmtp(hop) => {
            let content = Content::Stored {
                top: parcel.envelope.top.clone().into_bytes(),
                text,
            };
            let timeouts = &settings.outbound.timeouts;
            hand_over(
                &Server::Other(hop),
                &settings.hostname,
                timeouts,
                &parcel,
                &content,
                &results,
            )
            .await
        }
        Destination::Smtp(hop) => {
            let Some((parcel, top)) = forwarded(parcel, &header, &results).await else {
                return Ended {
                    verified: true,
                    ..Ended::nothing()
                };
            };
            let content = Content::Stored { top, text };
            sender
                .send(hop, &parcel, &content, &header, &results, shuffle)
                .await
        }
    };
    Ended {
        health,
        verified: true,
        damaged: None,
    }
}

/// Why a message could not be opened.
enum Trouble {
    Damaged(String),
    Spool(String),
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damage) => Self::Damaged(damage.0),
            ReadError::Missing(_) => Self::Damaged("the file is gone".to_owned()),
            ReadError::Io(error) => Self::Spool(error.to_string()),
        }
    }
}

async fn spool_trouble(parcel: &Parcel, results: &Results, reason: &str) -> Ended {
    for addressee in &parcel.recipients {
        let verdict = Verdict::Trouble {
            service: Service::Spool,
            reason: reason.to_owned(),
            repeated: false,
        };
        results.give(addressee.recipient.index, verdict).await;
    }
    Ended::nothing()
}

/// Mail that leaves out of an alias gets a line that says so, and does not leave twice (compat.md 5.5). All
/// recipients of a job have the same original.
async fn forwarded(mut parcel: Parcel, header: &[u8], results: &Results) -> Option<(Parcel, Vec<u8>)> {
    let mut top = Vec::new();
    if let Some(first) = parcel.recipients.first().filter(|a| a.recipient.expanded) {
        let original = first.recipient.original.clone();
        if came_past(header, &original) || came_past(parcel.envelope.top.as_bytes(), &original) {
            let status = EnhancedStatus::new(5, 4, 6);
            let reply = Reply::new(554, status, format!("mail forwarding loop for {original}"));
            for addressee in std::mem::take(&mut parcel.recipients) {
                let verdict = Verdict::Final {
                    outcome: Outcome::Failed,
                    reply: reply.clone(),
                    mta: String::new(),
                };
                results.give(addressee.recipient.index, verdict).await;
            }
            return None;
        }
        top = format!("Delivered-To: {original}\r\n").into_bytes();
    }
    top.extend_from_slice(parcel.envelope.top.as_bytes());
    Some((parcel, top))
}
