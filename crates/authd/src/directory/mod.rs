//! Where does this address deliver, how is it routed, whose mailbox is it: the rules of compat.md 1.4, 1.5
//! and 2.3 over the rows of a [`backend::Backend`].

pub mod backend;
mod expand;
mod lookup;
#[cfg(test)]
pub mod memory;
pub mod pages;
mod resolve;
mod route;
mod sender;
mod targets;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;

use auth_api::directory::{DomainClass, Refusal, Step};
use mail_types::{Address, Domain, EnhancedStatus};

use self::backend::{Backend, BackendError, MailboxRow};
use self::transport::Transport;

/// What the rules need to know from the configuration.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The character before an extension; none where extensions are off.
    pub recipient_delimiter: Option<char>,
    /// The domain of names without one.
    pub own_domain: Domain,
    /// Who gets mail for a postmaster that has no row.
    pub postmaster: Address,
    /// Most targets of one recipient.
    pub expansion_limit: usize,
    /// Most aliases one after the other.
    pub recursion_limit: usize,
    /// Owner and group of all Maildirs.
    pub owner: (u32, u32),
}

/// Why a question has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DirectoryError {
    /// The tables are away.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The tables or the configuration ask for what we cannot do; mail waits until it is put right.
    #[error("{0}")]
    Misconfigured(String),
}

/// The directory.
pub struct Directory {
    backend: Arc<dyn Backend>,
    rules: Rules,
}

impl Directory {
    /// A directory over tables.
    pub fn new(backend: Arc<dyn Backend>, rules: Rules) -> Self {
        Self { backend, rules }
    }

    /// What the tables say of a domain.
    async fn classify(&self, domain: &Domain, steps: &mut Steps) -> Result<DomainInfo, BackendError> {
        let name = domain.as_str();
        // `ALL` is PostfixAdmin's mark for super administrators, never a mail domain.
        if name == "all" {
            return Ok(DomainInfo::foreign());
        }
        let row = self.backend.domain(name).await?.row;
        match &row {
            None => steps.say("domain", name, ""),
            Some(row) if !row.active => steps.say("domain", name, "inactive"),
            Some(row) => {
                let kind = if row.backupmx { "backup MX" } else { "active" };
                steps.say("domain", name, &format!("{kind}, transport {:?}", row.transport));
            }
        }
        if row.as_ref().is_some_and(|row| !row.active) {
            return Ok(DomainInfo::foreign());
        }
        if let Some(row) = row.as_ref().filter(|row| row.backupmx) {
            return Ok(DomainInfo {
                backupmx: true,
                ..DomainInfo::ours(DomainClass::Relay, Transport::parse(&row.transport))
            });
        }
        if let Some(target) = self.mirrored(name, steps).await? {
            return Ok(target);
        }
        let Some(row) = row else {
            return Ok(DomainInfo::foreign());
        };
        let transport = Transport::parse(&row.transport);
        let class = if transport.relays() {
            DomainClass::Relay
        } else {
            DomainClass::Mailbox
        };
        Ok(DomainInfo::ours(class, transport))
    }

    /// The domain that `name` mirrors, where both are active.
    async fn mirrored(&self, name: &str, steps: &mut Steps) -> Result<Option<DomainInfo>, BackendError> {
        let Some(row) = self
            .backend
            .alias_domain(name)
            .await?
            .row
            .filter(|row| row.active)
        else {
            return Ok(None);
        };
        let Ok(target) = Domain::new(&row.target) else {
            return Err(BackendError(format!(
                "alias_domain {name}: the target is not a domain"
            )));
        };
        steps.say("alias_domain", name, &format!("target_domain = {target}"));
        // One step only: a target that is itself a mirror is looked up by its own rows.
        let target_row = self.backend.domain(target.as_str()).await?.row;
        let Some(target_row) = target_row.filter(|row| row.active && target.as_str() != name) else {
            steps.say("domain", target.as_str(), "not active: it cannot be mirrored");
            return Ok(None);
        };
        Ok(Some(DomainInfo {
            class: DomainClass::Alias,
            transport: Transport::parse(&target_row.transport),
            mirrors: Some(target),
            backupmx: target_row.backupmx,
        }))
    }

    /// The active mailbox of an address: its exact local part, or without the extension.
    async fn mailbox(
        &self,
        address: &Address,
        steps: &mut Steps,
    ) -> Result<Option<MailboxRow>, BackendError> {
        for key in self.keys(address) {
            let row = self.backend.mailbox(&key).await?.row;
            let answer = match &row {
                None => "",
                Some(row) if row.active => &format!("mailbox.maildir = {}", row.maildir),
                Some(_) => "inactive",
            };
            steps.say("mailbox", &key, answer);
            if let Some(row) = row.filter(|row| row.active) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The keys of an address in the tables: exact, then without its extension.
    fn keys(&self, address: &Address) -> impl Iterator<Item = String> + use<> {
        let exact = address.lookup_key();
        let base = self
            .extension(address)
            .and_then(|(base, _)| address.with_local(base).ok())
            .map(|address| address.lookup_key());
        std::iter::once(exact).chain(base)
    }

    /// The local part and extension of an address that has one.
    fn extension<'a>(&self, address: &'a Address) -> Option<(&'a str, &'a str)> {
        let delimiter = self.rules.recipient_delimiter?;
        // Postfix leaves these names whole.
        let whole = ["postmaster", "mailer-daemon", "owner-"];
        let local = address.local().to_ascii_lowercase();
        if delimiter == '-' && whole.iter().any(|name| local.starts_with(name)) {
            return None;
        }
        address.split_extension(delimiter)
    }
}

/// Why a transport text cannot be used; `None` where it can.
pub fn unsupported_transport(text: &str) -> Option<String> {
    match Transport::parse(text) {
        Transport::Unsupported(reason) => Some(reason),
        _ => None,
    }
}

/// The entries of a list of targets, as they are written.
pub fn targets_of(goto: &str) -> Vec<&str> {
    targets::entries(goto).collect()
}

/// What a domain is to us.
#[derive(Debug, Clone)]
struct DomainInfo {
    class: DomainClass,
    transport: Transport,
    /// For [`DomainClass::Alias`]: the domain it mirrors.
    mirrors: Option<Domain>,
    /// Recipients are not checked at all.
    backupmx: bool,
}

impl DomainInfo {
    fn foreign() -> Self {
        Self::ours(DomainClass::Foreign, Transport::Class)
    }

    fn ours(class: DomainClass, transport: Transport) -> Self {
        Self {
            class,
            transport,
            mirrors: None,
            backupmx: false,
        }
    }

    /// What an address of this domain hears that has no row.
    fn unknown_user(&self) -> Refusal {
        let table = match self.class {
            DomainClass::Alias => "alias",
            _ => "mailbox",
        };
        Refusal {
            code: 550,
            status: EnhancedStatus::new(5, 1, 1),
            text: format!("User unknown in virtual {table} table"),
        }
    }
}

/// The chain of rows that led to an answer, bounded.
#[derive(Debug, Default)]
struct Steps(Vec<Step>);

impl Steps {
    /// Most steps kept: a large alias explains itself by its beginning.
    const MOST: usize = 64;

    fn say(&mut self, question: &str, key: &str, answer: &str) {
        if self.0.len() < Self::MOST {
            self.0.push(Step {
                question: question.to_owned(),
                key: key.to_owned(),
                answer: truncated(answer, 256),
            });
        }
    }
}

/// At most `max` characters.
fn truncated(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max).chain("...".chars()).collect()
}
