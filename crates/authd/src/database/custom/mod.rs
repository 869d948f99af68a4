//! The schema `custom`: a site's own SQL for each question, asked as mysql_table(5) describes (compat.md 2.2).
//!
//! What the site's statements call equal is theirs to decide: no key is compared once more here, except where
//! an answer names its user.

mod expand;
mod named;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use config::{Lookup, Lookups, ResultFormat, SqlDialect, TemplateError};
use futures_util::future::{BoxFuture, join_all, try_join, try_join3};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use mail_types::Secret;

use self::expand::Statement;
use self::named::Named;
use super::values::{flag, id, text, text_or_empty, time};
use super::{Database, DbError, Rows, Value};
use crate::directory::backend::{
    AccessTable, AliasDomainRow, AliasRow, Answer, Backend, BackendError, DomainRow, Found, LoginRow, Logins,
    MailboxRow, Questions, TOGETHER, UsageRow, VacationRow, apart,
};
use crate::directory::parents;

/// Most results of one question, where the site sets no limit.
const MOST_RESULTS: usize = 100_000;

/// The statements of a site over its database.
pub struct Custom {
    database: Arc<dyn Database>,
    statements: Statements,
}

/// The statements of a site, in the order in which those of one question are asked.
#[derive(Debug, Clone)]
pub struct Statements {
    maps: Arc<HashMap<Lookups, Vec<Map>>>,
    written: Arc<str>,
}

impl Statements {
    /// Of a checked configuration, for its kind of database.
    pub fn new(config: &config::Custom, backend: config::Backend) -> Result<Self, TemplateError> {
        let mut maps = HashMap::new();
        for question in Lookups::ALL {
            let lookups = config.of(question).iter();
            let own = lookups.map(|lookup| Map::new(lookup, backend.dialect()));
            let own = own.collect::<Result<Vec<_>, _>>()?;
            if !own.is_empty() {
                maps.insert(question, own);
            }
        }
        // Options and texts can always be written as JSON.
        let written = serde_json::to_string(config).unwrap_or_default();
        Ok(Self {
            maps: Arc::new(maps),
            written: written.into(),
        })
    }

    /// All of them as one text, in an order that is always the same.
    pub fn written(&self) -> &str {
        &self.written
    }
}

/// One statement.
#[derive(Debug)]
struct Map {
    statement: Statement,
    format: ResultFormat,
    domains: Vec<String>,
    limit: usize,
    require_result_set: bool,
}

impl Map {
    fn new(lookup: &Lookup, dialect: SqlDialect) -> Result<Self, TemplateError> {
        Ok(Self {
            statement: Statement::new(&lookup.template(dialect)?),
            format: lookup.format()?,
            domains: lookup
                .domain
                .iter()
                .map(|name| name.as_str().to_owned())
                .collect(),
            limit: match lookup.expansion_limit {
                0 => MOST_RESULTS,
                limit => limit as usize,
            },
            require_result_set: lookup.require_result_set,
        })
    }

    /// Whether the option `domain` lets the key through: only addresses with a local part in such a domain.
    fn takes(&self, key: &str) -> bool {
        let split = key.rsplit_once('@').filter(|(user, _)| !user.is_empty());
        self.domains.is_empty()
            || split.is_some_and(|(_, domain)| self.domains.iter().any(|known| known == domain))
    }
}

fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// A number of bytes; also as Courier has it, `concat(quota, 'S')`, which is empty for none.
fn bytes(text: &str) -> Option<i64> {
    match text.strip_suffix('S').unwrap_or(text) {
        "" => Some(-1),
        digits => digits.parse().ok(),
    }
}

/// A question that the site's SQL answers otherwise than it may.
fn odd(question: Lookups, key: &str, what: &str) -> BackendError {
    BackendError::Odd(format!("{}: the answer for {key:?} {what}", question.as_str()))
}

impl Custom {
    /// Over a database of the kind that the statements are for.
    pub fn new(database: Arc<dyn Database>, statements: Statements) -> Self {
        Self { database, statements }
    }

    fn has(&self, question: Lookups) -> bool {
        self.statements.maps.contains_key(&question)
    }

    fn maps(&self, question: Lookups) -> &[Map] {
        self.statements.maps.get(&question).map_or(&[], Vec::as_slice)
    }

