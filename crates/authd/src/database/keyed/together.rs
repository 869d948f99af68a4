//! One key in each of several tables, asked by one statement: what a login rests on costs one question.

use std::sync::{Arc, PoisonError};

use super::{Joined, Keyed, Question};
use crate::database::schema::{Charset, Schema};
use crate::database::values::text;
use crate::database::{Arg, DbError, Value};

/// The row of each table, `None` where it has none.
pub type Together = Vec<Option<Vec<Value>>>;

impl Keyed {
    /// The row of a key in each of these tables. `None` where one statement cannot tell: some table has several rows of
    /// its key, or a column cannot hold it. Then each has to be asked for itself.
    ///
    /// The answer has always one row, whatever is there: neither its time nor its length tells what is missing.
    pub async fn together(&self, parts: &[(&Question, &str)]) -> Result<Option<Together>, DbError> {
        let schema = self.schema().await?;
        let joined = self.joined_statement(&schema, parts.iter().map(|(question, _)| **question).collect());
        let mut args = Vec::with_capacity(parts.len());
        for ((question, key), charset) in parts.iter().zip(&joined.charsets) {
            let Some(charset) = charset else { continue };
            if !charset.holds(key) {
                return Ok(None);
            }
            args.push(Arg::from(*key));
            args.extend(question.only.map(|(_, value)| Arg::from(value)));
        }
        let mut rows = match self.select(&joined.sql, args).await {
            Err(DbError::Charset(_)) => return Ok(None),
            rows => rows?,
        };
        let (Some(row), true) = (rows.pop(), rows.is_empty()) else {
            return Ok(None);
        };
        let mut values = row.into_iter();
        let mut found = Together::with_capacity(parts.len());
        for ((question, key), charset) in parts.iter().zip(&joined.charsets) {
            if charset.is_none() {
                found.push(None);
                continue;
            }
            let own = values.next();
            let columns: Vec<Value> = values.by_ref().take(question.columns.len()).collect();
            let is_it = text(own.as_ref()).is_some_and(|own| own.to_lowercase() == *key);
            found.push(is_it.then_some(columns));
        }
        Ok(Some(found))
    }

    fn joined_statement(&self, schema: &Arc<Schema>, questions: Vec<Question>) -> Arc<Joined> {
        {
            let statements = self.statements.read().unwrap_or_else(PoisonError::into_inner);
            if statements.are_for(schema)
                && let Some(joined) = statements.joined.get(&questions)
            {
                return joined.clone();
            }
        }
        let dialect = self.database.dialect();
        let charsets: Vec<Option<Charset>> = questions.iter().map(|one| one.key_charset(schema)).collect();
        let (mut columns, mut joins) = (Vec::new(), String::new());
        let there = questions
            .iter()
            .zip(&charsets)
            .filter(|(_, charset)| charset.is_some());
        for (number, (question, _)) in there.enumerate() {
            let of = format!("t{number}.");
            columns.push(format!("{of}`{}`", question.key));
            let of_table = |column: &super::Column| column.sql(dialect, schema, question.table, &of);
            columns.extend(question.columns.iter().map(of_table));
            let table = schema.table(question.table);
            joins.push_str(&format!(
                " LEFT JOIN `{table}` AS t{number} ON {of}`{}` = ?",
                question.key
            ));
            if let Some((column, _)) = question.only {
                joins.push_str(&format!(" AND {of}`{column}` = ?"));
            }
        }
        let sql = format!(
            "SELECT {} FROM (SELECT 1 AS one) AS one{joins}",
            columns.join(", ")
        );
        let joined = Arc::new(Joined { sql, charsets });
        let mut statements = self.statements.write().unwrap_or_else(PoisonError::into_inner);
        statements.make_for(schema);
        statements.joined.insert(questions, joined.clone());
        joined
    }
}
