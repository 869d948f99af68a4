//! `mailctl alias`: addresses whose mail goes to others.

use auth_api::admin::{AliasRecord, AliasUpdate, Which};
use auth_api::client::Client;
use clap::{Args, Subcommand};
use mail_types::{Address, Domain};
use serde::Serialize;
use serde_json::json;

use crate::error::Failure;
use crate::output::{clean, yes_no};
use crate::session::Session;

/// Aliases.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add an alias
    #[command(after_help = ADD)]
    Add(Add),
    /// List aliases; without those that only stand for a mailbox
    List {
        /// Only this domain
        domain: Option<Domain>,
        /// Show the rows that only stand for a mailbox too
        #[arg(long)]
        all: bool,
    },
    /// Show one alias
    Show {
        /// The address, or @domain for a catch-all
        address: String,
    },
    /// Change an alias, or where else the mail of a mailbox goes
    #[command(after_help = SET)]
    Set(Set),
    /// Delete an alias
    Delete {
        /// The address, or @domain for a catch-all
        address: String,
    },
}

const ADD: &str = "\
Examples:
  mailctl alias add sales@example.com alice@example.com bob@example.net
  mailctl alias add @example.com alice@example.com     whatever has no mailbox or alias (catch-all)
  mailctl alias add @example.net @example.com          the same user over there";

const SET: &str = "\
Examples:
  mailctl alias set sales@example.com --add carol@example.com --remove bob@example.net
  mailctl alias set alice@example.com --add phone@example.net          a copy elsewhere too
  mailctl alias set alice@example.com --to new@example.net --keep-copy false   only elsewhere

A mailbox keeps getting its mail, and its automatic reply stays on, whatever other targets are set;
--keep-copy false ends the former, mailctl vacation clear the latter.";

/// A new alias.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The address, or @domain for everything in a domain that has no mailbox or alias
    address: String,
    /// Where its mail goes
    #[arg(required_unless_present = "to")]
    targets: Vec<String>,
    /// The same, separated by commas
    #[arg(long, value_name = "TARGETS", value_delimiter = ',')]
    to: Vec<String>,
    /// Add it switched off
    #[arg(long)]
    inactive: bool,
}

/// A change.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The address, or @domain for a catch-all
    address: String,
    /// All targets, separated by commas, in place of the old ones
    #[arg(long, value_name = "TARGETS", value_delimiter = ',', conflicts_with_all = ["add", "remove"])]
    to: Vec<String>,
    /// One more target; may be given more than once
    #[arg(long, value_name = "TARGET")]
    add: Vec<String>,
    /// A target less; may be given more than once
    #[arg(long, value_name = "TARGET")]
    remove: Vec<String>,
    /// true or false: whether the mailbox of this name keeps getting its mail
    #[arg(long, value_name = "BOOL")]
    keep_copy: Option<bool>,
    /// true or false: whether it exists
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
}

/// An alias as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    address: String,
    targets: Vec<String>,
    active: bool,
    stands_for_mailbox: bool,
    vacation: bool,
}

impl From<AliasRecord> for Row {
    fn from(record: AliasRecord) -> Self {
        Self {
            address: record.address,
            targets: record.goto,
            active: record.active,
            stands_for_mailbox: record.mirrors_mailbox,
            vacation: record.vacation,
        }
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Add(add) => add_alias(add, session).await,
        Command::List { domain, all } => list(domain.as_ref(), all, session).await,
        Command::Show { address } => show(&address, session).await,
        Command::Set(set) => change(set, session).await,
        Command::Delete { address } => {
            let address = key(&address)?;
            session.authd()?.delete_alias(&address).await?;
            session
                .output
                .done(&json!({ "address": address }), &format!("deleted {address}"));
            Ok(())
        }
    }
}

