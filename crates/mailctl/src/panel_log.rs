//! `mailctl log`: what administrators did, here and in PostfixAdmin.

use auth_api::admin::LogEntry;
use mail_types::Domain;
use serde::Serialize;

use crate::error::Failure;
use crate::output::clean;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  mailctl log
  mailctl log --domain example.com --limit 1000 --json

It is the table of PostfixAdmin, where the same entries are shown. Times are those of the database.";

/// Which entries.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// So many at most, the latest first
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// An entry as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    time: String,
    username: String,
    domain: String,
    action: String,
    data: String,
}

impl From<LogEntry> for Row {
    fn from(entry: LogEntry) -> Self {
        Self {
            time: entry.timestamp,
            username: entry.username,
            domain: entry.domain,
            action: entry.action,
            data: entry.data,
        }
    }
}

/// Shows them.
pub(crate) async fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let entries = session.authd()?.log(args.domain.as_ref(), args.limit).await?;
    let rows: Vec<Row> = entries.into_iter().map(Row::from).collect();
    let header = ["TIME", "ACTION", "ON", "DOMAIN", "BY"];
    session
        .output
        .rows(&rows, &header, "nothing was done yet", |row| {
            vec![
                clean(&row.time),
                clean(&row.action),
                clean(&row.data),
                clean(&row.domain),
                clean(&row.username),
            ]
        });
    Ok(())
}
