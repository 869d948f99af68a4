//! Domains.

use auth_api::admin::{AdminError, DomainCounts, DomainRecord, DomainUpdate, Page, Which};
use mail_types::Domain;

use super::mirrors;
use super::pages::Source;
use super::sql::{Change, Logged, Set, Tables};
use crate::database::values::{flag, number, text, text_or_empty};
use crate::database::{Arg, Statement, Value};
use crate::directory::unsupported_transport;

const DOMAINS: Source<'_> = Source {
    table: "domain",
    key: "domain",
    domain: "domain",
};

/// Domains by name, without the pseudo domain ALL.
pub async fn list(
    tables: &Tables<'_>,
    which: &Which,
    after: Option<&str>,
) -> Result<Page<DomainRecord>, AdminError> {
    let columns = format!(
        "`description`, `transport`, `backupmx`, `active`, {}, {}, {}, {}, {}",
        tables.column("domain", "aliases", "0"),
        tables.column("domain", "mailboxes", "0"),
        tables.column("domain", "maxquota", "0"),
        tables.column("domain", "quota", "0"),
        tables.column("domain", "password_expiry", "0"),
    );
    let mut raw = tables.page(&DOMAINS, &columns, which, after).await?;
    raw.rows
        .retain(|row| !text(row.first()).is_some_and(|name| name.eq_ignore_ascii_case("all")));
    let target = |row: &[Value]| Domain::new(&text(row.get(1))?).ok();
    let mirrors = tables
        .of_keys(
            "alias_domain",
            "alias_domain",
            "`target_domain`",
            &raw.keys(),
            target,
        )
        .await?;
    Ok(raw.read("domain", |row| {
        let mut record = record(row)?;
        record.alias_of = mirrors.get(record.domain.as_str()).cloned();
        Some(record)
    }))
}

/// The row of one domain.
pub async fn find(tables: &Tables<'_>, domain: &Domain) -> Result<DomainRecord, AdminError> {
    let found = list(tables, &Which::One(domain.to_string()), None).await?;
    found
        .rows
        .into_iter()
        .next()
        .ok_or_else(|| AdminError::NotFound(format!("there is no domain {domain}; add it first")))
}

/// How much is in it. Aliases as the panel counts them: each mailbox has a row among them that is none.
pub async fn count(tables: &Tables<'_>, domain: &Domain) -> Result<DomainCounts, AdminError> {
    let mut counts = [0; 3];
    for (count, (table, column)) in counts.iter_mut().zip([
        ("mailbox", "domain"),
        ("alias", "domain"),
        ("alias_domain", "target_domain"),
    ]) {
        if tables.schema.has(table, column) {
            let sql = format!("SELECT COUNT(*) FROM <{table}> WHERE `{column}` = ?");
            let found = tables.count(&sql, vec![domain.as_str().into()]).await?;
            *count = u64::try_from(found).unwrap_or(0);
        }
    }
    let [mailboxes, aliases, alias_domains] = counts;
    Ok(DomainCounts {
        mailboxes,
        aliases: aliases.saturating_sub(mailboxes),
        alias_domains,
    })
}

fn record(row: &[Value]) -> Option<DomainRecord> {
    Some(DomainRecord {
        domain: Domain::new(&text(row.first())?).ok()?,
        description: text_or_empty(&row[1])?,
        transport: text_or_empty(&row[2])?,
        backupmx: flag(&row[3])?,
        active: flag(&row[4])?,
        aliases: number(&row[5])?,
        mailboxes: number(&row[6])?,
        maxquota: number(&row[7])?,
        quota: number(&row[8])?,
        password_expiry: number(&row[9])?,
        alias_of: None,
    })
}

pub async fn create(tables: &Tables<'_>, record: &DomainRecord) -> Result<Change, AdminError> {
    let name = record.domain.as_str();
    if name == "all" {
        return Err(AdminError::Invalid(
            "`ALL` is PostfixAdmin's mark for administrators, not a domain".into(),
        ));
    }
    if tables.rules.vacation_domain.as_ref() == Some(&record.domain) {
        return Err(AdminError::Invalid(format!(
            "{name} is the vacation_domain, which exists for automatic replies only"
        )));
    }
    tables.check_text("domain", "domain", name)?;
    check(tables, &update_of(record))?;
    if tables.exists("domain", "domain", name).await? {
        return Err(AdminError::Exists(format!("the domain {name} exists already")));
    }
    let row = vec![
        ("domain", name.into()),
        ("description", record.description.as_str().into()),
        ("aliases", record.aliases.into()),
        ("mailboxes", record.mailboxes.into()),
        ("maxquota", record.maxquota.into()),
        ("quota", record.quota.into()),
        ("transport", record.transport.as_str().into()),
        ("backupmx", record.backupmx.into()),
        ("created", Set::Now),
        ("modified", Set::Now),
        ("active", record.active.into()),
        ("password_expiry", record.password_expiry.into()),
    ];
    let insert = tables.insert("domain", row);
    let mut change = Change::new("domain", "add", "create_domain", name, name, vec![insert]);
    if let Some(target) = &record.alias_of {
        let rows = mirrors::inserts(tables, &record.domain, target, true).await?;
        change.statements.extend(rows);
        change.log.push(Logged {
            action: "create_alias_domain",
            domain: name.to_owned(),
            data: name.to_owned(),
        });
    }
    Ok(change)
}

