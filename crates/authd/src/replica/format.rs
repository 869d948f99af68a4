//! The tables of the file (docs/formats/replica.md).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::{Origin, ReplicaError};
use crate::directory::backend::{AccessTable, Questions};
use crate::directory::pages::Kind;

/// `PRRP`
const APPLICATION: i64 = 0x5052_5250;
const VERSION: i64 = 2;
/// How long a reader waits for a small transaction, and the other way round.
const BUSY: Duration = Duration::from_secs(2);

const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE domain (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL,
  active INTEGER, backupmx INTEGER, alias_only INTEGER, transport TEXT) WITHOUT ROWID;
CREATE TABLE alias_domain (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL,
  target TEXT, active INTEGER) WITHOUT ROWID;
CREATE TABLE alias (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL,
  goto TEXT, active INTEGER) WITHOUT ROWID;
CREATE TABLE local_alias (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL,
  goto TEXT, active INTEGER) WITHOUT ROWID;
CREATE TABLE mailbox (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL,
  maildir TEXT, quota INTEGER, uid INTEGER, gid INTEGER, active INTEGER,
  login_at INTEGER, domain_active INTEGER, password BLOB, cleartext BLOB,
  smtp_active INTEGER, password_expiry INTEGER) WITHOUT ROWID;
CREATE TABLE app_password (name TEXT, number INTEGER, id INTEGER NOT NULL, description TEXT NOT NULL,
  password BLOB NOT NULL, PRIMARY KEY (name, number)) WITHOUT ROWID;
CREATE TABLE transport (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL, value TEXT) WITHOUT ROWID;
CREATE TABLE relocated (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL, value TEXT) WITHOUT ROWID;
CREATE TABLE sender_logins (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL, value TEXT) WITHOUT ROWID;
CREATE TABLE access_client (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL, value TEXT) WITHOUT ROWID;
CREATE TABLE access_helo (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL, value TEXT) WITHOUT ROWID;
CREATE TABLE access_sender (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL, value TEXT) WITHOUT ROWID;
CREATE TABLE access_recipient (name TEXT PRIMARY KEY, read_at INTEGER NOT NULL, value TEXT) WITHOUT ROWID;
";

/// What the file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Which tables these are.
    pub origin: Origin,
    /// What the schema can answer.
    pub questions: Questions,
    /// The tables that hold all rows.
    pub listed: Vec<Kind>,
    /// When the last pass began, seconds since 1970.
    pub read_at: i64,
    /// The same of the last pass that read everything.
    pub whole_at: i64,
    /// How long the last pass took, in milliseconds.
    pub took_ms: i64,
    /// When the newest row that was asked for was read; 0: none was.
    pub seen_at: i64,
    /// The rows that each table had when everything was read, where it had any.
    pub rows: BTreeMap<&'static str, u64>,
}

impl Meta {
    /// When what is in it was true last: where nothing is listed a pass reads no rows, so the newest one counts.
    pub fn true_at(&self) -> i64 {
        match self.listed.is_empty() {
            true => self.seen_at,
            false => self.read_at,
        }
    }

    /// All those rows, without the passwords of programs.
    pub fn all_rows(&self) -> u64 {
        let rows = self.rows.iter().filter(|(table, _)| **table != PROGRAMS);
        rows.map(|(_, rows)| rows).sum()
    }
}

/// The table of the passwords of programs, the one that is not of a kind of its own.
const PROGRAMS: &str = "app_password";

/// The tables with rows.
pub fn tables() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().map(Kind::as_str).chain([PROGRAMS])
}

/// Makes an empty file that must not exist yet.
pub fn create(path: &Path) -> Result<Connection, ReplicaError> {
    // Made here because SQLite would make it readable for others.
    let made = fs::OpenOptions::new()
        .create_new(true)
        .append(true)
        .mode(0o600)
        .open(path);
    made.map_err(|source| ReplicaError::Create {
        path: path.to_owned(),
        source,
    })?;
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    // Nobody else uses the file before it is whole, and it is synced with its last transaction.
    let main = Some("main");
    connection.pragma_update(main, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(main, "journal_mode", "OFF")?;
    connection.pragma_update(main, "synchronous", "OFF")?;
    connection.execute_batch(TABLES)?;
    Ok(connection)
}

/// Opens a file of ours. One that a crash left in the middle of a small transaction is put in order.
pub fn open(path: &Path) -> Result<Connection, ReplicaError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Hashes of deleted users do not stay in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("application_id")? != APPLICATION || number("user_version")? != VERSION {
        return Err(ReplicaError::OtherFormat);
    }
    Ok(connection)
}

