//! `mailctl domain`: the domains for which this host takes mail.

use auth_api::admin::{DomainCounts, DomainRecord, DomainUpdate};
use clap::{Args, Subcommand};
use mail_types::Domain;
use serde::Serialize;
use serde_json::json;

use crate::error::Failure;
use crate::output::{clean, count, yes_no};
use crate::session::Session;

/// Domains.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a domain
    #[command(after_help = ADD)]
    Add(Add),
    /// List all domains
    List,
    /// Show one domain with what is in it
    Show {
        /// The domain
        domain: Domain,
    },
    /// Change a domain; what is not named stays
    #[command(after_help = SET)]
    Set(Set),
    /// Delete a domain; mail on disk stays
    Delete {
        /// The domain
        domain: Domain,
        /// Delete its mailboxes and aliases too
        #[arg(long)]
        recursive: bool,
    },
}

const ADD: &str = "\
Examples:
  mailctl domain add example.com
  mailctl domain add example.net --alias-of example.com
  mailctl domain add example.org --max-mailboxes 20 --max-quota 2000 --password-expiry 180
  mailctl domain add example.com --backup-mx --transport 'smtp:[mx1.example.com]'

Quotas of domains are in MB as in PostfixAdmin: units of [authd] quota_multiplier bytes.";

const SET: &str = "\
Examples:
  mailctl domain set example.com --active false
  mailctl domain set example.com --max-aliases 0 --quota 50000";

/// A new domain.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The domain, e.g. example.com
    domain: Domain,
    /// Every address of it is the same address of this other domain
    #[arg(long, value_name = "DOMAIN")]
    alias_of: Option<Domain>,
    /// Take its mail only to pass it on to the main mail server (backup MX)
    #[arg(long)]
    backup_mx: bool,
    /// Add it switched off
    #[arg(long)]
    inactive: bool,
    #[command(flatten)]
    limits: Limits,
}

/// What may be said of a domain, new or old.
#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// Free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Where its mail goes: virtual (mailboxes here), smtp:[HOST]:PORT, lmtp:unix:PATH, error:TEXT...
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<String>,
    /// Most aliases; 0 unlimited, -1 none
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_aliases: Option<i64>,
    /// Most mailboxes; 0 unlimited, -1 none
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_mailboxes: Option<i64>,
    /// Largest quota of one mailbox in MB; 0 unlimited, -1 no quotas
    #[arg(long, value_name = "MB", allow_negative_numbers = true)]
    max_quota: Option<i64>,
    /// Quotas of all mailboxes together in MB; 0 unlimited, -1 off
    #[arg(long, value_name = "MB", allow_negative_numbers = true)]
    quota: Option<i64>,
    /// Days that a password lives; 0 for ever
    #[arg(long, value_name = "DAYS")]
    password_expiry: Option<i64>,
}

/// A change.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The domain
    domain: Domain,
    /// true or false: take its mail only to pass it on
    #[arg(long, value_name = "BOOL")]
    backup_mx: Option<bool>,
    /// true or false: whether it exists for mail
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
    #[command(flatten)]
    limits: Limits,
}

/// A domain as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    domain: String,
    description: String,
    transport: String,
    backup_mx: bool,
    active: bool,
    max_aliases: i64,
    max_mailboxes: i64,
    max_quota: i64,
    quota: i64,
    password_expiry: i64,
    alias_of: Option<String>,
}

impl From<DomainRecord> for Row {
    fn from(record: DomainRecord) -> Self {
        Self {
            domain: record.domain.to_string(),
            description: record.description,
            transport: record.transport,
            backup_mx: record.backupmx,
            active: record.active,
            max_aliases: record.aliases,
            max_mailboxes: record.mailboxes,
            max_quota: record.maxquota,
            quota: record.quota,
            password_expiry: record.password_expiry,
            alias_of: record.alias_of.map(|domain| domain.to_string()),
        }
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Add(add) => add_domain(add, session).await,
        Command::List => list(session).await,
        Command::Show { domain } => show(&domain, session).await,
        Command::Set(set) => change(set, session).await,
        Command::Delete { domain, recursive } => delete(&domain, recursive, session).await,
    }
}

