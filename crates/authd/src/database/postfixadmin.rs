//! The schema profile `postfixadmin`: which query answers which question, for whatever columns are there.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use mail_types::Secret;
use tokio::try_join;

use super::keyed::{Column, Keyed, Probed, Question};
use super::schema::{Form, Needed, Schema, TableNames};
use super::values::time;
pub use super::values::{flag, number, text, text_or_empty};
use super::{Database, DbError, Value};
use crate::directory::backend::{
    AliasDomainRow, AliasRow, Answer, AppPassword, Backend, BackendError, DomainRow, Found, LoginRow, Logins,
    MailboxRow, Questions, UsageRow, VacationRow,
};
use crate::directory::pages::{Page, PageRequest};

/// The tables of a database.
pub struct PostfixAdmin {
    tables: Keyed,
}

const NEEDED: Needed = Needed {
    of: "PostfixAdmin",
    tables: &[
        ("domain", &["domain", "transport", "backupmx", "active"]),
        ("alias", &["address", "goto", "domain", "active"]),
        (
            "mailbox",
            &[
                "username", "password", "name", "maildir", "quota", "domain", "active",
            ],
        ),
    ],
};

pub(super) const DOMAIN: Question = Question::new(
    "domain",
    "domain",
    &[
        Column::plain("active"),
        Column::plain("backupmx"),
        Column::plain("transport"),
        Column::plain("password_expiry"),
    ],
);
pub(super) const ALIAS_DOMAIN: Question = Question::new(
    "alias_domain",
    "alias_domain",
    &[Column::plain("target_domain"), Column::plain("active")],
);
pub(super) const ALIAS: Question = Question::new(
    "alias",
    "address",
    &[Column::plain("goto"), Column::plain("active")],
);
pub(super) const MAILBOX: Question = Question::new(
    "mailbox",
    "username",
    &[
        Column::plain("maildir"),
        Column::plain("quota"),
        Column::plain("active"),
    ],
);
const LOGIN: Question = Question::new(
    "mailbox",
    "username",
    &[
        Column::plain("maildir"),
        Column::plain("quota"),
        Column::plain("active"),
        Column::plain("password"),
        Column::or("smtp_active", "1"),
        Column::time("password_expiry"),
    ],
);
const APP_PASSWORDS: Question = Question::new(
    "mailbox_app_password",
    "username",
    &[
        Column::or("id", "0"),
        Column::plain("description"),
        Column::plain("password_hash"),
    ],
);
const VACATION: Question = Question::new(
    "vacation",
    "email",
    &[
        Column::plain("subject"),
        Column::plain("body"),
        Column::time("activefrom"),
        Column::time("activeuntil"),
        Column::plain("interval_time"),
        Column::or("active", "1"),
    ],
);
const QUOTA2: Question = Question::new(
    "quota2",
    "username",
    &[Column::plain("bytes"), Column::plain("messages")],
);
/// Dovecot 1.0 and 1.1: a row for each number.
const QUOTA: Question = Question::new(
    "quota",
    "username",
    &[Column::plain("path"), Column::plain("current")],
);

impl PostfixAdmin {
    /// Over a database that need not be there yet: the columns are probed when the first question comes.
    pub fn new(database: Arc<dyn Database>, names: TableNames, probed: Box<Probed>) -> Self {
        Self {
            tables: Keyed::new(database, names, &NEEDED, probed),
        }
    }

    /// The tables, for questions that go beyond [`Backend`].
    pub fn keyed(&self) -> &Keyed {
        &self.tables
    }

    /// The database below.
    pub fn database(&self) -> &dyn Database {
        self.tables.database()
    }

    /// The columns that are there.
    pub async fn schema(&self) -> Result<Arc<Schema>, DbError> {
        self.tables.schema().await
    }

    /// Forgets the columns: the next question probes again (after a reload, or a refused statement).
    pub fn forget_schema(&self) {
        self.tables.forget_schema();
    }

