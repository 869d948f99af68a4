//! Tables in memory, for unit tests of the directory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use mail_types::Secret;

use super::backend::{
    AliasDomainRow, AliasRow, Answer, Backend, BackendError, DomainRow, Found, LoginRow, MailboxRow,
    Questions,
};

/// The tables. Rows are written like `("alias", "a@d.test", "b@d.test")`.
#[derive(Debug, Default)]
pub struct Memory {
    domains: HashMap<String, DomainRow>,
    alias_domains: HashMap<String, AliasDomainRow>,
    aliases: HashMap<String, AliasRow>,
    mailboxes: HashMap<String, MailboxRow>,
    /// Every question fails while this is set.
    pub away: AtomicBool,
    /// How many questions were asked.
    pub asked: AtomicUsize,
}

impl Memory {
    /// Adds a domain with a transport text.
    #[must_use]
    pub fn domain(mut self, name: &str, transport: &str) -> Self {
        let row = DomainRow {
            active: true,
            backupmx: false,
            alias_only: false,
            transport: transport.into(),
        };
        self.domains.insert(name.into(), row);
        self
    }

    /// Changes a domain's row.
    #[must_use]
    pub fn with_domain(mut self, name: &str, change: impl FnOnce(&mut DomainRow)) -> Self {
        self.domains.get_mut(name).map(change);
        self
    }

    /// Adds an alias domain.
    #[must_use]
    pub fn alias_domain(mut self, name: &str, target: &str) -> Self {
        let row = AliasDomainRow {
            target: target.into(),
            active: true,
        };
        self.alias_domains.insert(name.into(), row);
        self
    }

    /// Adds an alias.
    #[must_use]
    pub fn alias(mut self, address: &str, goto: &str) -> Self {
        let row = AliasRow {
            goto: goto.into(),
            active: true,
        };
        self.aliases.insert(address.into(), row);
        self
    }

    /// Switches an alias off.
    #[must_use]
    pub fn inactive_alias(mut self, address: &str) -> Self {
        if let Some(row) = self.aliases.get_mut(address) {
            row.active = false;
        }
        self
    }

    /// Adds a mailbox without the alias row that PostfixAdmin would add.
    #[must_use]
    pub fn bare_mailbox(mut self, address: &str) -> Self {
        let (local, domain) = address.split_once('@').unwrap_or((address, ""));
        let row = MailboxRow {
            username: address.into(),
            maildir: format!("{domain}/{local}/"),
            quota: 0,
            uid: None,
            gid: None,
            active: true,
        };
        self.mailboxes.insert(address.into(), row);
        self
    }

    /// Changes a mailbox's row.
    #[must_use]
    pub fn with_mailbox(mut self, address: &str, change: impl FnOnce(&mut MailboxRow)) -> Self {
        self.mailboxes.get_mut(address).map(change);
        self
    }

    /// Adds a mailbox as PostfixAdmin does: with its alias row.
    #[must_use]
    pub fn mailbox(self, address: &str) -> Self {
        self.bare_mailbox(address).alias(address, address)
    }

    fn answer<T: Clone>(&self, row: Option<&T>) -> Result<Found<T>, BackendError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(BackendError("away".into()));
        }
        Ok(Found::fresh(row.cloned()))
    }
}

impl Backend for Memory {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        Box::pin(async {
            Ok(Questions {
                alias_domain: true,
                ..Questions::default()
            })
        })
    }

    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        Box::pin(async move {
            let found = self.answer(self.mailboxes.get(username))?;
            let domain = username.rsplit_once('@').map_or("", |(_, domain)| domain);
            let domain_active = self.domains.get(domain).is_some_and(|row| row.active);
            Ok(found.and_then(|mailbox| {
                Some(LoginRow {
                    mailbox,
                    domain_active,
                    password: Secret::new("{PLAIN}secret"),
                    cleartext: None,
                    smtp_active: true,
                    password_expiry: None,
                    app_passwords: Vec::new(),
                })
            }))
        })
    }

    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow> {
        Box::pin(async move { self.answer(self.domains.get(name)) })
    }

    fn alias_domain<'a>(&'a self, name: &'a str) -> Answer<'a, AliasDomainRow> {
        Box::pin(async move { self.answer(self.alias_domains.get(name)) })
    }

    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        Box::pin(async move { self.answer(self.aliases.get(address)) })
    }

    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        Box::pin(async move { self.answer(self.mailboxes.get(address)) })
    }
}
