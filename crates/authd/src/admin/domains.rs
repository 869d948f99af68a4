//! Domains and alias domains.

use auth_api::admin::{AdminError, AliasDomainRecord, DomainRecord, DomainUpdate};
use mail_types::Domain;

use super::admin_error;
use super::sql::{Change, Set, Tables, count, records};
use crate::database::postfixadmin::{flag, number, text, text_or_empty};
use crate::database::{Arg, DbError, Statement};
use crate::directory::unsupported_transport;
use crate::site::Site;

/// All domains by name, without the pseudo domain ALL.
pub async fn list(site: &Site) -> Result<Vec<DomainRecord>, DbError> {
    let tables = Tables::of(site).await?;
    let quota = if tables.schema.has("domain", "quota") {
        "`quota`"
    } else {
        "0"
    };
    let sql = format!(
        "SELECT `domain`, `description`, `transport`, `backupmx`, `active`, `aliases`, `mailboxes`, \
         `maxquota`, {quota} FROM `domain` ORDER BY `domain`"
    );
    let rows = site.panel()?.database().select(&sql, Vec::new()).await?;
    let real = rows
        .into_iter()
        .filter(|row| !text(row.first()).is_some_and(|d| d.eq_ignore_ascii_case("all")));
    Ok(records(real.collect(), "domain", |row| {
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
        })
    }))
}

/// The row of one domain.
pub async fn find(site: &Site, domain: &Domain) -> Result<DomainRecord, AdminError> {
    let all = list(site).await.map_err(admin_error)?;
    all.into_iter()
        .find(|record| record.domain == *domain)
        .ok_or_else(|| AdminError::NotFound(format!("there is no domain {domain}; add it first")))
}

pub async fn create(site: &Site, record: &DomainRecord) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let name = record.domain.as_str();
    if name == "all" {
        return Err(AdminError::Invalid(
            "`ALL` is PostfixAdmin's mark for administrators, not a domain".into(),
        ));
    }
    check_transport(&record.transport)?;
    check_limits([
        Some(record.aliases),
        Some(record.mailboxes),
        Some(record.maxquota),
        Some(record.quota),
    ])?;
    let row = [
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
    ];
    Ok(change(
        "domain",
        "add",
        &record.domain,
        vec![tables.insert("domain", row)],
    ))
}

pub async fn update(site: &Site, domain: &Domain, update: &DomainUpdate) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    if let Some(transport) = &update.transport {
        check_transport(transport)?;
    }
    check_limits([update.aliases, update.mailboxes, update.maxquota, update.quota])?;
    if update.quota.is_some() && !tables.schema.has("domain", "quota") {
        return Err(AdminError::Invalid(
            "the tables of this PostfixAdmin have no domain.quota".into(),
        ));
    }
    let mut row: Vec<(&str, Set)> = vec![("modified", Set::Now)];
    row.extend(update.description.as_deref().map(|v| ("description", v.into())));
    row.extend(update.transport.as_deref().map(|v| ("transport", v.into())));
    row.extend(update.backupmx.map(|v| ("backupmx", v.into())));
    row.extend(update.active.map(|v| ("active", v.into())));
    row.extend(update.aliases.map(|v| ("aliases", v.into())));
    row.extend(update.mailboxes.map(|v| ("mailboxes", v.into())));
    row.extend(update.maxquota.map(|v| ("maxquota", v.into())));
    row.extend(update.quota.map(|v| ("quota", v.into())));
    let statement = tables.update("domain", row, "domain", domain.as_str()).one();
    Ok(change("domain", "set", domain, vec![statement]))
}

/// Deletes everything that belongs to the domain. Mentions in lists of other domains stay: they are mail
/// addresses like any other.
pub async fn delete(site: &Site, domain: &Domain) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let name = domain.as_str();
    let mut statements = Vec::new();
    // What hangs on mailboxes first, while they can still be named.
    for (table, key) in [
        ("quota", "username"),
        ("quota2", "username"),
        ("mailbox_app_password", "username"),
    ] {
        if tables.schema.has(table, key) {
            let sql = format!(
                "DELETE FROM `{table}` WHERE `{key}` IN (SELECT `username` FROM `mailbox` WHERE `domain` = ?)"
            );
            statements.push(Statement::new(sql, vec![name.into()]));
        }
    }
    if tables.schema.has_table("vacation_notification") {
        let sql = "DELETE FROM `vacation_notification` WHERE `on_vacation` IN \
                   (SELECT `email` FROM `vacation` WHERE `domain` = ?)";
        statements.push(Statement::new(sql, vec![name.into()]));
    }
    let rows = [
        ("vacation", "domain"),
        ("fetchmail", "domain"),
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
    Ok(change("domain", "delete", domain, statements))
}

