//! The schema profile `postfixadmin`: which query answers which question, for whatever columns are there.

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use mail_types::Secret;

use super::schema::Schema;
use super::{Arg, Database, DbError, Value};
use crate::directory::backend::{
    AliasDomainRow, AliasRow, Answer, Backend, BackendError, DomainRow, Found, LoginRow, MailboxRow,
    Questions,
};

/// Called with each schema that was found.
pub type Probed = dyn Fn(&Schema) + Send + Sync;

/// The tables of a database.
pub struct PostfixAdmin {
    database: Arc<dyn Database>,
    schema: RwLock<Option<Arc<Schema>>>,
    probed: Box<Probed>,
}

impl PostfixAdmin {
    /// Over a database that need not be there yet: the columns are probed when the first question comes.
    pub fn new(database: Arc<dyn Database>, probed: Box<Probed>) -> Self {
        Self {
            database,
            schema: RwLock::new(None),
            probed,
        }
    }

    /// The database below.
    pub fn database(&self) -> &dyn Database {
        &*self.database
    }

    /// The columns that are there.
    pub async fn schema(&self) -> Result<Arc<Schema>, DbError> {
        if let Some(schema) = &*self.schema.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(schema.clone());
        }
        let schema = Arc::new(Schema::probe(&*self.database).await?);
        (self.probed)(&schema);
        *self.schema.write().unwrap_or_else(PoisonError::into_inner) = Some(schema.clone());
        Ok(schema)
    }

    /// Forgets the columns: the next question probes again (after a reload, or a refused statement).
    pub fn forget_schema(&self) {
        *self.schema.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The one row of `key`. The key was folded to lower case; what the database thinks is equal (case,
    /// accents, trailing blanks) is compared once more, exactly.
    async fn one(&self, question: &Question<'_>, key: &str) -> Result<Option<Vec<Value>>, DbError> {
        let schema = self.schema().await?;
        if !schema.has_table(question.table) || !schema.charset(question.table, question.key).holds(key) {
            return Ok(None);
        }
        let columns: Vec<String> = std::iter::once(&question.key)
            .chain(question.columns)
            .map(|column| match schema.has(question.table, column) {
                true => format!("`{column}`"),
                false => "NULL".to_owned(),
            })
            .collect();
        let sql = format!(
            "SELECT {} FROM `{}` WHERE `{}` = ?",
            columns.join(", "),
            question.table,
            question.key
        );
        let rows = match self.database.select(&sql, vec![Arg::from(key)]).await {
            Err(error @ DbError::Refused(_)) => {
                // The tables may have been upgraded under us.
                self.forget_schema();
                return Err(error);
            }
            other => other?,
        };
        let mut exact = rows
            .into_iter()
            .filter(|row| text(row.first()).is_some_and(|t| t.to_lowercase() == key));
        match (exact.next(), exact.next()) {
            (row, None) => Ok(row),
            (_, Some(_)) => Err(DbError::Refused(format!(
                "{} has several rows of {key:?}",
                question.table
            ))),
        }
    }

    async fn ask<T>(
        &self,
        question: &Question<'_>,
        key: &str,
        read: impl FnOnce(&[Value]) -> Option<T>,
    ) -> Result<Found<T>, BackendError> {
        let row = self
            .one(question, key)
            .await
            .map_err(|e| BackendError(e.to_string()))?;
        let row = row.map(|row| {
            read(&row[1..]).ok_or_else(|| {
                BackendError(format!(
                    "{}: the row of {key:?} holds unexpected types",
                    question.table
                ))
            })
        });
        Ok(Found::fresh(row.transpose()?))
    }
}

/// A query by key.
struct Question<'a> {
    table: &'a str,
    key: &'a str,
    columns: &'a [&'a str],
}

impl Backend for PostfixAdmin {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        Box::pin(async {
            let schema = self.schema().await.map_err(|e| BackendError(e.to_string()))?;
            Ok(Questions {
                alias_domain: schema.has_table("alias_domain"),
                ..Questions::default()
            })
        })
    }

    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow> {
        let question = Question {
            table: "domain",
            key: "domain",
            columns: &["active", "backupmx", "transport"],
        };
        Box::pin(async move {
            self.ask(&question, name, |row| {
                Some(DomainRow {
                    active: flag(&row[0])?,
                    backupmx: flag(&row[1])?,
                    alias_only: false,
                    transport: text_or_empty(&row[2])?,
                })
            })
            .await
        })
    }

    fn alias_domain<'a>(&'a self, name: &'a str) -> Answer<'a, AliasDomainRow> {
        let question = Question {
            table: "alias_domain",
            key: "alias_domain",
            columns: &["target_domain", "active"],
        };
        Box::pin(async move {
            self.ask(&question, name, |row| {
                Some(AliasDomainRow {
                    target: text(row.first())?,
                    active: flag(&row[1])?,
                })
            })
            .await
        })
    }

    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        let question = Question {
            table: "alias",
            key: "address",
            columns: &["goto", "active"],
        };
        Box::pin(async move {
            self.ask(&question, address, |row| {
                Some(AliasRow {
                    goto: text_or_empty(&row[0])?,
                    active: flag(&row[1])?,
                })
            })
            .await
        })
    }

    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        let question = Question {
            table: "mailbox",
            key: "username",
            columns: MAILBOX,
        };
        Box::pin(async move { self.ask(&question, address, |row| mailbox(address, row)).await })
    }

    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        let question = Question {
            table: "mailbox",
            key: "username",
            columns: &["maildir", "quota", "active", "password"],
        };
        Box::pin(async move {
            // Both are always asked, so that the time does not tell which of them failed.
            let domain = username.rsplit_once('@').map_or("", |(_, domain)| domain);
            let domain = self.domain(domain).await?;
            let domain_active = domain.row.is_some_and(|row| row.active);
            self.ask(&question, username, |row| {
                Some(LoginRow {
                    mailbox: mailbox(username, row)?,
                    domain_active,
                    password: Secret::new(text_or_empty(&row[3])?),
                    cleartext: None,
                    smtp_active: true,
                    password_expiry: None,
                    app_passwords: Vec::new(),
                })
            })
            .await
        })
    }
}

