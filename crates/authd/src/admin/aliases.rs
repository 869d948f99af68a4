//! Aliases, catch-alls included.

use std::collections::HashSet;

use auth_api::admin::{AdminError, AliasRecord, AliasUpdate};
use mail_types::{Address, Domain};

use super::sql::{Change, Set, Tables, count, records};
use super::{admin_error, domains};
use crate::database::postfixadmin::{flag, text, text_or_empty};
use crate::database::{Arg, DbError, Statement};
use crate::directory::targets_of;
use crate::site::Site;

/// All aliases by address, or those of one domain.
pub async fn list(site: &Site, domain: Option<&Domain>) -> Result<Vec<AliasRecord>, DbError> {
    let (condition, args) = match domain {
        Some(domain) => ("WHERE `domain` = ?", vec![Arg::from(domain.as_str())]),
        None => ("", Vec::new()),
    };
    let database = site.panel()?.database();
    let sql = format!("SELECT `username` FROM `mailbox` {condition}");
    let rows = database.select(&sql, args.clone()).await?;
    let mailboxes: HashSet<String> = rows
        .iter()
        .filter_map(|row| text(row.first()))
        .map(|name| name.to_lowercase())
        .collect();
    let sql = format!("SELECT `address`, `goto`, `active` FROM `alias` {condition} ORDER BY `address`");
    let rows = database.select(&sql, args).await?;
    Ok(records(rows, "alias", |row| {
        let address = text(row.first())?;
        Some(AliasRecord {
            mirrors_mailbox: mailboxes.contains(&address.to_lowercase()),
            goto: targets_of(&text_or_empty(&row[1])?)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            active: flag(&row[2])?,
            address,
        })
    }))
}

/// The key of an alias: an address, or `@domain`.
struct Key {
    text: String,
    domain: Domain,
}

impl Key {
    fn parse(text: &str) -> Result<Self, AdminError> {
        if let Some(domain) = text.strip_prefix('@') {
            let domain = Domain::new(domain).map_err(|e| AdminError::Invalid(format!("{text}: {e}")))?;
            return Ok(Self {
                text: format!("@{domain}"),
                domain,
            });
        }
        let address = Address::parse(text).map_err(|e| AdminError::Invalid(format!("{text}: {e}")))?;
        Ok(Self {
            text: address.lookup_key(),
            domain: address.domain().clone(),
        })
    }

    async fn has_mailbox(&self, site: &Site) -> Result<bool, AdminError> {
        let sql = "SELECT COUNT(*) FROM `mailbox` WHERE `username` = ?";
        Ok(count(site, sql, vec![self.text.as_str().into()]).await? > 0)
    }

    fn change(self, action: &'static str, statements: Vec<Statement>) -> Change {
        Change {
            object: "alias",
            action,
            key: self.text,
            domain: self.domain.to_string(),
            statements,
        }
    }
}

/// The column of a list: each target checked, none twice.
fn goto(targets: &[String]) -> Result<String, AdminError> {
    let mut list: Vec<String> = Vec::new();
    for target in targets.iter().map(|target| target.trim()) {
        let text = match target.strip_prefix('@') {
            Some(domain) if list.is_empty() => Domain::new(domain).map(|domain| format!("@{domain}")),
            Some(_) => {
                return Err(AdminError::Invalid(format!(
                    "{target}: only the first target may be a whole domain"
                )));
            }
            None => Address::parse(target).map(|address| address.to_string()),
        };
        let text = text.map_err(|error| AdminError::Invalid(format!("{target}: {error}")))?;
        if !list.iter().any(|known| known.eq_ignore_ascii_case(&text)) {
            list.push(text);
        }
    }
    if list.is_empty() {
        return Err(AdminError::Invalid("an alias needs a target".into()));
    }
    Ok(list.join(","))
}

pub async fn create(site: &Site, record: &AliasRecord) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let key = Key::parse(&record.address)?;
    tables.check_key("alias", "address", &key.text)?;
    let domain = domains::find(site, &key.domain).await?;
    let sql = "SELECT COUNT(*) FROM `alias` a WHERE a.`domain` = ? AND NOT EXISTS \
               (SELECT 1 FROM `mailbox` m WHERE m.`username` = a.`address`)";
    domains::check_room(site, domain.aliases, "aliases", sql, &key.domain).await?;
    let row = [
        ("address", key.text.as_str().into()),
        ("goto", goto(&record.goto)?.into()),
        ("domain", key.domain.as_str().into()),
        ("created", Set::Now),
        ("modified", Set::Now),
        ("active", record.active.into()),
    ];
    let statements = vec![tables.insert("alias", row)];
    Ok(key.change("add", statements))
}

pub async fn update(site: &Site, address: &str, update: &AliasUpdate) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let key = Key::parse(address)?;
    tables.check_key("alias", "address", &key.text)?;
    let mut row: Vec<(&str, Set)> = vec![("modified", Set::Now)];
    if let Some(targets) = &update.goto {
        row.push(("goto", goto(targets)?.into()));
    }
    row.extend(update.active.map(|active| ("active", active.into())));
    let statements = vec![tables.update("alias", row, "address", &key.text).one()];
    Ok(key.change("set", statements))
}

pub async fn delete(site: &Site, address: &str) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let key = Key::parse(address)?;
    tables.check_key("alias", "address", &key.text)?;
    if key.has_mailbox(site).await? {
        return Err(AdminError::Invalid(format!(
            "{} is the row of a mailbox and keeps catch-alls from taking its mail; delete the mailbox, or set \
             the alias to other targets",
            key.text
        )));
    }
    let statements = tables
        .delete("alias", "address", &key.text)
        .map(Statement::one)
        .into_iter()
        .collect();
    Ok(key.change("delete", statements))
}