    /// What a login rests on, by one statement; `None` where that cannot tell, as with several app passwords.
    async fn login_row(&self, username: &str) -> Result<Option<Found<LoginRow>>, BackendError> {
        let domain = username.rsplit_once('@').map_or("", |(_, domain)| domain);
        let expires = self.schema().await?.has("mailbox", "password_expiry");
        let parts = [(&LOGIN, username), (&DOMAIN, domain), (&APP_PASSWORDS, username)];
        let Some(rows) = self.tables.together(&parts).await? else {
            return Ok(None);
        };
        let [Some(row), domain, program] = &rows[..] else {
            return Ok(Some(Found::fresh(None)));
        };
        let row = login(username, row, domain.as_deref(), program.as_slice());
        let mut row = row.ok_or_else(|| LOGIN.odd(username))?;
        row.password_expiry = row.password_expiry.filter(|_| expires);
        Ok(Some(Found::fresh(Some(row))))
    }

    /// What the logins of these mailboxes rest on. Domains, mailboxes and passwords of programs are always
    /// asked for, so that the time does not tell which of them is missing.
    async fn login_rows(
        &self,
        usernames: &[&str],
    ) -> Result<Vec<Result<Found<LoginRow>, BackendError>>, BackendError> {
        let domains = usernames
            .iter()
            .map(|name| name.rsplit_once('@').map_or("", |(_, domain)| domain));
        // Before the questions that run together: the first of them looks at the columns where it is time to.
        let expires = self.schema().await?.has("mailbox", "password_expiry");
        let (domains, mut mailboxes, mut programs) = try_join!(
            self.tables.each(&DOMAIN, domains),
            self.tables.each(&LOGIN, usernames.iter().copied()),
            self.tables.rows(&APP_PASSWORDS, usernames.iter().copied()),
        )?;
        let mut read = |username: &&str| {
            let Some(row) = mailboxes.remove(*username).transpose()? else {
                return Ok(Found::fresh(None));
            };
            let domain = username
                .rsplit_once('@')
                .and_then(|(_, domain)| domains.get(domain));
            let domain = match domain {
                Some(Ok(row)) => Some(row.as_slice()),
                Some(Err(odd)) => return Err(odd.clone()),
                None => None,
            };
            let programs = programs.remove(*username).unwrap_or_default();
            let row = login(username, &row, domain, &programs);
            let mut row = row.ok_or_else(|| LOGIN.odd(username))?;
            row.password_expiry = row.password_expiry.filter(|_| expires);
            Ok(Found::fresh(Some(row)))
        };
        Ok(usernames.iter().map(&mut read).collect())
    }
}

