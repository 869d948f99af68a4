//! MySQL and MariaDB: a small pool of our own with a deadline on everything, and a circuit breaker.
//!
//! The deadlines are those of robustness.md section 3. A server that is stopped still accepts connections,
//! so the one for connecting covers the handshake; a connection that was given up is never used again.

mod breaker;
mod pool;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use mail_types::Secret;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Params, TxOpts};

pub use self::breaker::Change;
use self::pool::Pool;
use super::{Arg, Database, DbError, Dialect, Rows, Statement, Value};

/// Where the server is and how patient we are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host name or address; not used where `socket` is set.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Unix socket.
    pub socket: Option<PathBuf>,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// Database.
    pub database: String,
    /// Most connections.
    pub pool_size: usize,
    /// Most questions that wait for a connection.
    pub queue_limit: usize,
    /// For connecting, with the handshake.
    pub connect_timeout: Duration,
    /// For one query.
    pub query_timeout: Duration,
    /// For one question, with the wait for a connection.
    pub total_timeout: Duration,
}

impl Settings {
    fn opts(&self) -> Opts {
        let password = self
            .password
            .as_ref()
            .and_then(Secret::expose_str)
            .map(str::to_owned);
        let builder = OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .socket(
                self.socket
                    .as_ref()
                    .map(|path| path.to_string_lossy().into_owned()),
            )
            // Otherwise the driver leaves a TCP connection for a socket it finds in the server's variables.
            .prefer_socket(false)
            .user(Some(self.user.clone()))
            .pass(password)
            .db_name(Some(self.database.clone()))
            .tcp_nodelay(true)
            // "Affected" is to mean "found", so that a change to the same value is no conflict.
            .client_found_rows(true);
        builder.into()
    }
}

/// The server.
pub struct Mysql {
    pool: Pool,
    settings: Settings,
}

impl Mysql {
    /// A server that need not be there yet. `changed` hears when it goes away and comes back.
    pub fn new(settings: Settings, changed: Box<dyn Fn(Change) + Send + Sync>) -> Self {
        Self {
            pool: Pool::new(settings.opts(), &settings, changed),
            settings,
        }
    }

    /// Runs `work` on a connection, within the deadlines. A connection from the pool that turns out to be
    /// dead (the server was restarted) is replaced once.
    async fn run(&self, work: Work<'_>) -> Result<Done, DbError> {
        let all = async {
            let (mut lease, mut pooled) = self.pool.get().await?;
            loop {
                let result =
                    tokio::time::timeout(self.settings.query_timeout, work.perform(lease.conn()?)).await;
                let error = match result {
                    Ok(Ok(value)) => {
                        lease.keep();
                        return Ok(value);
                    }
                    Ok(Err(error)) => error,
                    Err(_) => return Err(DbError::Away("a query took too long".into())),
                };
                let mapped = map(&error);
                match mapped {
                    DbError::Away(_) => {}
                    DbError::Forbidden(_) => {
                        lease.close();
                        return Err(mapped);
                    }
                    DbError::Duplicate
                    | DbError::Conflict
                    | DbError::Busy(_)
                    | DbError::Charset(_)
                    | DbError::Foreign(_)
                    | DbError::Refused(_) => {
                        lease.keep();
                        return Err(mapped);
                    }
                }
                if !(pooled && work.repeatable()) {
                    return Err(mapped);
                }
                pooled = false;
                lease.replace().await?;
            }
        };
        match tokio::time::timeout(self.settings.total_timeout, all).await {
            Ok(result) => result,
            Err(_) => Err(DbError::Away("no answer in time".into())),
        }
    }
}

impl Database for Mysql {
    fn dialect(&self) -> Dialect {
        Dialect::Mysql
    }

    fn query<'a>(&'a self, sql: &'a str, args: Vec<Arg>) -> BoxFuture<'a, Result<Rows, DbError>> {
        Box::pin(async move {
            match self.run(Work::Select { sql, args: &args }).await? {
                Done::Rows(rows) => Ok(rows),
                Done::Committed | Done::RolledBack => Ok(Rows::default()),
            }
        })
    }

