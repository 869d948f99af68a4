//! Tables in pages: each begins where the one before ended in the order of the key, so that no list is whole
//! in memory and no question grows with the table.

use std::collections::HashMap;

use auth_api::admin::{AdminError, Page, Which};

use super::admin_error;
use super::sql::{Tables, records};
use crate::database::values::text;
use crate::database::{Arg, DbError, Dialect, Value, marks};

/// Rows of a page.
pub const ROWS: usize = 1_000;

/// A table whose rows are listed.
pub struct Source<'a> {
    /// Its name in PostfixAdmin.
    pub table: &'a str,
    /// The column that tells its rows apart and orders them.
    pub key: &'a str,
    /// The column with the domain that a list can be about.
    pub domain: &'a str,
}

/// The rows of a page as the database gives them, the key first.
#[derive(Default)]
pub struct Raw {
    pub rows: Vec<Vec<Value>>,
    /// What the next page begins after.
    pub next: Option<String>,
}

impl Raw {
    /// The keys as they are, and as they are looked for.
    pub fn keys(&self) -> Vec<String> {
        let keys = self.rows.iter().filter_map(|row| text(row.first()));
        keys.collect()
    }

    /// The page, with the rows read; one that cannot be read is told and left out.
    pub fn read<T>(self, table: &str, read: impl Fn(&[Value]) -> Option<T>) -> Page<T> {
        Page {
            rows: records(self.rows, table, read),
            next: self.next,
        }
    }
}

impl Tables<'_> {
    /// The next rows of a table: the key, and these other columns.
    pub async fn page(
        &self,
        source: &Source<'_>,
        columns: &str,
        which: &Which,
        after: Option<&str>,
    ) -> Result<Raw, AdminError> {
        let Source { table, key, domain } = source;
        let holds = |column: &str, text: &str| self.schema.charset(table, column).holds(text);
        let condition = match which {
            Which::All => None,
            Which::Domain(name) => Some((format!("`{domain}` = ?"), Arg::from(name.as_str()))),
            // The database would not even compare it.
            Which::One(name) if !holds(key, name) => return Ok(Raw::default()),
            Which::One(name) => Some((format!("`{key}` = ?"), Arg::from(name.as_str()))),
        };
        let mut raw = self.page_where(table, key, columns, condition, after).await?;
        if let Which::One(name) = which {
            // To some collations more names are equal than to mail.
            let name = name.to_lowercase();
            raw.rows
                .retain(|row| text(row.first()).is_some_and(|key| key.to_lowercase() == name));
        }
        Ok(raw)
    }

    /// The same for any condition. No rows where there is no such table: not every version has each.
    pub async fn page_where(
        &self,
        table: &str,
        key: &str,
        columns: &str,
        condition: Option<(String, Arg)>,
        after: Option<&str>,
    ) -> Result<Raw, AdminError> {
        if !self.schema.has(table, key) {
            return Ok(Raw::default());
        }
        let (mut conditions, mut args): (Vec<String>, Vec<Arg>) = condition.into_iter().unzip();
        if let Some(after) = after {
            conditions.push(format!("`{key}` > ?"));
            args.push(after.into());
        }
        let filter = match conditions.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", conditions.join(" AND ")),
        };
        let sql = format!("SELECT `{key}`, {columns} FROM <{table}> {filter} ORDER BY `{key}` LIMIT {ROWS}");
        let rows = self.select(&sql, args).await.map_err(admin_error)?;
        let next = match rows.len() < ROWS {
            true => None,
            // Rows whose key is no text are read once more; they cannot be told apart.
            false => match rows.iter().rev().find_map(|row| text(row.first())) {
                Some(last) => Some(last),
                None => {
                    let reason = format!("the keys of {table} are no text");
                    return Err(admin_error(DbError::Refused(reason)));
                }
            },
        };
        Ok(Raw { rows, next })
    }

    /// What another table says of the keys of a page, by the key in lower case.
    pub async fn of_keys<T>(
        &self,
        table: &str,
        column: &str,
        columns: &str,
        keys: &[String],
        read: impl Fn(&[Value]) -> Option<T>,
    ) -> Result<HashMap<String, T>, AdminError> {
        let rows = self.among(table, column, columns, keys).await?;
        let read = |row: &Vec<Value>| Some((text(row.first())?.to_lowercase(), read(row)?));
        Ok(rows.iter().filter_map(read).collect())
    }

    /// The rows of a table that have these keys: the key, and these other columns. None where there is no
    /// such column.
    pub async fn among(
        &self,
        table: &str,
        column: &str,
        columns: &str,
        keys: &[String],
    ) -> Result<Vec<Vec<Value>>, AdminError> {
        // As they are and in lower case: binary collations tell them apart. SQLite has no other by itself.
        let collation = match self.dialect() {
            Dialect::Mysql => "",
            Dialect::Sqlite => "COLLATE NOCASE ",
        };
        let mut wanted: Vec<Arg> = Vec::with_capacity(keys.len());
        for key in keys {
            if !self.schema.charset(table, column).holds(key) {
                continue;
            }
            let lower = key.to_lowercase();
            if lower != *key {
                wanted.push(lower.into());
            }
            wanted.push(key.as_str().into());
        }
        if wanted.is_empty() || !self.schema.has(table, column) {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT DISTINCT `{column}`, {columns} FROM <{table}> WHERE `{column}` {collation}IN ({})",
            marks(wanted.len())
        );
        self.select(&sql, wanted).await.map_err(admin_error)
    }
}
