//! The schema profile `postfix-tables` (compat.md 1.7): the tables `postfix_users`, `postfix_virtual`,
//! `postfix_transport`, `postfix_alias`, `postfix_relocated` and `postfix_access`, each mailbox with its own
//! owner.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use mail_types::Secret;

use super::keyed::{Column, Keyed, Probed, Question};
use super::schema::{Needed, TableNames};
use super::values::{courier_quota, flag, id, text_or_empty};
use super::{Database, Value};
use crate::directory::backend::{
    AccessTable, AliasRow, Answer, Backend, BackendError, DomainRow, Found, LoginRow, Logins, MailboxRow,
    Questions,
};
use crate::directory::pages::{Kind, Listed, Page, PageRequest};

/// The tables of a database.
pub struct PostfixTables {
    tables: Keyed,
    base: PathBuf,
}

const NEEDED: Needed = Needed {
    of: "the schema postfix-tables",
    tables: &[
        ("postfix_users", &["email", "maildir", "postfix"]),
        ("postfix_transport", &["domain", "destination"]),
    ],
};

const DESTINATION: &[Column] = &[Column::plain("destination")];
const TRANSPORT: Question = Question::new("postfix_transport", "domain", DESTINATION);
const VIRTUAL: Question = Question::new("postfix_virtual", "email", DESTINATION);
const ALIAS: Question = Question::new("postfix_alias", "alias", DESTINATION);
const RELOCATED: Question = Question::new("postfix_relocated", "email", DESTINATION);
const USERS: Question = Question::new(
    "postfix_users",
    "email",
    &[
        Column::plain("maildir"),
        Column::plain("quota"),
        Column::plain("uid"),
        Column::plain("gid"),
        Column::plain("postfix"),
        Column::plain("crypt"),
        Column::plain("clear"),
    ],
);

const ACCESS: &[Column] = &[Column::plain("access")];

const fn access(kind: AccessTable) -> Question {
    Question {
        table: "postfix_access",
        key: "source",
        columns: ACCESS,
        only: Some((
            "type",
            match kind {
                AccessTable::Client => "client",
                AccessTable::Helo => "helo",
                AccessTable::Sender => "sender",
                AccessTable::Recipient => "recipient",
            },
        )),
    }
}

impl PostfixTables {
    /// Over a database that need not be there yet. Paths that are written in full are taken below `base`.
    pub fn new(database: Arc<dyn Database>, base: PathBuf, probed: Box<Probed>) -> Self {
        Self {
            tables: Keyed::new(database, TableNames::default(), &NEEDED, probed),
            base,
        }
    }

    fn mailbox_row(&self, username: &str, row: &[Value]) -> Option<MailboxRow> {
        let maildir = text_or_empty(&row[0])?;
        let below = Path::new(&maildir).strip_prefix(&self.base).ok();
        let below = below.and_then(Path::to_str).map(str::to_owned);
        Some(MailboxRow {
            username: username.to_owned(),
            maildir: below.unwrap_or(maildir),
            quota: courier_quota(&row[1])?,
            uid: id(&row[2])?,
            gid: id(&row[3])?,
            active: flag(&row[4])?,
        })
    }

    fn login_row(&self, username: &str, row: &[Value]) -> Option<LoginRow> {
        let cleartext = text_or_empty(&row[6])?;
        Some(LoginRow {
            mailbox: self.mailbox_row(username, row)?,
            // No table says whether a domain is active.
            domain_active: true,
            password: Secret::new(text_or_empty(&row[5])?),
            cleartext: (!cleartext.is_empty()).then(|| Secret::new(cleartext)),
            smtp_active: true,
            password_expiry: None,
            app_passwords: Vec::new(),
        })
    }

    /// The domains: first those with a transport, then those that stand alone in `postfix_virtual`. The mark
    /// begins with the table.
    async fn domains(&self, request: PageRequest<'_>) -> Result<Option<Page>, BackendError> {
        let mark = request.after.and_then(|mark| mark.split_once(' '));
        let (table, after) = mark.map_or(("transport", None), |(table, after)| (table, Some(after)));
        let inner = PageRequest { after, ..request };
        let (page, next_table) = if table == "transport" {
            let read = |_: &str, row: &[Value]| Some(Listed::Domain(by_transport(text_or_empty(&row[0])?)));
            (self.tables.list(&TRANSPORT, inner, read).await?, Some("virtual"))
        } else {
            let read = |_: &str, _: &[Value]| Some(Listed::Domain(aliases_only()));
            (self.tables.list(&VIRTUAL, inner, read).await?, None)
        };
        let Some(mut page) = page else {
            return Ok(None);
        };
        page.rows
            .retain(|(key, _)| !key.contains('@') && !key.starts_with(['.', '*']));
        page.next = match (page.next, next_table) {
            (Some(next), _) => Some(format!("{table} {next}")),
            (None, Some(next_table)) => Some(format!("{next_table} ")),
            (None, None) => None,
        };
        Ok(Some(page))
    }
}