/// The columns of a [`MailboxRow`].
const MAILBOX: &[&str] = &["maildir", "quota", "active"];

fn mailbox(username: &str, row: &[Value]) -> Option<MailboxRow> {
    Some(MailboxRow {
        username: username.to_owned(),
        maildir: text_or_empty(&row[0])?,
        quota: number(&row[1])?,
        uid: None,
        gid: None,
        active: flag(&row[2])?,
    })
}

/// A text that has to be there.
pub fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Bytes(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::Int(number) => Some(number.to_string()),
        Value::Null => None,
    }
}

/// A text; NULL is empty.
pub fn text_or_empty(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        other => text(Some(other)),
    }
}

/// A boolean in any of its forms (compat.md 1.0): 0/1, t/f, y/n; NULL is false.
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(false),
        Value::Int(number) => Some(*number != 0),
        // BIT(1) columns come as one octet 0 or 1.
        Value::Bytes(bytes) => match bytes.to_ascii_lowercase().as_slice() {
            b"" | b"0" | b"f" | b"n" | b"false" | b"no" | b"\0" => Some(false),
            b"1" | b"t" | b"y" | b"true" | b"yes" | b"\x01" => Some(true),
            _ => None,
        },
    }
}

/// A number; NULL is 0.
pub fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        Value::Int(number) => Some(*number),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.trim().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sqlite::Sqlite;
    use super::super::{Database as _, Statement};
    use super::*;

    async fn tables(statements: &[&str]) -> (PostfixAdmin, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let database = Sqlite::open(&dir.path().join("d")).unwrap();
        let statements = statements
            .iter()
            .map(|sql| Statement::new(*sql, vec![]))
            .collect();
        database.transaction(statements).await.unwrap();
        (PostfixAdmin::new(Arc::new(database), Box::new(|_| ())), dir)
    }

    #[test]
    fn booleans_in_all_forms() {
        let bytes = |text: &str| Value::Bytes(text.as_bytes().to_vec());
        for yes in [Value::Int(1), bytes("1"), bytes("t"), bytes("Y"), bytes("\x01")] {
            assert_eq!(flag(&yes), Some(true), "{yes:?}");
        }
        for no in [
            Value::Null,
            Value::Int(0),
            bytes("0"),
            bytes("f"),
            bytes("n"),
            bytes(""),
        ] {
            assert_eq!(flag(&no), Some(false), "{no:?}");
        }
        assert_eq!(flag(&bytes("maybe")), None);
    }

    #[tokio::test]
    async fn rows_of_the_embedded_schema() {
        let (tables, _dir) = tables(&[
            "INSERT INTO domain(domain, description, transport) VALUES ('d.test', '', 'virtual')",
            "INSERT INTO mailbox(username, password, name, maildir, local_part, domain) \
             VALUES ('u@d.test', '$1$', 'U', 'd.test/u/', 'u', 'd.test')",
            "INSERT INTO alias(address, goto, domain, active) VALUES ('u@d.test', 'u@d.test', 'd.test', 0)",
            "INSERT INTO alias_domain(alias_domain, target_domain) VALUES ('m.test', 'd.test')",
        ])
        .await;
        let domain = tables.domain("d.test").await.unwrap().row.unwrap();
        assert!(domain.active && !domain.backupmx && domain.transport == "virtual");
        let mailbox = tables.mailbox("u@d.test").await.unwrap().row.unwrap();
        assert_eq!(
            (mailbox.maildir.as_str(), mailbox.quota, mailbox.active),
            ("d.test/u/", 0, true)
        );
        assert!(!tables.alias("u@d.test").await.unwrap().row.unwrap().active);
        assert_eq!(
            tables.alias_domain("m.test").await.unwrap().row.unwrap().target,
            "d.test"
        );
        for key in [
            "u@d.tes",
            "u @d.test",
            "%@d.test",
            "_@d.test",
            "u@d.test ",
            "😀@d.test",
            "' OR 1=1 --@d.test",
        ] {
            assert_eq!(tables.mailbox(key).await, Ok(Found::fresh(None)), "{key}");
        }
        assert_eq!(tables.schema().await.unwrap().form().as_str(), "4.0");
    }

    #[tokio::test]
    async fn other_tables_and_upgrades_are_trouble_not_answers() {
        let (tables, _dir) = tables(&["ALTER TABLE mailbox RENAME TO boxes"]).await;
        assert!(tables.mailbox("u@d.test").await.is_err());
        let back = Statement::new("ALTER TABLE boxes RENAME TO mailbox", vec![]);
        tables.database().transaction(vec![back]).await.unwrap();
        assert_eq!(tables.mailbox("u@d.test").await, Ok(Found::fresh(None)));
    }
}
