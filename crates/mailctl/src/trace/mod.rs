//! `mailctl trace`: the life of a message across all daemons, in order, with what it caused below it.

mod describe;
mod tree;

use events::{Event, Kind, read};
use mail_types::MailId;
use serde_json::Value;

use crate::error::Failure;
use crate::session::Session;

/// What to look for.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// A message's id (as in "queued as ID"), its Message-ID, or the address of a sender or recipient
    query: String,
    /// With an address, the last messages only
    #[arg(long, value_name = "N", default_value = "20")]
    last: usize,
}

const HELP: &str = "\
Shows every step of the messages that match: the session that brought them, which rows of the directory
decided where they go, each attempt and reply, and below them what they caused, such as a bounce. Read from
the decision log in events_dir; rotated files are read too as long as they are not compressed.";

/// Runs it.
pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let dir = session.config()?.general.events_dir.as_path();
    let query = Query::new(&args.query);
    let life = read::life_of(dir, args.last, |event| query.matches(event)).map_err(|error| {
        Failure::unreachable(
            with_cause(&error),
            "the decision log is readable by root and its group; events_dir names the directory",
        )
    })?;
    if session.output.json {
        session.output.value(&life.events);
    } else {
        for line in tree::lines(&life, &session.output) {
            session.output.line(&line);
        }
    }
    if life.picked.is_empty() {
        return Err(Failure::not_found(
            format!("the decision log knows nothing of {}", args.query),
            format!(
                "it lies in {}; older files may have been rotated away",
                dir.display()
            ),
        ));
    }
    Ok(())
}

/// An error with its cause.
fn with_cause(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// What is looked for.
#[derive(Debug, PartialEq, Eq)]
enum Query {
    Id(String),
    /// An address, or a Message-ID without angle brackets: both have an `@`.
    Text(String),
}

impl Query {
    fn new(text: &str) -> Self {
        let text = text.trim();
        if text.parse::<MailId>().is_ok() {
            return Self::Id(text.to_owned());
        }
        Self::Text(text.trim_start_matches('<').trim_end_matches('>').to_lowercase())
    }

    fn matches(&self, event: &Event) -> bool {
        match self {
            Self::Id(id) => event.id.as_ref() == Some(id),
            Self::Text(text) => mentions(&event.kind, text),
        }
    }
}

/// Whether a kind names the address as sender, recipient or target, or the Message-ID.
fn mentions(kind: &Kind, text: &str) -> bool {
    fn walk(value: &Value, key: &str, text: &str) -> bool {
        const KEYS: [&str; 7] = [
            "sender",
            "address",
            "final",
            "mailbox",
            "to",
            "message_id",
            "login",
        ];
        match value {
            Value::String(found) => {
                let bare = found.trim_start_matches('<').trim_end_matches('>');
                KEYS.contains(&key) && bare.to_lowercase() == text
            }
            Value::Array(items) => items.iter().any(|item| walk(item, key, text)),
            Value::Object(fields) => fields.iter().any(|(key, value)| walk(value, key, text)),
            _ => false,
        }
    }
    serde_json::to_value(kind).is_ok_and(|value| walk(&value, "", text))
}

#[cfg(test)]
mod tests;
