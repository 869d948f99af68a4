//! The statements of changes, for whatever columns the tables have.

use std::sync::Arc;

use auth_api::admin::AdminError;

use super::admin_error;
use crate::config::AdminRules;
use crate::database::schema::Schema;
use crate::database::values::{number, text};
use crate::database::{Arg, Database, DbError, Dialect, Statement, Value};
use crate::site::Site;

/// What a column is set to.
pub enum Set {
    /// A value.
    To(Arg),
    /// The present time.
    Now,
    /// The present time and so many days.
    InDays(i64),
}

impl<T: Into<Arg>> From<T> for Set {
    fn from(value: T) -> Self {
        Self::To(value.into())
    }
}

/// A change to be made: its statements, and what is told of it.
pub struct Change {
    /// What the event calls the thing: `domain`, `mailbox`...
    pub object: &'static str,
    /// `add`, `set` or `delete`.
    pub action: &'static str,
    /// The key of the row.
    pub key: String,
    pub statements: Vec<Statement>,
    /// The rows of the panel's log.
    pub log: Vec<Logged>,
}

/// A row of the panel's log.
pub struct Logged {
    /// The panel's word.
    pub action: &'static str,
    pub domain: String,
    pub data: String,
}

impl Change {
    /// A change with one row in the log.
    pub fn new(
        object: &'static str,
        action: &'static str,
        logged: &'static str,
        domain: impl Into<String>,
        key: impl Into<String>,
        statements: Vec<Statement>,
    ) -> Self {
        let key = key.into();
        Self {
            object,
            action,
            log: vec![Logged {
                action: logged,
                domain: domain.into(),
                data: key.clone(),
            }],
            key,
            statements,
        }
    }

    /// Runs the statements and writes the log, in one transaction.
    pub async fn commit(self, tables: &Tables<'_>) -> Result<(), DbError> {
        let mut statements = self.statements;
        if tables.schema.has_table("log") {
            for logged in self.log {
                let row = vec![
                    ("timestamp", Set::Now),
                    // As the panel writes it: name (address).
                    ("username", "mailctl (localhost)".into()),
                    ("domain", logged.domain.into()),
                    ("action", logged.action.into()),
                    ("data", logged.data.into()),
                ];
                statements.push(tables.insert("log", row));
            }
        }
        tables.database.transaction(statements).await
    }
}

/// The tables as they are, and what statements are made with.
pub struct Tables<'a> {
    /// The columns.
    pub schema: Arc<Schema>,
    /// How new rows look.
    pub rules: &'a AdminRules,
    database: &'a dyn Database,
}

impl<'a> Tables<'a> {
    pub async fn of(site: &'a Site) -> Result<Self, DbError> {
        let panel = site.panel()?;
        Ok(Self {
            schema: panel.schema().await?,
            rules: &site.settings.admin,
            database: panel.database(),
        })
    }

    /// Which SQL the database speaks.
    pub fn dialect(&self) -> Dialect {
        self.database.dialect()
    }

