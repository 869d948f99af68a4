//! Domains.

use auth_api::admin::{AdminError, DomainCounts, DomainRecord, DomainUpdate, Page, Which};
use mail_types::Domain;

use super::mirrors;
use super::pages::Source;
use super::sql::{Change, Logged, Set, Tables};
use crate::database::Value;
use crate::database::values::{flag, number, text, text_or_empty};
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
