//! Reports: bounces, delay notices, confirmations. Planned by the manager, made here, each exactly once
//! (robustness.md 4.5): *report n* in the journal, the report in the spool, *reported n* in the journal.

use std::sync::Arc;

use jiff::Timestamp;
use mail_types::{Address, MailId, OriginalRecipient, Reply, Ret, ReversePath};
use message::report::{Action, Original, Report as Composition, ReportedRecipient, compose};
use spool::{
    BodyType, DueReport, Envelope, InitialState, MessageState, Progress, ReadError, Record, Report,
    ReportKind, Safety, Spool, WriteError,
};

use crate::message::Text;

/// A message above this is not returned as a whole.
const RETURN_LIMIT: u64 = 1 << 20;

/// Everything that a report is made of.
pub struct Order {
    /// The message that it is about.
    pub id: MailId,
    /// Its envelope.
    pub envelope: Arc<Envelope>,
    /// Its state, the planned reports applied.
    pub state: MessageState,
    /// The reports to be made; those that are new stand in `planned` too.
    pub reports: Vec<Report>,
    /// Records that are to be written first.
    pub planned: Vec<Record>,
    /// Our host name.
    pub hostname: String,
    /// Milliseconds until a delayed message is given up.
    pub retry_for_ms: u64,
}

/// Why reports were not made; they are tried again.
#[derive(Debug, thiserror::Error)]
#[error("a report could not be made")]
pub struct ReportError(#[from] WriteError);

/// Gives numbers, ids and a time to reports that are due.
pub fn plan(id: MailId, state: &MessageState, due: Vec<DueReport>, now_ms: u64) -> Vec<Report> {
    let first = state.reports.keys().next_back().map_or(0, |last| last + 1);
    (first..)
        .zip(due)
        .map(|(n, due)| Report {
            n,
            kind: due.kind,
            recipients: due.recipients,
            at_ms: now_ms,
            id: report_id(id, n, now_ms),
        })
        .collect()
}

/// The id of a report: its time, and a hash of what it is about. The journal keeps it, so that a second try
/// finds the first one's file.
fn report_id(id: MailId, n: u32, at_ms: u64) -> MailId {
    // FNV-1a, 128 bits: spread, not security.
    let bytes = id.as_str().bytes().chain(n.to_le_bytes());
    let hash = bytes.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    MailId::new(at_ms, hash)
}

/// Makes the reports of an order. Blocks. Returns the records that were written after `planned`.
pub fn make(spool: &Spool, order: &Order) -> Result<Vec<Record>, ReportError> {
    if !order.planned.is_empty() {
        spool.append_journal(order.id, &order.planned, Safety::Durable)?;
    }
    let mut done = Vec::new();
    for report in &order.reports {
        if let Some(sender) = order.envelope.sender.address() {
            match enqueue(spool, order, report, sender) {
                // It was made before a crash, or before an error behind it.
                Ok(()) | Err(WriteError::Exists(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let record = Record::Reported { n: report.n };
        spool.append_journal(order.id, std::slice::from_ref(&record), Safety::Durable)?;
        done.push(record);
    }
    Ok(done)
}

fn enqueue(spool: &Spool, order: &Order, report: &Report, sender: &Address) -> Result<(), WriteError> {
    let full = report.kind == ReportKind::Failed && order.envelope.ret != Some(Ret::Headers);
    let original = returned(spool, order, full);
    let composed = compose(&Composition {
        action: action(report.kind),
        host: &order.hostname,
        id: report.id,
        date: timestamp(report.at_ms),
        to: sender,
        about: order.id,
        arrival: timestamp(order.envelope.arrival_ms),
        envid: order.envelope.envid.as_deref(),
        smtputf8: order.envelope.smtputf8,
        recipients: recipients(order, report),
        original: if original.1 {
            Original::Full(&original.0)
        } else {
            Original::Headers(&original.0)
        },
    });
    let mut writer = spool.begin(report.id)?;
    writer.write(&composed.message)?;
    writer.finish(&Envelope {
        arrival_ms: report.at_ms,
        session: None,
        parent: Some(order.id),
        sender: ReversePath::Null,
        body: if composed.eight_bit {
            BodyType::EightBit
        } else {
            BodyType::SevenBit
        },
        smtputf8: composed.smtputf8,
        ret: None,
        envid: None,
        top: String::new(),
        recipients: vec![spool::Recipient {
            index: 0,
            original: sender.clone(),
            // Resolved before its first attempt, whether or not authd is there now.
            final_address: None,
            expanded: false,
            notify: None,
            orcpt: None,
            state: InitialState::Waiting,
        }],
        expanded: Vec::new(),
    })
}

/// What is returned of the message, and whether that is all of it. A message that cannot be read any more is
/// reported without its text.
fn returned(spool: &Spool, order: &Order, full: bool) -> (Vec<u8>, bool) {
    let read = || -> Result<(Vec<u8>, bool), ReadError> {
        let text = Text::open(spool, order.id, false)?;
        let mut bytes = order.envelope.top.clone().into_bytes();
        let whole = full && text.body_len() <= RETURN_LIMIT;
        bytes.extend(if whole { text.all()? } else { text.header()? });
        Ok((bytes, whole))
    };
    read().unwrap_or_else(|error| {
        tracing::warn!(id = %order.id, %error, "a report goes without the text of its message");
        (Vec::new(), false)
    })
}

fn recipients(order: &Order, report: &Report) -> Vec<ReportedRecipient> {
    if report.kind == ReportKind::Expanded {
        let Some((original, orcpt)) = order.state.expanded_original(&report.recipients) else {
            return Vec::new();
        };
        return vec![ReportedRecipient {
            final_address: original.clone(),
            original: orcpt.cloned(),
            reply: Reply::plain(250, "expanded"),
            mta: None,
            last_attempt: None,
            will_retry_until: None,
        }];
    }
    let of = |index: &u32| -> Option<ReportedRecipient> {
        let state = order.state.recipients.get(index)?;
        let recipient = &state.recipient;
        let (reply, mta, at_ms) = match &state.progress {
            Progress::Final(result) => (result.reply.clone(), &result.mta, result.at_ms),
            Progress::Waiting(Some(attempt)) => (attempt.reply.clone(), &attempt.mta, attempt.at_ms),
            Progress::Waiting(None) | Progress::Expanded => return None,
        };
        let retry_until = report.at_ms.saturating_add(order.retry_for_ms);
        Some(ReportedRecipient {
            final_address: recipient
                .final_address
                .clone()
                .unwrap_or_else(|| recipient.original.clone()),
            original: recipient.orcpt.clone().or_else(|| {
                (recipient.expanded && !recipient.original.needs_utf8()).then(|| OriginalRecipient {
                    addr_type: "rfc822".to_owned(),
                    address: recipient.original.to_string(),
                })
            }),
            reply,
            mta: (!mta.is_empty()).then(|| mta.clone()),
            last_attempt: (at_ms > 0).then(|| timestamp(at_ms)),
            will_retry_until: Some(timestamp(retry_until)),
        })
    };
    report.recipients.iter().filter_map(of).collect()
}

fn action(kind: ReportKind) -> Action {
    match kind {
        ReportKind::Failed => Action::Failed,
        ReportKind::Delayed => Action::Delayed,
        ReportKind::Success => Action::Delivered,
        ReportKind::Relayed => Action::Relayed,
        ReportKind::Expanded => Action::Expanded,
    }
}

/// The name of a kind in events.
pub fn kind_name(kind: ReportKind) -> &'static str {
    match kind {
        ReportKind::Failed => "failed",
        ReportKind::Delayed => "delayed",
        ReportKind::Success => "delivered",
        ReportKind::Relayed => "relayed",
        ReportKind::Expanded => "expanded",
    }
}

fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
