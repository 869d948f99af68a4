//! `mailctl alias-domain`: domains in which every address is the same as in another.

use auth_api::admin::{AliasDomainRecord, AliasDomainUpdate, Which};
use clap::{Args, Subcommand};
use mail_types::Domain;
use serde::Serialize;
use serde_json::json;

use crate::error::Failure;
use crate::output::yes_no;
use crate::session::Session;

/// Alias domains.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a domain that is there the same as another
    #[command(after_help = ADD)]
    Add {
        /// The domain
        domain: Domain,
        /// What it is the same as
        target: Domain,
    },
    /// List all alias domains
    List {
        /// Only those that are the same as this domain
        target: Option<Domain>,
    },
    /// Change an alias domain; what is not named stays
    Set(Set),
    /// Make it a domain of its own again; the domain itself stays
    Delete {
        /// The domain
        domain: Domain,
    },
}

const ADD: &str = "\
Examples:
  mailctl alias-domain add example.net example.com
  mailctl domain add example.net --alias-of example.com    adds the domain too";

/// A change.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The domain
    domain: Domain,
    /// What it is the same as
    #[arg(long, value_name = "DOMAIN")]
    target: Option<Domain>,
    /// true or false: whether it is
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
}

/// An alias domain as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    domain: String,
    target: String,
    active: bool,
}

impl From<AliasDomainRecord> for Row {
    fn from(record: AliasDomainRecord) -> Self {
        Self {
            domain: record.alias_domain.to_string(),
            target: record.target_domain.to_string(),
            active: record.active,
        }
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Add { domain, target } => add(domain, target, session).await,
        Command::List { target } => list(target.as_ref(), session).await,
        Command::Set(set) => change(set, session).await,
        Command::Delete { domain } => {
            session.authd()?.delete_alias_domain(&domain).await?;
            let text = format!("{domain} is a domain of its own");
            session.output.done(&json!({ "domain": domain.as_str() }), &text);
            Ok(())
        }
    }
}

async fn add(domain: Domain, target: Domain, session: &Session) -> Result<(), Failure> {
    let record = AliasDomainRecord {
        alias_domain: domain,
        target_domain: target,
        active: true,
    };
    session.authd()?.create_alias_domain(record.clone()).await?;
    let row = Row::from(record);
    session
        .output
        .done(&row, &format!("{} is the same as {}", row.domain, row.target));
    Ok(())
}

async fn list(target: Option<&Domain>, session: &Session) -> Result<(), Failure> {
    let rows = session.authd()?.alias_domains(Which::of(target));
    let read = |record| Some(Row::from(record));
    let none = "no alias domains; mailctl domain add example.net --alias-of example.com";
    let header = ["DOMAIN", "SAME AS", "ACTIVE"];
    let cells = |row: &Row| vec![row.domain.clone(), row.target.clone(), yes_no(row.active)];
    session.output.list(rows, read, &header, none, cells).await
}

async fn change(set: Set, session: &Session) -> Result<(), Failure> {
    let update = AliasDomainUpdate {
        target_domain: set.target,
        active: set.active,
    };
    if update == AliasDomainUpdate::default() {
        return Err(Failure::bad_request(
            "nothing to change",
            "use --target or --active",
        ));
    }
    session.authd()?.update_alias_domain(&set.domain, update).await?;
    session.output.done(
        &json!({ "domain": set.domain.as_str() }),
        &format!("changed {}", set.domain),
    );
    Ok(())
}
