//! Mailboxes.

use std::collections::{BTreeSet, HashMap};

use auth_api::admin::{AdminError, MailboxRecord, MailboxUpdate, NewMailbox, Page, Which};
use config::MaildirLayout;
use mail_types::{Address, Secret};

use super::pages::Source;
use super::sql::{Change, Set, Tables, records};
use super::{admin_error, domains, limits, passwords};
use crate::database::values::{flag, number, text, text_or_empty};
use crate::database::{Arg, Statement, Value};
use crate::directory::targets_of;

const MAILBOXES: Source<'_> = Source {
    table: "mailbox",
    key: "username",
    domain: "domain",
};

/// What goes with a mailbox: the tables with rows by its address, and the columns that hold it. The notifications first:
/// they refer to vacation.
pub const HANGING: [(&str, &str); 8] = [
    ("vacation_notification", "on_vacation"),
    ("vacation", "email"),
    ("quota", "username"),
    ("quota2", "username"),
    ("fetchmail", "mailbox"),
    ("mailbox_app_password", "username"),
    ("totp_exception_address", "username"),
    ("dkim_signing", "author"),
];

/// Mailboxes by address.
pub async fn list(
    tables: &Tables<'_>,
    which: &Which,
    after: Option<&str>,
) -> Result<Page<MailboxRecord>, AdminError> {
    // Times as text: a driver's own form of them is not SQLite's.
    let expiry = if tables.schema.has("mailbox", "password_expiry") {
        "CAST(`password_expiry` AS CHAR)"
    } else {
        "''"
    };
    let columns = format!(
        "`name`, `maildir`, `quota`, `active`, {}, {}, {}, {expiry}",
        tables.column("mailbox", "smtp_active", "1"),
        tables.column("mailbox", "phone", "''"),
        tables.column("mailbox", "email_other", "''"),
    );
    let raw = tables.page(&MAILBOXES, &columns, which, after).await?;
    let keys = raw.keys();
    let expires = expiring(tables, &keys).await?;
    let used = used(tables, &keys).await?;
    Ok(raw.read("mailbox", |row| {
        let mut mailbox = record(row)?;
        mailbox.used = used.get(&mailbox.address.lookup_key()).copied();
        if !expires.contains_key(mailbox.address.domain().as_str()) {
            mailbox.password_expiry.clear();
        }
        Some(mailbox)
    }))
}

fn record(row: &[Value]) -> Option<MailboxRecord> {
    Some(MailboxRecord {
        address: Address::parse(&text(row.first())?).ok()?,
        name: text_or_empty(&row[1])?,
        maildir: text_or_empty(&row[2])?,
        quota: u64::try_from(number(&row[3])?).unwrap_or(0),
        active: flag(&row[4])?,
        smtp_active: flag(&row[5])?,
        phone: text_or_empty(&row[6])?,
        email_other: text_or_empty(&row[7])?,
        password_expiry: text_or_empty(&row[8])?,
        used: None,
    })
}

/// Those of the domains of these mailboxes whose passwords expire.
async fn expiring(tables: &Tables<'_>, mailboxes: &[String]) -> Result<HashMap<String, ()>, AdminError> {
    if !tables.schema.has("domain", "password_expiry") {
        return Ok(HashMap::new());
    }
    let domains: BTreeSet<String> = mailboxes
        .iter()
        .filter_map(|name| Some(Address::parse(name).ok()?.domain().to_string()))
        .collect();
    let domains: Vec<String> = domains.into_iter().collect();
    let read = |row: &[Value]| (number(row.get(1)?)? > 0).then_some(());
    tables
        .of_keys("domain", "domain", "`password_expiry`", &domains, read)
        .await
}

/// What is in use, where something keeps the tables of it.
async fn used(tables: &Tables<'_>, mailboxes: &[String]) -> Result<HashMap<String, u64>, AdminError> {
    let bytes = |value: Option<&Value>| u64::try_from(number(value?)?).ok();
    if tables.schema.has("quota2", "bytes") {
        let read = |row: &[Value]| bytes(row.get(1));
        return tables
            .of_keys("quota2", "username", "`bytes`", mailboxes, read)
            .await;
    }
    if !tables.schema.has("quota", "current") {
        return Ok(HashMap::new());
    }
    let read = |row: &[Value]| match text(row.get(1))?.as_str() {
        "quota/storage" => bytes(row.get(2)),
        _ => None,
    };
    tables
        .of_keys("quota", "username", "`path`, `current`", mailboxes, read)
        .await
}

