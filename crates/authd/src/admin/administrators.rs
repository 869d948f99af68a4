//! Administrators of the panel: the tables `admin` and `domain_admins`.

use std::collections::BTreeMap;

use auth_api::admin::{AdminError, AdministratorRecord, AdministratorUpdate, NewAdministrator, Page, Which};
use mail_types::{Domain, Secret};

use super::domains;
use super::pages::Source;
use super::sql::{Change, Set, Tables};
use crate::database::values::{flag, text};
use crate::database::{Arg, Statement, Value};

/// The pseudo domain of super-administrators (compat.md 1.1).
const ALL: &str = "ALL";

const ADMINISTRATORS: Source<'_> = Source {
    table: "admin",
    key: "username",
    domain: "username",
};

/// By name.
pub async fn list(
    tables: &Tables<'_>,
    which: &Which,
    after: Option<&str>,
) -> Result<Page<AdministratorRecord>, AdminError> {
    let columns = format!("`active`, {}", tables.column("admin", "superadmin", "0"));
    let raw = tables.page(&ADMINISTRATORS, &columns, which, after).await?;
    let rows = tables
        .among("domain_admins", "username", "`domain`, `active`", &raw.keys())
        .await?;
    let mut owned: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        if let (Some(name), Some(domain)) = (text(row.first()), text(row.get(1)))
            && row.get(2).and_then(flag) == Some(true)
        {
            owned.entry(name.to_lowercase()).or_default().push(domain);
        }
    }
    owned.values_mut().for_each(|domains| domains.sort());
    Ok(raw.read("admin", |row| record(row, &owned)))
}

fn record(row: &[Value], owned: &BTreeMap<String, Vec<String>>) -> Option<AdministratorRecord> {
    let username = text(row.first())?;
    let owned = owned.get(&username.to_lowercase()).map_or(&[][..], Vec::as_slice);
    Some(AdministratorRecord {
        username,
        // Up to 2.x and still in 3.x a row of domain_admins says it, since 3.x a column too.
        superadmin: flag(&row[2])? || owned.iter().any(|domain| domain.eq_ignore_ascii_case(ALL)),
        active: flag(&row[1])?,
        domains: owned
            .iter()
            .filter(|domain| !domain.eq_ignore_ascii_case(ALL))
            .filter_map(|domain| Domain::new(domain).ok())
            .collect(),
    })
}

/// Refuses one who is not there.
async fn check_exists(tables: &Tables<'_>, username: &str) -> Result<String, AdminError> {
    tables.check_table("admin")?;
    let key = username.to_lowercase();
    tables.check_text("admin", "username", &key)?;
    if tables.exists("admin", "username", &key).await? {
        return Ok(key);
    }
    Err(AdminError::NotFound(format!(
        "there is no administrator {username}"
    )))
}

pub async fn create(
    tables: &Tables<'_>,
    new: &NewAdministrator,
    password: Option<&Secret>,
) -> Result<Change, AdminError> {
    tables.check_table("admin")?;
    let key = new.username.lookup_key();
    tables.check_text("admin", "username", &key)?;
    if tables.exists("admin", "username", &key).await? {
        return Err(AdminError::Exists(format!(
            "the administrator {key} exists already"
        )));
    }
    let password = password.cloned().unwrap_or_else(|| Secret::new(""));
    let row = vec![
        ("username", key.as_str().into()),
        ("password", Set::To(Arg::Secret(password))),
        ("created", Set::Now),
        ("modified", Set::Now),
        ("active", new.active.into()),
        ("superadmin", new.superadmin.into()),
        ("phone", "".into()),
        ("email_other", "".into()),
        ("token", "".into()),
        ("token_validity", Set::Now),
    ];
    let mut statements = vec![tables.insert("admin", row)];
    if new.superadmin {
        statements.extend(give(tables, &key, ALL));
    }
    statements.extend(give_domains(tables, &key, &new.domains).await?);
    Ok(change("add", "create_admin", "", key, statements))
}

/// The rows of `domain_admins` for these domains, each held until the end.
async fn give_domains(
    tables: &Tables<'_>,
    key: &str,
    names: &[Domain],
) -> Result<Vec<Statement>, AdminError> {
    let mut sorted = names.to_vec();
    sorted.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    sorted.dedup();
    let mut statements = Vec::new();
    for domain in &sorted {
        domains::find(tables, domain).await?;
        statements.push(tables.hold("domain", "domain", domain.as_str()));
        statements.extend(give(tables, key, domain.as_str()));
    }
    Ok(statements)
}

/// One row for the domain, however many there were: the table has no key that would see to it.
fn give(tables: &Tables<'_>, key: &str, domain: &str) -> [Statement; 2] {
    let row = vec![
        ("username", key.into()),
        ("domain", domain.into()),
        ("created", Set::Now),
        ("active", true.into()),
    ];
    [take(tables, key, domain), tables.insert("domain_admins", row)]
}

fn take(tables: &Tables<'_>, key: &str, domain: &str) -> Statement {
    let sql = "DELETE FROM <domain_admins> WHERE `username` = ? AND `domain` = ?";
    tables.statement(sql, vec![key.into(), domain.into()])
}

pub async fn update(
    tables: &Tables<'_>,
    username: &str,
    update: &AdministratorUpdate,
) -> Result<Change, AdminError> {
    let key = check_exists(tables, username).await?;
    let mut row: Vec<(&str, Set)> = vec![("modified", Set::Now)];
    row.extend(update.active.map(|active| ("active", active.into())));
    row.extend(update.superadmin.map(|super_| ("superadmin", super_.into())));
    let mut statements = vec![tables.update("admin", row, "username", &key).one()];
    match update.superadmin {
        Some(true) => statements.extend(give(tables, &key, ALL)),
        Some(false) => statements.push(take(tables, &key, ALL)),
        None => {}
    }
    statements.extend(give_domains(tables, &key, &update.add_domains).await?);
    let had = list(tables, &Which::One(key.clone()), None).await?;
    let had = had.rows.into_iter().next();
    for domain in &update.remove_domains {
        if !had.as_ref().is_some_and(|record| record.domains.contains(domain)) {
            return Err(AdminError::NotFound(format!("{domain} is no domain of {key}")));
        }
        statements.push(take(tables, &key, domain.as_str()));
    }
    Ok(change("set", "edit_admin", "", key, statements))
}

pub async fn set_password(
    tables: &Tables<'_>,
    username: &str,
    password: Secret,
) -> Result<Change, AdminError> {
    let key = check_exists(tables, username).await?;
    let row = vec![
        ("modified", Set::Now),
        ("password", Set::To(Arg::Secret(password))),
    ];
    let statements = vec![tables.update("admin", row, "username", &key).one()];
    Ok(change("set", "edit_password", "", key, statements))
}

pub async fn delete(tables: &Tables<'_>, username: &str) -> Result<Change, AdminError> {
    let key = check_exists(tables, username).await?;
    let mut statements: Vec<Statement> = tables
        .delete("domain_admins", "username", &key)
        .into_iter()
        .collect();
    statements.extend(tables.delete("admin", "username", &key).map(Statement::one));
    Ok(change("delete", "delete_admin", "admin", key, statements))
}

/// The panel's log has no domain for them, but `admin` when one goes.
fn change(
    action: &'static str,
    logged: &'static str,
    domain: &str,
    key: String,
    statements: Vec<Statement>,
) -> Change {
    Change::new("admin", action, logged, domain, key, statements)
}