    /// The rows of a statement; `None` where it is not asked, or has no result at all and may.
    async fn rows(&self, question: Lookups, map: &Map, key: &str) -> Result<Option<Rows>, BackendError> {
        if !map.takes(key) {
            return Ok(None);
        }
        let Some(values) = map.statement.values(key) else {
            return Ok(None);
        };
        let rows = match self.database.query(map.statement.sql(), values).await {
            Ok(rows) => rows,
            // What the column cannot hold is not there.
            Err(DbError::Charset(_)) if !key.is_ascii() => return Ok(None),
            Err(error) => return Err(BackendError::Away(format!("{}: {error}", question.as_str()))),
        };
        match (&rows.columns, map.require_result_set) {
            (None, true) => Err(odd(question, key, "is no result set")),
            (None, false) => Ok(None),
            (Some(_), _) => Ok(Some(rows)),
        }
    }

    /// The results of the first statement that has any: all columns of all rows, in order.
    async fn results(&self, question: Lookups, key: &str) -> Result<Option<Vec<String>>, BackendError> {
        for map in self.maps(question) {
            let Some(rows) = self.rows(question, map, key).await? else {
                continue;
            };
            let mut results = Vec::new();
            for value in rows.rows.iter().flatten() {
                if *value == Value::Null {
                    continue;
                }
                let result = text(Some(value)).ok_or_else(|| odd(question, key, "is not text"))?;
                if result.is_empty() {
                    tracing::warn!(
                        question = question.as_str(),
                        key,
                        "an empty result counts as none"
                    );
                    continue;
                }
                results.extend(expand::formatted(&map.format, key, &result));
                if results.len() > map.limit {
                    return Err(odd(question, key, "has more results than expansion_limit"));
                }
            }
            if !results.is_empty() {
                return Ok(Some(results));
            }
        }
        Ok(None)
    }

    /// The results as one list.
    async fn list(&self, question: Lookups, key: &str) -> Result<Option<String>, BackendError> {
        Ok(self
            .results(question, key)
            .await?
            .map(|results| results.join(",")))
    }

    /// The one result.
    async fn single(&self, question: Lookups, key: &str) -> Result<Option<String>, BackendError> {
        let mut results = self.results(question, key).await?.unwrap_or_default();
        match (results.pop(), results.is_empty()) {
            (Some(_), false) => Err(odd(question, key, "has several results")),
            (result, _) => Ok(result),
        }
    }

    /// The one row of the first statement that has one, by the names of its columns.
    async fn named(&self, question: Lookups, key: &str) -> Result<Option<Named>, BackendError> {
        for map in self.maps(question) {
            let Some(rows) = self.rows(question, map, key).await? else {
                continue;
            };
            match Named::one(rows, key) {
                Ok(None) => {}
                Ok(row) => return Ok(row),
                Err(what) => return Err(odd(question, key, what)),
            }
        }
        Ok(None)
    }

    /// What a domain is, in the order in which Postfix asks.
    async fn class(&self, name: &str) -> Result<Option<DomainRow>, BackendError> {
        let row = |alias_only, transport: &str| DomainRow {
            active: true,
            backupmx: false,
            alias_only,
            transport: transport.to_owned(),
        };
        if self.results(Lookups::VirtualAliasDomains, name).await?.is_some() {
            return Ok(Some(row(true, "")));
        }
        if self
            .results(Lookups::VirtualMailboxDomains, name)
            .await?
            .is_some()
        {
            return Ok(Some(row(false, "")));
        }
        if !self.has(Lookups::RelayDomains) {
            return Ok(None);
        }
        // relay_domains is in parent_domain_matches_subdomains.
        let names: Vec<&str> = std::iter::once(name).chain(parents(name)).collect();
        for some in names.chunks(TOGETHER) {
            let asked = some.iter().map(|name| self.results(Lookups::RelayDomains, name));
            for answer in join_all(asked).await {
                if answer?.is_some() {
                    return Ok(Some(row(false, "relay:")));
                }
            }
        }
        Ok(None)
    }

