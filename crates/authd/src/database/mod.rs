//! A database with the tables: two drivers behind one trait, the `postfixadmin` schema profile on top.

pub mod custom;
pub mod ddl;
pub mod domains_users;
pub mod keyed;
pub mod mysql;
mod pages;
pub mod postfix_tables;
pub mod postfixadmin;
pub mod schema;
pub mod sqlite;
pub mod values;

use futures_util::future::BoxFuture;
use mail_types::Secret;

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// Text, or whatever bytes the column holds.
    Bytes(Vec<u8>),
}

/// A value to bind. Nothing is ever pasted into a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// Text.
    Text(String),
    /// An integer.
    Int(i64),
    /// Text that must not be printed.
    Secret(Secret),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Arg {
    fn from(flag: bool) -> Self {
        Self::Int(i64::from(flag))
    }
}

/// One statement of a transaction.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The text, with `?` for each value.
    pub sql: String,
    /// The values.
    pub args: Vec<Arg>,
    /// How many rows it has to hit; otherwise the whole transaction is undone.
    pub expect: Option<u64>,
}

impl Statement {
    /// A statement that may hit any number of rows.
    pub fn new(sql: impl Into<String>, args: Vec<Arg>) -> Self {
        Self {
            sql: sql.into(),
            args,
            expect: None,
        }
    }

    /// The same, which has to hit exactly one row.
    #[must_use]
    pub fn one(self) -> Self {
        Self {
            expect: Some(1),
            ..self
        }
    }
}

/// Why the database did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// It is away, too slow, or too busy.
    #[error("the database is away: {0}")]
    Away(String),
    /// A row with this key is there already; nothing was changed.
    #[error("the row exists already")]
    Duplicate,
    /// A statement of a transaction did not hit what it had to; nothing was changed.
    #[error("the rows changed meanwhile")]
    Conflict,
    /// Somebody else changes the same rows; nothing was changed, and it may be tried again at once.
    #[error("the database is busy with another change: {0}")]
    Busy(String),
    /// A value cannot be compared with the column at all: its characters are not in the column's set.
    #[error("a value does not fit the character set of a column: {0}")]
    Charset(String),
    /// Our account may not do that.
    #[error("the database account may not do this: {0}")]
    Forbidden(String),
    /// The tables are not those of PostfixAdmin, which are the only ones that we change.
    #[error("the tables of schema {0:?} are administered by the site's own tools")]
    Foreign(String),
    /// It refused the statement: the tables are not what we think.
    #[error("the database refused a statement: {0}")]
    Refused(String),
}

/// A database server, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStatus {
    /// As it is written in the configuration.
    pub name: String,
    /// For how long it has not worked; `None`: it works, as far as is known.
    pub away_for: Option<std::time::Duration>,
    /// Why not.
    pub error: Option<String>,
}

/// The SQL that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL, MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// The expression for the present time.
    pub fn now(self) -> &'static str {
        match self {
            Self::Mysql => "NOW()",
            Self::Sqlite => "datetime('now')",
        }
    }

    /// The query for all columns of all tables: table, column, character set (or NULL).
    pub fn columns(self) -> &'static str {
        match self {
            Self::Mysql => {
                "SELECT TABLE_NAME, COLUMN_NAME, CHARACTER_SET_NAME FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = DATABASE()"
            }
            Self::Sqlite => {
                "SELECT m.name, c.name, NULL FROM sqlite_master m JOIN pragma_table_info(m.name) c \
                 WHERE m.type IN ('table', 'view')"
            }
        }
    }
}

/// The answer to a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The names of the columns; `None` where the statement has no result at all (a procedure that selects
    /// nothing), which is not the same as no rows.
    pub columns: Option<Vec<String>>,
    /// The rows, each with a value for every column.
    pub rows: Vec<Vec<Value>>,
}

/// A database.
pub trait Database: Send + Sync + 'static {
    /// Which SQL it speaks.
    fn dialect(&self) -> Dialect;

    /// The answer to a query, with the names of its columns.
    fn query<'a>(&'a self, sql: &'a str, args: Vec<Arg>) -> BoxFuture<'a, Result<Rows, DbError>>;

    /// Rows of a query.
    fn select<'a>(&'a self, sql: &'a str, args: Vec<Arg>) -> BoxFuture<'a, Result<Vec<Vec<Value>>, DbError>> {
        Box::pin(async move { Ok(self.query(sql, args).await?.rows) })
    }

    /// All statements or none.
    fn transaction(&self, statements: Vec<Statement>) -> BoxFuture<'_, Result<(), DbError>>;

    /// The servers behind it, in the order in which they are asked; none where it is a file.
    fn hosts(&self) -> Vec<HostStatus> {
        Vec::new()
    }
}

/// So many `?`, for the values of an `IN (...)`.
pub fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}
