//! One question in progress: what was asked for it so far, so that nothing is asked twice.

use std::collections::HashMap;

use futures_util::future::{OptionFuture, join, join_all};
use mail_types::{Address, Domain};

use super::backend::{
    AccessTable, AliasRow, Answer, Backend, BackendError, Found, MailboxRow, Questions, Source,
};
use super::domains::{DomainInfo, Kind};
use super::lookup::rehomed;
use super::{Directory, DirectoryError, Steps};

/// How many keys of one table are asked for at the same time, and how many targets of one alias.
pub(super) const TOGETHER: usize = 8;

/// A question in progress.
pub(super) struct Ask<'a> {
    pub directory: &'a Directory,
    /// What the tables can answer.
    pub can: Questions,
    pub steps: &'a mut Steps,
    pub domains: HashMap<Domain, DomainInfo>,
    aliases: HashMap<String, Reply<AliasRow>>,
    /// Rows by key; true: told in the steps.
    mailboxes: HashMap<String, (Reply<MailboxRow>, bool)>,
    texts: HashMap<(Texts, String), Reply<String>>,
}

type Reply<T> = Result<Found<T>, BackendError>;

/// A table with one text for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Texts {
    Transport,
    Relocated,
    SenderLogins,
    Access(AccessTable),
}

impl Texts {
    fn ask<'b>(self, backend: &'b dyn Backend, key: &'b str) -> Answer<'b, String> {
        match self {
            Self::Transport => backend.transport(key),
            Self::Relocated => backend.relocated(key),
            Self::SenderLogins => backend.sender_logins(key),
            Self::Access(table) => backend.access(table, key),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Relocated => "relocated",
            Self::SenderLogins => "sender_logins",
            Self::Access(AccessTable::Client) => "access client",
            Self::Access(AccessTable::Helo) => "access helo",
            Self::Access(AccessTable::Sender) => "access sender",
            Self::Access(AccessTable::Recipient) => "access recipient",
        }
    }
}

impl Directory {
    /// Begins a question.
    pub(super) async fn ask<'a>(&'a self, steps: &'a mut Steps) -> Result<Ask<'a>, DirectoryError> {
        Ok(Ask {
            can: self.backend.questions().await?,
            directory: self,
            steps,
            domains: HashMap::new(),
            aliases: HashMap::new(),
            mailboxes: HashMap::new(),
            texts: HashMap::new(),
        })
    }
}

