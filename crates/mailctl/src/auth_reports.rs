//! `mailctl auth failures|unban|mechanisms`: what authd remembers of logins.

use auth_api::sasl::{FailureRecord, MOST_USAGE_ROWS, MechanismUsage};
use serde::Serialize;

use crate::error::Failure;
use crate::output::{clean, count, local_time, rough_duration, yes_no};
use crate::session::Session;

#[derive(Serialize)]
struct FailureRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    count: u32,
    /// Seconds since 1970.
    last: u64,
    /// Seconds that the next failure is going to wait.
    delay: f64,
    /// Seconds since 1970.
    forgotten: u64,
}

impl From<FailureRecord> for FailureRow {
    fn from(record: FailureRecord) -> Self {
        Self {
            account: record.account,
            network: record.network,
            count: record.count,
            last: record.last,
            delay: record.delay.as_secs_f64(),
            forgotten: record.forgotten,
        }
    }
}

/// Who fails.
pub(crate) async fn failures(limit: u32, session: &Session) -> Result<(), Failure> {
    let records = session
        .authd()?
        .failures(limit)
        .await
        .map_err(|error| away(&error))?;
    let rows: Vec<FailureRow> = records.into_iter().map(FailureRow::from).collect();
    session.output.rows(
        &rows,
        &["ACCOUNT", "FROM", "FAILURES", "LAST", "NEXT WAITS"],
        "no failed logins within 15 minutes",
        |row| {
            let any = || "anywhere".to_owned();
            vec![
                row.account.as_deref().map_or_else(|| "any".to_owned(), clean),
                row.network.clone().unwrap_or_else(any),
                row.count.to_string(),
                local_time(row.last.saturating_mul(1_000)),
                rough_duration(std::time::Duration::from_secs_f64(row.delay.max(0.0))),
            ]
        },
    );
    Ok(())
}

/// Forgets failures.
pub(crate) async fn unban(target: &str, session: &Session) -> Result<(), Failure> {
    let forgotten = session
        .authd()?
        .unban(target)
        .await
        .map_err(|error| away(&error))?;
    if forgotten == 0 {
        return Err(Failure::not_found(
            format!("nothing is remembered against {}", clean(target)),
            "mailctl auth failures lists what is; write an address, a network (2001:db8::/32) or a login",
        ));
    }
    let entries = usize::try_from(forgotten).unwrap_or(usize::MAX);
    session.output.done(
        &serde_json::json!({ "target": target, "forgotten": forgotten }),
        &format!(
            "{} forgotten",
            count(entries, "entry").replace("entrys", "entries")
        ),
    );
    Ok(())
}

#[derive(Serialize)]
struct UsageRow {
    account: String,
    mechanism: String,
    service: String,
    count: u64,
    /// Seconds since 1970.
    last: u64,
    /// Keys for SCRAM are kept.
    scram_keys: bool,
    /// It shows the password, or needs it stored in clear.
    weak: bool,
}

impl From<MechanismUsage> for UsageRow {
    fn from(usage: MechanismUsage) -> Self {
        let weak = match usage.mechanism.as_str() {
            "CRAM-MD5" | "DIGEST-MD5" => true,
            "PLAIN" | "LOGIN" => !usage.scram_keys,
            _ => false,
        };
        Self {
            account: usage.account,
            mechanism: usage.mechanism,
            service: usage.service,
            count: usage.count,
            last: usage.last,
            scram_keys: usage.scram_keys,
            weak,
        }
    }
}

/// Who logs in how.
pub(crate) async fn mechanisms(weak: bool, session: &Session) -> Result<(), Failure> {
    let usage = session
        .authd()?
        .mechanism_usage()
        .await
        .map_err(|error| away(&error))?;
    let whole = usage.len() < MOST_USAGE_ROWS;
    let mut rows: Vec<UsageRow> = usage
        .into_iter()
        .map(UsageRow::from)
        .filter(|row| row.weak || !weak)
        .collect();
    rows.sort_by(|a, b| (&a.account, &a.mechanism, &a.service).cmp(&(&b.account, &b.mechanism, &b.service)));
    if !whole {
        eprintln!(
            "mailctl: there are more than {MOST_USAGE_ROWS} rows: those with CRAM-MD5 and DIGEST-MD5 are all that come first"
        );
    }
    session.output.rows(
        &rows,
        &["LOGIN", "MECHANISM", "SERVICE", "LOGINS", "LAST", "SCRAM KEYS"],
        "nobody",
        |row| {
            vec![
                clean(&row.account),
                clean(&row.mechanism),
                clean(&row.service),
                row.count.to_string(),
                local_time(row.last.saturating_mul(1_000)),
                yes_no(row.scram_keys),
            ]
        },
    );
    Ok(())
}

fn away(error: &auth_api::Unavailable) -> Failure {
    Failure::try_later(
        format!("authd gives no answer: {}", clean(&error.reason)),
        "look at authd's log (journalctl -u postrider-authd) and try again",
    )
}
