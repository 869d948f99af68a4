//! Rows on their way in and out of the file.

use std::collections::HashSet;
use std::path::Path;

use mail_types::Secret;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::ReplicaError;
use crate::directory::backend::{AliasDomainRow, AliasRow, AppPassword, DomainRow, LoginRow, MailboxRow};
use crate::directory::pages::{Kind, Listed};

/// A row as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<T> {
    /// When it was read, seconds since 1970.
    pub read_at: i64,
    /// The row; `None`: it could not be read.
    pub row: Option<T>,
}

/// What [`get`] can fetch: the columns behind `read_at`, and how they are read.
pub trait Stored: Sized + Send + 'static {
    /// The columns; the first is NULL where the row could not be read.
    const COLUMNS: &'static str;
    /// Reads them, from column 1 on (0 is `read_at`).
    fn read(name: &str, row: &Row<'_>) -> rusqlite::Result<Self>;
}

/// The row of a key.
pub fn get<T: Stored>(
    connection: &Connection,
    kind: Kind,
    name: &str,
) -> Result<Option<Kept<T>>, ReplicaError> {
    let sql = format!(
        "SELECT read_at, {} FROM {} WHERE name = ?",
        T::COLUMNS,
        kind.as_str()
    );
    let kept = |row: &Row<'_>| {
        let there = row.get_ref(1)?.data_type() != Type::Null;
        Ok(Kept {
            read_at: row.get(0)?,
            row: there.then(|| T::read(name, row)).transpose()?,
        })
    };
    Ok(connection
        .prepare_cached(&sql)?
        .query_row([name], kept)
        .optional()?)
}

/// What the login of a mailbox rests on; `None` also where only the mailbox was asked for.
pub fn get_login(connection: &Connection, name: &str) -> Result<Option<Kept<LoginRow>>, ReplicaError> {
    let Some(mailbox) = get::<MailboxRow>(connection, Kind::Mailbox, name)? else {
        return Ok(None);
    };
    let Some(mailbox_row) = mailbox.row else {
        return Ok(Some(Kept {
            read_at: mailbox.read_at,
            row: None,
        }));
    };
    let sql = "SELECT login_at, domain_active, password, cleartext, smtp_active, password_expiry \
               FROM mailbox WHERE name = ? AND login_at IS NOT NULL";
    let login = connection
        .prepare_cached(sql)?
        .query_row([name], |row| {
            Ok(Kept {
                read_at: row.get(0)?,
                row: Some(LoginRow {
                    mailbox: mailbox_row,
                    domain_active: row.get(1)?,
                    password: secret(row.get::<_, Vec<u8>>(2)?),
                    cleartext: row.get::<_, Option<Vec<u8>>>(3)?.map(secret),
                    smtp_active: row.get(4)?,
                    password_expiry: row.get(5)?,
                    app_passwords: Vec::new(),
                }),
            })
        })
        .optional()?;
    let Some(mut login) = login else {
        return Ok(None);
    };
    if let Some(row) = &mut login.row {
        let sql = "SELECT id, description, password FROM app_password WHERE name = ? ORDER BY number";
        let mut query = connection.prepare_cached(sql)?;
        let programs = query.query_map([name], |row| {
            Ok(AppPassword {
                id: row.get(0)?,
                description: row.get(1)?,
                password: secret(row.get::<_, Vec<u8>>(2)?),
            })
        })?;
        row.app_passwords = programs.collect::<rusqlite::Result<_>>()?;
    }
    Ok(Some(login))
}

fn secret(bytes: Vec<u8>) -> Secret {
    Secret::new(bytes)
}

impl Stored for DomainRow {
    const COLUMNS: &'static str = "active, backupmx, alias_only, transport";
    fn read(_name: &str, row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            active: row.get(1)?,
            backupmx: row.get(2)?,
            alias_only: row.get(3)?,
            transport: row.get(4)?,
        })
    }
}

impl Stored for AliasDomainRow {
    const COLUMNS: &'static str = "target, active";
    fn read(_name: &str, row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            target: row.get(1)?,
            active: row.get(2)?,
        })
    }
}

