//! Mailboxes and their passwords.

use auth_api::admin::{AdminError, DomainRecord, MailboxRecord, MailboxUpdate, NewMailbox};
use config::MaildirLayout;
use mail_types::{Address, Domain, Secret};

use super::sql::{Change, Set, Tables, count, records};
use super::{admin_error, domains};
use crate::database::postfixadmin::{flag, number, text, text_or_empty};
use crate::database::{Arg, DbError, Statement};
use crate::directory::targets_of;
use crate::site::Site;

/// All mailboxes by address, or those of one domain.
pub async fn list(site: &Site, domain: Option<&Domain>) -> Result<Vec<MailboxRecord>, DbError> {
    let (condition, args) = match domain {
        Some(domain) => ("WHERE `domain` = ?", vec![Arg::from(domain.as_str())]),
        None => ("", Vec::new()),
    };
    let sql = format!(
        "SELECT `username`, `name`, `maildir`, `quota`, `active` FROM `mailbox` {condition} ORDER BY `username`"
    );
    let rows = site.panel()?.database().select(&sql, args).await?;
    Ok(records(rows, "mailbox", |row| {
        Some(MailboxRecord {
            address: Address::parse(&text(row.first())?).ok()?,
            name: text_or_empty(&row[1])?,
            maildir: text_or_empty(&row[2])?,
            quota: u64::try_from(number(&row[3])?).unwrap_or(0),
            active: flag(&row[4])?,
        })
    }))
}

/// Everything that can be refused before the password is hashed.
pub async fn check_new(site: &Site, mailbox: &NewMailbox) -> Result<(), AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let (address, domain) = (&mailbox.address, mailbox.address.domain());
    tables.check_key("mailbox", "username", &address.lookup_key())?;
    // The name becomes a directory; a quoted one could not be typed into a login form either.
    if address.to_string().starts_with('"') || address.local().contains('/') {
        return Err(AdminError::Invalid(format!(
            "{address}: a mailbox name cannot hold such characters"
        )));
    }
    let record = domains::find(site, domain).await?;
    let sql = "SELECT COUNT(*) FROM `mailbox` WHERE `domain` = ?";
    domains::check_room(site, record.mailboxes, "mailboxes", sql, domain).await?;
    check_quota(site, &record, mailbox.quota, None).await
}

/// The limits of the domain: one mailbox, and the sum of all.
async fn check_quota(
    site: &Site,
    domain: &DomainRecord,
    quota: u64,
    except: Option<&str>,
) -> Result<(), AdminError> {
    let unit = i64::try_from(site.settings.admin.quota_multiplier).unwrap_or(i64::MAX);
    let Ok(quota) = i64::try_from(quota) else {
        return Err(AdminError::Invalid("the quota is too large".into()));
    };
    let most = domain.maxquota.saturating_mul(unit);
    if domain.maxquota > 0 && (quota == 0 || quota > most) {
        return Err(AdminError::Invalid(format!(
            "a mailbox of {} may have at most {most} bytes",
            domain.domain
        )));
    }
    if domain.quota > 0 {
        let sql = "SELECT COALESCE(SUM(`quota`), 0) FROM `mailbox` WHERE `domain` = ? AND `username` <> ?";
        let args = vec![domain.domain.as_str().into(), except.unwrap_or_default().into()];
        let used = count(site, sql, args).await?;
        if quota == 0 || used.saturating_add(quota) > domain.quota.saturating_mul(unit) {
            return Err(AdminError::Invalid(format!(
                "the mailboxes of {} may have {} bytes together, {used} are given",
                domain.domain,
                domain.quota.saturating_mul(unit)
            )));
        }
    }
    Ok(())
}

/// The rows of a new mailbox: itself, and the alias that keeps a catch-all from taking its mail.
pub async fn create(site: &Site, mailbox: &NewMailbox, password: Secret) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let key = mailbox.address.lookup_key();
    let domain = mailbox.address.domain().as_str();
    let local = mailbox.address.local().to_lowercase();
    let maildir = match site.settings.admin.layout {
        MaildirLayout::DomainUser => format!("{domain}/{local}/"),
        MaildirLayout::DomainAddress => format!("{domain}/{key}/"),
        MaildirLayout::Address => format!("{key}/"),
    };
    let quota =
        i64::try_from(mailbox.quota).map_err(|_| AdminError::Invalid("the quota is too large".into()))?;
    let row = [
        ("username", key.as_str().into()),
        ("password", Set::To(Arg::Secret(password))),
        ("name", mailbox.name.as_str().into()),
        ("maildir", maildir.into()),
        ("quota", quota.into()),
        ("local_part", local.into()),
        ("domain", domain.into()),
        ("created", Set::Now),
        ("modified", Set::Now),
        ("active", mailbox.active.into()),
        ("phone", "".into()),
        ("email_other", "".into()),
        ("token", "".into()),
    ];
    let alias = [
        ("address", key.as_str().into()),
        ("goto", key.as_str().into()),
        ("domain", domain.into()),
        ("created", Set::Now),
        ("modified", Set::Now),
        ("active", mailbox.active.into()),
    ];
    let statements = vec![tables.insert("mailbox", row), tables.insert("alias", alias)];
    Ok(change("mailbox", "add", &mailbox.address, statements))
}