    /// The rows of a query.
    pub async fn select(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<Vec<Value>>, DbError> {
        self.database.select(&self.sql(sql), args).await
    }

    /// A statement of a transaction.
    pub fn statement(&self, sql: &str, args: Vec<Arg>) -> Statement {
        Statement::new(self.sql(sql), args)
    }

    /// The text with `<table>` as the site calls the table.
    fn sql(&self, text: &str) -> String {
        let mut sql = String::with_capacity(text.len() + 16);
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('<') {
            let end = behind
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(0);
            let (name, after) = behind.split_at(end);
            sql.push_str(before);
            rest = match (name, after.strip_prefix('>')) {
                ("", _) | (_, None) => {
                    sql.push('<');
                    behind
                }
                (name, Some(after)) => {
                    sql.push_str(&format!("`{}`", self.schema.table(name)));
                    after
                }
            };
        }
        sql.push_str(rest);
        sql
    }

    /// The one number of a counting query.
    pub async fn count(&self, sql: &str, args: Vec<Arg>) -> Result<i64, AdminError> {
        let rows = self.select(sql, args).await.map_err(admin_error)?;
        let found = rows.first().and_then(|row| row.first()).and_then(number);
        found.ok_or_else(|| admin_error(DbError::Refused("a count is not a number".into())))
    }

    /// Whether `table` has a row with this key.
    pub async fn exists(&self, table: &str, column: &str, key: &str) -> Result<bool, AdminError> {
        let sql = format!("SELECT COUNT(*) FROM <{table}> WHERE `{column}` = ?");
        Ok(self.count(&sql, vec![key.into()]).await? > 0)
    }

    /// The column in a list of columns, or what stands for it where there is none.
    pub fn column(&self, table: &str, column: &str, otherwise: &str) -> String {
        if self.schema.has(table, column) {
            format!("`{column}`")
        } else {
            otherwise.to_owned()
        }
    }

    /// INSERT of the columns that there are.
    pub fn insert(&self, table: &str, row: Vec<(&str, Set)>) -> Statement {
        let (columns, values, args) = self.columns(table, row);
        let sql = format!("INSERT INTO <{table}> ({columns}) VALUES ({values})");
        self.statement(&sql, args).one()
    }

    /// The same, if a query `FROM <table> WHERE ...` of one row has it by then.
    pub fn insert_where(
        &self,
        table: &str,
        row: Vec<(&str, Set)>,
        from: &str,
        condition: Vec<Arg>,
    ) -> Statement {
        let (columns, values, mut args) = self.columns(table, row);
        args.extend(condition);
        let sql = format!("INSERT INTO <{table}> ({columns}) SELECT {values} FROM {from}");
        self.statement(&sql, args).one()
    }

    fn columns(&self, table: &str, row: Vec<(&str, Set)>) -> (String, String, Vec<Arg>) {
        let (mut columns, mut values, mut args) = (Vec::new(), Vec::new(), Vec::new());
        for (column, set) in self.known(table, row) {
            columns.push(format!("`{column}`"));
            values.push(self.value(set, &mut args));
        }
        (columns.join(", "), values.join(", "), args)
    }

    /// UPDATE of the columns that there are, where `key` is this.
    pub fn update(&self, table: &str, row: Vec<(&str, Set)>, key: &str, is: &str) -> Statement {
        let (mut sets, mut args) = (Vec::new(), Vec::new());
        for (column, set) in self.known(table, row) {
            let value = self.value(set, &mut args);
            sets.push(format!("`{column}` = {value}"));
        }
        if sets.is_empty() {
            // Still finds out whether the row is there.
            sets.push(format!("`{key}` = `{key}`"));
        }
        args.push(is.into());
        let sql = format!("UPDATE <{table}> SET {} WHERE `{key}` = ?", sets.join(", "));
        self.statement(&sql, args)
    }

    /// DELETE where `key` is this; `None` where there is no such column.
    pub fn delete(&self, table: &str, key: &str, is: &str) -> Option<Statement> {
        let sql = format!("DELETE FROM <{table}> WHERE `{key}` = ?");
        self.schema
            .has(table, key)
            .then(|| self.statement(&sql, vec![is.into()]))
    }

    /// Holds the row until the end of the transaction, and undoes the whole where it is gone. Changes that
    /// count rows or check others do so behind it, so that two of them cannot both find room for the last.
    pub fn hold(&self, table: &str, key: &str, is: &str) -> Statement {
        let sql = format!("UPDATE <{table}> SET `active` = `active` WHERE `{key}` = ?");
        self.statement(&sql, vec![is.into()]).one()
    }

    fn known<'r>(
        &'r self,
        table: &'r str,
        row: Vec<(&'r str, Set)>,
    ) -> impl Iterator<Item = (&'r str, Set)> + 'r {
        row.into_iter()
            .filter(move |(column, _)| self.schema.has(table, column))
    }

    fn value(&self, set: Set, args: &mut Vec<Arg>) -> String {
        match (set, self.database.dialect()) {
            (Set::To(arg), _) => {
                args.push(arg);
                "?".to_owned()
            }
            (Set::Now, dialect) => dialect.now().to_owned(),
            (Set::InDays(days), Dialect::Mysql) => {
                args.push(days.into());
                "DATE_ADD(NOW(), INTERVAL ? DAY)".to_owned()
            }
            (Set::InDays(days), Dialect::Sqlite) => {
                args.push(format!("+{days} days").into());
                "datetime('now', ?)".to_owned()
            }
        }
    }

    /// Refuses a text that the column cannot hold, before the database stumbles over it.
    pub fn check_text(&self, table: &str, column: &str, text: &str) -> Result<(), AdminError> {
        if self.schema.charset(table, column).holds(text) && text.len() <= 255 {
            return Ok(());
        }
        Err(AdminError::Invalid(format!(
            "{text} does not fit the column {table}.{column} of this database"
        )))
    }

    /// Refuses a value for a column that the tables do not have.
    pub fn check_column(&self, table: &str, column: &str) -> Result<(), AdminError> {
        if self.schema.has(table, column) {
            return Ok(());
        }
        Err(AdminError::Invalid(format!(
            "the tables of this PostfixAdmin have no {table}.{column}"
        )))
    }

    /// Refuses what needs a table that is not there.
    pub fn check_table(&self, table: &str) -> Result<(), AdminError> {
        if self.schema.has_table(table) {
            return Ok(());
        }
        Err(AdminError::Invalid(format!(
            "the tables of this PostfixAdmin have no {table}"
        )))
    }
}

/// Reads the rows of a list; a row that cannot be read is told and left out.
pub fn records<T>(rows: Vec<Vec<Value>>, table: &str, read: impl Fn(&[Value]) -> Option<T>) -> Vec<T> {
    let read = |row: Vec<Value>| {
        let record = read(&row);
        if record.is_none() {
            let key = row.first().and_then(|value| text(Some(value)));
            tracing::warn!(
                table,
                key = key.as_deref().unwrap_or("?"),
                "this row cannot be read"
            );
        }
        record
    };
    rows.into_iter().filter_map(read).collect()
}
