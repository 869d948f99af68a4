//! The PostfixAdmin schema forms as SQL files, and rows for a first domain, written as a site's own panel wrote them.

use crate::backend::{Backend, Engine, Form};

/// One mailbox row.
#[derive(Debug, Clone)]
pub struct MailboxRow<'a> {
    /// The address, `local@domain`.
    pub address: &'a str,
    /// The password column, as it stands in the table (a hash, or cleartext).
    pub password: &'a str,
    /// The maildir column, relative to the mail root, ending in `/`.
    pub maildir: &'a str,
}

/// The statements that make all tables of a form.
#[must_use]
pub fn tables(backend: Backend) -> &'static str {
    match (backend.form, backend.engine) {
        (Form::V2_1, Engine::Sqlite) => include_str!("../schema/postfixadmin-2.1.sqlite.sql"),
        (Form::V2_1, Engine::MariaDb) => include_str!("../schema/postfixadmin-2.1.mysql.sql"),
        (Form::V3_3, Engine::Sqlite) => include_str!("../schema/postfixadmin-3.3.sqlite.sql"),
        (Form::V3_3, Engine::MariaDb) => include_str!("../schema/postfixadmin-3.3.mysql.sql"),
        (Form::V4_0, Engine::Sqlite) => include_str!("../schema/postfixadmin-4.0.sqlite.sql"),
        (Form::V4_0, Engine::MariaDb) => include_str!("../schema/postfixadmin-4.0.mysql.sql"),
    }
}

/// A password as a site of this form keeps it when it keeps it readable: sites of 2.1 had no mark for that.
#[must_use]
pub fn password_column(form: Form, password: &str) -> String {
    if form == Form::V2_1 {
        password.to_owned()
    } else {
        format!("{{PLAIN}}{password}")
    }
}

/// An `INSERT` for a domain; `transport` as in the column, usually `virtual`.
#[must_use]
pub fn insert_domain(form: Form, domain: &str, transport: &str, backupmx: bool) -> String {
    let [domain, transport] = [domain, transport].map(quoted);
    let extra = if form == Form::V2_1 {
        ("", "")
    } else {
        (", quota", ", 0")
    };
    format!(
        "INSERT INTO domain (domain, description, aliases, mailboxes, maxquota, transport, backupmx, active{}) \
         VALUES ({domain}, 'a domain', 0, 0, 0, {transport}, {}, 1{});",
        extra.0,
        i32::from(backupmx),
        extra.1,
    )
}

/// An `INSERT` for a mailbox, and one for the alias row that PostfixAdmin makes for every mailbox.
#[must_use]
pub fn insert_mailbox(form: Form, row: &MailboxRow<'_>) -> String {
    let (local, domain) = row.address.split_once('@').unwrap_or((row.address, ""));
    let [address, password, maildir, local, domain_quoted] =
        [row.address, row.password, row.maildir, local, domain].map(quoted);
    let (names, values) = if form == Form::V2_1 {
        (String::new(), String::new())
    } else {
        (", local_part".into(), format!(", {local}"))
    };
    format!(
        "INSERT INTO mailbox (username, password, name, maildir, quota, domain, active{names}) \
         VALUES ({address}, {password}, 'A Name', {maildir}, 0, {domain_quoted}, 1{values});\n{}",
        insert_alias(row.address, row.address),
    )
}

/// An `INSERT` for an alias row; `goto` as in the column, a comma list.
#[must_use]
pub fn insert_alias(address: &str, goto: &str) -> String {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let [address, goto, domain] = [address, goto, domain].map(quoted);
    format!("INSERT INTO alias (address, goto, domain, active) VALUES ({address}, {goto}, {domain}, 1);")
}

/// An `INSERT` for a whole domain that mirrors another (forms 3.3 and 4.0).
#[must_use]
pub fn insert_alias_domain(alias: &str, target: &str) -> String {
    let [alias, target] = [alias, target].map(quoted);
    format!("INSERT INTO alias_domain (alias_domain, target_domain, active) VALUES ({alias}, {target}, 1);")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