pub async fn update(site: &Site, address: &Address, update: &MailboxUpdate) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let key = address.lookup_key();
    tables.check_key("mailbox", "username", &key)?;
    let mut row: Vec<(&str, Set)> = vec![("modified", Set::Now)];
    row.extend(update.name.as_deref().map(|name| ("name", name.into())));
    if let Some(quota) = update.quota {
        let domain = domains::find(site, address.domain()).await?;
        check_quota(site, &domain, quota, Some(&key)).await?;
        let quota = i64::try_from(quota).map_err(|_| AdminError::Invalid("the quota is too large".into()))?;
        row.push(("quota", quota.into()));
    }
    row.extend(update.active.map(|active| ("active", active.into())));
    let mut statements = vec![tables.update("mailbox", row, "username", &key).one()];
    if let Some(active) = update.active {
        let row = vec![("modified", Set::Now), ("active", active.into())];
        statements.push(tables.update("alias", row, "address", &key));
    }
    Ok(change("mailbox", "set", address, statements))
}

pub async fn set_password(site: &Site, address: &Address, password: Secret) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let key = address.lookup_key();
    tables.check_key("mailbox", "username", &key)?;
    let row = vec![
        ("modified", Set::Now),
        ("password", Set::To(Arg::Secret(password))),
    ];
    let statements = vec![tables.update("mailbox", row, "username", &key).one()];
    Ok(change("password", "set", address, statements))
}

/// Deletes the mailbox, what hangs on it, and its mention in the lists of aliases. A list that mentioned
/// nobody else goes too.
pub async fn delete(site: &Site, address: &Address) -> Result<Change, AdminError> {
    let tables = Tables::of(site).await.map_err(admin_error)?;
    let key = address.lookup_key();
    tables.check_key("mailbox", "username", &key)?;
    let found = count(
        site,
        "SELECT COUNT(*) FROM `mailbox` WHERE `username` = ?",
        vec![key.as_str().into()],
    )
    .await?;
    if found == 0 {
        return Err(AdminError::NotFound(format!("there is no mailbox {address}")));
    }
    let mut statements = Vec::new();
    let notified = tables.delete("vacation_notification", "on_vacation", &key);
    let hanging = [
        ("vacation", "email"),
        ("quota", "username"),
        ("quota2", "username"),
        ("fetchmail", "mailbox"),
        ("mailbox_app_password", "username"),
        ("alias", "address"),
    ];
    statements.extend(notified);
    statements.extend(
        hanging
            .into_iter()
            .filter_map(|(table, column)| tables.delete(table, column, &key)),
    );
    statements.extend(mentions(site, &tables, &key).await?);
    statements.extend(tables.delete("mailbox", "username", &key).map(Statement::one));
    Ok(change("mailbox", "delete", address, statements))
}

/// The statements that take `key` out of lists. Each applies only if its list is still what was read.
async fn mentions(site: &Site, tables: &Tables, key: &str) -> Result<Vec<Statement>, AdminError> {
    // LIKE only narrows the rows down (its wildcards may let more through); the list itself decides.
    let sql = "SELECT `address`, `goto` FROM `alias` WHERE LOWER(`goto`) LIKE ? AND `address` <> ?";
    let args = vec![format!("%{key}%").into(), key.into()];
    let rows = site
        .panel()
        .map_err(admin_error)?
        .database()
        .select(sql, args)
        .await
        .map_err(admin_error)?;
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
            Statement::new("DELETE FROM `alias` WHERE `address` = ?", vec![address.into()])
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

fn change(
    object: &'static str,
    action: &'static str,
    address: &Address,
    statements: Vec<Statement>,
) -> Change {
    Change {
        object,
        action,
        key: address.lookup_key(),
        domain: address.domain().to_string(),
        statements,
    }
}
