//! The tables of authd's own state, and the statements over them.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

/// Failures are forgotten this long after the last one, in seconds.
pub const FAILURES: u64 = 15 * 60;
/// A network in which an account logged in is known for so long, in seconds.
pub const KNOWN: u64 = 30 * 86_400;
/// Use of mechanisms is told for so long, in seconds.
const USAGE: u64 = 400 * 86_400;
/// Keys for SCRAM that were not used are kept for so long, in seconds.
const UNUSED_KEYS: u64 = 365 * 86_400;
/// A rehashed password and the one before count as the same for so long, in seconds.
const REHASHED: u64 = 30 * 86_400;
/// Networks known of one account.
const NETWORKS: u64 = 64;
/// How long rows of each table are kept after their last use, and how many at most: the oldest go.
static KEPT: [(&str, u64, u32); 5] = [
    ("failures", FAILURES, 200_000),
    ("known_networks", KNOWN, 4_000_000),
    ("mechanism_usage", USAGE, 4_000_000),
    ("scram_keys", UNUSED_KEYS, 4_000_000),
    ("rehashed", REHASHED, 2_000_000),
];
/// Most rows removed at once, in some milliseconds: logins wait for the thread.
const SLICE: u32 = 1_000;

const DDL: &str = "
CREATE TABLE IF NOT EXISTS failures(
    account TEXT NOT NULL, network TEXT NOT NULL, count INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY(account, network));
CREATE TABLE IF NOT EXISTS known_networks(
    account TEXT NOT NULL, network TEXT NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY(account, network));
CREATE TABLE IF NOT EXISTS mechanism_usage(
    account TEXT NOT NULL, mechanism TEXT NOT NULL, service TEXT NOT NULL,
    count INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY(account, mechanism, service));
CREATE TABLE IF NOT EXISTS scram_keys(
    account TEXT NOT NULL, hash TEXT NOT NULL, bound BLOB NOT NULL, iterations INTEGER NOT NULL,
    salt BLOB NOT NULL, stored_key BLOB NOT NULL, server_key BLOB NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY(account, hash));
CREATE TABLE IF NOT EXISTS rehashed(
    account TEXT NOT NULL PRIMARY KEY, before INTEGER NOT NULL, after INTEGER NOT NULL,
    last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS secrets(name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS failures_last ON failures(last);
CREATE INDEX IF NOT EXISTS known_networks_last ON known_networks(last);
CREATE INDEX IF NOT EXISTS mechanism_usage_last ON mechanism_usage(last);
CREATE INDEX IF NOT EXISTS scram_keys_last ON scram_keys(last);
CREATE INDEX IF NOT EXISTS rehashed_last ON rehashed(last);
";

/// Failures of an address (empty account), an account (empty network), or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRow {
    /// The account, folded to lower case.
    pub account: String,
    /// The network as text.
    pub network: String,
    /// How many.
    pub count: u32,
    /// The last one, seconds since 1970.
    pub last: u64,
}

/// Keys for SCRAM of one account.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramRow {
    /// SHA-256 of the stored password that they belong to: with another one they are void.
    pub bound: Vec<u8>,
    /// RFC 5802 `i`.
    pub iterations: u32,
    /// RFC 5802 `s`.
    pub salt: Vec<u8>,
    /// RFC 5802 StoredKey.
    pub stored_key: Vec<u8>,
    /// RFC 5802 ServerKey.
    pub server_key: Vec<u8>,
}

impl std::fmt::Debug for ScramRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramRow")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// A password whose stored form was replaced: both stand for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rehashed {
    /// Digest of the column before.
    pub before: u32,
    /// Digest of the column after.
    pub after: u32,
}

/// Use of a mechanism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The account.
    pub account: String,
    /// Upper case.
    pub mechanism: String,
    /// `smtp`, `imap` or `pop3`.
    pub service: String,
    /// Successful logins.
    pub count: u64,
    /// The last one, seconds since 1970.
    pub last: u64,
    /// Whether keys for SCRAM are stored.
    pub scram_keys: bool,
}

/// Something to write down; `at` in seconds since 1970.
#[derive(Debug, Clone)]
pub enum Write {
    /// The failures of a key.
    Failure(FailureRow),
    /// Keys have no failures any more.
    Forget {
        /// Account and network, as in [`FailureRow`].
        keys: Vec<(String, String)>,
    },
    /// A login succeeded.
    Success {
        /// The account.
        account: String,
        /// Where from; `None` where that says nothing.
        network: Option<String>,
        /// How.
        mechanism: String,
        /// At which service.
        service: String,
        /// When.
        at: u64,
    },
    /// Keys for SCRAM.
    ScramKeys {
        /// The account.
        account: String,
        /// `SHA-1` or `SHA-256`.
        hash: &'static str,
        /// The keys.
        row: ScramRow,
        /// When.
        at: u64,
    },
    /// A password was hashed anew.
    Rehashed {
        /// The account.
        account: String,
        /// Before and after.
        change: Rehashed,
        /// When.
        at: u64,
    },
}

