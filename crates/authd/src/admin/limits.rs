//! The limits of a domain: how many mailboxes and aliases, and how large (compat.md 1.4).

use auth_api::admin::{AdminError, DomainRecord};

use super::sql::{Set, Tables};
use crate::database::{Arg, Statement};

/// Aliases as the panel counts them: each mailbox has a row among them that is none. Not by a comparison of
/// their addresses: the tables of a grown site may differ in collation.
const ALIASES: &str = "SELECT (SELECT COUNT(*) FROM <alias> WHERE `domain` = ?) - \
                       (SELECT COUNT(*) FROM <mailbox> WHERE `domain` = ?)";
const MAILBOXES: &str = "SELECT COUNT(*) FROM <mailbox> WHERE `domain` = ?";
const QUOTAS: &str = "SELECT COALESCE(SUM(CASE WHEN `quota` > 0 THEN `quota` ELSE 0 END), 0) FROM <mailbox> \
                      WHERE `domain` = ? AND `username` <> ?";

/// Room for one more row. Whether it is still there is asked again by the INSERT itself: even in tables that
/// know no transactions (MyISAM) two changes cannot both take the last place.
pub struct Room {
    hold: Statement,
    condition: Option<(String, Vec<Arg>)>,
}

impl Room {
    /// What has to come before everything else.
    pub fn hold(&self) -> Vec<Statement> {
        vec![self.hold.clone()]
    }

    /// The INSERT that takes the place.
    pub fn insert(self, tables: &Tables<'_>, table: &str, row: Vec<(&str, Set)>) -> Statement {
        match self.condition {
            Some((condition, args)) => tables.insert_where(table, row, &condition, args),
            None => tables.insert(table, row),
        }
    }
}

/// Room for one more alias. Like the others it refuses what is over a limit by now.
pub async fn alias(tables: &Tables<'_>, domain: &DomainRecord) -> Result<Room, AdminError> {
    room(tables, domain, domain.aliases, "aliases", ALIASES, 2).await
}

/// Room for one more mailbox.
pub async fn mailbox(tables: &Tables<'_>, domain: &DomainRecord) -> Result<Room, AdminError> {
    room(tables, domain, domain.mailboxes, "mailboxes", MAILBOXES, 1).await
}

/// Room for what `sql` counts, in which the domain stands `names` times.
async fn room(
    tables: &Tables<'_>,
    domain: &DomainRecord,
    limit: i64,
    what: &'static str,
    sql: &str,
    names: usize,
) -> Result<Room, AdminError> {
    let name = domain.domain.as_str();
    if limit < 0 {
        return Err(AdminError::Invalid(format!(
            "{name} may have no {what} (its limit is {limit})"
        )));
    }
    let hold = tables.hold("domain", "domain", name);
    if limit == 0 {
        return Ok(Room {
            hold,
            condition: None,
        });
    }
    let names = vec![Arg::from(name); names];
    if tables.count(sql, names.clone()).await? >= limit {
        return Err(AdminError::Invalid(format!(
            "{name} may have no more {what} (its limit is {limit})"
        )));
    }
    let condition = format!("<domain> WHERE `domain` = ? AND `{what}` = ? AND ({sql}) < ?");
    let args = [vec![name.into(), Arg::Int(limit)], names, vec![Arg::Int(limit)]].concat();
    Ok(Room {
        hold,
        condition: Some((condition, args)),
    })
}

/// A quota for a mailbox; `except` is the mailbox that has one already. Refuses one that is over a limit by now,
/// and gives the statements that undo the change where it is over one by then: to be put before it.
pub async fn quota(
    tables: &Tables<'_>,
    domain: &DomainRecord,
    quota: u64,
    except: &str,
) -> Result<Vec<Statement>, AdminError> {
    let name = domain.domain.as_str();
    let bytes = i64::try_from(quota).map_err(|_| AdminError::Invalid("the quota is too large".into()))?;
    // PostfixAdmin 2.1 has a 32-bit column, which MySQL fills with its largest number where it is not strict.
    if !tables.schema.has("domain", "quota") && bytes > i64::from(i32::MAX) {
        return Err(AdminError::Invalid(format!(
            "the tables of this PostfixAdmin hold a quota of at most {} bytes",
            i32::MAX
        )));
    }
    let unit = i64::try_from(tables.rules.quota_multiplier).unwrap_or(i64::MAX);
    let mut statements = Vec::new();
    let most = domain.maxquota.saturating_mul(unit);
    if domain.maxquota < 0 && bytes > 0 {
        return Err(AdminError::Invalid(format!(
            "quotas are off for {name} (its maxquota is {})",
            domain.maxquota
        )));
    }
    if domain.maxquota > 0 {
        if bytes == 0 || bytes > most {
            return Err(AdminError::Invalid(format!(
                "a mailbox of {name} may have a quota of at most {most} bytes ({} MB), and has to have one",
                domain.maxquota
            )));
        }
        statements.push(guard(
            tables,
            "`maxquota` = ?",
            vec![name.into(), domain.maxquota.into()],
        ));
    }
    if domain.quota > 0 {
        let all = domain.quota.saturating_mul(unit);
        let args = vec![name.into(), except.into()];
        let used = tables.count(QUOTAS, args).await?;
        if bytes == 0 || used.saturating_add(bytes) > all {
            return Err(AdminError::Invalid(format!(
                "the mailboxes of {name} may have quotas of {all} bytes ({} MB) together, of which {used} are \
                 given; each has to have one",
                domain.quota
            )));
        }
        let args = vec![
            name.into(),
            domain.quota.into(),
            name.into(),
            except.into(),
            all.saturating_sub(bytes).into(),
        ];
        statements.push(guard(tables, &format!("`quota` = ? AND ({QUOTAS}) <= ?"), args));
    }
    if !statements.is_empty() {
        statements.insert(0, tables.hold("domain", "domain", name));
    }
    Ok(statements)
}

/// Undoes the transaction where the condition about the domain (the first value) does not hold. The row is
/// held before, by a statement of its own: a database may well count before it locks.
fn guard(tables: &Tables<'_>, condition: &str, args: Vec<Arg>) -> Statement {
    let sql = format!("UPDATE <domain> SET `active` = `active` WHERE `domain` = ? AND {condition}");
    tables.statement(&sql, args).one()
}
