//! The records of a journal and their framing, as pure functions (docs/formats/spool.md, "Journal").

use mail_types::{MailId, Reply};
use serde::{Deserialize, Serialize};

use crate::envelope::Recipient;
use crate::error::Damage;
use crate::wire::{RecipientWire, ReplyWire};

/// One record of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Recipient `of` was resolved to these; written before the first attempt.
    Expansion {
        /// Index of the recipient that is replaced.
        of: u32,
        /// What it became; empty only where `of` failed (then a result follows).
        recipients: Vec<Recipient>,
        /// Whether an *expanded* report is due.
        report: bool,
    },
    /// A deferral.
    Attempt(Attempt),
    /// The final result of a recipient.
    Result(FinalResult),
    /// Report number `n` will be message `id`.
    Report(Report),
    /// Report `n` is in the spool, or none is to be sent.
    Reported {
        /// Its number.
        n: u32,
    },
    /// Put on hold, or released.
    Hold {
        /// Held from now on?
        on: bool,
    },
    /// Routing and retry times start again.
    Requeue,
    /// Deleted by the operator.
    Deleted,
    /// A type that this version does not know.
    Unknown,
}

/// A deferral of some recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Indexes.
    pub recipients: Vec<u32>,
    /// Why.
    pub reply: Reply,
    /// The server that said so; empty where we did.
    pub mta: String,
    /// Wall time, milliseconds since 1970; for listings, never for decisions.
    pub at_ms: u64,
    /// How many attempts there have been, this one included.
    pub attempts: u32,
    /// The age counted so far in milliseconds: the sum of the gaps, each at most twice its plan.
    pub age_ms: u64,
    /// The planned gap to the next attempt in milliseconds.
    pub gap_ms: u64,
}

/// How a recipient ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Delivered into a mailbox here.
    Delivered,
    /// Accepted by a server that takes over the DSN duties (RFC 3461 5.2.1).
    Passed,
    /// Refused for good or too old.
    Failed,
    /// Accepted by a server without DSN (RFC 3461 5.2.2).
    Relayed,
    /// Dropped by the transport `discard:`.
    Discarded,
}

/// The final result of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalResult {
    /// Its index.
    pub recipient: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The last reply.
    pub reply: Reply,
    /// The server that gave it; empty where we did.
    pub mta: String,
    /// Wall time, milliseconds since 1970.
    pub at_ms: u64,
}

/// Which kind of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportKind {
    /// A bounce.
    Failed,
    /// A delay notice.
    Delayed,
    /// A delivery that the sender asked to hear of.
    Success,
    /// Handed to a server that does not know DSN.
    Relayed,
    /// An alias became several recipients.
    Expanded,
}

/// A report that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its number in this message, from 0.
    pub n: u32,
    /// Its kind.
    pub kind: ReportKind,
    /// The recipients that it is about.
    pub recipients: Vec<u32>,
    /// Wall time, milliseconds since 1970; part of what the id is made of.
    pub at_ms: u64,
    /// The id of the message that it will be.
    pub id: MailId,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum RecordWire {
    Expansion {
        of: u32,
        recipients: Vec<RecipientWire>,
        report: bool,
    },
    Attempt {
        recipients: Vec<u32>,
        reply: ReplyWire,
        mta: String,
        at_ms: u64,
        attempts: u32,
        age_ms: u64,
        gap_ms: u64,
    },
    Result {
        recipient: u32,
        outcome: Outcome,
        reply: ReplyWire,
        mta: String,
        at_ms: u64,
    },
    Report {
        n: u32,
        kind: ReportKind,
        recipients: Vec<u32>,
        at_ms: u64,
        id: String,
    },
    Reported {
        n: u32,
    },
    Hold {
        on: bool,
    },
    Requeue,
    Deleted,
    #[serde(other)]
    Unknown,
}

/// Length of the header of a journal.
pub(crate) const HEAD_LEN: usize = 32;
/// The largest payload.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;
const MAGIC: &[u8; 8] = b"PRJRNL01";

