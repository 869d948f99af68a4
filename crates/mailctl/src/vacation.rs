//! `mailctl vacation`: automatic replies.

use std::io::Read as _;
use std::path::PathBuf;

use auth_api::admin::{VacationRecord, Which};
use clap::{Args, Subcommand};
use config::DurationText;
use mail_types::{Address, Domain};
use serde::Serialize;
use serde_json::json;

use crate::error::Failure;
use crate::output::{clean, rough_duration, yes_no};
use crate::session::Session;

/// Longest text of a reply, in bytes.
const LONGEST: u64 = 65_535;

/// Automatic replies.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn the automatic reply of a mailbox on, with this text
    #[command(after_help = SET)]
    Set(Set),
    /// Show the automatic reply of a mailbox
    Show {
        /// The mailbox
        address: Address,
    },
    /// List all automatic replies, those that are off too
    List {
        /// Only this domain
        domain: Option<Domain>,
    },
    /// Turn an automatic reply off; its text stays for the next time
    Clear {
        /// The mailbox
        address: Address,
    },
}

const SET: &str = "\
Examples:
  mailctl vacation set alice@example.com --subject 'Away: $SUBJECT' --body 'Back on Monday.'
  mailctl vacation set alice@example.com --subject Away --body-file reply.txt \\
      --from 2026-12-24 --until 2027-01-06 --interval 1d

$SUBJECT stands for the subject of the mail, <%From_Date> and <%Until_Date> in the body for the
dates. It needs [authd] vacation_domain, the same as in PostfixAdmin.";

/// A reply.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The mailbox
    address: Address,
    /// Subject of the reply
    #[arg(long, value_name = "TEXT")]
    subject: String,
    /// Text of the reply
    #[arg(
        long,
        value_name = "TEXT",
        required_unless_present = "body_file",
        conflicts_with = "body_file"
    )]
    body: Option<String>,
    /// File with the text of the reply; - for standard input
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// First day, or time (2026-12-24 18:00:00), of the database's clock; default: now
    #[arg(long, value_name = "TIME", default_value = "", hide_default_value = true)]
    from: String,
    /// Last day, or time; default: no end
    #[arg(long, value_name = "TIME", default_value = "", hide_default_value = true)]
    until: String,
    /// Answer the same sender again after this time; 0s never
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    interval: DurationText,
}

/// A reply as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    address: String,
    active: bool,
    from: String,
    until: String,
    interval_seconds: i64,
    subject: String,
    body: String,
}

impl From<VacationRecord> for Row {
    fn from(record: VacationRecord) -> Self {
        Self {
            address: record.address.to_string(),
            active: record.active,
            from: record.active_from,
            until: record.active_until,
            interval_seconds: record.interval_time,
            subject: record.subject,
            body: record.body,
        }
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Set(set) => turn_on(set, session).await,
        Command::Show { address } => show(&address, session).await,
        Command::List { domain } => list(domain.as_ref(), session).await,
        Command::Clear { address } => {
            session.authd()?.clear_vacation(&address).await?;
            let text = format!("the automatic reply of {address} is off");
            session
                .output
                .done(&json!({ "address": address.to_string() }), &text);
            Ok(())
        }
    }
}

async fn turn_on(set: Set, session: &Session) -> Result<(), Failure> {
    let body = match (set.body, &set.body_file) {
        (Some(body), _) => body,
        (None, Some(path)) => read(path)?,
        (None, None) => String::new(),
    };
    let record = VacationRecord {
        address: set.address.clone(),
        subject: set.subject,
        body,
        active_from: set.from,
        active_until: set.until,
        interval_time: i64::try_from(set.interval.get().as_secs()).unwrap_or(i64::MAX),
        active: true,
    };
    session.authd()?.set_vacation(record).await?;
    let text = format!("the automatic reply of {} is on", set.address);
    session
        .output
        .done(&json!({ "address": set.address.to_string() }), &text);
    Ok(())
}

/// The text of a file, or of standard input.
fn read(path: &PathBuf) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::unreachable(format!("{}: {error}", path.display()), "");
    let source: Box<dyn std::io::Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    let mut text = String::new();
    source
        .take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > LONGEST {
        return Err(Failure::bad_request(
            format!("a reply has at most {LONGEST} bytes"),
            "",
        ));
    }
    Ok(text)
}

async fn show(address: &Address, session: &Session) -> Result<(), Failure> {
    let one = Which::One(address.lookup_key());
    let found = session.authd()?.vacations(one).next().await?;
    let row = found.map(Row::from).ok_or_else(|| {
        Failure::not_found(
            format!("{address} has no automatic reply"),
            "mailctl vacation set turns one on",
        )
    })?;
    session.output.fields(
        &row,
        &[
            ("address", clean(&row.address)),
            ("active", yes_no(row.active)),
            ("from", clean(&row.from)),
            ("until", clean(&row.until)),
            ("again after", again(row.interval_seconds)),
            ("subject", clean(&row.subject)),
        ],
    );
    if !session.output.json {
        session.output.line("");
        for line in row.body.lines() {
            session.output.line(&clean(line));
        }
    }
    Ok(())
}

/// When the same sender is answered again.
fn again(seconds: i64) -> String {
    match u64::try_from(seconds) {
        Ok(1..) => rough_duration(std::time::Duration::from_secs(seconds.unsigned_abs())),
        _ => "never".to_owned(),
    }
}

async fn list(domain: Option<&Domain>, session: &Session) -> Result<(), Failure> {
    let rows = session.authd()?.vacations(Which::of(domain));
    let header = ["ADDRESS", "ACTIVE", "FROM", "UNTIL", "SUBJECT"];
    let none = "no automatic replies; mailctl vacation set alice@example.com --help";
    let read = |record| Some(Row::from(record));
    let cells = |row: &Row| {
        vec![
            clean(&row.address),
            yes_no(row.active),
            clean(&row.from),
            clean(&row.until),
            clean(&row.subject),
        ]
    };
    session.output.list(rows, read, &header, none, cells).await
}
