//! Lists: which rows they have, and the pages in which they are read.

use mail_types::Domain;

/// Which rows of a table a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those of a domain.
    Domain(Domain),
    /// The one with this key: an address, `@domain` or a domain.
    One(String),
}

impl Which {
    /// Those of a domain, where there is one.
    pub fn of(domain: Option<&Domain>) -> Self {
        domain.map_or(Self::All, |domain| Self::Domain(domain.clone()))
    }
}

/// A part of a list: as many rows as are read at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// What the next page begins after; `None`: the list ends here.
    pub next: Option<String>,
}

/// How much is in a domain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DomainCounts {
    /// Mailboxes.
    pub mailboxes: u64,
    /// Aliases as PostfixAdmin counts them: without a row for each mailbox.
    pub aliases: u64,
    /// Domains that mirror it.
    pub alias_domains: u64,
}