/// The header of the journal of message `id`.
pub(crate) fn head(id: MailId) -> [u8; HEAD_LEN] {
    let mut out = [0; HEAD_LEN];
    out[..8].copy_from_slice(MAGIC);
    out[8..28].copy_from_slice(id.as_str().as_bytes());
    let crc = crc32c::crc32c(&out[..28]);
    out[28..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// What a journal holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) records: Vec<Record>,
    /// Where the next record goes.
    pub(crate) end: usize,
    /// Whether there is something behind the end.
    pub(crate) torn: bool,
}

/// Reads a whole journal. A header that is wrong is damage; a record that does not verify is a torn tail.
pub(crate) fn parse(bytes: &[u8], id: MailId) -> Result<Parsed, Damage> {
    // A journal whose first write did not reach the disk: nothing was ever recorded in it.
    if head(id).starts_with(bytes) && bytes.len() < HEAD_LEN || bytes.iter().all(|b| *b == 0) {
        return Ok(Parsed {
            torn: !bytes.is_empty(),
            ..Parsed::default()
        });
    }
    if bytes.get(..HEAD_LEN) != Some(&head(id)[..]) {
        return Err(Damage::new("the header of the journal"));
    }
    let mut parsed = Parsed {
        end: HEAD_LEN,
        ..Parsed::default()
    };
    while let Some((payload, next)) = frame(bytes, parsed.end) {
        parsed.records.push(decode(payload)?);
        parsed.end = next;
    }
    parsed.torn = parsed.end < bytes.len();
    Ok(parsed)
}

/// The payload of the record at `at` and the offset behind it; none at the end or at a torn record.
fn frame(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let word = |at: usize| -> Option<u32> {
        let slice = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes([slice[0], slice[1], slice[2], slice[3]]))
    };
    let (len, crc) = (word(at)? as usize, word(at + 4)?);
    if len == 0 || len > MAX_PAYLOAD {
        return None;
    }
    let payload = bytes.get(at + 8..at + 8 + len)?;
    (checksum(payload) == crc).then_some((payload, at + 8 + len))
}

fn checksum(payload: &[u8]) -> u32 {
    let len = crc32c::crc32c(&(payload.len() as u32).to_le_bytes());
    crc32c::crc32c_append(len, payload)
}

/// A record whose checksum holds but whose content makes no sense was written so: that is damage.
fn decode(payload: &[u8]) -> Result<Record, Damage> {
    let wire: RecordWire =
        serde_json::from_slice(payload).map_err(|e| Damage::new(format!("a journal record: {e}")))?;
    Ok(match wire {
        RecordWire::Expansion {
            of,
            recipients,
            report,
        } => Record::Expansion {
            of,
            recipients: recipients
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            report,
        },
        RecordWire::Attempt {
            recipients,
            reply,
            mta,
            at_ms,
            attempts,
            age_ms,
            gap_ms,
        } => Record::Attempt(Attempt {
            recipients,
            reply: reply.try_into()?,
            mta,
            at_ms,
            attempts,
            age_ms,
            gap_ms,
        }),
        RecordWire::Result {
            recipient,
            outcome,
            reply,
            mta,
            at_ms,
        } => Record::Result(FinalResult {
            recipient,
            outcome,
            reply: reply.try_into()?,
            mta,
            at_ms,
        }),
        RecordWire::Report {
            n,
            kind,
            recipients,
            at_ms,
            id,
        } => Record::Report(Report {
            n,
            kind,
            recipients,
            at_ms,
            id: id.parse().map_err(|_| Damage::new("the id of a report"))?,
        }),
        RecordWire::Reported { n } => Record::Reported { n },
        RecordWire::Hold { on } => Record::Hold { on },
        RecordWire::Requeue => Record::Requeue,
        RecordWire::Deleted => Record::Deleted,
        RecordWire::Unknown => Record::Unknown,
    })
}

/// Length, checksum and payload of `record`.
pub(crate) fn encode(record: &Record) -> Result<Vec<u8>, Damage> {
    let wire = match record {
        Record::Expansion {
            of,
            recipients,
            report,
        } => RecordWire::Expansion {
            of: *of,
            recipients: recipients.iter().map(Into::into).collect(),
            report: *report,
        },
        Record::Attempt(a) => RecordWire::Attempt {
            recipients: a.recipients.clone(),
            reply: (&a.reply).into(),
            mta: a.mta.clone(),
            at_ms: a.at_ms,
            attempts: a.attempts,
            age_ms: a.age_ms,
            gap_ms: a.gap_ms,
        },
        Record::Result(r) => RecordWire::Result {
            recipient: r.recipient,
            outcome: r.outcome,
            reply: (&r.reply).into(),
            mta: r.mta.clone(),
            at_ms: r.at_ms,
        },
        Record::Report(r) => RecordWire::Report {
            n: r.n,
            kind: r.kind,
            recipients: r.recipients.clone(),
            at_ms: r.at_ms,
            id: r.id.to_string(),
        },
        Record::Reported { n } => RecordWire::Reported { n: *n },
        Record::Hold { on } => RecordWire::Hold { on: *on },
        Record::Requeue => RecordWire::Requeue,
        Record::Deleted => RecordWire::Deleted,
        Record::Unknown => RecordWire::Unknown,
    };
    let payload = serde_json::to_vec(&wire).map_err(|e| Damage::new(e.to_string()))?;
    if payload.len() > MAX_PAYLOAD {
        return Err(Damage::new("a journal record that is too long"));
    }
    let mut out = Vec::with_capacity(payload.len() + 8);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&checksum(&payload).to_le_bytes());
    out.extend_from_slice(&payload);
    Ok(out)
}
