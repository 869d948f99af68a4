//! What a message has come to: its envelope with every record of its journal applied, in order.

use std::collections::{BTreeMap, BTreeSet};

use mail_types::{Address, Notify, OriginalRecipient, Reply};

use crate::envelope::{Envelope, InitialState, Recipient};
use crate::record::{Attempt, FinalResult, Outcome, Record, Report, ReportKind};

/// The state of a message. A pure fold: the same records always give the same state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageState {
    /// The recipients by index, those that came out of an expansion included.
    pub recipients: BTreeMap<u32, RecipientState>,
    /// Whether it is on hold.
    pub held: bool,
    /// Whether the operator deleted it.
    pub deleted: bool,
    /// The reports that were begun, by number, and whether each is in the spool.
    pub reports: BTreeMap<u32, (Report, bool)>,
    /// Originals that are owed an *expanded* report, with the recipients that they became.
    expanded: Vec<ExpandedDue>,
    /// Whether the sender is the null path: then nothing is ever reported.
    null_sender: bool,
}

/// The state of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientState {
    /// Who it is.
    pub recipient: Recipient,
    /// How far it got.
    pub progress: Progress,
}

/// How far a recipient got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// To be delivered; with the last deferral, if there was one.
    Waiting(Option<Attempt>),
    /// It became other recipients, or a failure of its own.
    Expanded,
    /// It is over.
    Final(FinalResult),
}

/// A report that has to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueReport {
    /// Its kind.
    pub kind: ReportKind,
    /// The recipients that it is about.
    pub recipients: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ExpandedDue {
    original: Address,
    orcpt: Option<OriginalRecipient>,
    recipients: Vec<u32>,
}

impl MessageState {
    /// The state of a message with these journal records.
    pub fn new(envelope: &Envelope, records: &[Record]) -> Self {
        let mut state = Self {
            recipients: envelope
                .recipients
                .iter()
                .map(|r| (r.index, start(r, envelope.arrival_ms)))
                .collect(),
            held: false,
            deleted: false,
            reports: BTreeMap::new(),
            expanded: envelope
                .expanded
                .iter()
                .map(|e| ExpandedDue {
                    original: e.original.clone(),
                    orcpt: e.orcpt.clone(),
                    recipients: envelope
                        .recipients
                        .iter()
                        .filter(|r| r.original == e.original)
                        .map(|r| r.index)
                        .collect(),
                })
                .collect(),
            null_sender: envelope.sender.is_null(),
        };
        for record in records {
            state.apply(record);
        }
        state
    }