    /// The owner or group of the files; `None` where no statement says.
    async fn owner(&self, question: Lookups, address: &str) -> Result<Option<u32>, BackendError> {
        if !self.has(question) {
            return Ok(None);
        }
        let number = self.of_mailbox(question, address).await?;
        let number = number.ok_or_else(|| odd(question, address, "is missing, but there is a mailbox"))?;
        match number.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(odd(question, address, "is no number of an account")),
        }
    }

    async fn mailbox_row(&self, address: &str) -> Result<Option<MailboxRow>, BackendError> {
        let Some(maildir) = self.single(Lookups::VirtualMailboxMaps, address).await? else {
            return Ok(None);
        };
        let limits = Lookups::VirtualMailboxLimitMaps;
        let (quota, uid, gid) = try_join3(
            self.of_mailbox(limits, address),
            self.owner(Lookups::VirtualUidMaps, address),
            self.owner(Lookups::VirtualGidMaps, address),
        )
        .await?;
        let quota = match quota {
            None => -1,
            Some(text) => bytes(&text).ok_or_else(|| odd(limits, address, "is no number of bytes"))?,
        };
        Ok(Some(MailboxRow {
            username: address.to_owned(),
            maildir,
            quota,
            uid,
            gid,
            active: true,
        }))
    }

    /// What a map says of a mailbox, or else of all mailboxes of its domain.
    async fn of_mailbox(&self, question: Lookups, address: &str) -> Result<Option<String>, BackendError> {
        let own = self.single(question, address).await?;
        match address.rsplit_once('@') {
            Some((_, domain)) if own.is_none() => self.single(question, &format!("@{domain}")).await,
            _ => Ok(own),
        }
    }

    /// What a login rests on. `domain`: whether its domain is there, where that is known already.
    async fn login_row(
        &self,
        username: &str,
        domain: Option<Result<bool, BackendError>>,
    ) -> Result<Option<LoginRow>, BackendError> {
        let question = Lookups::PasswordQuery;
        let unusable = || odd(question, username, "holds unexpected types");
        let there = async {
            match domain {
                Some(there) => there,
                None => Ok(self.class(domain_of(username)).await?.is_some()),
            }
        };
        // Both are always asked, so that the time does not tell which of them is missing.
        let (there, row) = try_join(there, self.named(question, username)).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        if row.first(&["password", "crypt", "cleartext", "clear"]).is_none() {
            return Err(odd(question, username, "has no column password or cleartext"));
        }
        let hashed = row.first(&["password", "crypt"]).unwrap_or(&Value::Null);
        let cleartext = row.first(&["cleartext", "clear"]).map(text_or_empty);
        let cleartext = cleartext.unwrap_or(Some(String::new())).ok_or_else(unusable)?;
        let active = row
            .first(&["active"])
            .map_or(Some(true), flag)
            .ok_or_else(unusable)?;
        let domain_active = match row.first(&["domain_active"]) {
            Some(value) => flag(value).ok_or_else(unusable)?,
            None => there,
        };
        let mailbox = self.login_mailbox(username, &row).await?;
        Ok(Some(LoginRow {
            mailbox: MailboxRow {
                active: active && mailbox.active,
                ..mailbox
            },
            domain_active,
            password: Secret::new(text_or_empty(hashed).ok_or_else(unusable)?),
            cleartext: (!cleartext.is_empty()).then(|| Secret::new(cleartext)),
            smtp_active: row
                .first(&["smtp_active"])
                .map_or(Some(true), flag)
                .ok_or_else(unusable)?,
            password_expiry: row
                .first(&["password_expiry"])
                .map_or(Some(None), time)
                .ok_or_else(unusable)?,
            app_passwords: Vec::new(),
        }))
    }

    /// The mailbox of a login: as its own row says, or as mail finds it.
    async fn login_mailbox(&self, username: &str, row: &Named) -> Result<MailboxRow, BackendError> {
        let unusable = || odd(Lookups::PasswordQuery, username, "holds unexpected types");
        let of = |name| row.first(&[name]).unwrap_or(&Value::Null);
        let Some(maildir) = row.first(&["maildir"]) else {
            let found = self.mailbox_row(username).await?;
            // Whoever has a password but no mailbox (any more) has nothing to log in to.
            return Ok(found.unwrap_or_else(|| MailboxRow {
                username: username.to_owned(),
                maildir: String::new(),
                quota: -1,
                uid: None,
                gid: None,
                active: false,
            }));
        };
        Ok(MailboxRow {
            username: username.to_owned(),
            maildir: text_or_empty(maildir).ok_or_else(unusable)?,
            quota: match of("quota") {
                Value::Null => -1,
                quota => text(Some(quota))
                    .and_then(|text| bytes(&text))
                    .ok_or_else(unusable)?,
            },
            uid: id(of("uid")).ok_or_else(unusable)?,
            gid: id(of("gid")).ok_or_else(unusable)?,
            active: true,
        })
    }

    /// A question whose answer is a text.
    fn text<'a>(&'a self, question: Lookups, key: &'a str) -> Answer<'a, String> {
        Box::pin(async move { Ok(Found::fresh(self.list(question, key).await?)) })
    }

    fn targets<'a>(&'a self, question: Lookups, key: &'a str) -> Answer<'a, AliasRow> {
        Box::pin(async move {
            let goto = self.list(question, key).await?;
            Ok(Found::fresh(goto.map(|goto| AliasRow { goto, active: true })))
        })
    }
}

/// Whether a statement names the column for passwords in clear. One that selects `*` does not say so: there
/// `[authd] mechanisms` has to.
fn names_clear_column(sql: &str) -> bool {
    sql.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word.eq_ignore_ascii_case("cleartext") || word.eq_ignore_ascii_case("clear"))
}