impl Backend for PostfixTables {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        Box::pin(async {
            let schema = self.tables.schema().await?;
            let has_access = schema.has("postfix_access", "source") && schema.has("postfix_access", "type");
            Ok(Questions {
                transport: true,
                relocated: schema.has("postfix_relocated", "email"),
                access: match has_access {
                    true => AccessTable::ALL.to_vec(),
                    false => Vec::new(),
                },
                local_alias: schema.has("postfix_alias", "alias"),
                clear_column: schema.has("postfix_users", "clear"),
                ..Questions::default()
            })
        })
    }

    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow> {
        Box::pin(async move {
            let read = |row: &[Value]| text_or_empty(&row[0]);
            let transport = self.tables.ask(&TRANSPORT, name, read).await?;
            if transport.row.is_some() {
                return Ok(transport.and_then(|text| Some(by_transport(text))));
            }
            // virtual_alias_domains is virtual_alias_maps where it is not set: a row of the bare domain.
            let row = self.tables.joined(&VIRTUAL, name).await?;
            Ok(row.and_then(|_| Some(aliases_only())))
        })
    }

    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        Box::pin(async move {
            Ok(self
                .tables
                .joined(&VIRTUAL, address)
                .await?
                .and_then(|goto| Some(alias(goto))))
        })
    }

    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        Box::pin(
            self.tables
                .ask(&USERS, address, |row| self.mailbox_row(address, row)),
        )
    }

    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        Box::pin(
            self.tables
                .ask(&USERS, username, |row| self.login_row(username, row)),
        )
    }

    fn logins<'a>(&'a self, usernames: &'a [String]) -> Logins<'a> {
        Box::pin(async move {
            let mut users = self
                .tables
                .each(&USERS, usernames.iter().map(String::as_str))
                .await?;
            let mut read = |name: &String| {
                let Some(row) = users.remove(name).transpose()? else {
                    return Ok(Found::fresh(None));
                };
                let row = self.login_row(name, &row).ok_or_else(|| USERS.odd(name))?;
                Ok(Found::fresh(Some(row)))
            };
            Ok(usernames.iter().map(&mut read).collect())
        })
    }

    fn transport<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        Box::pin(self.tables.ask(&TRANSPORT, key, |row| text_or_empty(&row[0])))
    }

    fn relocated<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        Box::pin(self.tables.joined(&RELOCATED, key))
    }

    fn access<'a>(&'a self, table: AccessTable, key: &'a str) -> Answer<'a, String> {
        Box::pin(async move {
            let question = access(table);
            self.tables
                .ask(&question, key, |row| text_or_empty(&row[0]))
                .await
        })
    }

    fn local_alias<'a>(&'a self, name: &'a str) -> Answer<'a, AliasRow> {
        Box::pin(async move {
            Ok(self
                .tables
                .joined(&ALIAS, name)
                .await?
                .and_then(|goto| Some(alias(goto))))
        })
    }

    fn page<'a>(&'a self, request: PageRequest<'a>) -> BoxFuture<'a, Result<Option<Page>, BackendError>> {
        Box::pin(async move {
            let tables = &self.tables;
            let text = |_: &str, row: &[Value]| Some(Listed::Text(text_or_empty(&row[0])?));
            let aliases = |goto| Listed::Alias(alias(goto));
            match request.kind {
                Kind::Domain => self.domains(request).await,
                Kind::Alias => tables.list_joined(&VIRTUAL, request, aliases).await,
                Kind::LocalAlias => tables.list_joined(&ALIAS, request, aliases).await,
                Kind::Transport => tables.list(&TRANSPORT, request, text).await,
                Kind::Relocated => tables.list_joined(&RELOCATED, request, Listed::Text).await,
                Kind::Access(table) => tables.list(&access(table), request, text).await,
                Kind::Mailbox => {
                    let read =
                        |key: &str, row: &[Value]| Some(Listed::Mailbox(Box::new(self.login_row(key, row)?)));
                    tables.list(&USERS, request, read).await
                }
                Kind::AliasDomain | Kind::SenderLogins => Ok(Some(Page::default())),
            }
        })
    }
}