    /// Applies one more record. A result that is there already stays: the first one counts.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Expansion {
                of,
                recipients,
                report,
            } => self.expand(*of, recipients, *report),
            Record::Attempt(attempt) => {
                for index in &attempt.recipients {
                    if let Some(RecipientState {
                        progress: progress @ Progress::Waiting(_),
                        ..
                    }) = self.recipients.get_mut(index)
                    {
                        *progress = Progress::Waiting(Some(attempt.clone()));
                    }
                }
            }
            Record::Result(result) => {
                if let Some(RecipientState {
                    progress: progress @ Progress::Waiting(_),
                    ..
                }) = self.recipients.get_mut(&result.recipient)
                {
                    *progress = Progress::Final(result.clone());
                }
            }
            Record::Report(report) => {
                self.reports
                    .entry(report.n)
                    .or_insert_with(|| (report.clone(), false));
            }
            Record::Reported { n } => {
                if let Some((_, done)) = self.reports.get_mut(n) {
                    *done = true;
                }
            }
            Record::Hold { on } => self.held = *on,
            Record::Requeue => {
                for state in self.recipients.values_mut() {
                    if let Progress::Waiting(last) = &mut state.progress {
                        *last = None;
                    }
                }
            }
            Record::Deleted => self.deleted = true,
            Record::Unknown => {}
        }
    }

    fn expand(&mut self, of: u32, recipients: &[Recipient], report: bool) {
        let Some(parent) = self.recipients.get_mut(&of) else {
            return;
        };
        if !matches!(parent.progress, Progress::Waiting(_)) {
            return;
        }
        parent.progress = Progress::Expanded;
        let (original, orcpt) = (parent.recipient.original.clone(), parent.recipient.orcpt.clone());
        for recipient in recipients {
            self.recipients
                .entry(recipient.index)
                .or_insert_with(|| start(recipient, 0));
        }
        if report {
            self.expanded.push(ExpandedDue {
                original,
                orcpt,
                recipients: recipients.iter().map(|r| r.index).collect(),
            });
        }
    }

    /// The lowest index that no recipient has.
    pub fn next_index(&self) -> u32 {
        self.recipients
            .keys()
            .next_back()
            .map_or(0, |last| last.saturating_add(1))
    }

    /// The recipients that still have to be delivered.
    pub fn waiting(&self) -> impl Iterator<Item = (u32, &RecipientState)> {
        self.recipients
            .iter()
            .filter(|(_, state)| matches!(state.progress, Progress::Waiting(_)))
            .map(|(index, state)| (*index, state))
    }

    /// The reports that were begun but are not in the spool yet, as far as the journal knows.
    pub fn unfinished_reports(&self) -> impl Iterator<Item = &Report> {
        self.reports
            .values()
            .filter(|(_, done)| !done)
            .map(|(report, _)| report)
    }

    /// The reports that are due and not begun. `delayed_after_ms`: recipients still waiting at this age get
    /// a delay notice, once.
    pub fn due_reports(&self, delayed_after_ms: Option<u64>) -> Vec<DueReport> {
        if self.null_sender || self.deleted {
            return Vec::new();
        }
        let mut due = Vec::new();
        for kind in [
            ReportKind::Failed,
            ReportKind::Delayed,
            ReportKind::Success,
            ReportKind::Relayed,
        ] {
            let known = self.reported(kind);
            let recipients: Vec<u32> = self
                .recipients
                .iter()
                .filter(|(index, state)| !known.contains(index) && wants(kind, state, delayed_after_ms))
                .map(|(index, _)| *index)
                .collect();
            if !recipients.is_empty() {
                due.push(DueReport { kind, recipients });
            }
        }
        let known = self.reported(ReportKind::Expanded);
        due.extend(
            self.expanded
                .iter()
                .filter(|e| !e.recipients.iter().all(|i| known.contains(i)))
                .map(|e| DueReport {
                    kind: ReportKind::Expanded,
                    recipients: e.recipients.clone(),
                }),
        );
        due
    }

    /// The original and its ORCPT that an *expanded* report about these recipients concerns.
    pub fn expanded_original(&self, recipients: &[u32]) -> Option<(&Address, Option<&OriginalRecipient>)> {
        self.expanded
            .iter()
            .find(|e| e.recipients == recipients)
            .map(|e| (&e.original, e.orcpt.as_ref()))
    }

    fn reported(&self, kind: ReportKind) -> BTreeSet<u32> {
        self.reports
            .values()
            .filter(|(report, _)| report.kind == kind)
            .flat_map(|(report, _)| report.recipients.iter().copied())
            .collect()
    }

    /// Whether nothing is left to do: deleted, or every recipient final and everything reported.
    pub fn is_complete(&self) -> bool {
        self.deleted
            || (self.waiting().next().is_none()
                && self.unfinished_reports().next().is_none()
                && self.due_reports(None).is_empty())
    }
}

/// Whether a recipient in this state is owed a report of this kind (RFC 3461 4.1, 5.2).
fn wants(kind: ReportKind, state: &RecipientState, delayed_after_ms: Option<u64>) -> bool {
    let notify = state.recipient.notify.unwrap_or(Notify {
        success: false,
        failure: true,
        delay: true,
    });
    match (&state.progress, kind) {
        (Progress::Final(result), ReportKind::Failed) => result.outcome == Outcome::Failed && notify.failure,
        (Progress::Final(result), ReportKind::Success) => {
            result.outcome == Outcome::Delivered && notify.success
        }
        (Progress::Final(result), ReportKind::Relayed) => {
            result.outcome == Outcome::Relayed && notify.success
        }
        (Progress::Waiting(Some(last)), ReportKind::Delayed) => {
            notify.delay && delayed_after_ms.is_some_and(|after| last.age_ms >= after)
        }
        _ => false,
    }
}

/// The state that a recipient enters the spool with.
fn start(recipient: &Recipient, at_ms: u64) -> RecipientState {
    let over = |outcome: Outcome, reply: &Reply| {
        Progress::Final(FinalResult {
            recipient: recipient.index,
            outcome,
            reply: reply.clone(),
            mta: String::new(),
            at_ms,
        })
    };
    RecipientState {
        recipient: recipient.clone(),
        progress: match &recipient.state {
            InitialState::Waiting | InitialState::MaybeRepeated => Progress::Waiting(None),
            InitialState::Delivered(reply) => over(Outcome::Delivered, reply),
            InitialState::Failed(reply) => over(Outcome::Failed, reply),
        },
    }
}