impl Stored for AliasRow {
    const COLUMNS: &'static str = "goto, active";
    fn read(_name: &str, row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            goto: row.get(1)?,
            active: row.get(2)?,
        })
    }
}

impl Stored for MailboxRow {
    const COLUMNS: &'static str = "maildir, quota, uid, gid, active";
    fn read(name: &str, row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            username: name.to_owned(),
            maildir: row.get(1)?,
            quota: row.get(2)?,
            uid: row.get(3)?,
            gid: row.get(4)?,
            active: row.get(5)?,
        })
    }
}

impl Stored for String {
    const COLUMNS: &'static str = "value";
    fn read(_name: &str, row: &Row<'_>) -> rusqlite::Result<Self> {
        row.get(1)
    }
}

/// Puts a row in, over what is there. A mailbox comes with its login.
pub fn put(
    connection: &Connection,
    kind: Kind,
    name: &str,
    read_at: i64,
    row: &Listed,
) -> Result<(), ReplicaError> {
    match (kind, row) {
        (Kind::Domain, Listed::Domain(row)) => {
            let sql = "INSERT OR REPLACE INTO domain VALUES (?, ?, ?, ?, ?, ?)";
            connection.prepare_cached(sql)?.execute(params![
                name,
                read_at,
                row.active,
                row.backupmx,
                row.alias_only,
                row.transport
            ])?;
        }
        (Kind::AliasDomain, Listed::AliasDomain(row)) => {
            let sql = "INSERT OR REPLACE INTO alias_domain VALUES (?, ?, ?, ?)";
            let values = params![name, read_at, row.target, row.active];
            connection.prepare_cached(sql)?.execute(values)?;
        }
        (Kind::Alias | Kind::LocalAlias, Listed::Alias(row)) => {
            let sql = format!("INSERT OR REPLACE INTO {} VALUES (?, ?, ?, ?)", kind.as_str());
            let values = params![name, read_at, row.goto, row.active];
            connection.prepare_cached(&sql)?.execute(values)?;
        }
        (Kind::Mailbox, Listed::Mailbox(row)) => {
            put_mailbox(connection, name, read_at, &row.mailbox)?;
            put_login(connection, name, read_at, row)?;
        }
        (Kind::Transport | Kind::Relocated | Kind::SenderLogins | Kind::Access(_), Listed::Text(value)) => {
            let sql = format!("INSERT OR REPLACE INTO {} VALUES (?, ?, ?)", kind.as_str());
            connection
                .prepare_cached(&sql)?
                .execute(params![name, read_at, value])?;
        }
        // Unreadable, or not what this kind of row is.
        _ => {
            let sql = format!(
                "INSERT OR REPLACE INTO {} (name, read_at) VALUES (?, ?)",
                kind.as_str()
            );
            connection.prepare_cached(&sql)?.execute(params![name, read_at])?;
        }
    }
    Ok(())
}

/// Puts a mailbox in; what is known of its login stays.
pub fn put_mailbox(
    connection: &Connection,
    name: &str,
    read_at: i64,
    row: &MailboxRow,
) -> Result<(), ReplicaError> {
    let sql = "INSERT INTO mailbox (name, read_at, maildir, quota, uid, gid, active) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (name) DO UPDATE SET \
               read_at = ?2, maildir = ?3, quota = ?4, uid = ?5, gid = ?6, active = ?7";
    connection.prepare_cached(sql)?.execute(params![
        name,
        read_at,
        row.maildir,
        row.quota,
        row.uid,
        row.gid,
        row.active
    ])?;
    Ok(())
}

fn put_login(connection: &Connection, name: &str, read_at: i64, row: &LoginRow) -> Result<(), ReplicaError> {
    let sql = "UPDATE mailbox SET login_at = ?2, domain_active = ?3, password = ?4, cleartext = ?5, \
               smtp_active = ?6, password_expiry = ?7 WHERE name = ?1";
    connection.prepare_cached(sql)?.execute(params![
        name,
        read_at,
        row.domain_active,
        row.password.expose(),
        row.cleartext.as_ref().map(Secret::expose),
        row.smtp_active,
        row.password_expiry
    ])?;
    let sql = "DELETE FROM app_password WHERE name = ?";
    connection.prepare_cached(sql)?.execute([name])?;
    for (number, program) in (0_i64..).zip(&row.app_passwords) {
        let sql = "INSERT INTO app_password VALUES (?, ?, ?, ?, ?)";
        connection.prepare_cached(sql)?.execute(params![
            name,
            number,
            program.id,
            program.description,
            program.password.expose()
        ])?;
    }
    Ok(())
}