/// The rows of a new mailbox: itself, and the alias that keeps a catch-all from taking its mail. Without a
/// password, what can be refused before it is hashed.
pub async fn create(
    tables: &Tables<'_>,
    mailbox: &NewMailbox,
    password: Option<&Secret>,
) -> Result<Change, AdminError> {
    let key = mailbox.address.lookup_key();
    let domain = mailbox.address.domain().as_str();
    check_new(tables, mailbox, &key).await?;
    let record = domains::find(tables, mailbox.address.domain()).await?;
    let room = limits::mailbox(tables, &record).await?;
    let mut statements = room.hold();
    statements.extend(limits::quota(tables, &record, mailbox.quota, "").await?);
    if tables.exists("mailbox", "username", &key).await? {
        return Err(AdminError::Exists(format!("the mailbox {key} exists already")));
    }
    if tables.exists("alias", "address", &key).await? {
        return Err(AdminError::Exists(format!(
            "{key} is an alias already; delete it first"
        )));
    }
    let local = mailbox.address.local().to_lowercase();
    let maildir = match tables.rules.layout {
        MaildirLayout::DomainUser => format!("{domain}/{local}/"),
        MaildirLayout::DomainAddress => format!("{domain}/{key}/"),
        MaildirLayout::Address => format!("{key}/"),
    };
    tables.check_text("mailbox", "maildir", &maildir)?;
    let password = password.cloned().unwrap_or_else(|| Secret::new(""));
    let row = vec![
        ("username", key.as_str().into()),
        ("password", Set::To(Arg::Secret(password))),
        ("name", mailbox.name.as_str().into()),
        ("maildir", maildir.into()),
        ("quota", stored_quota(mailbox.quota, record.maxquota).into()),
        ("local_part", local.into()),
        ("domain", domain.into()),
        ("created", Set::Now),
        ("modified", Set::Now),
        ("active", mailbox.active.into()),
        ("smtp_active", mailbox.smtp_active.into()),
        ("phone", mailbox.phone.as_str().into()),
        ("email_other", mailbox.email_other.as_str().into()),
        ("token", "".into()),
        ("token_validity", Set::Now),
        ("password_expiry", passwords::expiry(&record)),
    ];
    statements.push(room.insert(tables, "mailbox", row));
    let alias = vec![
        ("address", key.as_str().into()),
        ("goto", key.as_str().into()),
        ("domain", domain.into()),
        ("created", Set::Now),
        ("modified", Set::Now),
        ("active", mailbox.active.into()),
    ];
    statements.push(tables.insert("alias", alias));
    Ok(Change::new(
        "mailbox",
        "add",
        "create_mailbox",
        domain,
        key,
        statements,
    ))
}

async fn check_new(tables: &Tables<'_>, mailbox: &NewMailbox, key: &str) -> Result<(), AdminError> {
    let address = &mailbox.address;
    tables.check_text("mailbox", "username", key)?;
    tables.check_text("mailbox", "name", &mailbox.name)?;
    check_extras(
        tables,
        Some(mailbox.smtp_active).filter(|active| !active),
        Some(mailbox.phone.as_str()).filter(|phone| !phone.is_empty()),
        Some(mailbox.email_other.as_str()).filter(|email| !email.is_empty()),
    )?;
    // The name becomes a directory; a quoted one could not be typed into a login form either.
    if address.to_string().starts_with('"') || address.local().contains('/') {
        return Err(AdminError::Invalid(format!(
            "{address}: a mailbox name cannot hold such characters"
        )));
    }
    Ok(())
}

/// What only newer tables have.
fn check_extras(
    tables: &Tables<'_>,
    smtp_active: Option<bool>,
    phone: Option<&str>,
    email_other: Option<&str>,
) -> Result<(), AdminError> {
    if smtp_active.is_some() {
        tables.check_column("mailbox", "smtp_active")?;
    }
    if let Some(phone) = phone {
        tables.check_column("mailbox", "phone")?;
        tables.check_text("mailbox", "phone", phone)?;
        if phone.chars().count() > 30 {
            return Err(AdminError::Invalid(
                "a phone number has at most 30 characters".into(),
            ));
        }
    }
    if let Some(email) = email_other {
        tables.check_column("mailbox", "email_other")?;
        tables.check_text("mailbox", "email_other", email)?;
        if !email.is_empty() {
            Address::parse(email).map_err(|error| AdminError::Invalid(format!("{email}: {error}")))?;
        }
    }
    Ok(())
}