impl Backend for PostfixAdmin {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        Box::pin(async {
            let schema = self.schema().await?;
            Ok(Questions {
                alias_domain: schema.has("alias_domain", "alias_domain"),
                vacation: schema.has("vacation", "email"),
                unmarked_cleartext: schema.form() == Form::V2,
                usage: schema.has("quota2", "username") || schema.has("quota", "username"),
                ..Questions::default()
            })
        })
    }

    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow> {
        Box::pin(self.tables.ask(&DOMAIN, name, domain))
    }

    fn alias_domain<'a>(&'a self, name: &'a str) -> Answer<'a, AliasDomainRow> {
        Box::pin(self.tables.ask(&ALIAS_DOMAIN, name, alias_domain))
    }

    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        Box::pin(self.tables.ask(&ALIAS, address, alias))
    }

    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        Box::pin(self.tables.ask(&MAILBOX, address, |row| mailbox(address, row)))
    }

    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        Box::pin(async move {
            if let Some(row) = self.login_row(username).await? {
                return Ok(row);
            }
            let row = self.login_rows(&[username]).await?.pop();
            row.unwrap_or(Ok(Found::fresh(None)))
        })
    }

    fn logins<'a>(&'a self, usernames: &'a [String]) -> Logins<'a> {
        Box::pin(async move {
            let names: Vec<&str> = usernames.iter().map(String::as_str).collect();
            self.login_rows(&names).await
        })
    }

    fn page<'a>(&'a self, request: PageRequest<'a>) -> BoxFuture<'a, Result<Option<Page>, BackendError>> {
        Box::pin(self.next_page(request))
    }

    fn vacation<'a>(&'a self, address: &'a str) -> Answer<'a, VacationRow> {
        Box::pin(self.tables.ask(&VACATION, address, |row| {
            Some(VacationRow {
                email: address.to_owned(),
                subject: text_or_empty(&row[0])?,
                body: text_or_empty(&row[1])?,
                active_from: time(&row[2])?,
                active_until: time(&row[3])?,
                interval_time: number(&row[4])?,
                active: flag(&row[5])?,
            })
        }))
    }

    fn usage<'a>(&'a self, username: &'a str) -> Answer<'a, UsageRow> {
        Box::pin(async move {
            if self.schema().await?.has("quota2", "username") {
                let read = |row: &[Value]| {
                    Some(UsageRow {
                        bytes: number(&row[0])?,
                        messages: number(&row[1])?,
                    })
                };
                let found = self.tables.ask(&QUOTA2, username, read).await?;
                // A site may have both tables, and fill the older one.
                if found.row.is_some() {
                    return Ok(found);
                }
            }
            let rows = self.tables.rows(&QUOTA, [username]).await?.remove(username);
            let row = rows.map(|rows| old_usage(&rows).ok_or_else(|| QUOTA.odd(username)));
            Ok(Found::fresh(row.transpose()?))
        })
    }
}

pub(super) fn domain(row: &[Value]) -> Option<DomainRow> {
    Some(DomainRow {
        active: flag(&row[0])?,
        backupmx: flag(&row[1])?,
        alias_only: false,
        transport: text_or_empty(&row[2])?,
    })
}

pub(super) fn alias_domain(row: &[Value]) -> Option<AliasDomainRow> {
    Some(AliasDomainRow {
        target: text(row.first())?,
        active: flag(&row[1])?,
    })
}

pub(super) fn alias(row: &[Value]) -> Option<AliasRow> {
    Some(AliasRow {
        goto: text_or_empty(&row[0])?,
        active: flag(&row[1])?,
    })
}

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

/// The rows of [`LOGIN`], [`DOMAIN`] and [`APP_PASSWORDS`].
fn login(
    username: &str,
    row: &[Value],
    domain_row: Option<&[Value]>,
    programs: &[Vec<Value>],
) -> Option<LoginRow> {
    let (domain_active, days) = match domain_row {
        Some(row) => (domain(row)?.active, number(&row[3])?),
        None => (false, 0),
    };
    let program = |row: &Vec<Value>| {
        Some(AppPassword {
            id: number(&row[0])?,
            description: text_or_empty(&row[1])?,
            password: Secret::new(text_or_empty(&row[2])?),
        })
    };
    let programs: Option<Vec<AppPassword>> = programs.iter().map(program).collect();
    Some(LoginRow {
        mailbox: mailbox(username, row)?,
        domain_active,
        password: Secret::new(text_or_empty(&row[3])?),
        cleartext: None,
        smtp_active: flag(&row[4])?,
        // The time of the mailbox counts only where its domain lets passwords end; and one that is not known
        // is over there, as for the panel: `password_expiry > now() OR domain.password_expiry = 0`.
        password_expiry: (days != 0).then_some(time(&row[5])?.unwrap_or(0)),
        app_passwords: programs?
            .into_iter()
            .filter(|program| !program.password.expose().is_empty())
            .collect(),
    })
}

