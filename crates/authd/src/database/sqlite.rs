//! The embedded default: one SQLite file, made with PostfixAdmin's tables on first use.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql, TransactionBehavior};
use tokio::sync::Semaphore;

use super::{Arg, Database, DbError, Dialect, Rows, Statement, Value};

/// Questions that are worked on at the same time.
const CONNECTIONS: usize = 4;
/// How long a statement waits for another program that writes.
const BUSY: Duration = Duration::from_secs(3);

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or the file cannot be made.
    #[error("cannot make {path}")]
    Create {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite refuses it.
    #[error("cannot use {path}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
}

/// The file, with its open connections.
#[derive(Debug)]
pub struct Sqlite {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Sqlite {
    /// Opens the file, and makes it (mode 0600) where it does not exist. Where it has no tables, `tables` are
    /// the statements that make them. Blocks.
    pub fn open(path: &Path, tables: Option<&str>) -> Result<Self, OpenError> {
        let create = |source| OpenError::Create {
            path: path.to_owned(),
            source,
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(create)?;
        }
        // Made here because SQLite would make it readable for others.
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(create)?;
        let sqlite = |source| OpenError::Sqlite {
            path: path.to_owned(),
            source,
        };
        let mut connection = connect(path).map_err(sqlite)?;
        if let Some(tables) = tables {
            make_tables(&mut connection, tables).map_err(sqlite)?;
        }
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                idle: Mutex::new(vec![connection]),
                permits: Arc::new(Semaphore::new(CONNECTIONS)),
            }),
        })
    }

    /// Runs `work` on a connection, off the async threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let shared = self.shared.clone();
        let away = |error: &dyn std::fmt::Display| DbError::Away(error.to_string());
        let permit = shared
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|e| away(&e))?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let idle = shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => connect(&shared.path).map_err(|e| map(&e))?,
            };
            let result = work(&mut connection);
            // A connection whose file is in trouble is not used again.
            if !matches!(result, Err(DbError::Away(_))) {
                shared
                    .idle
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(connection);
            }
            result
        });
        task.await.map_err(|e| away(&e))?
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    // WAL: a writer does not hold up readers. FULL: what mailctl reports as done survives a power cut.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn make_tables(connection: &mut Connection, statements: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tables: i64 = transaction.query_row(
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'",
        [],
        |row| row.get(0),
    )?;
    if tables == 0 {
        transaction.execute_batch(statements)?;
    }
    transaction.commit()
}

impl Database for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn query<'a>(&'a self, sql: &'a str, args: Vec<Arg>) -> BoxFuture<'a, Result<Rows, DbError>> {
        let sql = sql.to_owned();
        Box::pin(self.run(move |connection| select(connection, &sql, &args).map_err(|e| map(&e))))
    }

    fn transaction(&self, statements: Vec<Statement>) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(self.run(move |connection| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(|e| map(&e))?;
            for statement in &statements {
                let args = rusqlite::params_from_iter(&statement.args);
                let hit = transaction.execute(&statement.sql, args).map_err(|e| map(&e))?;
                if statement.expect.is_some_and(|expected| expected != hit as u64) {
                    return Err(DbError::Conflict);
                }
            }
            transaction.commit().map_err(|e| map(&e))
        }))
    }
}

fn select(connection: &Connection, sql: &str, args: &[Arg]) -> rusqlite::Result<Rows> {
    let mut statement = connection.prepare_cached(sql)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let columns = names.len();
    let mut rows = statement.query(rusqlite::params_from_iter(args))?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|index| {
            Ok(match row.get_ref(index)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Int(number),
                ValueRef::Real(number) => Value::Bytes(number.to_string().into_bytes()),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
            })
        });
        out.push(values.collect::<rusqlite::Result<_>>()?);
    }
    Ok(Rows {
        columns: (columns > 0).then_some(names),
        rows: out,
    })
}

impl ToSql for Arg {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Secret(secret) => ValueRef::Text(secret.expose()),
        }))
    }
}

fn map(error: &rusqlite::Error) -> DbError {
    use rusqlite::ffi::ErrorCode as C;
    // Extended codes of UNIQUE and PRIMARY KEY.
    const KEYS: [i32; 2] = [2067, 1555];
    if matches!(error, rusqlite::Error::SqlInputError { .. }) {
        return DbError::Refused(error.to_string());
    }
    match error.sqlite_error() {
        Some(e) if KEYS.contains(&e.extended_code) => DbError::Duplicate,
        Some(e)
            if matches!(
                e.code,
                C::ReadOnly | C::PermissionDenied | C::AuthorizationForStatementDenied
            ) =>
        {
            DbError::Forbidden(error.to_string())
        }
        Some(e)
            if matches!(
                e.code,
                C::Unknown | C::ConstraintViolation | C::TypeMismatch | C::SchemaChanged
            ) =>
        {
            DbError::Refused(error.to_string())
        }
        _ => DbError::Away(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ddl;
    use super::super::schema::TableNames;
    use super::*;

    fn tables() -> String {
        ddl::postfixadmin_4(&TableNames::default())
    }

    #[tokio::test]
    async fn made_on_first_use_and_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/directory.sqlite");
        let database = Sqlite::open(&path, Some(&tables())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let add = Statement::new(
            "INSERT INTO domain(domain, description, transport) VALUES (?, '', '')",
            vec!["d.test".into()],
        );
        database.transaction(vec![add.clone()]).await.unwrap();
        assert_eq!(database.transaction(vec![add]).await, Err(DbError::Duplicate));
        drop(database);
        let database = Sqlite::open(&path, Some(&tables())).unwrap();
        let rows = database
            .select(
                "SELECT domain, active FROM domain WHERE domain = ?",
                vec!["d.test".into()],
            )
            .await;
        assert_eq!(
            rows,
            Ok(vec![vec![Value::Bytes(b"d.test".to_vec()), Value::Int(1)]])
        );
    }

    #[tokio::test]
    async fn a_transaction_is_whole_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let database = Sqlite::open(&dir.path().join("d"), Some(&tables())).unwrap();
        let add = Statement::new(
            "INSERT INTO domain(domain, description, transport) VALUES ('a', '', '')",
            vec![],
        );
        let miss = Statement::new("UPDATE domain SET active = 0 WHERE domain = 'b'", vec![]).one();
        assert_eq!(
            database.transaction(vec![add, miss]).await,
            Err(DbError::Conflict)
        );
        assert_eq!(
            database.select("SELECT domain FROM domain", vec![]).await,
            Ok(vec![])
        );
        assert!(matches!(
            database.select("SELECT x FROM nothing", vec![]).await,
            Err(DbError::Refused(_))
        ));
    }
}
