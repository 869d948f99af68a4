//! A query or a transaction on one connection, and what the server's errors mean.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Params, TxOpts};
use tokio::time::timeout;

use crate::database::{Arg, DbError, Rows, Statement, Value};

/// What is done with a connection.
pub enum Work<'a> {
    /// Rows of a query.
    Select {
        /// The statement.
        sql: &'a str,
        /// Its values.
        args: &'a [Arg],
    },
    /// All statements or none.
    Transaction(&'a [Statement]),
}

/// What came of it.
pub enum Done {
    /// The rows.
    Rows(Rows),
    /// All statements.
    Committed,
    /// None: one of them did not hit what it had to.
    RolledBack,
}

impl Work<'_> {
    /// A transaction is not repeated on another connection: whether its commit was lost on the way is not
    /// known.
    pub fn repeatable(&self) -> bool {
        matches!(self, Self::Select { .. })
    }

    /// Does it. Each statement of a transaction has `each` time.
    pub async fn perform(&self, conn: &mut Conn, each: Duration) -> Result<Done, mysql_async::Error> {
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
                let mut transaction = in_time(each, conn.start_transaction(TxOpts::default())).await?;
                for statement in *statements {
                    in_time(
                        each,
                        transaction.exec_drop(&statement.sql, params(&statement.args)),
                    )
                    .await?;
                    if statement
                        .expect
                        .is_some_and(|expected| expected != transaction.affected_rows())
                    {
                        in_time(each, transaction.rollback()).await?;
                        return Ok(Done::RolledBack);
                    }
                }
                in_time(each, transaction.commit()).await?;
                Ok(Done::Committed)
            }
        }
    }
}

async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, mysql_async::Error>>,
) -> Result<T, mysql_async::Error> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "a query took too long");
    timeout(limit, work).await.map_err(late)?
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

/// What an error of the driver means.
pub struct Meaning {
    /// For who asked.
    pub error: DbError,
    /// Whether the server itself is in order.
    pub server_works: bool,
    /// Whether the connection may be used again.
    pub reusable: bool,
    /// Whether the server takes no changes, but another one may.
    pub read_only: bool,
}

/// Sorts the driver's errors. What the server says about a statement is not "away".
pub fn meaning(error: &mysql_async::Error) -> Meaning {
    let about_statement = |error, reusable| Meaning {
        error,
        server_works: true,
        reusable,
        read_only: false,
    };
    let away = |text| Meaning {
        error: DbError::Away(text),
        server_works: false,
        reusable: false,
        read_only: false,
    };
    let mysql_async::Error::Server(server) = error else {
        return away(error.to_string());
    };
    let text = || format!("{} (error {})", server.message, server.code);
    match server.code {
        1062 => about_statement(DbError::Duplicate, true),
        // A read-only server or transaction. The connection is closed: it holds rights as they were when it
        // was opened.
        1290 | 1792 | 1836 => Meaning {
            read_only: true,
            ..about_statement(DbError::Forbidden(server.message.clone()), false)
        },
        // Access to a table or column.
        1142 | 1143 | 1227 => about_statement(DbError::Forbidden(server.message.clone()), false),
        // Lock waits and deadlocks, after which the server has undone everything.
        1205 | 1213 => about_statement(DbError::Busy(server.message.clone()), true),
        1267 | 1270 | 1271 | 1300 | 3854 | 3988 => {
            about_statement(DbError::Charset(server.message.clone()), true)
        }
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
        | 4031 => away(text()),
        _ => about_statement(DbError::Refused(text()), true),
    }
}
