//! What goes with a domain.
//!
//! Rows are deleted by their keys, in pages. A condition about the end of a key (`%@domain`) uses no index:
//! it would read whole tables, and hold every row of them until the end.

use auth_api::admin::{AdminError, Which};
use mail_types::Domain;

use super::pages::Source;
use super::sql::{Change, Tables};
use super::{domains, mailboxes};
use crate::database::values::text;
use crate::database::{Arg, Statement, marks};

/// Tables whose rows name their domain, with the tables that have rows by the same key. The notifications
/// first: they refer to vacation.
const TABLES: [(Source<'_>, &[(&str, &str)]); 3] = [
    (
        source("vacation", "email"),
        &[("vacation_notification", "on_vacation")],
    ),
    (source("mailbox", "username"), &mailboxes::HANGING),
    (source("alias", "address"), &[("dkim_signing", "author")]),
];

const fn source<'a>(table: &'a str, key: &'a str) -> Source<'a> {
    Source {
        table,
        key,
        domain: "domain",
    }
}

/// Deletes everything that belongs to the domain. Mentions in lists of other domains stay: they are mail
/// addresses like any other. The log stays too: it says who deleted the domain.
pub async fn delete(tables: &Tables<'_>, domain: &Domain) -> Result<Change, AdminError> {
    domains::find(tables, domain).await?;
    let name = domain.as_str();
    let mut statements = vec![tables.hold("domain", "domain", name)];
    if tables.schema.has_table("dkim_signing") && tables.schema.has_table("dkim") {
        let sql = "DELETE FROM <dkim_signing> WHERE `dkim_id` IN \
                   (SELECT `id` FROM <dkim> WHERE `domain_name` = ?)";
        statements.push(tables.statement(sql, vec![name.into()]));
    }
    for (source, hanging) in &TABLES {
        if tables.schema.has(source.table, source.key) {
            statements.extend(by_key(tables, source, hanging, domain).await?);
        }
    }
    // What says which domain it belongs to, but not by an address, and what was left.
    let rows = [
        ("fetchmail", "domain"),
        ("totp_exception_address", "username"),
        ("dkim_signing", "author"),
        ("dkim", "domain_name"),
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

/// The statements that delete the domain's rows of a table and what hangs on them. They undo the whole where
/// there are more by then: something might hang on those, too.
async fn by_key(
    tables: &Tables<'_>,
    source: &Source<'_>,
    hanging: &[(&str, &str)],
    domain: &Domain,
) -> Result<Vec<Statement>, AdminError> {
    let which = Which::Domain(domain.clone());
    let (mut deletes, mut after, mut all) = (Vec::new(), None, 0_i64);
    loop {
        let raw = tables.page(source, "1", &which, after.as_deref()).await?;
        all = all.saturating_add(i64::try_from(raw.rows.len()).unwrap_or(i64::MAX));
        let keys = raw.keys();
        for (table, column) in hanging {
            // Only what is there: a DELETE of a key that is not locks the gap where it would be.
            let found = tables.among(table, column, "1", &keys).await?;
            let found = found.iter().filter_map(|row| text(row.first())).collect();
            deletes.extend(delete_keys(tables, table, column, found));
        }
        deletes.extend(delete_keys(tables, source.table, source.key, keys));
        after = raw.next;
        if after.is_none() {
            break;
        }
    }
    let Source {
        table,
        domain: column,
        ..
    } = source;
    let same = format!(
        "UPDATE <domain> SET `active` = `active` WHERE `domain` = ? AND \
         (SELECT COUNT(*) FROM <{table}> WHERE `{column}` = ?) = ?"
    );
    let name = domain.as_str();
    let args = vec![name.into(), name.into(), all.into()];
    let mut statements = vec![tables.statement(&same, args).one()];
    statements.extend(deletes);
    // Rows whose key is no text.
    statements.extend(tables.delete(table, column, name));
    Ok(statements)
}

fn delete_keys(tables: &Tables<'_>, table: &str, column: &str, keys: Vec<String>) -> Option<Statement> {
    let sql = format!(
        "DELETE FROM <{table}> WHERE `{column}` IN ({})",
        marks(keys.len())
    );
    let args: Vec<Arg> = keys.into_iter().map(Arg::from).collect();
    (!args.is_empty()).then(|| tables.statement(&sql, args))
}
