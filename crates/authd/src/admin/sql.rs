//! The statements of changes, for whatever columns the tables have.

use std::sync::Arc;

use auth_api::admin::AdminError;

use super::admin_error;
use crate::database::schema::Schema;
use crate::database::{Arg, DbError, Dialect, Statement, Value};
use crate::site::Site;

/// What a column is set to.
pub enum Set {
    /// A value.
    To(Arg),
    /// The present time.
    Now,
}

impl<T: Into<Arg>> From<T> for Set {
    fn from(value: T) -> Self {
        Self::To(value.into())
    }
}

/// A change to be made: its statements, and what the log says of it.
pub struct Change {
    pub object: &'static str,
    pub action: &'static str,
    pub key: String,
    pub domain: String,
    pub statements: Vec<Statement>,
}

impl Change {
    /// Runs the statements and writes the panel's log row, in one transaction.
    pub async fn commit(self, site: &Site) -> Result<(), AdminError> {
        let tables = Tables::of(site).await.map_err(admin_error)?;
        let mut statements = self.statements;
        if tables.schema.has_table("log") {
            let verb = match self.action {
                "add" => "create",
                "set" => "edit",
                other => other,
            };
            let row = [
                ("timestamp", Set::Now),
                // As the panel writes it: name (ip).
                ("username", "mailctl (localhost)".into()),
                ("domain", self.domain.into()),
                ("action", format!("{verb}_{}", self.object).into()),
                ("data", self.key.clone().into()),
            ];
            statements.push(tables.insert("log", row));
        }
        site.panel()
            .map_err(admin_error)?
            .database()
            .transaction(statements)
            .await
            .map_err(|error| match error {
                DbError::Duplicate => AdminError::Exists(format!("{} exists already", self.key)),
                DbError::Conflict => {
                    AdminError::NotFound(format!("there is no {} {}", self.object, self.key))
                }
                other => admin_error(other),
            })
    }
}

/// The columns and the dialect that statements are made for.
pub struct Tables {
    pub schema: Arc<Schema>,
    dialect: Dialect,
}

impl Tables {
    pub async fn of(site: &Site) -> Result<Self, DbError> {
        Ok(Self {
            schema: site.panel()?.schema().await?,
            dialect: site.panel()?.database().dialect(),
        })
    }

    /// INSERT of the columns that there are.
    pub fn insert<const N: usize>(&self, table: &str, row: [(&str, Set); N]) -> Statement {
        let (mut columns, mut values, mut args) = (Vec::new(), Vec::new(), Vec::new());
        for (column, set) in row
            .into_iter()
            .filter(|(column, _)| self.schema.has(table, column))
        {
            columns.push(format!("`{column}`"));
            values.push(self.value(set, &mut args));
        }
        let sql = format!(
            "INSERT INTO `{table}` ({}) VALUES ({})",
            columns.join(", "),
            values.join(", ")
        );
        Statement::new(sql, args).one()
    }

    /// UPDATE of the columns that there are, where `key` is this.
    pub fn update(&self, table: &str, row: Vec<(&str, Set)>, key: &str, is: &str) -> Statement {
        let (mut sets, mut args) = (Vec::new(), Vec::new());
        for (column, set) in row
            .into_iter()
            .filter(|(column, _)| self.schema.has(table, column))
        {
            let value = self.value(set, &mut args);
            sets.push(format!("`{column}` = {value}"));
        }
        args.push(is.into());
        Statement::new(
            format!("UPDATE `{table}` SET {} WHERE `{key}` = ?", sets.join(", ")),
            args,
        )
    }

    /// DELETE where `key` is this; `None` where there is no such table.
    pub fn delete(&self, table: &str, key: &str, is: &str) -> Option<Statement> {
        let sql = format!("DELETE FROM `{table}` WHERE `{key}` = ?");
        self.schema
            .has(table, key)
            .then(|| Statement::new(sql, vec![is.into()]))
    }

    fn value(&self, set: Set, args: &mut Vec<Arg>) -> String {
        match set {
            Set::To(arg) => {
                args.push(arg);
                "?".to_owned()
            }
            Set::Now => self.dialect.now().to_owned(),
        }
    }

    /// Refuses a key that the column cannot hold, before the database stumbles over it.
    pub fn check_key(&self, table: &str, column: &str, key: &str) -> Result<(), AdminError> {
        if self.schema.charset(table, column).holds(key) && key.len() <= 255 {
            return Ok(());
        }
        Err(AdminError::Invalid(format!(
            "{key} does not fit the column {table}.{column} of this database"
        )))
    }
}

/// The one number of a counting query.
pub async fn count(site: &Site, sql: &str, args: Vec<Arg>) -> Result<i64, AdminError> {
    let rows = site
        .panel()
        .map_err(admin_error)?
        .database()
        .select(sql, args)
        .await
        .map_err(admin_error)?;
    let number = rows
        .first()
        .and_then(|row| row.first())
        .and_then(crate::database::postfixadmin::number);
    number.ok_or_else(|| admin_error(DbError::Refused("a count is not a number".into())))
}

/// Reads the rows of a list; a row that cannot be read is told and left out.
pub fn records<T>(rows: Vec<Vec<Value>>, table: &str, read: impl Fn(&[Value]) -> Option<T>) -> Vec<T> {
    let read = |row: Vec<Value>| {
        let record = read(&row);
        if record.is_none() {
            let key = row
                .first()
                .and_then(|value| crate::database::postfixadmin::text(Some(value)));
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