/// The table of transports is the list of domains: `D -> virtual:` makes D one with mailboxes.
fn by_transport(transport: String) -> DomainRow {
    DomainRow {
        active: true,
        backupmx: false,
        alias_only: false,
        transport,
    }
}

fn aliases_only() -> DomainRow {
    DomainRow {
        active: true,
        backupmx: false,
        alias_only: true,
        transport: String::new(),
    }
}

fn alias(goto: String) -> AliasRow {
    AliasRow { goto, active: true }
}

#[cfg(test)]
mod tests {
    use super::super::sqlite::Sqlite;
    use super::*;

    const TABLES: &str = "CREATE TABLE postfix_users (email, maildir, postfix);
        CREATE TABLE postfix_transport (domain, destination);
        CREATE TABLE postfix_virtual (email, destination);
        INSERT INTO postfix_virtual VALUES ('list@d.test', 'a@d.test, b@d.test'), ('List@d.test', NULL),
            ('one@d.test', 'a@d.test'), ('list@d.test', 'c@d.test');
        INSERT INTO postfix_users VALUES ('two@d.test', 'a/', 'y'), ('two@d.test', 'b/', 'y')";

    #[tokio::test]
    async fn several_rows_of_a_list_are_one() {
        let dir = tempfile::tempdir().unwrap();
        let database = Arc::new(Sqlite::open(&dir.path().join("d"), Some(TABLES)).unwrap());
        let tables = PostfixTables::new(database, "/mail".into(), Box::new(|_| ()));
        let row = tables.alias("list@d.test").await.unwrap().row.unwrap();
        assert_eq!(row.goto, "a@d.test, b@d.test,c@d.test");
        // Which of two mailboxes is meant nobody can tell.
        assert!(matches!(
            tables.mailbox("two@d.test").await,
            Err(BackendError::Odd(_))
        ));
        // The copy gets the whole list, however short the pages are.
        for limit in [2, 3, 10] {
            let (mut seen, mut after) = (Vec::new(), None::<String>);
            loop {
                let mark = after.take();
                let request = PageRequest {
                    kind: Kind::Alias,
                    after: mark.as_deref(),
                    limit,
                    changed_since: None,
                };
                let page = tables.page(request).await.unwrap().unwrap();
                seen.extend(page.rows);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let found = seen
                .iter()
                .find(|(key, listed)| key == "list@d.test" && matches!(listed, Listed::Alias(_)));
            let whole =
                matches!(found, Some((_, Listed::Alias(row))) if row.goto == "a@d.test, b@d.test,c@d.test");
            assert!(whole || limit == 2, "{limit}: {seen:?}");
        }
    }

    #[tokio::test]
    async fn access_rows_by_type_in_pages() {
        let dir = tempfile::tempdir().unwrap();
        let tables = "CREATE TABLE postfix_users (email, maildir, postfix);
            CREATE TABLE postfix_transport (domain, destination);
            CREATE TABLE postfix_access (source, access, type);
            INSERT INTO postfix_access VALUES ('b.test', 'REJECT', 'sender'), ('A.test', 'OK', 'sender'),
                ('c.test', 'DUNNO', 'sender'), ('192.0.2', 'REJECT', 'client');";
        let database = Sqlite::open(&dir.path().join("d"), Some(tables)).unwrap();
        let tables = PostfixTables::new(Arc::new(database), "/m".into(), Box::new(|_| ()));
        let page = async |table, after: Option<&str>| {
            let request = PageRequest {
                kind: Kind::Access(table),
                after,
                limit: 2,
                changed_since: None,
            };
            let page = tables.page(request).await.unwrap().unwrap();
            let text = |(key, row): (String, Listed)| match row {
                Listed::Text(text) => format!("{key} {text}"),
                _ => format!("{key}?"),
            };
            (page.rows.into_iter().map(text).collect::<Vec<_>>(), page.next)
        };
        let (rows, next) = page(AccessTable::Sender, None).await;
        assert_eq!(rows, ["a.test OK", "b.test REJECT"]);
        let (rows, next) = page(AccessTable::Sender, next.as_deref()).await;
        assert_eq!((rows, next), (vec!["c.test DUNNO".to_owned()], None));
        assert_eq!(page(AccessTable::Client, None).await.0, ["192.0.2 REJECT"]);
    }
}