/// Takes rows over from an old file: of `kinds` whatever was read at `since` or later, at most `most`, and the
/// `unreadable` where they could be read then. Says how many of `kinds`.
pub fn carry(
    connection: &Connection,
    old: &Path,
    kinds: &[Kind],
    unreadable: &[(Kind, String)],
    since: i64,
    most: u64,
) -> Result<u64, ReplicaError> {
    connection.execute("ATTACH ? AS old", [old.to_string_lossy()])?;
    let transaction = connection.unchecked_transaction()?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut carried = 0;
    for kind in kinds {
        let table = kind.as_str();
        let sql = format!(
            "INSERT OR IGNORE INTO main.{table} SELECT * FROM old.{table} WHERE read_at >= ? \
             ORDER BY read_at DESC LIMIT ?"
        );
        carried += transaction.execute(&sql, [since, most])? as u64;
    }
    if kinds.contains(&Kind::Mailbox) {
        let sql = "INSERT OR IGNORE INTO main.app_password SELECT * FROM old.app_password \
                   WHERE name IN (SELECT name FROM main.mailbox)";
        transaction.execute(sql, [])?;
    }
    for (kind, name) in unreadable {
        let table = kind.as_str();
        let first = match kind {
            Kind::Domain => "active",
            Kind::AliasDomain => "target",
            Kind::Alias | Kind::LocalAlias => "goto",
            Kind::Mailbox => "maildir",
            Kind::Transport | Kind::Relocated | Kind::SenderLogins | Kind::Access(_) => "value",
        };
        let sql = format!(
            "INSERT OR REPLACE INTO main.{table} SELECT * FROM old.{table} \
             WHERE name = ? AND read_at >= ? AND {first} IS NOT NULL"
        );
        let taken = transaction.execute(&sql, params![name, since])?;
        if taken > 0 && *kind == Kind::Mailbox {
            let sql =
                "INSERT OR REPLACE INTO main.app_password SELECT * FROM old.app_password WHERE name = ?";
            transaction.execute(sql, [name])?;
        }
    }
    transaction.commit()?;
    connection.execute("DETACH old", [])?;
    Ok(carried)
}

/// Takes rows over from an old file as they are there, which may be not at all.
pub fn take_over(
    connection: &Connection,
    old: &Path,
    rows: &HashSet<(Kind, String)>,
) -> Result<(), ReplicaError> {
    if rows.is_empty() {
        return Ok(());
    }
    connection.execute("ATTACH ? AS old", [old.to_string_lossy()])?;
    let transaction = connection.unchecked_transaction()?;
    for (kind, name) in rows {
        remove(&transaction, *kind, name)?;
        let mailbox = ["mailbox", "app_password"];
        let tables = match kind {
            Kind::Mailbox => mailbox.as_slice(),
            kind => &[kind.as_str()],
        };
        for table in tables {
            let sql = format!("INSERT INTO main.{table} SELECT * FROM old.{table} WHERE name = ?");
            transaction.execute(&sql, [name])?;
        }
    }
    transaction.commit()?;
    connection.execute("DETACH old", [])?;
    Ok(())
}

/// Takes a row out.
pub fn remove(connection: &Connection, kind: Kind, name: &str) -> Result<(), ReplicaError> {
    let sql = format!("DELETE FROM main.{} WHERE name = ?", kind.as_str());
    connection.prepare_cached(&sql)?.execute([name])?;
    if kind == Kind::Mailbox {
        connection
            .prepare_cached("DELETE FROM main.app_password WHERE name = ?")?
            .execute([name])?;
    }
    Ok(())
}
