//! `mailctl fetchmail`: mailboxes elsewhere whose mail is fetched; PostfixAdmin keeps the list.

use auth_api::admin::{FetchmailRecord, Which};
use clap::Subcommand;
use mail_types::Domain;
use serde::Serialize;

use crate::error::Failure;
use crate::output::{clean, yes_no};
use crate::session::Session;

/// Fetchmail.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what is fetched, without the passwords; PostfixAdmin changes it
    List {
        /// Only this domain
        domain: Option<Domain>,
    },
}

/// A row as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    id: i64,
    mailbox: String,
    server: String,
    user: String,
    protocol: String,
    poll_minutes: i64,
    active: bool,
    last_polled: String,
    last_result: String,
}

impl From<FetchmailRecord> for Row {
    fn from(record: FetchmailRecord) -> Self {
        Self {
            id: record.id,
            mailbox: record.mailbox,
            server: record.src_server,
            user: record.src_user,
            protocol: record.protocol,
            poll_minutes: record.poll_time,
            active: record.active,
            last_polled: record.date,
            last_result: record.returned_text,
        }
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let Command::List { domain } = command;
    let rows = session.authd()?.fetchmail(Which::of(domain.as_ref()));
    let header = [
        "MAILBOX", "SERVER", "USER", "PROTOCOL", "MINUTES", "ACTIVE", "LAST",
    ];
    let none = "nothing is fetched; PostfixAdmin adds what is to be";
    let read = |record| Some(Row::from(record));
    let cells = |row: &Row| {
        vec![
            clean(&row.mailbox),
            clean(&row.server),
            clean(&row.user),
            clean(&row.protocol),
            row.poll_minutes.to_string(),
            yes_no(row.active),
            clean(&row.last_polled),
        ]
    };
    session.output.list(rows, read, &header, none, cells).await
}