    fn transaction(&self, statements: Vec<Statement>) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async move {
            match self.run(Work::Transaction(&statements)).await? {
                Done::RolledBack => Err(DbError::Conflict),
                Done::Committed | Done::Rows(_) => Ok(()),
            }
        })
    }
}

/// What is done with a connection.
enum Work<'a> {
    Select { sql: &'a str, args: &'a [Arg] },
    Transaction(&'a [Statement]),
}

/// What came of it.
enum Done {
    Rows(Rows),
    Committed,
    RolledBack,
}

impl Work<'_> {
    /// A transaction is not repeated on another connection: whether its commit was lost on the way is not
    /// known.
    fn repeatable(&self) -> bool {
        matches!(self, Self::Select { .. })
    }

    async fn perform(&self, conn: &mut Conn) -> Result<Done, mysql_async::Error> {
        match self {
            Self::Select { sql, args } => {
                let mut result = conn.exec_iter(*sql, params(args)).await?;
                let names = |columns: Arc<[mysql_async::Column]>| {
                    let names = columns.iter().map(|column| column.name_str().into_owned());
                    names.collect()
                };
                let columns = result.columns().filter(|columns| !columns.is_empty()).map(names);
                let rows: Vec<mysql_async::Row> = result.collect().await?;
                // A procedure says at its end that it is done; that is no result of its own.
                result.drop_result().await?;
                let values = |row: mysql_async::Row| row.unwrap_raw().into_iter().map(value).collect();
                Ok(Done::Rows(Rows {
                    columns,
                    rows: rows.into_iter().map(values).collect(),
                }))
            }
            Self::Transaction(statements) => {
                let mut transaction = conn.start_transaction(TxOpts::default()).await?;
                for statement in *statements {
                    transaction
                        .exec_drop(&statement.sql, params(&statement.args))
                        .await?;
                    if statement
                        .expect
                        .is_some_and(|expected| expected != transaction.affected_rows())
                    {
                        transaction.rollback().await?;
                        return Ok(Done::RolledBack);
                    }
                }
                transaction.commit().await?;
                Ok(Done::Committed)
            }
        }
    }
}

fn params(args: &[Arg]) -> Params {
    if args.is_empty() {
        return Params::Empty;
    }
    let bind = |arg: &Arg| match arg {
        Arg::Text(text) => mysql_async::Value::Bytes(text.clone().into_bytes()),
        Arg::Int(number) => mysql_async::Value::Int(*number),
        Arg::Secret(secret) => mysql_async::Value::Bytes(secret.expose().to_vec()),
    };
    Params::Positional(args.iter().map(bind).collect())
}

fn value(value: Option<mysql_async::Value>) -> Value {
    use mysql_async::Value as V;
    match value {
        None | Some(V::NULL) => Value::Null,
        Some(V::Bytes(bytes)) => Value::Bytes(bytes),
        Some(V::Int(number)) => Value::Int(number),
        Some(V::UInt(number)) => Value::Int(i64::try_from(number).unwrap_or(i64::MAX)),
        // No question asks for one of these; as text they are of no type that is expected.
        Some(other) => Value::Bytes(other.as_sql(true).into_bytes()),
    }
}

/// Sorts the driver's errors. What the server says about a statement is not "away".
fn map(error: &mysql_async::Error) -> DbError {
    let mysql_async::Error::Server(server) = error else {
        return DbError::Away(error.to_string());
    };
    match server.code {
        1062 => DbError::Duplicate,
        // Lock waits and deadlocks, after which the server has undone everything.
        1205 | 1213 => DbError::Busy(server.message.clone()),
        1267 | 1270 | 1271 | 1300 | 3854 | 3988 => DbError::Charset(server.message.clone()),
        // Access to a table or column, a read-only server or account.
        1142 | 1143 | 1227 | 1290 | 1792 | 1836 => DbError::Forbidden(server.message.clone()),
        // Access to the server or database, too many connections, shutdown, a full disk.
        1040
        | 1044
        | 1045
        | 1049
        | 1053
        | 1129
        | 1130
        | 1021
        | 1114
        | 1203
        | 1226
        | 2006
        | 2013
        | 1158..=1161
        | 1927
        | 4031 => DbError::Away(format!("{} (error {})", server.message, server.code)),
        code => DbError::Refused(format!("{} (error {code})", server.message)),
    }
}
