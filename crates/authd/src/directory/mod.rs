//! Where does this address deliver, how is it routed, whose mailbox is it: the rules of compat.md 1.4, 1.5
//! and 2.3 over the rows of a [`backend::Backend`].
//!
//! While the tables are away their rows may come from a copy of them ([`backend::Source::Replica`]). A row
//! that is there stands; that a row is missing says nothing then, so every verdict that rests on it - a
//! refusal, a domain that is not ours, a catch-all - is [`DirectoryError::Unsure`], a temporary failure.

mod access;
mod ask;
pub mod backend;
pub mod cached;
mod domains;
mod expand;
mod lookup;
#[cfg(test)]
pub mod memory;
pub mod pages;
mod resolve;
mod route;
mod sender;
mod steps;
mod targets;
#[cfg(test)]
mod tests;
mod transport;
mod vacation;

use std::sync::Arc;

use auth_api::directory::{Answer, Explanation, Question};
use mail_types::{Address, Domain};

use self::backend::{Backend, BackendError};
pub(crate) use self::domains::parents;
pub use self::steps::Steps;
use self::transport::Transport;

/// What the rules need to know from the configuration.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The character before an extension; none where extensions are off.
    pub recipient_delimiter: Option<char>,
    /// The domain of names without one.
    pub own_domain: Domain,
    /// Further names of this host, whose addresses are names, too (Postfix: mydestination).
    pub own_names: Vec<Domain>,
    /// Whether what is below a relay domain is one too (Postfix: relay_domains in parent_domain_matches_subdomains). For
    /// tables with rows of relay domains; a site's own SQL looks at parents itself.
    pub relay_subdomains: bool,
    /// Who gets mail for a postmaster that has no row.
    pub postmaster: Address,
    /// The domain of targets like `user#domain@vacation_domain`.
    pub vacation_domain: Option<Domain>,
    /// Most targets of one recipient.
    pub expansion_limit: usize,
    /// Most aliases one after the other.
    pub recursion_limit: usize,
    /// Owner and group of the Maildirs whose rows name none.
    pub owner: (u32, u32),
    /// Smallest user id that a row may name.
    pub minimum_uid: u32,
}

/// Why a question has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DirectoryError {
    /// The tables are away.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The tables are away, and what their copy has not is no answer.
    #[error("the database is away, and the replica does not know {0}")]
    Unsure(String),
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

    /// The answer to a question with its whole reasoning; trouble is an answer, too.
    pub async fn explain(&self, question: &Question) -> Explanation {
        let mut steps = Steps::full();
        let answer = match question {
            Question::Recipient(recipient) => {
                self.resolve(recipient, &mut steps).await.map(Answer::Recipient)
            }
            Question::Route(address) => self.route(address, &mut steps).await.map(Answer::Route),
            Question::Mailbox(address) => self
                .lookup_mailbox(address, &mut steps)
                .await
                .map(Answer::Mailbox),
            Question::SenderLogin { login, sender } => self
                .check_sender_login(login, sender, &mut steps)
                .await
                .map(Answer::SenderLogin),
        };
        Explanation {
            answer: answer.map_err(|error| error.to_string()),
            steps: steps.into_list(),
        }
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

    /// Whether a domain is this host itself.
    fn is_own(&self, domain: &Domain) -> bool {
        *domain == self.rules.own_domain || self.rules.own_names.contains(domain)
    }

    /// The bare names of an address of this host.
    fn names(&self, address: &Address) -> Vec<String> {
        if self.is_own(address.domain()) {
            self.bare_names(address)
        } else {
            Vec::new()
        }
    }

    /// The keys of an address without its domain: with its extension, and without. What is quoted in a local
    /// part is no key of another kind: `"@d.test"@own.test` must not ask for the catch-all of d.test.
    fn bare_names(&self, address: &Address) -> Vec<String> {
        let keys = self.keys(address);
        keys.filter_map(|key| Some(key.rsplit_once('@')?.0.to_owned()))
            .filter(|name| !name.contains('@'))
            .collect()
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
        Transport::Local => Some(Transport::NO_LOCAL.to_owned()),
        _ => None,
    }
}

/// The entries of a list of targets, as they are written.
pub fn targets_of(goto: &str) -> Vec<&str> {
    targets::entries(goto).collect()
}