impl Write {
    /// When it happened; 0 where it does not say.
    pub fn at(&self) -> u64 {
        match self {
            Self::Failure(row) => row.last,
            Self::Forget { .. } => 0,
            Self::Success { at, .. } | Self::ScramKeys { at, .. } | Self::Rehashed { at, .. } => *at,
        }
    }
}

/// Opens the file and makes the tables.
pub fn connect(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(busy)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A crash of the machine may cost the last seconds of counters, never the file.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(DDL)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens the file for reading only, beside the connection that made its tables.
pub fn connect_reader(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(busy)?;
    Ok(connection)
}

/// Writes one thing down.
pub fn apply(db: &Connection, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::Failure(row) => {
            db.prepare_cached(
                "INSERT INTO failures(account, network, count, last) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET count = ?3, last = ?4",
            )?
            .execute(params![row.account, row.network, row.count, int(row.last)])?;
        }
        Write::Forget { keys } => {
            let mut delete = db.prepare_cached("DELETE FROM failures WHERE account = ?1 AND network = ?2")?;
            for (account, network) in keys {
                delete.execute(params![account, network])?;
            }
        }
        Write::Success {
            account,
            network,
            mechanism,
            service,
            at,
        } => {
            if let Some(network) = network {
                known(db, account, network, *at)?;
            }
            db.prepare_cached(
                "INSERT INTO mechanism_usage(account, mechanism, service, count, last)
                 VALUES (?1, ?2, ?3, 1, ?4)
                 ON CONFLICT DO UPDATE SET count = count + 1, last = ?4",
            )?
            .execute(params![account, mechanism, service, int(*at)])?;
            if let Some(name) = mechanism.strip_prefix("SCRAM-") {
                let hash = name.trim_end_matches("-PLUS");
                db.prepare_cached("UPDATE scram_keys SET last = ?3 WHERE account = ?1 AND hash = ?2")?
                    .execute(params![account, hash, int(*at)])?;
            }
        }
        Write::ScramKeys {
            account,
            hash,
            row,
            at,
        } => {
            db.prepare_cached(
                "INSERT OR REPLACE INTO scram_keys
                 (account, hash, bound, iterations, salt, stored_key, server_key, last)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                account,
                hash,
                row.bound,
                row.iterations,
                row.salt,
                row.stored_key,
                row.server_key,
                int(*at)
            ])?;
        }
        Write::Rehashed { account, change, at } => {
            db.prepare_cached(
                "INSERT OR REPLACE INTO rehashed(account, before, after, last) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![account, change.before, change.after, int(*at)])?;
        }
    }
    Ok(())
}

/// Notes a network in which an account logged in; each account has room for some.
fn known(db: &Connection, account: &str, network: &str, at: u64) -> rusqlite::Result<()> {
    let at = int(at);
    let hit = db
        .prepare_cached("UPDATE known_networks SET last = ?3 WHERE account = ?1 AND network = ?2")?
        .execute(params![account, network, at])?;
    if hit == 0 {
        db.prepare_cached("INSERT INTO known_networks(account, network, last) VALUES (?1, ?2, ?3)")?
            .execute(params![account, network, at])?;
        db.prepare_cached(
            "DELETE FROM known_networks WHERE account = ?1 AND network NOT IN
             (SELECT network FROM known_networks WHERE account = ?1 ORDER BY last DESC LIMIT ?2)",
        )?
        .execute(params![account, int(NETWORKS)])?;
    }
    Ok(())
}

/// The removal of what is too old, and of the oldest of what is too much; in slices, between which others
/// have their turn.
#[derive(Debug)]
pub struct Prune {
    /// Seconds since 1970.
    now: u64,
    tables: std::slice::Iter<'static, (&'static str, u64, u32)>,
    current: Option<Current>,
}

/// Where it is in one table.
#[derive(Debug)]
struct Current {
    table: &'static str,
    oldest: i64,
    most: u32,
    /// Rows beyond the most, once all old ones are gone.
    surplus: Option<u32>,
}

impl Prune {
    /// Begins.
    pub fn new(now: u64) -> Self {
        Self {
            now,
            tables: KEPT.iter(),
            current: None,
        }
    }

    /// Does a slice; whether there is more to do.
    pub fn slice(&mut self, db: &Connection) -> rusqlite::Result<bool> {
        let Some(current) = &mut self.current else {
            let next = self.tables.next().map(|(table, age, most)| Current {
                table,
                oldest: int(self.now.saturating_sub(*age)),
                most: *most,
                surplus: None,
            });
            self.current = next;
            return Ok(self.current.is_some());
        };
        if current.slice(db)? {
            self.current = None;
        }
        Ok(true)
    }
}