impl Ask<'_> {
    /// The first of `keys` that a table has, with its text.
    pub async fn first(
        &mut self,
        table: Texts,
        keys: &[String],
    ) -> Result<Option<Found<(String, String)>>, DirectoryError> {
        let backend = &*self.directory.backend;
        for some in keys.chunks(TOGETHER) {
            let of = |key: &String| (table, key.clone());
            let unknown: Vec<&String> = some
                .iter()
                .filter(|key| !self.texts.contains_key(&of(key)))
                .collect();
            let answers = join_all(unknown.iter().map(|key| table.ask(backend, key))).await;
            self.texts.extend(unknown.into_iter().map(of).zip(answers));
            for key in some {
                let Some(answer) = self.texts.get(&of(key)) else {
                    continue;
                };
                let Found { row, source } = answer.clone()?;
                let text = row.filter(|text| !text.trim().is_empty());
                let missing = match (table, source) {
                    // Mail goes on, so a row that the replica lacks is told.
                    (Texts::Access(_), Source::Replica) => "not in the replica",
                    _ => "",
                };
                self.steps
                    .row(table.name(), key, text.as_deref().unwrap_or(missing), source);
                if let Some(text) = text {
                    return Ok(Some(Found {
                        row: Some((key.clone(), text)),
                        source,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// The targets of an active alias. With `mailbox` the mailbox of the same name is asked for at the same
    /// time, for the next question.
    pub async fn alias(&mut self, key: &str, mailbox: bool) -> Result<Option<String>, DirectoryError> {
        if !self.aliases.contains_key(key) {
            let backend = &*self.directory.backend;
            let alias = if mailbox && !self.mailboxes.contains_key(key) {
                let (alias, mailbox) = join(backend.alias(key), backend.mailbox(key)).await;
                self.mailboxes.insert(key.to_owned(), (mailbox, false));
                alias
            } else {
                backend.alias(key).await
            };
            self.aliases.insert(key.to_owned(), alias);
        }
        let Some(found) = self.aliases.get(key) else {
            return Ok(None);
        };
        let found = found.clone()?;
        Ok(self.targets("alias", key, found))
    }

    /// Asks for the aliases of some addresses that will be wanted next, and for their mailboxes where the
    /// domain is known to have some: all together, for what is asked one by one afterwards.
    pub async fn expect(&mut self, addresses: &[Address]) {
        let backend = &*self.directory.backend;
        let mut aliases: Vec<(String, bool)> = Vec::with_capacity(addresses.len());
        for address in addresses {
            let key = address.lookup_key();
            if !self.aliases.contains_key(&key) && !aliases.iter().any(|(other, _)| *other == key) {
                let mailbox = self.domains.get(address.domain());
                let mailbox = mailbox.is_some_and(|info| matches!(info.kind, Kind::Mailbox | Kind::Local));
                let mailbox = mailbox && !self.mailboxes.contains_key(&key);
                aliases.push((key, mailbox));
            }
        }
        let asked = aliases.iter().map(|(key, mailbox)| {
            let mailbox = OptionFuture::from(mailbox.then(|| backend.mailbox(key)));
            join(backend.alias(key), mailbox)
        });
        let answers = join_all(asked).await;
        for ((key, _), (alias, mailbox)) in aliases.into_iter().zip(answers) {
            if let Some(mailbox) = mailbox {
                self.mailboxes.insert(key.clone(), (mailbox, false));
            }
            self.aliases.insert(key, alias);
        }
    }

    /// The targets of a name of the own domain (alias_maps).
    pub async fn local_alias(&mut self, name: &str) -> Result<Option<String>, DirectoryError> {
        let found = self.directory.backend.local_alias(name).await?;
        Ok(self.targets("local_alias", name, found))
    }

    fn targets(&mut self, question: &str, key: &str, found: Found<AliasRow>) -> Option<String> {
        let answer = match &found.row {
            None => String::new(),
            Some(row) if row.active => format!("alias.goto = {}", row.goto),
            Some(_) => "inactive".to_owned(),
        };
        self.steps.row(question, key, &answer, found.source);
        found.row.filter(|row| row.active).map(|row| row.goto)
    }

    /// The active mailbox of an address: its exact local part, or without the extension.
    pub async fn mailbox(&mut self, address: &Address) -> Result<Option<MailboxRow>, DirectoryError> {
        for key in self.directory.keys(address) {
            if let Some(row) = self.mailbox_of_key(&key).await? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The active mailbox of an address, wherever its domain has it: its own row (a site may have left one
    /// from before the domain mirrored another), else that of the same user in the mirrored domain. For each
    /// key both are asked before the next key, as with two tables in virtual_mailbox_maps.
    pub async fn mailbox_here(
        &mut self,
        address: &Address,
        info: &DomainInfo,
    ) -> Result<Option<MailboxRow>, DirectoryError> {
        let Some(target) = &info.mirrors else {
            return self.mailbox(address).await;
        };
        let directory = self.directory;
        let mirrored = rehomed(address, target);
        for (own, there) in directory.keys(address).zip(directory.keys(&mirrored)) {
            for key in [own, there] {
                if let Some(row) = self.mailbox_of_key(&key).await? {
                    return Ok(Some(row));
                }
            }
        }
        Ok(None)
    }

    /// The active mailbox of a key.
    pub async fn mailbox_of_key(&mut self, key: &str) -> Result<Option<MailboxRow>, DirectoryError> {
        if !self.mailboxes.contains_key(key) {
            let found = self.directory.backend.mailbox(key).await;
            self.mailboxes.insert(key.to_owned(), (found, false));
        }
        let Some((found, told)) = self.mailboxes.get_mut(key) else {
            return Ok(None);
        };
        let found = found.clone()?;
        if !*told {
            *told = true;
            let answer = match &found.row {
                None => String::new(),
                Some(row) if row.active => format!("mailbox.maildir = {}", row.maildir),
                Some(_) => "inactive".to_owned(),
            };
            self.steps.row("mailbox", key, &answer, found.source);
        }
        Ok(found.row.filter(|row| row.active))
    }

    /// Where the user of an address moved to (relocated(5)).
    pub async fn relocated(&mut self, address: &Address) -> Result<Option<String>, DirectoryError> {
        if !self.can.relocated {
            return Ok(None);
        }
        let mut keys: Vec<String> = self.directory.keys(address).collect();
        keys.extend(self.directory.names(address));
        keys.push(format!("@{}", address.domain()));
        let found = self.first(Texts::Relocated, &keys).await?;
        Ok(found.and_then(|found| found.row).map(|(_, to)| to))
    }
}
