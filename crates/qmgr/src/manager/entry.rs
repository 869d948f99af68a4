//! A message in memory: what the spool says of it, and what is under way with it.

use std::collections::HashSet;
use std::sync::Arc;

use mail_types::{Domain, MailId};
use queue_api::{FinishedRecipient, QueuedMessage, QueuedRecipient, Status};
use spool::{Envelope, InitialState, MessageState, Outcome, Progress as SpoolProgress, RecipientState};

use crate::message::{Addressee, Parcel};
use crate::recover::Loaded;
use crate::scheduler::{NewRecipient, Progress, Scheduler};

/// A message in memory.
#[derive(Debug)]
pub struct Entry {
    /// Its id.
    pub id: MailId,
    /// Its envelope.
    pub envelope: Arc<Envelope>,
    /// How far its recipients and reports are.
    pub state: MessageState,
    /// Octets, lines on top included.
    pub size: u64,
    /// Jobs, writes and reports under way; nothing is decided about the message as a whole before they end.
    pub busy: u32,
    /// The whole file was checked in this process.
    pub verified: bool,
    /// It has a journal that has to be removed after it.
    pub journaled: bool,
    /// The *report* records may not have reached the journal: they are written once more.
    pub rewrite_reports: bool,
    /// It was there when qmgr started: an attempt of the process before may have succeeded.
    pub from_before: bool,
    /// Recipients of whom an attempt may have succeeded.
    pub repeated: HashSet<u32>,
    /// Recipients that a job works on and that have no verdict.
    pub running: HashSet<u32>,
}

impl Entry {
    /// Takes a message over from the spool.
    pub fn new(loaded: Loaded, from_before: bool) -> Self {
        let repeated = loaded
            .envelope
            .recipients
            .iter()
            .filter(|r| r.state == InitialState::MaybeRepeated);
        Self {
            id: loaded.id,
            repeated: repeated.map(|r| r.index).collect(),
            envelope: Arc::new(loaded.envelope),
            state: loaded.state,
            size: loaded.size,
            busy: 0,
            verified: false,
            journaled: loaded.journaled,
            rewrite_reports: false,
            from_before,
            running: HashSet::new(),
        }
    }

    /// The recipients that wait, as the scheduler wants them. `now_ms` is the wall time: only the running
    /// gap is measured by it, and the scheduler bounds that.
    pub fn waiting(&self, now_ms: u64) -> Vec<NewRecipient> {
        self.state
            .waiting()
            .map(|(index, state)| new_recipient(index, state, now_ms))
            .collect()
    }

    /// What a job needs for these recipients.
    pub fn parcel(&self, indexes: &[u32]) -> Parcel {
        let recipients = indexes.iter().filter_map(|index| {
            let recipient = &self.state.recipients.get(index)?.recipient;
            Some(Addressee {
                final_address: recipient.final_address.clone()?,
                recipient: recipient.clone(),
                repeated: self.from_before || self.repeated.contains(index),
            })
        });
        Parcel {
            id: self.id,
            envelope: Arc::clone(&self.envelope),
            recipients: recipients.collect(),
            verified: self.verified,
        }
    }

    /// The address of a recipient for logs: the final one where it is known.
    pub fn address(&self, index: u32) -> String {
        self.state
            .recipients
            .get(&index)
            .map(|state| shown(&state.recipient))
            .unwrap_or_default()
    }

    /// The message as a listing shows it.
    pub fn view(&self, scheduler: &Scheduler, now: std::time::Instant) -> QueuedMessage {
        let mut attempted = false;
        let mut active = false;
        let recipients: Vec<QueuedRecipient> = self
            .state
            .waiting()
            .map(|(index, state)| {
                let (progress, next, is_active) = scheduler.view((self.id, index)).unwrap_or_default();
                attempted |= progress.attempts > 0;
                active |= is_active;
                QueuedRecipient {
                    index,
                    address: shown(&state.recipient),
                    original: state.recipient.original.to_string(),
                    reason: match &state.progress {
                        SpoolProgress::Waiting(Some(attempt)) if attempt.mta.is_empty() => {
                            attempt.reply.to_string()
                        }
                        SpoolProgress::Waiting(Some(attempt)) => {
                            format!("host {} said: {}", attempt.mta, attempt.reply)
                        }
                        _ => String::new(),
                    },
                    attempts: progress.attempts,
                    next_attempt: next.map(|at| at.saturating_duration_since(now)),
                    active: is_active,
                }
            })
            .collect();
        QueuedMessage {
            id: self.id,
            status: match (self.state.held, active, attempted) {
                (true, _, _) => Status::Held,
                (false, true, _) => Status::Active,
                (false, false, true) => Status::Deferred,
                (false, false, false) => Status::Incoming,
            },
            arrival_ms: self.envelope.arrival_ms,
            size: self.size,
            sender: self.envelope.sender.clone(),
            recipients,
            parent: self.envelope.parent,
        }
    }

    /// The recipients that are final.
    pub fn finished(&self) -> Vec<FinishedRecipient> {
        let of = |(index, state): (&u32, &RecipientState)| {
            let (outcome, reply) = match &state.progress {
                SpoolProgress::Waiting(_) => return None,
                SpoolProgress::Expanded => ("expanded", String::new()),
                SpoolProgress::Final(result) => (outcome_name(result.outcome), result.reply.to_string()),
            };
            Some(FinishedRecipient {
                index: *index,
                address: shown(&state.recipient),
                outcome: outcome.to_owned(),
                reply,
            })
        };
        self.state.recipients.iter().filter_map(of).collect()
    }
}

/// A recipient as the scheduler wants it.
fn new_recipient(index: u32, state: &RecipientState, now_ms: u64) -> NewRecipient {
    let recipient = &state.recipient;
    let last = match &state.progress {
        SpoolProgress::Waiting(last) => last.as_ref(),
        _ => None,
    };
    let millis = std::time::Duration::from_millis;
    NewRecipient {
        index,
        domain: domain(recipient),
        resolved: recipient.final_address.is_some(),
        progress: last
            .map(|last| Progress {
                attempts: last.attempts,
                age: millis(last.age_ms),
                gap: millis(last.gap_ms),
            })
            .unwrap_or_default(),
        elapsed: millis(last.map_or(0, |last| now_ms.saturating_sub(last.at_ms))),
    }
}

fn domain(recipient: &spool::Recipient) -> Domain {
    recipient
        .final_address
        .as_ref()
        .unwrap_or(&recipient.original)
        .domain()
        .clone()
}

fn shown(recipient: &spool::Recipient) -> String {
    recipient
        .final_address
        .as_ref()
        .unwrap_or(&recipient.original)
        .to_string()
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Relayed => "relayed",
        Outcome::Discarded => "discarded",
    }
}