impl Current {
    /// Whether the table is done.
    fn slice(&mut self, db: &Connection) -> rusqlite::Result<bool> {
        let table = self.table;
        let Some(surplus) = self.surplus else {
            let delete = format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE last < ?1 LIMIT ?2)"
            );
            if db.execute(&delete, params![self.oldest, SLICE])? < SLICE as usize {
                self.surplus = Some(surplus_of(db, table, self.most)?);
            }
            return Ok(false);
        };
        let some = surplus.min(SLICE);
        if some > 0 {
            let delete = format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY last LIMIT ?1)"
            );
            db.execute(&delete, params![some])?;
        }
        self.surplus = Some(surplus - some);
        Ok(surplus == some)
    }
}

/// How many rows there are beyond the most. They are counted only where there may be so many: a count of
/// millions takes a while.
fn surplus_of(db: &Connection, table: &str, most: u32) -> rusqlite::Result<u32> {
    let span = format!("SELECT coalesce(max(rowid), 0), coalesce(min(rowid), 0) FROM {table}");
    let (last, first): (i64, i64) = db.query_row(&span, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if last.saturating_sub(first) < i64::from(most) {
        return Ok(0);
    }
    let count = format!("SELECT count(*) FROM {table}");
    let rows: i64 = db.query_row(&count, [], |row| row.get(0))?;
    Ok(u32::try_from(rows - i64::from(most)).unwrap_or(0))
}

/// The failures that still count, the latest first.
pub fn failures(db: &Connection, now: u64, limit: usize) -> rusqlite::Result<Vec<FailureRow>> {
    let oldest = int(now.saturating_sub(FAILURES));
    db.prepare(
        "SELECT account, network, count, last FROM failures WHERE last >= ?1 ORDER BY last DESC LIMIT ?2",
    )?
    .query_map(params![oldest, int(limit as u64)], |row| {
        Ok(FailureRow {
            account: row.get(0)?,
            network: row.get(1)?,
            count: row.get(2)?,
            last: seconds(row, 3)?,
        })
    })?
    .collect()
}

/// Whether an account logged in from a network lately.
pub fn is_known(db: &Connection, account: &str, network: &str, now: u64) -> rusqlite::Result<bool> {
    let oldest = int(now.saturating_sub(KNOWN));
    db.prepare_cached("SELECT 1 FROM known_networks WHERE account = ?1 AND network = ?2 AND last >= ?3")?
        .exists(params![account, network, oldest])
}

/// How many networks of an account are known.
pub fn known_count(db: &Connection, account: &str, now: u64) -> rusqlite::Result<u32> {
    let oldest = int(now.saturating_sub(KNOWN));
    db.prepare_cached("SELECT count(*) FROM known_networks WHERE account = ?1 AND last >= ?2")?
        .query_row(params![account, oldest], |row| row.get(0))
}

/// The keys of an account.
pub fn scram_keys(db: &Connection, account: &str, hash: &str) -> rusqlite::Result<Option<ScramRow>> {
    db.prepare_cached(
        "SELECT bound, iterations, salt, stored_key, server_key FROM scram_keys
         WHERE account = ?1 AND hash = ?2",
    )?
    .query_row(params![account, hash], |row| {
        Ok(ScramRow {
            bound: row.get(0)?,
            iterations: row.get(1)?,
            salt: row.get(2)?,
            stored_key: row.get(3)?,
            server_key: row.get(4)?,
        })
    })
    .optional()
}

/// Whether anybody has keys.
pub fn has_scram_keys(db: &Connection) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM scram_keys LIMIT 1")?.exists([])
}

/// The password of an account that was hashed anew.
pub fn rehashed(db: &Connection, account: &str) -> rusqlite::Result<Option<Rehashed>> {
    db.prepare_cached("SELECT before, after FROM rehashed WHERE account = ?1")?
        .query_row(params![account], |row| {
            Ok(Rehashed {
                before: row.get(0)?,
                after: row.get(1)?,
            })
        })
        .optional()
}

/// Who uses what, by account.
pub fn usage(db: &Connection, limit: usize) -> rusqlite::Result<Vec<UsageRow>> {
    db.prepare(
        "SELECT account, mechanism, service, count, last,
                EXISTS (SELECT 1 FROM scram_keys s WHERE s.account = mechanism_usage.account)
         FROM mechanism_usage
         ORDER BY mechanism NOT IN ('CRAM-MD5', 'DIGEST-MD5'), mechanism NOT IN ('PLAIN', 'LOGIN'),
                  account, mechanism, service LIMIT ?1",
    )?
    .query_map(params![int(limit as u64)], |row| {
        Ok(UsageRow {
            account: row.get(0)?,
            mechanism: row.get(1)?,
            service: row.get(2)?,
            count: seconds(row, 3)?,
            last: seconds(row, 4)?,
            scram_keys: row.get(5)?,
        })
    })?
    .collect()
}

/// A secret of this installation: the one that is there, or this one.
pub fn secret(db: &Connection, name: &str, new: &[u8]) -> rusqlite::Result<Vec<u8>> {
    db.execute(
        "INSERT OR IGNORE INTO secrets(name, value) VALUES (?1, ?2)",
        params![name, new],
    )?;
    db.query_row(
        "SELECT value FROM secrets WHERE name = ?1",
        params![name],
        |row| row.get(0),
    )
}

fn seconds(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
