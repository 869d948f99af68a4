//! One event: who says it, when, about which session and message, and what.

use jiff::Timestamp;
use mail_types::{MailId, SessionId};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{access, authd, deliver, process, qmgr, smtpd};

/// The version of the schema that this code writes. A field that is added leaves it; a field whose meaning
/// changes raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// What an event is about; all parts may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct About {
    /// The session.
    pub session: Option<SessionId>,
    /// The message.
    pub id: Option<MailId>,
    /// The recipient's index in the message.
    pub recipient: Option<u32>,
    /// The message that caused this one.
    pub parent: Option<MailId>,
}

impl About {
    /// The process as a whole.
    pub fn process() -> Self {
        Self::default()
    }

    /// A session.
    pub fn session(session: SessionId) -> Self {
        Self {
            session: Some(session),
            ..Self::default()
        }
    }

    /// A message outside of a session.
    pub fn message(id: MailId) -> Self {
        Self {
            id: Some(id),
            ..Self::default()
        }
    }

    /// The same with a message.
    #[must_use]
    pub fn mail(self, id: MailId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same with a recipient's index.
    #[must_use]
    pub fn recipient(self, index: u32) -> Self {
        Self {
            recipient: Some(index),
            ..self
        }
    }

    /// The same with the message that caused this one.
    #[must_use]
    pub fn parent(self, parent: MailId) -> Self {
        Self {
            parent: Some(parent),
            ..self
        }
    }
}

/// What was decided: the kinds of all daemons.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Kind {
    /// Of any daemon, about itself.
    Process(process::Kind),
    /// Of smtpd.
    Smtpd(smtpd::Kind),
    /// Of authd.
    Authd(authd::Kind),
    /// Of qmgr.
    Qmgr(qmgr::Kind),
    /// Of deliver.
    Deliver(deliver::Kind),
    /// Of imapd and pop3d.
    Access(access::Kind),
    /// Of a version that knows more than this one: kept as it was.
    Raw(Map<String, Value>),
}

macro_rules! from_kind {
    ($($module:ident => $variant:ident),*) => {
        $(impl From<$module::Kind> for Kind {
            fn from(kind: $module::Kind) -> Self {
                Self::$variant(kind)
            }
        })*
    };
}
from_kind!(process => Process, smtpd => Smtpd, authd => Authd, qmgr => Qmgr, deliver => Deliver, access => Access);

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// [`SCHEMA_VERSION`] of the writer.
    pub v: u32,
    /// The host.
    pub host: String,
    /// The daemon.
    pub daemon: String,
    /// Number of the event since the start of the process, from 1.
    pub seq: u64,
    /// Wall time, RFC 3339 in UTC with microseconds.
    #[serde(serialize_with = "micros")]
    pub time: Timestamp,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The recipient's index in the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<u32>,
    /// The message that caused this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What was decided.
    #[serde(flatten)]
    pub kind: Kind,
}

fn micros<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

/// A line that is no event.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Cut short, or not JSON.
    #[error("not a line of the decision log")]
    Json(#[from] serde_json::Error),
    /// The time cannot be read.
    #[error("the time of an event cannot be read")]
    Time(#[from] jiff::Error),
}

/// The fields around the kind, as they are read.
#[derive(Deserialize)]
struct Envelope {
    v: u32,
    host: String,
    daemon: String,
    seq: u64,
    time: String,
    session: Option<String>,
    id: Option<String>,
    recipient: Option<u32>,
    parent: Option<String>,
    #[serde(flatten)]
    kind: Map<String, Value>,
}

impl Event {
    /// Reads one line. A kind that this version does not know is kept as [`Kind::Raw`].
    pub fn parse(line: &[u8]) -> Result<Self, ParseError> {
        let envelope: Envelope = serde_json::from_slice(line)?;
        Ok(Self {
            v: envelope.v,
            time: envelope.time.parse()?,
            kind: read_kind(&envelope.daemon, envelope.kind),
            host: envelope.host,
            daemon: envelope.daemon,
            seq: envelope.seq,
            session: envelope.session,
            id: envelope.id,
            recipient: envelope.recipient,
            parent: envelope.parent,
        })
    }

    /// The name of the kind, e.g. `mail_accepted`.
    pub fn name(&self) -> String {
        match &self.kind {
            Kind::Raw(fields) => fields
                .get("event")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            kind => serde_json::to_value(kind)
                .ok()
                .and_then(|value| value["event"].as_str().map(str::to_owned))
                .unwrap_or_default(),
        }
    }
}

fn read_kind(daemon: &str, fields: Map<String, Value>) -> Kind {
    fn typed<K: for<'de> Deserialize<'de> + Into<Kind>>(value: &Value) -> Option<Kind> {
        K::deserialize(value).ok().map(Into::into)
    }
    let value = Value::Object(fields);
    let own = match daemon {
        "smtpd" => typed::<smtpd::Kind>(&value),
        "authd" => typed::<authd::Kind>(&value),
        "qmgr" => typed::<qmgr::Kind>(&value),
        "deliver" => typed::<deliver::Kind>(&value),
        "imapd" | "pop3d" => typed::<access::Kind>(&value),
        _ => None,
    };
    own.or_else(|| typed::<process::Kind>(&value))
        .unwrap_or(match value {
            Value::Object(fields) => Kind::Raw(fields),
            _ => Kind::Raw(Map::new()),
        })
}
