//! Questions by key to tables whose columns are known by name only: what all profiles with tables of their
//! own have in common.
//!
//! Keys are lower case. What a database thinks is equal (case, accents, trailing blanks) is compared once
//! more, exactly.

#[cfg(test)]
mod tests;
mod together;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::schema::{Charset, Needed, Schema, TableNames};
use super::values::{text, text_or_empty};
use super::{Arg, Database, DbError, Dialect, Value, marks};
use crate::directory::backend::{BackendError, Found};
use crate::directory::pages::{Listed, Page, PageRequest};

/// Called with each schema that was found.
pub type Probed = dyn Fn(&Schema) + Send + Sync;

/// Keys in one statement.
const CHUNK: usize = 256;
/// After this time the columns are looked at again: the panel may have been upgraded meanwhile.
const PROBE_AGAIN: Duration = Duration::from_secs(60);

/// A column that a question asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Column {
    name: &'static str,
    time: bool,
    absent: &'static str,
}

impl Column {
    /// The value of the column; NULL where there is no such column.
    pub const fn plain(name: &'static str) -> Self {
        Self::or(name, "NULL")
    }

    /// The value of the column; this SQL where there is no such column.
    pub const fn or(name: &'static str, absent: &'static str) -> Self {
        Self {
            name,
            time: false,
            absent,
        }
    }

    /// A date and time as seconds since 1970, read by [`time`](super::values::time).
    pub const fn time(name: &'static str) -> Self {
        Self {
            name,
            time: true,
            absent: "NULL",
        }
    }

    /// Its SQL; `of` is what stands before the names of the table's columns.
    fn sql(self, dialect: Dialect, schema: &Schema, table: &str, of: &str) -> String {
        let Self { name, time, absent } = self;
        match (schema.has(table, name), time, dialect) {
            (false, ..) => absent.to_owned(),
            (true, false, _) => format!("{of}`{name}`"),
            (true, true, Dialect::Mysql) => format!("UNIX_TIMESTAMP({of}`{name}`)"),
            (true, true, Dialect::Sqlite) => format!("CAST(strftime('%s', {of}`{name}`) AS INTEGER)"),
        }
    }
}

/// What is asked of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// The table, by its usual name.
    pub table: &'static str,
    /// The column with the key.
    pub key: &'static str,
    /// What is wanted of the row.
    pub columns: &'static [Column],
    /// Only rows where this column holds this.
    pub only: Option<(&'static str, &'static str)>,
}

impl Question {
    /// A question about all rows of a table.
    pub const fn new(table: &'static str, key: &'static str, columns: &'static [Column]) -> Self {
        Self {
            table,
            key,
            columns,
            only: None,
        }
    }

    /// `SELECT` of the key and the columns, with the condition on [`Self::only`].
    fn select(&self, dialect: Dialect, schema: &Schema) -> (String, Vec<Arg>) {
        let mut sql = format!("SELECT `{}`", self.key);
        for column in self.columns {
            sql.push_str(", ");
            sql.push_str(&column.sql(dialect, schema, self.table, ""));
        }
        sql.push_str(&format!(" FROM `{}` WHERE ", schema.table(self.table)));
        let mut args = Vec::new();
        if let Some((column, value)) = self.only {
            sql.push_str(&format!("`{column}` = ? AND "));
            args.push(Arg::from(value));
        }
        (sql, args)
    }

    /// What the column with the key can hold; `None`: it is not there.
    fn key_charset(&self, schema: &Schema) -> Option<Charset> {
        let is_there = schema.has(self.table, self.key);
        is_there.then(|| schema.charset(self.table, self.key))
    }

    /// The error about a row that cannot be read.
    pub fn odd(&self, key: &str) -> BackendError {
        BackendError::Odd(format!(
            "{}: the row of {key:?} holds unexpected types",
            self.table
        ))
    }
}

/// Rows by their keys, folded to lower case.
pub type ByKey = HashMap<String, Vec<Vec<Value>>>;

/// The tables of a profile.
pub struct Keyed {
    database: Arc<dyn Database>,
    names: TableNames,
    needed: &'static Needed,
    known: RwLock<Option<(Arc<Schema>, Instant)>>,
    /// Held by the question that looks for the columns while nothing is known of them; the last failure.
    first: Mutex<Option<(Instant, DbError)>>,
    probing: AtomicBool,
    probed: Box<Probed>,
    statements: RwLock<Statements>,
}

