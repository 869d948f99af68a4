//! Aliases, catch-alls included.

use auth_api::admin::{AdminError, AliasRecord, AliasUpdate, Page, Which};
use mail_types::{Address, Domain};

use super::pages::Source;
use super::sql::{Change, Set, Tables, records};
use super::{admin_error, domains, limits};
use crate::database::Statement;
use crate::database::values::{flag, text, text_or_empty};
use crate::directory::targets_of;

const ALIASES: Source<'_> = Source {
    table: "alias",
    key: "address",
    domain: "domain",
};

/// Aliases by address; rows that stand for a mailbox too.
pub async fn list(
    tables: &Tables<'_>,
    which: &Which,
    after: Option<&str>,
) -> Result<Page<AliasRecord>, AdminError> {
    let raw = tables.page(&ALIASES, "`goto`, `active`", which, after).await?;
    let mailboxes = tables
        .of_keys("mailbox", "username", "1", &raw.keys(), |_| Some(()))
        .await?;
    Ok(raw.read("alias", |row| {
        let address = text(row.first())?;
        let key = address.to_lowercase();
        let goto = text_or_empty(&row[1])?;
        let list = List::of(&goto, &key);
        Some(AliasRecord {
            mirrors_mailbox: mailboxes.contains_key(&key),
            vacation: list.vacation.is_some(),
            goto: list.targets.into_iter().map(str::to_owned).collect(),
            active: flag(&row[2])?,
            address,
        })
    }))
}

/// The entries of the `goto` column.
pub struct List<'a> {
    /// What is not the automatic reply.
    pub targets: Vec<&'a str>,
    /// The target of the automatic reply (compat.md 5.6).
    pub vacation: Option<&'a str>,
}

impl<'a> List<'a> {
    /// Reads the list of `key`. Whatever the domain of automatic replies is or was: no other local part
    /// looks like the mailbox with `#`.
    pub fn of(goto: &'a str, key: &str) -> Self {
        let marked = key.replace('@', "#");
        let is_vacation = |entry: &&str| {
            entry
                .rsplit_once('@')
                .is_some_and(|(local, _)| local.to_lowercase() == marked)
        };
        let (vacation, targets): (Vec<&str>, Vec<&str>) = targets_of(goto).into_iter().partition(is_vacation);
        Self {
            targets,
            vacation: vacation.first().copied(),
        }
    }
}

/// The key of an alias: an address, or `@domain`.
pub struct Key {
    pub text: String,
    pub domain: Domain,
}

impl Key {
    /// `*@domain` is the panel's way to write a catch-all.
    fn parse(tables: &Tables<'_>, text: &str) -> Result<Self, AdminError> {
        let invalid = |error: &dyn std::fmt::Display| AdminError::Invalid(format!("{text}: {error}"));
        let catch_all = text.strip_prefix('*').unwrap_or(text).strip_prefix('@');
        let key = match catch_all {
            Some(domain) => {
                let domain = Domain::new(domain).map_err(|e| invalid(&e))?;
                Self {
                    text: format!("@{domain}"),
                    domain,
                }
            }
            None => {
                let address = Address::parse(text).map_err(|e| invalid(&e))?;
                Self {
                    text: address.lookup_key(),
                    domain: address.domain().clone(),
                }
            }
        };
        tables.check_text("alias", "address", &key.text)?;
        Ok(key)
    }

    fn change(self, action: &'static str, logged: &'static str, statements: Vec<Statement>) -> Change {
        Change::new(
            "alias",
            action,
            logged,
            self.domain.as_str(),
            self.text,
            statements,
        )
    }
}

/// The column of a list: each target checked, none twice. Those of `old` stay as they are: other tools may
/// have written what we would not.
fn goto(tables: &Tables<'_>, targets: &[String], old: &[&str]) -> Result<Vec<String>, AdminError> {
    let mut list: Vec<String> = Vec::new();
    for target in targets.iter().map(|target| target.trim()) {
        let known = old.iter().find(|entry| entry.eq_ignore_ascii_case(target));
        let text = match (known, target.strip_prefix('@')) {
            (Some(known), _) => Ok((*known).to_owned()),
            (None, Some(domain)) if list.is_empty() => Domain::new(domain).map(|domain| format!("@{domain}")),
            (None, Some(_)) => {
                return Err(AdminError::Invalid(format!(
                    "{target}: only the first target may be a whole domain"
                )));
            }
            (None, None) => Address::parse(target).map(|address| address.to_string()),
        };
        let text = text.map_err(|error| AdminError::Invalid(format!("{target}: {error}")))?;
        tables.check_text("alias", "goto", &text)?;
        if !list.iter().any(|known| known.eq_ignore_ascii_case(&text)) {
            list.push(text);
        }
    }
    if list.is_empty() {
        return Err(AdminError::Invalid("an alias needs a target".into()));
    }
    Ok(list)
}

/// The column itself, of at most 64 KiB: MySQL's TEXT, which it would cut where it is not strict.
fn column(list: &[String]) -> Result<String, AdminError> {
    let text = list.join(",");
    if text.len() > 65_535 {
        return Err(AdminError::Invalid(
            "the targets are more than 65535 bytes together; use an alias of aliases".into(),
        ));
    }
    Ok(text)
}

fn is_itself(target: &str, key: &str) -> bool {
    target.to_lowercase() == key
}

