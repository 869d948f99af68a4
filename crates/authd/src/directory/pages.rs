//! Going through all rows of the tables in pages, which is how the replica is filled.

use super::backend::{AccessTable, AliasDomainRow, AliasRow, DomainRow, LoginRow};

/// What can be gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// [`Backend::domain`](super::backend::Backend::domain)
    Domain,
    /// [`Backend::alias_domain`](super::backend::Backend::alias_domain)
    AliasDomain,
    /// [`Backend::alias`](super::backend::Backend::alias)
    Alias,
    /// [`Backend::mailbox`](super::backend::Backend::mailbox) and
    /// [`Backend::login`](super::backend::Backend::login)
    Mailbox,
    /// [`Backend::transport`](super::backend::Backend::transport)
    Transport,
    /// [`Backend::relocated`](super::backend::Backend::relocated)
    Relocated,
    /// [`Backend::sender_logins`](super::backend::Backend::sender_logins)
    SenderLogins,
    /// [`Backend::local_alias`](super::backend::Backend::local_alias)
    LocalAlias,
    /// [`Backend::access`](super::backend::Backend::access)
    Access(AccessTable),
}

impl Kind {
    /// All of them. Domains come first.
    pub const ALL: [Self; 12] = [
        Self::Domain,
        Self::AliasDomain,
        Self::Alias,
        Self::Mailbox,
        Self::Transport,
        Self::Relocated,
        Self::SenderLogins,
        Self::LocalAlias,
        Self::Access(AccessTable::Client),
        Self::Access(AccessTable::Helo),
        Self::Access(AccessTable::Sender),
        Self::Access(AccessTable::Recipient),
    ];

    /// The word in logs, tables and `mailctl`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::AliasDomain => "alias_domain",
            Self::Alias => "alias",
            Self::Mailbox => "mailbox",
            Self::Transport => "transport",
            Self::Relocated => "relocated",
            Self::SenderLogins => "sender_logins",
            Self::LocalAlias => "local_alias",
            Self::Access(AccessTable::Client) => "access_client",
            Self::Access(AccessTable::Helo) => "access_helo",
            Self::Access(AccessTable::Sender) => "access_sender",
            Self::Access(AccessTable::Recipient) => "access_recipient",
        }
    }
}

/// Which rows are wanted next.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    /// Of which table.
    pub kind: Kind,
    /// Behind this mark, the [`Page::next`] of the page before; `None`: from the beginning.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: usize,
    /// Only rows that changed at this time (seconds since 1970) or later.
    pub changed_since: Option<i64>,
}

/// Some rows.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Each with its key: lower case, as the question of this kind would get it.
    pub rows: Vec<(String, Listed)>,
    /// The mark of the next page; `None`: this was the last one. Only who made it can read it.
    pub next: Option<String>,
}

/// A row as the question of its kind would answer it.
#[derive(Debug, Clone)]
pub enum Listed {
    /// [`Kind::Domain`]
    Domain(DomainRow),
    /// [`Kind::AliasDomain`]
    AliasDomain(AliasDomainRow),
    /// [`Kind::Alias`], [`Kind::LocalAlias`]
    Alias(AliasRow),
    /// [`Kind::Mailbox`]
    Mailbox(Box<LoginRow>),
    /// [`Kind::Transport`], [`Kind::Relocated`], [`Kind::SenderLogins`], [`Kind::Access`]
    Text(String),
    /// The question for this row would be an error (unexpected types, several rows of one key).
    Unreadable,
}