/// The texts of questions by key for the columns as they were found, because making one takes longer than what is
/// done with its answer.
#[derive(Default)]
struct Statements {
    /// The columns that they were made for.
    schema: Option<Arc<Schema>>,
    /// For each question and number of keys.
    texts: HashMap<(Question, usize), Arc<Statement>>,
    /// Those about several tables.
    joined: HashMap<Vec<Question>, Arc<Joined>>,
}

impl Statements {
    fn are_for(&self, schema: &Arc<Schema>) -> bool {
        self.schema
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, schema))
    }

    /// Forgets those of other columns.
    fn make_for(&mut self, schema: &Arc<Schema>) {
        if !self.are_for(schema) {
            *self = Self {
                schema: Some(schema.clone()),
                ..Self::default()
            };
        }
    }
}

/// A question by key as it goes to the database.
struct Statement {
    sql: String,
    args: Vec<Arg>,
    /// What the column with the key can hold; `None`: there is no such table.
    charset: Option<Charset>,
}

/// A question about a key in each of several tables.
struct Joined {
    sql: String,
    /// What the column with the key of each can hold; `None`: there is no such table, and it is not asked.
    charsets: Vec<Option<Charset>>,
}

impl Keyed {
    /// Over a database that need not be there yet: the columns are probed when the first question comes.
    pub fn new(
        database: Arc<dyn Database>,
        names: TableNames,
        needed: &'static Needed,
        probed: Box<Probed>,
    ) -> Self {
        Self {
            database,
            names,
            needed,
            known: RwLock::new(None),
            first: Mutex::new(None),
            probing: AtomicBool::new(false),
            probed,
            statements: RwLock::default(),
        }
    }

    /// The database below.
    pub fn database(&self) -> &dyn Database {
        &*self.database
    }

    fn known(&self) -> Option<(Arc<Schema>, Instant)> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The columns that are there.
    pub async fn schema(&self) -> Result<Arc<Schema>, DbError> {
        match self.known() {
            None => self.first_probe().await,
            Some((schema, at)) if at.elapsed() < PROBE_AGAIN => Ok(schema),
            // One question looks again, the others go on meanwhile.
            Some((schema, _)) if self.probing.swap(true, Ordering::AcqRel) => Ok(schema),
            Some((schema, _)) => {
                // The question may be given up meanwhile.
                let _ends = Ends(&self.probing);
                match self.probe(Some(&schema)).await {
                    // The question itself will hear that the database is away.
                    Err(DbError::Away(_)) => Ok(schema),
                    other => other,
                }
            }
        }
    }

    /// Looks for the columns once for all who need them now. Who waited for an attempt that failed does not
    /// wait for one of his own: they would add up.
    async fn first_probe(&self) -> Result<Arc<Schema>, DbError> {
        let came = Instant::now();
        let mut failed = self.first.lock().await;
        if let Some((schema, _)) = self.known() {
            return Ok(schema);
        }
        if let Some((at, error)) = &*failed
            && *at > came
        {
            return Err(error.clone());
        }
        let probed = self.probe(None).await;
        if let Err(error) = &probed {
            *failed = Some((Instant::now(), error.clone()));
        }
        probed
    }