pub async fn create(tables: &Tables<'_>, record: &AliasRecord) -> Result<Change, AdminError> {
    let key = Key::parse(tables, &record.address)?;
    let domain = domains::find(tables, &key.domain).await?;
    let list = goto(tables, &record.goto, &[])?;
    if tables.exists("alias", "address", &key.text).await? {
        return Err(AdminError::Exists(format!(
            "the alias {} exists already",
            key.text
        )));
    }
    let of_mailbox = tables.exists("mailbox", "username", &key.text).await?;
    if !of_mailbox && list.iter().any(|target| is_itself(target, &key.text)) {
        return Err(AdminError::Invalid(format!(
            "{} would lead to itself, and there is no mailbox of that name",
            key.text
        )));
    }
    let row = vec![
        ("address", key.text.as_str().into()),
        ("goto", column(&list)?.into()),
        ("domain", key.domain.as_str().into()),
        ("created", Set::Now),
        ("modified", Set::Now),
        ("active", record.active.into()),
    ];
    // The row of a mailbox does not count.
    let statements = if of_mailbox {
        let hold = tables.hold("mailbox", "username", &key.text);
        vec![hold, tables.insert("alias", row)]
    } else {
        let room = limits::alias(tables, &domain).await?;
        let mut statements = room.hold();
        statements.push(room.insert(tables, "alias", row));
        statements
    };
    Ok(key.change("add", "create_alias", statements))
}

/// The `goto` of an alias.
pub async fn read_goto(tables: &Tables<'_>, key: &str) -> Result<Option<String>, AdminError> {
    let sql = "SELECT `address`, `goto` FROM <alias> WHERE `address` = ?";
    let rows = tables.select(sql, vec![key.into()]).await.map_err(admin_error)?;
    let found = records(rows, "alias", |row| {
        Some((text(row.first())?, text_or_empty(row.get(1)?)?))
    });
    let exact = found
        .into_iter()
        .find(|(address, _)| address.to_lowercase() == key);
    Ok(exact.map(|(_, goto)| goto))
}

/// UPDATE of a list, if by now it still is what was read.
pub fn replace_goto(tables: &Tables<'_>, key: &str, old: &str, row: Vec<(&str, Set)>) -> Statement {
    let mut statement = tables.update("alias", row, "address", key);
    statement.sql.push_str(" AND `goto` = ?");
    statement.args.push(old.into());
    statement.one()
}

pub async fn update(tables: &Tables<'_>, address: &str, update: &AliasUpdate) -> Result<Change, AdminError> {
    let key = Key::parse(tables, address)?;
    let Some(old) = read_goto(tables, &key.text).await? else {
        return Err(AdminError::NotFound(format!("there is no alias {}", key.text)));
    };
    let mut row: Vec<(&str, Set)> = vec![("modified", Set::Now)];
    row.extend(update.active.map(|active| ("active", active.into())));
    let edits = update.goto.is_some()
        || update.keep_copy.is_some()
        || !update.add.is_empty()
        || !update.remove.is_empty();
    if edits {
        let of_mailbox = tables.exists("mailbox", "username", &key.text).await?;
        row.push((
            "goto",
            edited(tables, &key.text, &old, update, of_mailbox)?.into(),
        ));
    }
    let statement = match edits {
        true => replace_goto(tables, &key.text, &old, row),
        false => tables.update("alias", row, "address", &key.text).one(),
    };
    let logged = if edits { "edit_alias" } else { "edit_alias_state" };
    Ok(key.change("set", logged, vec![statement]))
}

/// The new list: as asked for, and what the panel keeps: the mailbox itself and its automatic reply.
fn edited(
    tables: &Tables<'_>,
    key: &str,
    old: &str,
    update: &AliasUpdate,
    of_mailbox: bool,
) -> Result<String, AdminError> {
    let old = List::of(old, key);
    let had_itself = old.targets.iter().any(|target| is_itself(target, key));
    let mut wanted: Vec<String> = match &update.goto {
        Some(goto) => goto.clone(),
        None => old.targets.iter().map(|&target| target.to_owned()).collect(),
    };
    for target in &update.remove {
        let before = wanted.len();
        wanted.retain(|old| old.trim().to_lowercase() != target.trim().to_lowercase());
        if wanted.len() == before {
            return Err(AdminError::NotFound(format!("{target} is no target of {key}")));
        }
    }
    let of_request = update.goto.iter().flatten().chain(&update.add);
    let named = of_request.into_iter().any(|target| is_itself(target.trim(), key));
    wanted.extend_from_slice(&update.add);
    let removed = update.remove.iter().any(|target| is_itself(target.trim(), key));
    let keep_copy = update.keep_copy.or_else(|| removed.then_some(false));
    let keep = keep_copy.unwrap_or(named || had_itself);
    // The panel of old let aliases lead to themselves; that ends with the next change of the list.
    if keep && !of_mailbox && (update.keep_copy.is_some() || named) {
        return Err(AdminError::Invalid(format!(
            "there is no mailbox {key} that could keep a copy"
        )));
    }
    wanted.retain(|target| !is_itself(target.trim(), key));
    if keep && of_mailbox {
        wanted.insert(0, key.to_owned());
    }
    // The automatic reply alone would swallow the mail.
    let mut list = goto(tables, &wanted, &old.targets)?;
    list.extend(old.vacation.map(str::to_owned));
    column(&list)
}

pub async fn delete(tables: &Tables<'_>, address: &str) -> Result<Change, AdminError> {
    let key = Key::parse(tables, address)?;
    if tables.exists("mailbox", "username", &key.text).await? {
        return Err(AdminError::Invalid(format!(
            "{} is the row of a mailbox and keeps catch-alls from taking its mail; delete the mailbox, or set \
             the alias to other targets",
            key.text
        )));
    }
    if !tables.exists("alias", "address", &key.text).await? {
        return Err(AdminError::NotFound(format!("there is no alias {}", key.text)));
    }
    let delete = tables.delete("alias", "address", &key.text).map(Statement::one);
    Ok(key.change("delete", "delete_alias", delete.into_iter().collect()))
}
