//! Tables in memory, for unit tests of the directory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use mail_types::Secret;
use tokio::sync::{Notify, watch};

use super::backend::{
    AccessTable, AliasDomainRow, AliasRow, Answer, Backend, BackendError, DomainRow, Found, LoginRow,
    MailboxRow, Questions, Source, UsageRow, VacationRow,
};

/// The tables. Rows are written like `("alias", "a@d.test", "b@d.test")`. A question can be asked once its
/// table has a row.
#[derive(Debug)]
pub struct Memory {
    domains: HashMap<String, DomainRow>,
    alias_domains: HashMap<String, AliasDomainRow>,
    aliases: HashMap<String, AliasRow>,
    local_aliases: HashMap<String, AliasRow>,
    mailboxes: HashMap<String, MailboxRow>,
    transports: HashMap<String, String>,
    relocated: HashMap<String, String>,
    senders: HashMap<String, String>,
    access: HashMap<(AccessTable, String), String>,
    vacations: HashMap<String, VacationRow>,
    usage: HashMap<String, UsageRow>,
    /// Every question fails while this is set.
    pub away: AtomicBool,
    /// Answers are marked as the replica's while this is set.
    pub replica: AtomicBool,
    /// And all but the first so many.
    pub replica_after: AtomicUsize,
    /// How many questions were asked.
    pub asked: AtomicUsize,
    asking: Notify,
    held: watch::Sender<bool>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            domains: HashMap::new(),
            alias_domains: HashMap::new(),
            aliases: HashMap::new(),
            local_aliases: HashMap::new(),
            mailboxes: HashMap::new(),
            transports: HashMap::new(),
            relocated: HashMap::new(),
            senders: HashMap::new(),
            access: HashMap::new(),
            vacations: HashMap::new(),
            usage: HashMap::new(),
            away: AtomicBool::new(false),
            replica: AtomicBool::new(false),
            replica_after: AtomicUsize::new(usize::MAX),
            asked: AtomicUsize::new(0),
            asking: Notify::new(),
            held: watch::Sender::new(false),
        }
    }
}

/// The name of the adding function, the table, and how a text becomes its row.
macro_rules! adders {
    ($($add:ident, $table:ident, $row:expr;)*) => {
        $(
            /// Adds a row.
            #[must_use]
            pub fn $add(mut self, key: &str, text: &str) -> Self {
                self.$table.insert(key.into(), $row(text));
                self
            }
        )*
    };
}

impl Memory {
    adders! {
        transport, transports, str::to_owned;
        relocated, relocated, str::to_owned;
        sender, senders, str::to_owned;
        local_alias, local_aliases, |goto: &str| AliasRow { goto: goto.into(), active: true };
    }

    /// Adds an access row.
    #[must_use]
    pub fn access(mut self, table: AccessTable, key: &str, action: &str) -> Self {
        self.access.insert((table, key.into()), action.into());
        self
    }

    /// Adds an absence notice.
    #[must_use]
    pub fn vacation(mut self, address: &str) -> Self {
        let row = VacationRow {
            email: address.into(),
            subject: "Away".into(),
            body: "Back soon.".into(),
            active_from: Some(1),
            active_until: None,
            interval_time: 0,
            active: true,
        };
        self.vacations.insert(address.into(), row);
        self
    }

    /// Changes an absence notice.
    #[must_use]
    pub fn with_vacation(mut self, address: &str, change: impl FnOnce(&mut VacationRow)) -> Self {
        self.vacations.get_mut(address).map(change);
        self
    }

    /// Adds a usage row.
    #[must_use]
    pub fn usage(mut self, address: &str, bytes: i64, messages: i64) -> Self {
        self.usage.insert(address.into(), UsageRow { bytes, messages });
        self
    }

    /// Questions wait from now on.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// They go on.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// Waits until more questions than that were asked.
    pub async fn asked_more_than(&self, count: usize) {
        while self.asked.load(Ordering::SeqCst) <= count {
            self.asking.notified().await;
        }
    }
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

    async fn answer<T: Clone>(&self, row: Option<&T>) -> Result<Found<T>, BackendError> {
        let before = self.asked.fetch_add(1, Ordering::SeqCst);
        self.asking.notify_one();
        // The sender lives as long as we do.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        if self.away.load(Ordering::SeqCst) {
            return Err(BackendError::Away("away".into()));
        }
        let late = before >= self.replica_after.load(Ordering::SeqCst);
        let source = if late || self.replica.load(Ordering::SeqCst) {
            Source::Replica
        } else {
            Source::Database
        };
        Ok(Found {
            row: row.cloned(),
            source,
        })
    }
}

impl Backend for Memory {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        let has = |table| self.access.keys().any(|(of, _)| *of == table);
        let questions = Questions {
            alias_domain: !self.alias_domains.is_empty(),
            transport: !self.transports.is_empty(),
            relocated: !self.relocated.is_empty(),
            access: AccessTable::ALL.into_iter().filter(|table| has(*table)).collect(),
            sender_logins: !self.senders.is_empty(),
            vacation: !self.vacations.is_empty(),
            usage: !self.usage.is_empty(),
            local_alias: !self.local_aliases.is_empty(),
            unmarked_cleartext: false,
            clear_column: false,
        };
        Box::pin(async { Ok(questions) })
    }

    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        Box::pin(async move {
            let found = self.answer(self.mailboxes.get(username)).await?;
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
        Box::pin(self.answer(self.domains.get(name)))
    }
    fn alias_domain<'a>(&'a self, name: &'a str) -> Answer<'a, AliasDomainRow> {
        Box::pin(self.answer(self.alias_domains.get(name)))
    }
    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        Box::pin(self.answer(self.aliases.get(address)))
    }
    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        Box::pin(self.answer(self.mailboxes.get(address)))
    }
    fn transport<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        Box::pin(self.answer(self.transports.get(key)))
    }
    fn relocated<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        Box::pin(self.answer(self.relocated.get(key)))
    }
    fn access<'a>(&'a self, table: AccessTable, key: &'a str) -> Answer<'a, String> {
        Box::pin(async move { self.answer(self.access.get(&(table, key.to_owned()))).await })
    }
    fn sender_logins<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        Box::pin(self.answer(self.senders.get(key)))
    }
    fn vacation<'a>(&'a self, address: &'a str) -> Answer<'a, VacationRow> {
        Box::pin(self.answer(self.vacations.get(address)))
    }
    fn usage<'a>(&'a self, username: &'a str) -> Answer<'a, UsageRow> {
        Box::pin(self.answer(self.usage.get(username)))
    }
    fn local_alias<'a>(&'a self, name: &'a str) -> Answer<'a, AliasRow> {
        Box::pin(self.answer(self.local_aliases.get(name)))
    }
}
