//! What the panel keeps for itself and we only show: fetchmail rows and the log.

use auth_api::admin::{AdminError, FetchmailRecord, LogEntry, Page, Which};
use mail_types::Domain;

use super::admin_error;
use super::sql::{Tables, records};
use crate::database::Arg;
use crate::database::values::{flag, number, text_or_empty};

/// Entries of the log where no number is asked for.
const USUAL: u32 = 100;
/// Most entries of the log.
const MOST: u32 = 10_000;

/// By number, without their passwords.
pub async fn fetchmail(
    tables: &Tables<'_>,
    which: &Which,
    after: Option<&str>,
) -> Result<Page<FetchmailRecord>, AdminError> {
    let condition = match which {
        Which::All => None,
        // Older tables have no column for the domain. Domains are ASCII, so bytes are characters.
        Which::Domain(domain) => Some((
            format!("LOWER(SUBSTR(`mailbox`, -{})) = ?", domain.as_str().len() + 1),
            Arg::from(format!("@{domain}")),
        )),
        Which::One(mailbox) => Some(("LOWER(`mailbox`) = ?".to_owned(), mailbox.to_lowercase().into())),
    };
    let columns = format!(
        "`mailbox`, `src_server`, `src_user`, CAST(`protocol` AS CHAR), `poll_time`, {}, \
         CAST({} AS CHAR), {}",
        tables.column("fetchmail", "active", "1"),
        tables.column("fetchmail", "date", "''"),
        tables.column("fetchmail", "returned_text", "''"),
    );
    let raw = tables
        .page_where("fetchmail", "id", &columns, condition, after)
        .await?;
    Ok(raw.read("fetchmail", |row| {
        Some(FetchmailRecord {
            id: number(&row[0])?,
            mailbox: text_or_empty(&row[1])?,
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
pub async fn log(
    tables: &Tables<'_>,
    domain: Option<&Domain>,
    limit: u32,
) -> Result<Vec<LogEntry>, AdminError> {
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
    let rows = tables.select(&sql, args).await.map_err(admin_error)?;
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