pub async fn list_mirrors(site: &Site, target: Option<&Domain>) -> Result<Vec<AliasDomainRecord>, DbError> {
    let tables = Tables::of(site).await?;
    if !tables.schema.has_table("alias_domain") {
        return Ok(Vec::new());
    }
    let sql = "SELECT `alias_domain`, `target_domain`, `active` FROM `alias_domain` ORDER BY `alias_domain`";
    let rows = site.panel()?.database().select(sql, Vec::new()).await?;
    let mut mirrors = records(rows, "alias_domain", |row| {
        Some(AliasDomainRecord {
            alias_domain: Domain::new(&text(row.first())?).ok()?,
            target_domain: Domain::new(&text(row.get(1))?).ok()?,
            active: flag(&row[2])?,
        })
    });
    mirrors.retain(|record| target.is_none_or(|target| record.target_domain == *target));
    Ok(mirrors)
}

pub async fn create_mirror(site: &Site, record: &AliasDomainRecord) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    if !tables.schema.has_table("alias_domain") {
        return Err(AdminError::Invalid(
            "the tables of this PostfixAdmin have no alias domains".into(),
        ));
    }
    if record.alias_domain == record.target_domain {
        return Err(AdminError::Invalid("a domain cannot mirror itself".into()));
    }
    find(site, &record.target_domain).await?;
    let chained = "SELECT COUNT(*) FROM `alias_domain` WHERE `alias_domain` = ? OR `target_domain` = ?";
    let names = vec![
        record.target_domain.as_str().into(),
        record.alias_domain.as_str().into(),
    ];
    if count(site, chained, names).await? > 0 {
        return Err(AdminError::Invalid(
            "a domain that mirrors another cannot be mirrored itself".into(),
        ));
    }
    let row = [
        ("alias_domain", record.alias_domain.as_str().into()),
        ("target_domain", record.target_domain.as_str().into()),
        ("created", Set::Now),
        ("modified", Set::Now),
        ("active", record.active.into()),
    ];
    let insert = tables.insert("alias_domain", row);
    Ok(change("alias_domain", "add", &record.alias_domain, vec![insert]))
}

pub async fn delete_mirror(site: &Site, domain: &Domain) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let delete = tables
        .delete("alias_domain", "alias_domain", domain.as_str())
        .ok_or_else(|| {
            AdminError::NotFound("the tables of this PostfixAdmin have no alias domains".into())
        })?;
    Ok(change("alias_domain", "delete", domain, vec![delete.one()]))
}

fn change(object: &'static str, action: &'static str, domain: &Domain, statements: Vec<Statement>) -> Change {
    Change {
        object,
        action,
        key: domain.to_string(),
        domain: domain.to_string(),
        statements,
    }
}

fn check_transport(text: &str) -> Result<(), AdminError> {
    unsupported_transport(text).map_or(Ok(()), |reason| Err(AdminError::Invalid(reason)))
}

fn check_limits(limits: [Option<i64>; 4]) -> Result<(), AdminError> {
    if limits.into_iter().flatten().all(|limit| limit >= -1) {
        return Ok(());
    }
    Err(AdminError::Invalid(
        "limits are 0 (unlimited), -1 (none) or a number".into(),
    ))
}

/// Whether one more row is within a limit of the domain (0 unlimited, -1 none).
pub async fn check_room(
    site: &Site,
    limit: i64,
    what: &str,
    sql: &str,
    domain: &Domain,
) -> Result<(), AdminError> {
    let full = match limit {
        0 => false,
        limit if limit < 0 => true,
        limit => count(site, sql, vec![Arg::from(domain.as_str())]).await? >= limit,
    };
    if full {
        return Err(AdminError::Invalid(format!(
            "{domain} may have no more {what} (its limit is {limit})"
        )));
    }
    Ok(())
}