/// Reads [`Meta`]; `None` where the file never got whole.
pub fn meta(connection: &Connection) -> Result<Option<Meta>, ReplicaError> {
    let mut query = connection.prepare_cached("SELECT value FROM meta WHERE name = ?")?;
    let mut text = |name: &str| query.query_row([name], |row| row.get::<_, String>(0)).optional();
    let (Some(origin), Some(questions), Some(listed)) =
        (text("origin")?, text("questions")?, text("listed")?)
    else {
        return Ok(None);
    };
    let servers = text("servers")?.unwrap_or_default();
    let rows = text("rows")?.unwrap_or_default();
    let mut number = |name: &str| -> Result<i64, ReplicaError> {
        Ok(text(name)?.and_then(|text| text.parse().ok()).unwrap_or_default())
    };
    Ok(Some(Meta {
        origin: Origin {
            tables: origin,
            servers,
        },
        questions: read_questions(&questions),
        listed: Kind::ALL
            .into_iter()
            .filter(|kind| is_in(&listed, *kind))
            .collect(),
        read_at: number("read_at")?,
        whole_at: number("whole_at")?,
        took_ms: number("took_ms")?,
        seen_at: number("seen_at")?,
        rows: read_rows(&rows),
    }))
}

/// Whether it holds all rows of a kind.
pub fn lists(connection: &Connection, kind: Kind) -> Result<bool, ReplicaError> {
    let mut query = connection.prepare_cached("SELECT value FROM meta WHERE name = 'listed'")?;
    let listed: Option<String> = query.query_row([], |row| row.get(0)).optional()?;
    Ok(listed.is_some_and(|listed| is_in(&listed, kind)))
}

fn is_in(listed: &str, kind: Kind) -> bool {
    listed.split(',').any(|word| word == kind.as_str())
}

/// Writes [`Meta`].
pub fn set_meta(connection: &Connection, meta: &Meta) -> Result<(), ReplicaError> {
    let listed: Vec<&str> = meta.listed.iter().map(|kind| kind.as_str()).collect();
    let rows = meta.rows.iter().map(|(table, rows)| format!("{table}={rows}"));
    let rows: Vec<String> = rows.collect();
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?, ?)")?;
    for (name, value) in [
        ("origin", meta.origin.tables.clone()),
        ("servers", meta.origin.servers.clone()),
        ("questions", write_questions(&meta.questions)),
        ("listed", listed.join(",")),
        ("read_at", meta.read_at.to_string()),
        ("whole_at", meta.whole_at.to_string()),
        ("took_ms", meta.took_ms.to_string()),
        ("rows", rows.join(",")),
        ("seen_at", meta.seen_at.to_string()),
    ] {
        insert.execute((name, value))?;
    }
    Ok(())
}

fn read_rows(text: &str) -> BTreeMap<&'static str, u64> {
    let of = |table: &'static str| {
        let mut entries = text.split(',').filter_map(|entry| entry.split_once('='));
        let (_, rows) = entries.find(|(name, _)| *name == table)?;
        Some((table, rows.parse().ok()?))
    };
    tables().filter_map(of).collect()
}

fn write_questions(questions: &Questions) -> String {
    let Questions {
        alias_domain,
        transport,
        relocated,
        access,
        sender_logins,
        vacation,
        usage,
        local_alias,
        unmarked_cleartext,
        clear_column,
    } = questions;
    let flags = [
        (*alias_domain, "alias_domain"),
        (*transport, "transport"),
        (*relocated, "relocated"),
        (*sender_logins, "sender_logins"),
        (*vacation, "vacation"),
        (*usage, "usage"),
        (*local_alias, "local_alias"),
        (*unmarked_cleartext, "unmarked_cleartext"),
        (*clear_column, "clear_column"),
    ];
    let words = flags
        .into_iter()
        .filter(|(may, _)| *may)
        .map(|(_, word)| word.to_owned());
    let access = access.iter().map(|table| format!("access:{}", table.as_str()));
    words.chain(access).collect::<Vec<_>>().join(",")
}

fn read_questions(text: &str) -> Questions {
    let has = |wanted: &str| text.split(',').any(|word| word == wanted);
    Questions {
        alias_domain: has("alias_domain"),
        transport: has("transport"),
        relocated: has("relocated"),
        access: AccessTable::ALL
            .into_iter()
            .filter(|table| has(&format!("access:{}", table.as_str())))
            .collect(),
        sender_logins: has("sender_logins"),
        vacation: has("vacation"),
        usage: has("usage"),
        local_alias: has("local_alias"),
        unmarked_cleartext: has("unmarked_cleartext"),
        clear_column: has("clear_column"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_about_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let written = Meta {
            origin: Origin {
                tables: "postfixadmin/mail".into(),
                servers: "db.test".into(),
            },
            questions: Questions {
                relocated: true,
                clear_column: true,
                access: vec![AccessTable::Helo],
                ..Questions::default()
            },
            listed: vec![Kind::Domain, Kind::Mailbox],
            read_at: 5,
            whole_at: 4,
            took_ms: 3,
            seen_at: 2,
            rows: BTreeMap::from([("alias", 7), ("app_password", 2)]),
        };
        let connection = create(&path).unwrap();
        assert_eq!(meta(&connection).unwrap(), None);
        set_meta(&connection, &written).unwrap();
        drop(connection);
        assert_eq!(meta(&open(&path).unwrap()).unwrap(), Some(written));
        assert!(matches!(create(&path), Err(ReplicaError::Create { .. })));
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = dir.path().join("other");
        Connection::open(&other)
            .unwrap()
            .execute_batch("CREATE TABLE x (y)")
            .unwrap();
        assert!(matches!(open(&other), Err(ReplicaError::OtherFormat)));
    }
}
