//! Alias domains: one domain mirrors another.

use auth_api::admin::{AdminError, AliasDomainRecord, AliasDomainUpdate, Page, Which};
use mail_types::Domain;

use super::domains;
use super::pages::Source;
use super::sql::{Change, Set, Tables};
use crate::database::Statement;
use crate::database::values::{flag, text};

const MIRRORS: Source<'_> = Source {
    table: "alias_domain",
    key: "alias_domain",
    domain: "target_domain",
};

/// By name; those of a domain are those that mirror it.
pub async fn list(
    tables: &Tables<'_>,
    which: &Which,
    after: Option<&str>,
) -> Result<Page<AliasDomainRecord>, AdminError> {
    let raw = tables
        .page(&MIRRORS, "`target_domain`, `active`", which, after)
        .await?;
    Ok(raw.read("alias_domain", |row| {
        Some(AliasDomainRecord {
            alias_domain: Domain::new(&text(row.first())?).ok()?,
            target_domain: Domain::new(&text(row.get(1))?).ok()?,
            active: flag(&row[2])?,
        })
    }))
}

/// Refuses a domain that mirrors none.
async fn check_exists(tables: &Tables<'_>, domain: &Domain) -> Result<(), AdminError> {
    let found = list(tables, &Which::One(domain.to_string()), None).await?;
    match found.rows.is_empty() {
        false => Ok(()),
        true => Err(AdminError::NotFound(format!("{domain} is no alias domain"))),
    }
}

pub async fn create(tables: &Tables<'_>, record: &AliasDomainRecord) -> Result<Change, AdminError> {
    let domain = &record.alias_domain;
    tables.check_table("alias_domain")?;
    match domains::find(tables, domain).await {
        Err(AdminError::NotFound(_)) => {
            let target = &record.target_domain;
            return Err(AdminError::NotFound(format!(
                "there is no domain {domain}; add it: mailctl domain add {domain} --alias-of {target}"
            )));
        }
        other => other?,
    };
    if tables
        .exists("alias_domain", "alias_domain", domain.as_str())
        .await?
    {
        return Err(AdminError::Exists(format!("{domain} is an alias domain already")));
    }
    let mut statements = vec![tables.hold("domain", "domain", domain.as_str())];
    statements.extend(inserts(tables, domain, &record.target_domain, record.active).await?);
    let name = domain.as_str();
    Ok(Change::new(
        "alias_domain",
        "add",
        "create_alias_domain",
        name,
        name,
        statements,
    ))
}

/// The row, and what makes sure that no chain comes of it.
pub async fn inserts(
    tables: &Tables<'_>,
    domain: &Domain,
    target: &Domain,
    active: bool,
) -> Result<Vec<Statement>, AdminError> {
    tables.check_table("alias_domain")?;
    check_pair(tables, domain, target).await?;
    let row = vec![
        ("alias_domain", domain.as_str().into()),
        ("target_domain", target.as_str().into()),
        ("created", Set::Now),
        ("modified", Set::Now),
        ("active", active.into()),
    ];
    Ok(vec![
        free_target(tables, domain, target),
        tables.insert("alias_domain", row),
    ])
}

async fn check_pair(tables: &Tables<'_>, domain: &Domain, target: &Domain) -> Result<(), AdminError> {
    if domain == target {
        return Err(AdminError::Invalid("a domain cannot mirror itself".into()));
    }
    domains::find(tables, target).await?;
    let chained = "SELECT COUNT(*) FROM <alias_domain> WHERE `alias_domain` = ? OR `target_domain` = ?";
    let names = vec![target.as_str().into(), domain.as_str().into()];
    if tables.count(chained, names).await? > 0 {
        return Err(AdminError::Invalid(
            "a domain that mirrors another cannot be mirrored itself".into(),
        ));
    }
    Ok(())
}

/// Holds the target, if by now it still mirrors nobody and nobody mirrors `domain`.
fn free_target(tables: &Tables<'_>, domain: &Domain, target: &Domain) -> Statement {
    let sql = "UPDATE <domain> SET `active` = `active` WHERE `domain` = ? AND NOT EXISTS \
               (SELECT 1 FROM <alias_domain> WHERE `alias_domain` = ? OR `target_domain` = ?)";
    let args = vec![
        target.as_str().into(),
        target.as_str().into(),
        domain.as_str().into(),
    ];
    tables.statement(sql, args).one()
}

pub async fn update(
    tables: &Tables<'_>,
    domain: &Domain,
    update: &AliasDomainUpdate,
) -> Result<Change, AdminError> {
    check_exists(tables, domain).await?;
    let mut statements = Vec::new();
    let mut row: Vec<(&str, Set)> = vec![("modified", Set::Now)];
    if let Some(target) = &update.target_domain {
        check_pair(tables, domain, target).await?;
        statements.push(free_target(tables, domain, target));
        row.push(("target_domain", target.as_str().into()));
    }
    row.extend(update.active.map(|active| ("active", active.into())));
    let name = domain.as_str();
    statements.push(tables.update("alias_domain", row, "alias_domain", name).one());
    let logged = match update.target_domain {
        Some(_) => "edit_alias_domain",
        None => "edit_alias_domain_state",
    };
    Ok(Change::new("alias_domain", "set", logged, name, name, statements))
}

pub async fn delete(tables: &Tables<'_>, domain: &Domain) -> Result<Change, AdminError> {
    check_exists(tables, domain).await?;
    let name = domain.as_str();
    let delete = tables.delete("alias_domain", "alias_domain", name);
    let statements = delete.map(Statement::one).into_iter().collect();
    Ok(Change::new(
        "alias_domain",
        "delete",
        "delete_alias_domain",
        name,
        name,
        statements,
    ))
}
