//! What the panel keeps for itself and we only show: fetchmail rows and the log.

use auth_api::admin::{FetchmailRecord, LogEntry};
use mail_types::Domain;

use super::sql::{Tables, records};
use crate::database::values::{flag, number, text_or_empty};
use crate::database::{Arg, DbError};

/// Entries of the log where no number is asked for.
const USUAL: u32 = 100;
/// Most entries of the log.
const MOST: u32 = 10_000;

/// All by mailbox, or those of one domain; without their passwords.
pub async fn fetchmail(
    tables: &Tables<'_>,
    domain: Option<&Domain>,
) -> Result<Vec<FetchmailRecord>, DbError> {
    if !tables.schema.has_table("fetchmail") {
        return Ok(Vec::new());
    }
    let (condition, args) = match domain {
        Some(domain) => {
            let suffix = format!("@{domain}");
            let length = i64::try_from(suffix.len()).unwrap_or(i64::MAX);
            (
                "WHERE LOWER(SUBSTR(`mailbox`, ?)) = ?",
                vec![Arg::Int(-length), suffix.into()],
            )
        }
        None => ("", Vec::new()),
    };
    let sql = format!(
        "SELECT `mailbox`, `id`, `src_server`, `src_user`, CAST(`protocol` AS CHAR), `poll_time`, {}, \
         CAST({} AS CHAR), {} FROM <fetchmail> {condition} ORDER BY `mailbox`, `id`",
        tables.column("fetchmail", "active", "1"),
        tables.column("fetchmail", "date", "''"),
        tables.column("fetchmail", "returned_text", "''"),
    );
    let rows = tables.select(&sql, args).await?;
    Ok(records(rows, "fetchmail", |row| {
        Some(FetchmailRecord {
            mailbox: text_or_empty(&row[0])?,
            id: number(&row[1])?,
            src_server: text_or_empty(&row[2])?,
            src_user: text_or_empty(&row[3])?,
            protocol: text_or_empty(&row[4])?,
            poll_time: number(&row[5])?,
            active: flag(&row[6])?,
            date: text_or_empty(&row[7])?,
            returned_text: text_or_empty(&row[8])?,
        })
    }))
}

/// The latest entries, latest first.
pub async fn log(tables: &Tables<'_>, domain: Option<&Domain>, limit: u32) -> Result<Vec<LogEntry>, DbError> {
    if !tables.schema.has_table("log") {
        return Ok(Vec::new());
    }
    let (condition, args) = match domain {
        Some(domain) => ("WHERE `domain` = ?", vec![Arg::from(domain.as_str())]),
        None => ("", Vec::new()),
    };
    let limit = if limit == 0 { USUAL } else { limit.min(MOST) };
    // Several entries of one second: the later ones have the larger number, where there are numbers.
    let then = if tables.schema.has("log", "id") {
        ", `id` DESC"
    } else {
        ""
    };
    let sql = format!(
        "SELECT `data`, CAST(`timestamp` AS CHAR), `username`, `domain`, `action` FROM <log> {condition} \
         ORDER BY `timestamp` DESC{then} LIMIT {limit}"
    );
    let rows = tables.select(&sql, args).await?;
    Ok(records(rows, "log", |row| {
        Some(LogEntry {
            data: text_or_empty(&row[0])?,
            timestamp: text_or_empty(&row[1])?,
            username: text_or_empty(&row[2])?,
            domain: text_or_empty(&row[3])?,
            action: text_or_empty(&row[4])?,
        })
    }))
}