    async fn probe(&self, old: Option<&Schema>) -> Result<Arc<Schema>, DbError> {
        let schema = Arc::new(Schema::probe(&*self.database, &self.names, self.needed).await?);
        if old != Some(&*schema) {
            (self.probed)(&schema);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some((schema.clone(), Instant::now()));
        Ok(schema)
    }

    /// Forgets the columns: the next question probes again (after a reload, or a refused statement).
    pub fn forget_schema(&self) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// As if [`PROBE_AGAIN`] had passed.
    #[cfg(test)]
    pub(super) fn grow_old(&self) {
        let mut known = self.known.write().unwrap();
        let (schema, at) = known.take().unwrap();
        *known = Some((schema, at.checked_sub(PROBE_AGAIN).unwrap()));
    }

    async fn select(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<Vec<Value>>, DbError> {
        let answer = self.database.select(sql, args).await;
        if let Err(DbError::Refused(_)) = answer {
            // The tables may have been changed under us.
            self.forget_schema();
        }
        answer
    }

    /// The text of a question for so many keys.
    fn statement(&self, schema: &Arc<Schema>, question: &Question, places: usize) -> Arc<Statement> {
        {
            let statements = self.statements.read().unwrap_or_else(PoisonError::into_inner);
            if statements.are_for(schema)
                && let Some(statement) = statements.texts.get(&(*question, places))
            {
                return statement.clone();
            }
        }
        let (mut sql, args) = question.select(self.database.dialect(), schema);
        sql.push_str(&match places {
            1 => format!("`{}` = ?", question.key),
            _ => format!("`{}` IN ({})", question.key, marks(places)),
        });
        let statement = Arc::new(Statement {
            sql,
            args,
            charset: question.key_charset(schema),
        });
        let mut statements = self.statements.write().unwrap_or_else(PoisonError::into_inner);
        statements.make_for(schema);
        statements.texts.insert((*question, places), statement.clone());
        statement
    }

    /// All rows of these keys. Nothing where there is no such table, or where a key cannot be in it.
    pub async fn rows<'k>(
        &self,
        question: &Question,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<ByKey, DbError> {
        let schema = self.schema().await?;
        let mut found = ByKey::new();
        let mut keys: Vec<&str> = keys.into_iter().collect();
        if keys.len() > 1 {
            keys.sort_unstable();
            keys.dedup();
        }
        for chunk in keys.chunks(CHUNK) {
            // Few different statements, so that the database keeps them prepared; the last key is repeated.
            let places = chunk.len().next_power_of_two();
            let statement = self.statement(&schema, question, places);
            let Some(charset) = statement.charset else { break };
            let chunk: Vec<&str> = chunk.iter().copied().filter(|key| charset.holds(key)).collect();
            let Some(last) = chunk.last() else { continue };
            let mut args = statement.args.clone();
            let padded = chunk
                .iter()
                .chain(std::iter::repeat_n(last, places - chunk.len()));
            args.extend(padded.map(|key| Arg::from(*key)));
            let rows = match self.select(&statement.sql, args).await {
                // What the column cannot hold is not there.
                Err(DbError::Charset(_)) if chunk.len() == 1 && !chunk[0].is_ascii() => continue,
                rows => rows?,
            };
            for row in rows {
                let Some(key) = text(row.first()).map(|key| key.to_lowercase()) else {
                    continue;
                };
                if chunk.contains(&key.as_str()) {
                    found.entry(key).or_default().push(row[1..].to_vec());
                }
            }
        }
        Ok(found)
    }

    /// The one row of each of these keys that has one; an error in its place where it has several.
    pub async fn each<'k>(
        &self,
        question: &Question,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<HashMap<String, Result<Vec<Value>, BackendError>>, DbError> {
        let one = |(key, mut rows): (String, Vec<Vec<Value>>)| {
            let row = match (rows.pop(), rows.is_empty()) {
                (Some(row), true) => Ok(row),
                _ => Err(BackendError::Odd(format!(
                    "{} has several rows of {key:?}",
                    question.table
                ))),
            };
            (key, row)
        };
        Ok(self.rows(question, keys).await?.into_iter().map(one).collect())
    }

    /// The row of a key as `read` takes it; that it cannot is an error, never "no such row".
    pub async fn ask<T>(
        &self,
        question: &Question,
        key: &str,
        read: impl FnOnce(&[Value]) -> Option<T>,
    ) -> Result<Found<T>, BackendError> {
        let row = self.each(question, [key]).await?.remove(key).transpose()?;
        let row = row.map(|row| read(&row).ok_or_else(|| question.odd(key)));
        Ok(Found::fresh(row.transpose()?))
    }

    /// The text of a key in a table where several rows of one key are one list, as mysql_table(5) joins them.
    pub async fn joined(&self, question: &Question, key: &str) -> Result<Found<String>, BackendError> {
        let rows = self.rows(question, [key]).await?.remove(key);
        let text = rows.map(|rows| join(&rows).ok_or_else(|| question.odd(key)));
        Ok(Found::fresh(text.transpose()?))
    }

    /// A page of such a table.
    pub async fn list_joined(
        &self,
        question: &Question,
        request: PageRequest<'_>,
        read: impl Fn(String) -> Listed,
    ) -> Result<Option<Page>, BackendError> {
        if request.changed_since.is_some() {
            return Ok(None);
        }
        let rows = self.page(question, request.after, request.limit, None).await?;
        let mut lists: Vec<(String, String, Vec<Vec<Value>>)> = Vec::new();
        let rows = rows.unwrap_or_default();
        let full = rows.len() >= request.limit;
        for (spelled, row) in rows {
            let key = spelled.to_lowercase();
            match lists.last_mut() {
                Some((last, _, list)) if *last == key => list.push(row),
                _ => lists.push((key, spelled, vec![row])),
            }
        }
        // The list at the end of a full page may go on behind it: it belongs to the next one.
        let whole = !full || lists.len() > 1;
        if full && whole {
            lists.pop();
        }
        let next = lists
            .last()
            .filter(|_| full)
            .map(|(_, spelled, _)| spelled.clone());
        let listed = |(key, _, rows): (String, String, Vec<Vec<Value>>)| {
            let text = join(&rows).filter(|_| whole);
            (key, text.map_or(Listed::Unreadable, &read))
        };
        Ok(Some(Page {
            rows: lists.into_iter().map(listed).collect(),
            next,
        }))
    }

    /// The next rows of a table in the order of its keys, each with its key as it is written there. Only
    /// those that changed since a time where one is given; `None` where the table does not say when.
    pub async fn page(
        &self,
        question: &Question,
        after: Option<&str>,
        limit: usize,
        changed_since: Option<i64>,
    ) -> Result<Option<Vec<(String, Vec<Value>)>>, DbError> {
        let schema = self.schema().await?;
        if !schema.has(question.table, question.key) {
            return Ok(Some(Vec::new()));
        }
        let dialect = self.database.dialect();
        let (mut sql, mut args) = question.select(dialect, &schema);
        sql.push_str(&format!("`{}` > ?", question.key));
        args.push(Arg::from(after.unwrap_or_default()));
        if let Some(since) = changed_since {
            if !schema.has(question.table, "modified") {
                return Ok(None);
            }
            sql.push_str(match dialect {
                Dialect::Mysql => " AND `modified` >= FROM_UNIXTIME(?)",
                Dialect::Sqlite => " AND `modified` >= datetime(?, 'unixepoch')",
            });
            args.push(Arg::from(since));
        }
        sql.push_str(&format!(" ORDER BY `{}` LIMIT {limit}", question.key));
        let rows = self.select(&sql, args).await?;
        let keyed = |row: Vec<Value>| Some((text(row.first())?, row[1..].to_vec()));
        // A key that is not text is the key of nothing that is ever asked for.
        Ok(Some(rows.into_iter().filter_map(keyed).collect()))
    }

    /// A page of a table whose rows say nothing about when they changed.
    pub async fn list(
        &self,
        question: &Question,
        request: PageRequest<'_>,
        read: impl Fn(&str, &[Value]) -> Option<Listed>,
    ) -> Result<Option<Page>, BackendError> {
        if request.changed_since.is_some() {
            return Ok(None);
        }
        let rows = self.page(question, request.after, request.limit, None).await?;
        let rows = rows.unwrap_or_default();
        let next = rows.last().filter(|_| rows.len() >= request.limit);
        let next = next.map(|(key, _)| key.clone());
        let listed = |(key, row): (String, Vec<Value>)| {
            let key = key.to_lowercase();
            let row = read(&key, &row).unwrap_or(Listed::Unreadable);
            (key, row)
        };
        Ok(Some(Page {
            rows: rows.into_iter().map(listed).collect(),
            next,
        }))
    }
}

/// The texts of the first columns as one list; those that are empty do not count.
fn join(rows: &[Vec<Value>]) -> Option<String> {
    let texts: Option<Vec<String>> = rows.iter().map(|row| text_or_empty(&row[0])).collect();
    let mut texts = texts?;
    texts.retain(|text| !text.is_empty());
    Some(texts.join(","))
}

/// Takes a flag back when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl From<DbError> for BackendError {
    fn from(error: DbError) -> Self {
        match error {
            // A key that somebody chose says nothing about the tables.
            DbError::Charset(_) => Self::Odd(error.to_string()),
            _ => Self::Away(error.to_string()),
        }
    }
}