fn old_usage(rows: &[Vec<Value>]) -> Option<UsageRow> {
    let mut paths = HashMap::new();
    for row in rows {
        if paths.insert(text(row.first())?, number(&row[1])?).is_some() {
            return None;
        }
    }
    let of = |path: &str| paths.get(path).copied().unwrap_or(0);
    Some(UsageRow {
        bytes: of("quota/storage"),
        messages: of("quota/messages"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::ddl;
    use super::super::sqlite::Sqlite;
    use super::super::{Database as _, Statement};
    use super::*;
    use crate::directory::pages::{Kind, Listed};

    async fn tables(statements: &[&str]) -> (PostfixAdmin, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let database = Sqlite::open(
            &dir.path().join("d"),
            Some(&ddl::postfixadmin_4(&TableNames::default())),
        )
        .unwrap();
        let statements = statements
            .iter()
            .map(|sql| Statement::new(*sql, vec![]))
            .collect();
        database.transaction(statements).await.unwrap();
        (
            PostfixAdmin::new(Arc::new(database), TableNames::default(), Box::new(|_| ())),
            dir,
        )
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
    async fn all_rows_come_in_pages() {
        let (tables, _dir) = tables(&[
            "INSERT INTO domain(domain, description, transport) VALUES ('d.test', '', 'virtual')",
            "INSERT INTO mailbox(username, password, name, maildir, local_part, domain) \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25) \
             SELECT 'u' || i || '@d.test', 'pw', '', 'm', 'x', 'd.test' FROM n",
            "UPDATE mailbox SET active = 'maybe' WHERE username = 'u7@d.test'",
            "UPDATE mailbox SET modified = '2026-01-02' WHERE username = 'u9@d.test'",
        ])
        .await;
        fn request(after: Option<&str>, changed_since: Option<i64>) -> PageRequest<'_> {
            PageRequest {
                kind: Kind::Mailbox,
                after,
                limit: 10,
                changed_since,
            }
        }
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let mark = after.take();
            let page = tables
                .page(request(mark.as_deref(), None))
                .await
                .unwrap()
                .unwrap();
            assert!(page.rows.len() <= 10);
            seen.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((seen.len(), names.len()), (25, 25));
        for (name, listed) in &seen {
            let readable = matches!(listed, Listed::Mailbox(row) if row.domain_active);
            assert_eq!(readable, name != "u7@d.test", "{name}: {listed:?}");
        }
        let changed = tables
            .page(request(None, Some(1_767_300_000)))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(changed.rows.len(), 1);
        assert_eq!(changed.rows[0].0, "u9@d.test");
    }

    #[tokio::test]
    async fn other_tables_and_upgrades_are_trouble_not_answers() {
        let (tables, _dir) = tables(&["ALTER TABLE mailbox RENAME TO boxes"]).await;
        assert!(tables.mailbox("u@d.test").await.is_err());
        let back = Statement::new("ALTER TABLE boxes RENAME TO mailbox", vec![]);
        tables.database().transaction(vec![back]).await.unwrap();
        assert_eq!(tables.mailbox("u@d.test").await, Ok(Found::fresh(None)));
    }

    #[tokio::test]
    async fn tables_with_other_names() {
        let names = TableNames {
            prefix: "mail_".to_owned(),
            renamed: [("mailbox".to_owned(), "users".to_owned())].into(),
        };
        let dir = tempfile::tempdir().unwrap();
        let database = Sqlite::open(&dir.path().join("d"), Some(&ddl::postfixadmin_4(&names))).unwrap();
        let rows = [
            "INSERT INTO mail_domain(domain, description, transport) VALUES ('d.test', '', '')",
            "INSERT INTO mail_users(username, password, name, maildir, local_part, domain) \
             VALUES ('u@d.test', 'x', 'U', 'd.test/u/', 'u', 'd.test')",
        ];
        let rows = rows.map(|sql| Statement::new(sql, vec![])).to_vec();
        database.transaction(rows).await.unwrap();
        let tables = PostfixAdmin::new(Arc::new(database), names, Box::new(|_| ()));
        assert!(tables.login("u@d.test").await.unwrap().row.unwrap().domain_active);
        assert_eq!(tables.schema().await.unwrap().table("mailbox"), "mail_users");
    }

    #[tokio::test]
    async fn an_upgrade_of_the_panel_is_noticed() {
        let (tables, _dir) = tables(&[
            "INSERT INTO domain(domain, description, transport) VALUES ('d.test', '', '')",
            "INSERT INTO mailbox(username, password, name, maildir, local_part, domain, smtp_active) \
             VALUES ('u@d.test', 'x', 'U', 'd.test/u/', 'u', 'd.test', 0)",
            "ALTER TABLE mailbox RENAME COLUMN smtp_active TO later",
        ])
        .await;
        let smtp_active = async || tables.login("u@d.test").await.unwrap().row.unwrap().smtp_active;
        assert!(smtp_active().await);
        let upgrade = Statement::new("ALTER TABLE mailbox RENAME COLUMN later TO smtp_active", vec![]);
        tables.database().transaction(vec![upgrade]).await.unwrap();
        assert!(
            smtp_active().await,
            "the columns are not looked at for each question"
        );
        tables.keyed().grow_old();
        assert!(!smtp_active().await);
    }

    #[tokio::test]
    async fn what_a_login_rests_on() {
        let (tables, _dir) = tables(&[
            "INSERT INTO domain(domain, description, transport, password_expiry) VALUES ('d.test', '', '', 90)",
            "INSERT INTO domain(domain, description, transport, active) VALUES ('e.test', '', '', 0)",
            "INSERT INTO mailbox(username, password, name, maildir, local_part, domain, password_expiry) \
             VALUES ('a@d.test', 'x', '', 'd/a/', 'a', 'd.test', '2030-01-01 00:00:00'), \
             ('b@d.test', 'x', '', 'd/b/', 'b', 'd.test', '0000-00-00 00:00:00'), \
             ('c@e.test', 'x', '', 'e/c/', 'c', 'e.test', '2030-01-01')",
            "INSERT INTO mailbox_app_password(username, description, password_hash) \
             VALUES ('a@d.test', 'phone', 'p1'), ('a@d.test', NULL, NULL), ('a@d.test', 'tablet', 'p2')",
        ])
        .await;
        let names = ["c@e.test", "nobody@d.test", "a@d.test", "b@d.test"].map(str::to_owned);
        let rows = tables.logins(&names).await.unwrap();
        let found: Vec<_> = rows
            .into_iter()
            .map(|found| {
                let row = found.unwrap().row;
                row.map(|row| (row.domain_active, row.password_expiry, row.app_passwords.len()))
            })
            .collect();
        let expected = [
            Some((false, None, 0)),
            None,
            Some((true, Some(1_893_456_000), 2)),
            // A zero date: over, as NULL is.
            Some((true, Some(0), 0)),
        ];
        assert_eq!(found, expected);
        // One by one it is the same, whether one statement can tell (b and c) or not (a, who has two app passwords).
        let contents = |row: Option<LoginRow>| {
            let row = row?;
            let password = row.password.expose().to_vec();
            Some((
                row.mailbox,
                row.domain_active,
                row.smtp_active,
                row.password_expiry,
                row.app_passwords.len(),
                password,
            ))
        };
        for (name, found) in names.iter().zip(tables.logins(&names).await.unwrap()) {
            let alone = tables.login(name).await.unwrap().row;
            assert_eq!(contents(alone), contents(found.unwrap().row), "{name}");
        }
    }

    /// A key of other spelling is not the key, whatever the database thinks: here that blanks at the end do not count.
    #[tokio::test]
    async fn a_login_by_one_statement_is_exact() {
        let (tables, _dir) = tables(&[
            "INSERT INTO domain(domain, description, transport) VALUES ('d.test', '', '')",
            "DROP TABLE mailbox",
            "CREATE TABLE mailbox (username TEXT COLLATE RTRIM, password, name, maildir, quota, domain, active)",
            "INSERT INTO mailbox VALUES ('u@d.test ', 'x', '', 'd/u/', 0, 'd.test', 1)",
            "DROP TABLE mailbox_app_password",
            "CREATE TABLE mailbox_app_password (id, username TEXT COLLATE RTRIM, description, password_hash)",
            "INSERT INTO mailbox_app_password VALUES (1, 'w@d.test ', 'phone', 'p1')",
            "INSERT INTO mailbox VALUES ('w@d.test', 'x', '', 'd/w/', 0, 'd.test', 1)",
        ])
        .await;
        assert!(tables.login("u@d.test").await.unwrap().row.is_none());
        let row = tables.login("w@d.test").await.unwrap().row.unwrap();
        assert!(row.domain_active && row.app_passwords.is_empty());
    }

    #[tokio::test]
    async fn a_login_by_one_statement() {
        let (tables, _dir) = tables(&[
            "INSERT INTO domain(domain, description, transport) VALUES ('d.test', '', '')",
            "INSERT INTO mailbox(username, password, name, maildir, local_part, domain) \
             VALUES ('u@d.test', 'x', '', 'd/u/', 'u', 'd.test'), ('w@other.test', 'x', '', 'o/w/', 'w', 'd.test')",
            "INSERT INTO mailbox_app_password(username, description, password_hash) VALUES ('u@d.test', 'phone', 'p1')",
        ])
        .await;
        let row = tables.login("u@d.test").await.unwrap().row.unwrap();
        assert!(row.domain_active && row.app_passwords.len() == 1);
        // A mailbox without its domain is not active.
        let row = tables.login("w@other.test").await.unwrap().row.unwrap();
        assert!(!row.domain_active && row.app_passwords.is_empty());
    }

    #[tokio::test]
    async fn an_odd_row_is_the_trouble_of_its_user_alone() {
        let (tables, _dir) = tables(&[
            "INSERT INTO domain(domain, description, transport) VALUES ('d.test', '', '')",
            "INSERT INTO mailbox(username, password, name, maildir, local_part, domain, active) \
             VALUES ('a@d.test', 'x', '', 'd/a/', 'a', 'd.test', 1), \
             ('b@d.test', 'x', '', 'd/b/', 'b', 'd.test', 'maybe')",
        ])
        .await;
        let rows = tables
            .logins(&["a@d.test", "b@d.test"].map(str::to_owned))
            .await
            .unwrap();
        assert!(rows[0].as_ref().unwrap().row.is_some());
        assert!(matches!(rows[1], Err(BackendError::Odd(_))));
        assert!(matches!(
            tables.login("b@d.test").await,
            Err(BackendError::Odd(_))
        ));
        assert!(matches!(
            tables.mailbox("b@d.test").await,
            Err(BackendError::Odd(_))
        ));
    }

    #[tokio::test]
    async fn usage_of_both_kinds() {
        let (tables, _dir) = tables(&[
            "INSERT INTO quota2(username, bytes, messages) VALUES ('u@d.test', 5, 2)",
            "INSERT INTO quota(username, path, current) VALUES ('u@d.test', 'quota/storage', 7), \
             ('u@d.test', 'quota/messages', 3)",
        ])
        .await;
        let usage = async || {
            let row = tables.usage("u@d.test").await.unwrap().row.unwrap();
            (row.bytes, row.messages)
        };
        assert_eq!(usage().await, (5, 2));
        let gone = Statement::new("DELETE FROM quota2", vec![]);
        tables.database().transaction(vec![gone]).await.unwrap();
        assert_eq!(usage().await, (7, 3));
        let drop = Statement::new("DROP TABLE quota2", vec![]);
        tables.database().transaction(vec![drop]).await.unwrap();
        tables.forget_schema();
        assert_eq!(usage().await, (7, 3));
        assert_eq!(tables.usage("v@d.test").await, Ok(Found::fresh(None)));
    }
}