/// The question behind an access table.
fn access_question(table: AccessTable) -> Lookups {
    match table {
        AccessTable::Client => Lookups::CheckClientAccess,
        AccessTable::Helo => Lookups::CheckHeloAccess,
        AccessTable::Sender => Lookups::CheckSenderAccess,
        AccessTable::Recipient => Lookups::CheckRecipientAccess,
    }
}

impl Backend for Custom {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        let access = AccessTable::ALL.into_iter();
        let questions = Questions {
            alias_domain: self.has(Lookups::AliasDomain),
            transport: self.has(Lookups::TransportMaps),
            relocated: self.has(Lookups::RelocatedMaps),
            access: access.filter(|table| self.has(access_question(*table))).collect(),
            sender_logins: self.has(Lookups::SmtpdSenderLoginMaps),
            vacation: self.has(Lookups::Vacation),
            usage: self.has(Lookups::QuotaUsage),
            local_alias: self.has(Lookups::AliasMaps),
            unmarked_cleartext: false,
            clear_column: self
                .maps(Lookups::PasswordQuery)
                .iter()
                .any(|map| names_clear_column(map.statement.sql())),
        };
        Box::pin(async { Ok(questions) })
    }

    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow> {
        Box::pin(async move { Ok(Found::fresh(self.class(name).await?)) })
    }

    fn alias_domain<'a>(&'a self, name: &'a str) -> Answer<'a, AliasDomainRow> {
        Box::pin(async move {
            let target = self.single(Lookups::AliasDomain, name).await?;
            Ok(Found::fresh(
                target.map(|target| AliasDomainRow { target, active: true }),
            ))
        })
    }

    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        self.targets(Lookups::VirtualAliasMaps, address)
    }

    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        Box::pin(async move { Ok(Found::fresh(self.mailbox_row(address).await?)) })
    }

    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        Box::pin(async move { Ok(Found::fresh(self.login_row(username, None).await?)) })
    }

    fn logins<'a>(&'a self, usernames: &'a [String]) -> Logins<'a> {
        Box::pin(async move {
            // Most users share few domains.
            let mut domains: Vec<&str> = usernames.iter().map(|name| domain_of(name)).collect();
            domains.sort_unstable();
            domains.dedup();
            let mut asked: Vec<BoxFuture<'_, _>> = Vec::with_capacity(domains.len());
            for name in domains {
                asked.push(Box::pin(async move {
                    (name, self.class(name).await.map(|row| row.is_some()))
                }));
            }
            let asked = stream::iter(asked).buffered(TOGETHER);
            let domains: HashMap<&str, Result<bool, BackendError>> = asked.collect().await;
            let mut asked: Vec<BoxFuture<'_, _>> = Vec::with_capacity(usernames.len());
            for username in usernames {
                let domain = domains.get(domain_of(username)).cloned();
                asked.push(Box::pin(async move {
                    self.login_row(username, domain).await.map(Found::fresh)
                }));
            }
            let asked = stream::iter(asked).buffered(TOGETHER);
            asked.map(apart).try_collect().await
        })
    }

    fn transport<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        self.text(Lookups::TransportMaps, key)
    }

    fn relocated<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        self.text(Lookups::RelocatedMaps, key)
    }

    fn access<'a>(&'a self, table: AccessTable, key: &'a str) -> Answer<'a, String> {
        self.text(access_question(table), key)
    }

    fn sender_logins<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        self.text(Lookups::SmtpdSenderLoginMaps, key)
    }

    fn vacation<'a>(&'a self, address: &'a str) -> Answer<'a, VacationRow> {
        Box::pin(async move {
            let row = self.named(Lookups::Vacation, address).await?;
            let row = row.map(|row| named::vacation(address, &row));
            let odd = || odd(Lookups::Vacation, address, "holds unexpected types");
            Ok(Found::fresh(row.map(|row| row.ok_or_else(odd)).transpose()?))
        })
    }

    fn usage<'a>(&'a self, username: &'a str) -> Answer<'a, UsageRow> {
        Box::pin(async move {
            let row = self.named(Lookups::QuotaUsage, username).await?;
            let row = row.map(|row| named::usage(&row));
            let odd = || odd(Lookups::QuotaUsage, username, "holds unexpected types");
            Ok(Found::fresh(row.map(|row| row.ok_or_else(odd)).transpose()?))
        })
    }

    fn local_alias<'a>(&'a self, name: &'a str) -> Answer<'a, AliasRow> {
        self.targets(Lookups::AliasMaps, name)
    }
}