/// The column: where quotas are off for the domain, the panel's mark for "not set".
fn stored_quota(quota: u64, maxquota: i64) -> i64 {
    match (quota, maxquota) {
        (0, ..0) => -1,
        (quota, _) => i64::try_from(quota).unwrap_or(i64::MAX),
    }
}

/// Refuses a mailbox that is not there.
pub async fn check_exists(tables: &Tables<'_>, address: &Address) -> Result<String, AdminError> {
    let key = address.lookup_key();
    tables.check_text("mailbox", "username", &key)?;
    if tables.exists("mailbox", "username", &key).await? {
        return Ok(key);
    }
    Err(AdminError::NotFound(format!("there is no mailbox {address}")))
}

pub async fn update(
    tables: &Tables<'_>,
    address: &Address,
    update: &MailboxUpdate,
) -> Result<Change, AdminError> {
    let key = check_exists(tables, address).await?;
    let (phone, email) = (update.phone.as_deref(), update.email_other.as_deref());
    check_extras(tables, update.smtp_active, phone, email)?;
    let mut statements = Vec::new();
    let mut row: Vec<(&str, Set)> = vec![("modified", Set::Now)];
    if let Some(name) = update.name.as_deref() {
        tables.check_text("mailbox", "name", name)?;
        row.push(("name", name.into()));
    }
    if let Some(quota) = update.quota {
        let domain = domains::find(tables, address.domain()).await?;
        statements.extend(limits::quota(tables, &domain, quota, &key).await?);
        row.push(("quota", stored_quota(quota, domain.maxquota).into()));
    }
    row.extend(update.active.map(|active| ("active", active.into())));
    row.extend(update.smtp_active.map(|active| ("smtp_active", active.into())));
    row.extend(phone.map(|phone| ("phone", phone.into())));
    row.extend(email.map(|email| ("email_other", email.into())));
    let only_state = update.active.is_some() && row.len() == 2;
    statements.push(tables.update("mailbox", row, "username", &key).one());
    if let Some(active) = update.active {
        let row = vec![("modified", Set::Now), ("active", active.into())];
        statements.push(tables.update("alias", row, "address", &key));
    }
    let logged = if only_state {
        "edit_mailbox_state"
    } else {
        "edit_mailbox"
    };
    let domain = address.domain().as_str();
    Ok(Change::new("mailbox", "set", logged, domain, key, statements))
}

/// Deletes the mailbox, what hangs on it, and its mention in the lists of aliases. A list that mentioned
/// nobody else goes too.
pub async fn delete(tables: &Tables<'_>, address: &Address) -> Result<Change, AdminError> {
    let key = check_exists(tables, address).await?;
    let mut statements = vec![tables.hold("mailbox", "username", &key)];
    let hanging = HANGING.into_iter().chain([("alias", "address")]);
    statements.extend(hanging.filter_map(|(table, column)| tables.delete(table, column, &key)));
    statements.extend(mentions(tables, &key).await?);
    statements.extend(tables.delete("mailbox", "username", &key).map(Statement::one));
    let domain = address.domain().as_str();
    Ok(Change::new(
        "mailbox",
        "delete",
        "delete_mailbox",
        domain,
        key,
        statements,
    ))
}

/// The statements that take `key` out of lists. Each applies only if its list is still what was read.
async fn mentions(tables: &Tables<'_>, key: &str) -> Result<Vec<Statement>, AdminError> {
    // LIKE only narrows the rows down (its wildcards may let more through); the list itself decides.
    let sql = "SELECT `address`, `goto` FROM <alias> WHERE LOWER(`goto`) LIKE ? AND `address` <> ?";
    let args = vec![format!("%{key}%").into(), key.into()];
    let rows = tables.select(sql, args).await.map_err(admin_error)?;
    let mut statements = Vec::new();
    for (address, goto) in records(rows, "alias", |row| {
        Some((text(row.first())?, text_or_empty(&row[1])?))
    }) {
        let entries = targets_of(&goto);
        let rest: Vec<&str> = entries
            .iter()
            .copied()
            .filter(|entry| entry.to_lowercase() != key)
            .collect();
        if rest.len() == entries.len() {
            continue;
        }
        let mut statement = if rest.is_empty() {
            tables.statement("DELETE FROM <alias> WHERE `address` = ?", vec![address.into()])
        } else {
            let row = vec![("modified", Set::Now), ("goto", rest.join(",").into())];
            tables.update("alias", row, "address", &address)
        };
        statement.sql.push_str(" AND `goto` = ?");
        statement.args.push(goto.into());
        statements.push(statement.one());
    }
    Ok(statements)
}