async fn add_domain(add: Add, session: &Session) -> Result<(), Failure> {
    let domain = add.domain;
    let mut record = DomainRecord::new(domain.clone());
    record.backupmx = add.backup_mx;
    record.active = !add.inactive;
    record.description = add.limits.description.unwrap_or_default();
    record.transport = add.limits.transport.unwrap_or(record.transport);
    record.aliases = add.limits.max_aliases.unwrap_or(record.aliases);
    record.mailboxes = add.limits.max_mailboxes.unwrap_or(record.mailboxes);
    record.maxquota = add.limits.max_quota.unwrap_or(record.maxquota);
    record.quota = add.limits.quota.unwrap_or(record.quota);
    record.password_expiry = add.limits.password_expiry.unwrap_or(record.password_expiry);
    record.alias_of.clone_from(&add.alias_of);
    session.authd()?.create_domain(record).await?;
    let mut text = format!("added {domain}");
    if let Some(target) = &add.alias_of {
        text.push_str(&format!(", the same as {target}"));
    }
    let value = json!({ "domain": domain.as_str(), "alias_of": add.alias_of.as_ref().map(Domain::as_str) });
    session.output.done(&value, &text);
    Ok(())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let header = [
        "DOMAIN",
        "TRANSPORT",
        "BACKUP MX",
        "ACTIVE",
        "SAME AS",
        "DESCRIPTION",
    ];
    let rows = session.authd()?.domains(None);
    let none = "no domains; mailctl domain add example.com";
    let read = |record| Some(Row::from(record));
    let cells = |row: &Row| {
        vec![
            row.domain.clone(),
            clean(&row.transport),
            yes_no(row.backup_mx),
            yes_no(row.active),
            row.alias_of.clone().unwrap_or_default(),
            clean(&row.description),
        ]
    };
    session.output.list(rows, read, &header, none, cells).await
}

async fn show(domain: &Domain, session: &Session) -> Result<(), Failure> {
    let authd = session.authd()?;
    let found = authd.domains(Some(domain)).next().await?;
    let row = found.map(Row::from).ok_or_else(|| {
        Failure::not_found(
            format!("there is no domain {domain}"),
            "mailctl domain list shows all",
        )
    })?;
    let DomainCounts {
        mailboxes, aliases, ..
    } = authd.count_domain(domain).await?;
    let limit = |limit: i64| match limit {
        0 => "unlimited".to_owned(),
        ..0 => "none".to_owned(),
        most => most.to_string(),
    };
    let megabytes = |limit: i64| match limit {
        0 => "unlimited".to_owned(),
        ..0 => "off".to_owned(),
        most => format!("{most} MB"),
    };
    let expiry = match row.password_expiry {
        ..=0 => "never".to_owned(),
        days => format!("after {}", count(usize::try_from(days).unwrap_or(0), "day")),
    };
    let mut value = json!(row);
    value["mailboxes"] = mailboxes.into();
    value["aliases"] = aliases.into();
    session.output.fields(
        &value,
        &[
            ("domain", row.domain.clone()),
            ("description", clean(&row.description)),
            ("transport", clean(&row.transport)),
            ("backup MX", yes_no(row.backup_mx)),
            ("active", yes_no(row.active)),
            ("same as", row.alias_of.clone().unwrap_or_default()),
            (
                "mailboxes",
                format!("{mailboxes} of {}", limit(row.max_mailboxes)),
            ),
            ("aliases", format!("{aliases} of {}", limit(row.max_aliases))),
            ("quota of a mailbox", megabytes(row.max_quota)),
            ("quota of all", megabytes(row.quota)),
            ("passwords expire", expiry),
        ],
    );
    Ok(())
}

async fn change(set: Set, session: &Session) -> Result<(), Failure> {
    let update = DomainUpdate {
        description: set.limits.description,
        transport: set.limits.transport,
        backupmx: set.backup_mx,
        active: set.active,
        aliases: set.limits.max_aliases,
        mailboxes: set.limits.max_mailboxes,
        maxquota: set.limits.max_quota,
        quota: set.limits.quota,
        password_expiry: set.limits.password_expiry,
    };
    if update == DomainUpdate::default() {
        return Err(Failure::bad_request(
            "nothing to change",
            "mailctl domain set --help shows what can be set",
        ));
    }
    session.authd()?.update_domain(&set.domain, update).await?;
    session.output.done(
        &json!({ "domain": set.domain.as_str() }),
        &format!("changed {}", set.domain),
    );
    Ok(())
}

async fn delete(domain: &Domain, recursive: bool, session: &Session) -> Result<(), Failure> {
    let authd = session.authd()?;
    let counts = authd.count_domain(domain).await?;
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (mailboxes, aliases) = (whole(counts.mailboxes), whole(counts.aliases));
    let mirrors = whole(counts.alias_domains);
    if mailboxes + aliases + mirrors > 0 && !recursive {
        return Err(Failure::bad_request(
            format!(
                "{domain} has {}, {} and {}",
                count(mailboxes, "mailbox"),
                count(aliases, "alias"),
                count(mirrors, "alias domain"),
            ),
            "add --recursive to delete them too; mail on disk stays",
        ));
    }
    authd.delete_domain(domain).await?;
    let value = json!({ "domain": domain.as_str(), "mailboxes": mailboxes, "aliases": aliases });
    session.output.done(
        &value,
        &format!(
            "deleted {domain} with {} and {}",
            count(mailboxes, "mailbox"),
            count(aliases, "alias")
        ),
    );
    Ok(())
}