/// An address or `@domain`, as the table has it.
fn key(text: &str) -> Result<String, Failure> {
    let hint = "write user@example.com, or @example.com for a catch-all";
    if let Some(domain) = text.strip_prefix('*').unwrap_or(text).strip_prefix('@') {
        let domain =
            Domain::new(domain).map_err(|error| Failure::bad_request(format!("{text}: {error}"), hint))?;
        return Ok(format!("@{domain}"));
    }
    let address =
        Address::parse(text).map_err(|error| Failure::bad_request(format!("{text}: {error}"), hint))?;
    Ok(address.lookup_key())
}

/// Targets in the order given, each once.
fn targets(given: impl IntoIterator<Item = String>) -> Result<Vec<String>, Failure> {
    let mut targets = Vec::new();
    for text in given {
        let text = text.trim();
        let target = match text.strip_prefix('@') {
            Some(_) => key(text)?,
            None => Address::parse(text)
                .map_err(|error| Failure::bad_request(format!("{text}: {error}"), "write user@example.com"))?
                .to_string(),
        };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

async fn add_alias(add: Add, session: &Session) -> Result<(), Failure> {
    let goto = targets(add.targets.into_iter().chain(add.to))?;
    let mut record = AliasRecord::new(key(&add.address)?, goto);
    record.active = !add.inactive;
    let row = Row::from(record.clone());
    session.authd()?.create_alias(record).await?;
    let text = format!("added {} -> {}", row.address, row.targets.join(", "));
    session.output.done(&row, &text);
    Ok(())
}

async fn list(domain: Option<&Domain>, all: bool, session: &Session) -> Result<(), Failure> {
    let rows = session.authd()?.aliases(Which::of(domain));
    let read = |record: AliasRecord| (all || !record.mirrors_mailbox).then(|| Row::from(record));
    let none = "no aliases; mailctl alias add sales@example.com alice@example.com";
    let cells = |row: &Row| {
        vec![
            clean(&row.address),
            yes_no(row.active),
            clean(&row.targets.join(", ")),
        ]
    };
    let header = ["ADDRESS", "ACTIVE", "TARGETS"];
    session.output.list(rows, read, &header, none, cells).await
}

async fn find(authd: &Client, address: &str) -> Result<Row, Failure> {
    let found = authd.aliases(Which::One(address.to_owned())).next().await?;
    found.map(Row::from).ok_or_else(|| {
        Failure::not_found(
            format!("there is no alias {address}"),
            "mailctl alias list --all shows all",
        )
    })
}

async fn show(address: &str, session: &Session) -> Result<(), Failure> {
    let row = find(&session.authd()?, &key(address)?).await?;
    session.output.fields(
        &row,
        &[
            ("address", clean(&row.address)),
            ("targets", clean(&row.targets.join(", "))),
            ("active", yes_no(row.active)),
            ("stands for a mailbox", yes_no(row.stands_for_mailbox)),
            ("automatic reply", yes_no(row.vacation)),
        ],
    );
    Ok(())
}

async fn change(set: Set, session: &Session) -> Result<(), Failure> {
    let address = key(&set.address)?;
    let authd = session.authd()?;
    let goto = targets(set.to)?;
    let update = AliasUpdate {
        goto: (!goto.is_empty()).then_some(goto),
        active: set.active,
        keep_copy: set.keep_copy,
        add: targets(set.add)?,
        remove: targets(set.remove)?,
    };
    if update == AliasUpdate::default() {
        return Err(Failure::bad_request(
            "nothing to change",
            "use --to, --add, --remove, --keep-copy or --active",
        ));
    }
    authd.update_alias(&address, update).await?;
    let row = find(&authd, &address).await?;
    let text = format!("changed {} -> {}", row.address, row.targets.join(", "));
    session.output.done(&row, &text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn targets_are_checked() {
        assert!(targets(texts(&["no address"])).is_err());
        assert_eq!(
            targets(texts(&["a@x.test", " a@x.test", "@Y.test"])).unwrap(),
            texts(&["a@x.test", "@y.test"])
        );
        assert_eq!(key("@Example.COM").unwrap(), "@example.com");
    }
}
