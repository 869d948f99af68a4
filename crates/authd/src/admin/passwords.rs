//! Passwords: the site's rules for new ones, when they expire, and app passwords.

use auth_api::admin::{AdminError, AppPasswordRecord, DomainRecord, NewAppPassword};
use mail_types::{Address, Secret};

use super::sql::{Change, Set, Tables, records};
use super::{admin_error, domains, mailboxes};
use crate::config::PasswordRules;
use crate::database::values::{number, text_or_empty};
use crate::database::{Arg, Statement};

/// Where passwords do not expire: what the panel writes then, too.
const NEVER: i64 = 365;

/// Refuses a password that breaks the rules of the site.
pub fn check(rules: &PasswordRules, password: &Secret) -> Result<(), AdminError> {
    let Some(text) = password.expose_str() else {
        return Err(AdminError::Invalid("the password is not UTF-8".into()));
    };
    let count = |of: fn(char) -> bool| text.chars().filter(|&c| of(c)).count();
    let needs = [
        (count(|_| true), rules.min_length, "characters"),
        (count(char::is_alphabetic), rules.min_letters, "letters"),
        (count(char::is_numeric), rules.min_digits, "digits"),
    ];
    let missing: Vec<String> = needs
        .into_iter()
        .filter(|(found, least, _)| found < least)
        .map(|(_, least, what)| format!("at least {least} {what}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(AdminError::Invalid(format!(
        "the password needs {}",
        missing.join(" and ")
    )))
}

/// When a password that is set now expires.
pub fn expiry(domain: &DomainRecord) -> Set {
    Set::InDays(match domain.password_expiry {
        days @ 1.. => days,
        _ => NEVER,
    })
}

pub async fn set(tables: &Tables<'_>, address: &Address, password: Secret) -> Result<Change, AdminError> {
    let key = mailboxes::check_exists(tables, address).await?;
    let domain = domains::find(tables, address.domain()).await?;
    let row = vec![
        ("modified", Set::Now),
        ("password", Set::To(Arg::Secret(password))),
        ("password_expiry", expiry(&domain)),
    ];
    let statements = vec![tables.update("mailbox", row, "username", &key).one()];
    let domain = address.domain().as_str();
    Ok(Change::new(
        "password",
        "set",
        "edit_password",
        domain,
        key,
        statements,
    ))
}

/// The app passwords of a mailbox.
pub async fn list(tables: &Tables<'_>, address: &Address) -> Result<Vec<AppPasswordRecord>, AdminError> {
    if !tables.schema.has_table(APP_PASSWORDS) {
        return Ok(Vec::new());
    }
    let sql = "SELECT `id`, `description` FROM <mailbox_app_password> WHERE `username` = ? ORDER BY `id`";
    let rows = tables
        .select(sql, vec![address.lookup_key().into()])
        .await
        .map_err(admin_error)?;
    Ok(records(rows, APP_PASSWORDS, |row| {
        Some(AppPasswordRecord {
            id: number(row.first()?)?,
            description: text_or_empty(row.get(1)?)?,
        })
    }))
}

const APP_PASSWORDS: &str = "mailbox_app_password";

pub async fn create_app(
    tables: &Tables<'_>,
    new: &NewAppPassword,
    password: Option<&Secret>,
) -> Result<Change, AdminError> {
    check_app_table(tables)?;
    let key = mailboxes::check_exists(tables, &new.address).await?;
    tables.check_text(APP_PASSWORDS, "description", &new.description)?;
    if new.description.trim().is_empty() {
        return Err(AdminError::Invalid("say what the app password is for".into()));
    }
    let password = password.cloned().unwrap_or_else(|| Secret::new(""));
    let row = vec![
        ("username", key.as_str().into()),
        ("description", new.description.as_str().into()),
        ("password_hash", Set::To(Arg::Secret(password))),
    ];
    let statements = vec![
        tables.hold("mailbox", "username", &key),
        tables.insert(APP_PASSWORDS, row),
    ];
    Ok(app_change(
        "add",
        "add_app_password",
        &new.address,
        key,
        statements,
    ))
}

pub async fn delete_app(tables: &Tables<'_>, address: &Address, id: i64) -> Result<Change, AdminError> {
    check_app_table(tables)?;
    let key = mailboxes::check_exists(tables, address).await?;
    let known = list(tables, address).await?;
    if !known.iter().any(|record| record.id == id) {
        return Err(AdminError::NotFound(format!("{key} has no app password {id}")));
    }
    let sql = "DELETE FROM <mailbox_app_password> WHERE `id` = ? AND `username` = ?";
    let delete = tables.statement(sql, vec![id.into(), key.as_str().into()]).one();
    // The panel has no word for it; to it that is a change of the mailbox.
    Ok(app_change("delete", "edit_mailbox", address, key, vec![delete]))
}

fn check_app_table(tables: &Tables<'_>) -> Result<(), AdminError> {
    tables
        .check_table(APP_PASSWORDS)
        .map_err(|_| AdminError::Invalid("app passwords need the tables of PostfixAdmin 4".into()))
}

fn app_change(
    action: &'static str,
    logged: &'static str,
    address: &Address,
    key: String,
    statements: Vec<Statement>,
) -> Change {
    let domain = address.domain().as_str();
    Change::new("app_password", action, logged, domain, key, statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_for_new_passwords() {
        let panel = PasswordRules {
            min_length: 5,
            min_letters: 3,
            min_digits: 2,
        };
        for good in ["abc12", "a1b2c", "Zwölf 12"] {
            assert!(check(&panel, &Secret::new(good)).is_ok(), "{good}");
        }
        for (bad, why) in [
            (
                "ab12",
                "the password needs at least 5 characters and at least 3 letters",
            ),
            ("abcdef1", "the password needs at least 2 digits"),
            ("12345", "the password needs at least 3 letters"),
        ] {
            let error = check(&panel, &Secret::new(bad)).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
        assert!(check(&panel, &Secret::new(vec![0xff; 9])).is_err());
    }
}