/// What of a new domain is checked as in a change: where it differs from the default, the tables have to have
/// the column.
fn update_of(record: &DomainRecord) -> DomainUpdate {
    let set = |value: i64| (value != 0).then_some(value);
    DomainUpdate {
        description: Some(record.description.clone()),
        transport: Some(record.transport.clone()),
        aliases: Some(record.aliases),
        mailboxes: Some(record.mailboxes),
        maxquota: Some(record.maxquota),
        quota: set(record.quota),
        password_expiry: set(record.password_expiry),
        ..DomainUpdate::default()
    }
}

pub async fn update(
    tables: &Tables<'_>,
    domain: &Domain,
    update: &DomainUpdate,
) -> Result<Change, AdminError> {
    check(tables, update)?;
    find(tables, domain).await?;
    let name = domain.as_str();
    let mut row: Vec<(&str, Set)> = vec![("modified", Set::Now)];
    row.extend(update.description.as_deref().map(|v| ("description", v.into())));
    row.extend(update.transport.as_deref().map(|v| ("transport", v.into())));
    row.extend(update.backupmx.map(|v| ("backupmx", v.into())));
    row.extend(update.active.map(|v| ("active", v.into())));
    row.extend(update.aliases.map(|v| ("aliases", v.into())));
    row.extend(update.mailboxes.map(|v| ("mailboxes", v.into())));
    row.extend(update.maxquota.map(|v| ("maxquota", v.into())));
    row.extend(update.quota.map(|v| ("quota", v.into())));
    row.extend(update.password_expiry.map(|v| ("password_expiry", v.into())));
    let statement = tables.update("domain", row, "domain", name).one();
    Ok(Change::new(
        "domain",
        "set",
        "edit_domain",
        name,
        name,
        vec![statement],
    ))
}

fn check(tables: &Tables<'_>, update: &DomainUpdate) -> Result<(), AdminError> {
    if let Some(transport) = &update.transport {
        tables.check_text("domain", "transport", transport)?;
        unsupported_transport(transport).map_or(Ok(()), |reason| Err(AdminError::Invalid(reason)))?;
    }
    if let Some(description) = &update.description {
        tables.check_text("domain", "description", description)?;
    }
    let limits = [update.aliases, update.mailboxes, update.maxquota, update.quota];
    if limits.into_iter().flatten().any(|limit| limit < -1) {
        return Err(AdminError::Invalid(
            "limits are 0 (unlimited), -1 (none) or a number".into(),
        ));
    }
    if update.quota.is_some() {
        tables.check_column("domain", "quota")?;
    }
    let days = update.password_expiry;
    if days.is_some() {
        tables.check_column("domain", "password_expiry")?;
    }
    if days.is_some_and(|days| !(0..=36_500).contains(&days)) {
        return Err(AdminError::Invalid(
            "a password lives for 0 (for ever) to 36500 days".into(),
        ));
    }
    Ok(())
}

/// Deletes everything that belongs to the domain. Mentions in lists of other domains stay: they are mail
/// addresses like any other. The log stays too: it says who deleted the domain.
pub async fn delete(tables: &Tables<'_>, domain: &Domain) -> Result<Change, AdminError> {
    find(tables, domain).await?;
    let name = domain.as_str();
    let mut statements = vec![tables.hold("domain", "domain", name)];
    if tables.schema.has_table("dkim_signing") && tables.schema.has_table("dkim") {
        let sql = "DELETE FROM <dkim_signing> WHERE `dkim_id` IN \
                   (SELECT `id` FROM <dkim> WHERE `domain_name` = ?)";
        statements.push(tables.statement(sql, vec![name.into()]));
    }
    // What is keyed by an address of the domain. The notifications first: they refer to vacation.
    for (table, key) in [
        ("vacation_notification", "on_vacation"),
        ("vacation", "email"),
        ("quota", "username"),
        ("quota2", "username"),
        ("fetchmail", "mailbox"),
        ("mailbox_app_password", "username"),
        ("totp_exception_address", "username"),
        ("dkim_signing", "author"),
    ] {
        statements.extend(delete_suffix(tables, table, key, name));
    }
    let rows = [
        ("vacation", "domain"),
        ("fetchmail", "domain"),
        ("totp_exception_address", "username"),
        ("dkim_signing", "author"),
        ("dkim", "domain_name"),
        ("alias", "domain"),
        ("mailbox", "domain"),
        ("alias_domain", "alias_domain"),
        ("alias_domain", "target_domain"),
        ("domain_admins", "domain"),
    ];
    statements.extend(
        rows.into_iter()
            .filter_map(|(table, key)| tables.delete(table, key, name)),
    );
    statements.extend(tables.delete("domain", "domain", name).map(Statement::one));
    Ok(Change::new(
        "domain",
        "delete",
        "delete_domain",
        name,
        name,
        statements,
    ))
}

/// DELETE of the rows whose key is an address of the domain. No join with `mailbox`: the collations of the
/// tables of a grown site may differ, which MySQL refuses to compare.
fn delete_suffix(tables: &Tables<'_>, table: &str, key: &str, domain: &str) -> Option<Statement> {
    let suffix = format!("@{domain}");
    // Domains are ASCII, so bytes are characters.
    let length = i64::try_from(suffix.len()).ok()?;
    let sql = format!("DELETE FROM <{table}> WHERE LOWER(SUBSTR(`{key}`, ?)) = ?");
    tables
        .schema
        .has(table, key)
        .then(|| tables.statement(&sql, vec![Arg::Int(-length), suffix.into()]))
}
