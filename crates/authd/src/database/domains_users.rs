//! The schema profile `domains-users` (compat.md 1.6): the tables `domains`, `forwardings`, `transport` and
//! `users` of a widespread tutorial. Nothing in them can be switched off.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use mail_types::Secret;

use super::keyed::{Column, Keyed, Probed, Question};
use super::schema::{Needed, TableNames};
use super::values::{number, text, text_or_empty};
use super::{Database, Value};
use crate::directory::backend::{
    AliasRow, Answer, Backend, BackendError, DomainRow, Found, LoginRow, Logins, MailboxRow, Questions,
};
use crate::directory::pages::{Kind, Listed, Page, PageRequest};

/// The tables of a database.
pub struct DomainsUsers {
    tables: Keyed,
}

const NEEDED: Needed = Needed {
    of: "the schema domains-users",
    tables: &[
        ("domains", &["domain"]),
        ("forwardings", &["email", "destination"]),
        ("users", &["email", "password"]),
    ],
};

const DOMAINS: Question = Question::new("domains", "domain", &[]);
const FORWARDINGS: Question = Question::new("forwardings", "email", &[Column::plain("destination")]);
const TRANSPORT: Question = Question::new("transport", "domain", &[Column::plain("transport")]);
/// The path is made of the address as the row spells it.
const USERS: Question = Question::new(
    "users",
    "email",
    &[
        Column::plain("email"),
        Column::or("quota", "-1"),
        Column::plain("password"),
    ],
);

impl DomainsUsers {
    /// Over a database that need not be there yet.
    pub fn new(database: Arc<dyn Database>, probed: Box<Probed>) -> Self {
        Self {
            tables: Keyed::new(database, TableNames::default(), &NEEDED, probed),
        }
    }

    async fn login_rows(
        &self,
        usernames: &[&str],
    ) -> Result<Vec<Result<Found<LoginRow>, BackendError>>, BackendError> {
        let domains = usernames.iter().map(|name| domain_of(name));
        // Both are always asked, so that the time does not tell which of them is missing.
        let domains = self.tables.each(&DOMAINS, domains).await?;
        let mut users = self.tables.each(&USERS, usernames.iter().copied()).await?;
        let mut read = |username: &&str| {
            let Some(row) = users.remove(*username).transpose()? else {
                return Ok(Found::fresh(None));
            };
            let domain_active = domains.contains_key(domain_of(username));
            let row = login(username, &row, domain_active).ok_or_else(|| USERS.odd(username))?;
            Ok(Found::fresh(Some(row)))
        };
        Ok(usernames.iter().map(&mut read).collect())
    }

    async fn mailboxes(&self, request: PageRequest<'_>) -> Result<Option<Page>, BackendError> {
        let read = |key: &str, row: &[Value]| Some(Listed::Mailbox(Box::new(login(key, row, false)?)));
        let Some(mut page) = self.tables.list(&USERS, request, read).await? else {
            return Ok(None);
        };
        let domains = page.rows.iter().map(|(key, _)| domain_of(key));
        let domains = self.tables.each(&DOMAINS, domains).await?;
        for (key, listed) in &mut page.rows {
            if let Listed::Mailbox(row) = listed {
                row.domain_active = domains.contains_key(domain_of(key));
            }
        }
        Ok(Some(page))
    }
}

impl Backend for DomainsUsers {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        Box::pin(async {
            let schema = self.tables.schema().await?;
            Ok(Questions {
                transport: schema.has("transport", "transport"),
                ..Questions::default()
            })
        })
    }

    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow> {
        Box::pin(self.tables.ask(&DOMAINS, name, |_| Some(domain())))
    }

    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        Box::pin(async move {
            let goto = self.tables.joined(&FORWARDINGS, address).await?;
            Ok(goto.and_then(|goto| Some(alias(goto))))
        })
    }

    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        Box::pin(self.tables.ask(&USERS, address, |row| mailbox(address, row)))
    }

    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        Box::pin(async move {
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

    fn transport<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        Box::pin(self.tables.ask(&TRANSPORT, key, |row| text_or_empty(&row[0])))
    }

    fn page<'a>(&'a self, request: PageRequest<'a>) -> BoxFuture<'a, Result<Option<Page>, BackendError>> {
        Box::pin(async move {
            let tables = &self.tables;
            match request.kind {
                Kind::Domain => {
                    let read = |_: &str, _: &[Value]| Some(Listed::Domain(domain()));
                    tables.list(&DOMAINS, request, read).await
                }
                Kind::Alias => {
                    let read = |goto| Listed::Alias(alias(goto));
                    tables.list_joined(&FORWARDINGS, request, read).await
                }
                Kind::Mailbox => self.mailboxes(request).await,
                Kind::Transport => {
                    let read = |_: &str, row: &[Value]| Some(Listed::Text(text_or_empty(&row[0])?));
                    tables.list(&TRANSPORT, request, read).await
                }
                Kind::AliasDomain
                | Kind::Relocated
                | Kind::SenderLogins
                | Kind::LocalAlias
                | Kind::Access(_) => Ok(Some(Page::default())),
            }
        })
    }
}

fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// Whoever stands in `domains` is a domain with mailboxes.
fn domain() -> DomainRow {
    DomainRow {
        active: true,
        backupmx: false,
        alias_only: false,
        transport: String::new(),
    }
}

fn alias(goto: String) -> AliasRow {
    AliasRow { goto, active: true }
}

/// The path is that of the tutorial's map: what follows the last `@`, then what precedes the first.
fn mailbox(username: &str, row: &[Value]) -> Option<MailboxRow> {
    let spelled = text(row.first())?;
    let user = spelled.split('@').next()?;
    let domain = spelled.rsplit('@').next()?;
    Some(MailboxRow {
        username: username.to_owned(),
        maildir: format!("{domain}/{user}/"),
        quota: number(&row[1])?,
        uid: None,
        gid: None,
        active: true,
    })
}

fn login(username: &str, row: &[Value], domain_active: bool) -> Option<LoginRow> {
    Some(LoginRow {
        mailbox: mailbox(username, row)?,
        domain_active,
        password: Secret::new(text_or_empty(&row[2])?),
        cleartext: None,
        smtp_active: true,
        password_expiry: None,
        app_passwords: Vec::new(),
    })
}
