//! The services of authd that pop3d never asks.

use auth_api::admin::{
    AdminError, AliasDomainRecord, AliasRecord, AliasUpdate, DomainRecord, DomainUpdate, MailboxRecord,
    MailboxUpdate, NewMailbox,
};
use auth_api::directory::{MailboxAnswer, Recipient, Resolution, Route, SenderLogin};
use auth_api::server::{Admin, Directory};
use auth_api::{Trace, Unavailable};
use mail_types::{Address, Domain, Secret};

pub(super) struct Unserved;

fn unserved<T, E: From<Unavailable>>() -> Result<T, E> {
    Err(Unavailable::new("not served").into())
}

impl Directory for Unserved {
    async fn resolve(&self, _: Recipient, _: Trace) -> Result<Resolution, Unavailable> {
        unserved()
    }
    async fn route(&self, _: Address, _: Trace) -> Result<Route, Unavailable> {
        unserved()
    }
    async fn lookup_mailbox(&self, _: Address, _: Trace) -> Result<MailboxAnswer, Unavailable> {
        unserved()
    }
    async fn check_sender_login(&self, _: Address, _: Address, _: Trace) -> Result<SenderLogin, Unavailable> {
        unserved()
    }
}

impl Admin for Unserved {
    async fn domains(&self) -> Result<Vec<DomainRecord>, Unavailable> {
        unserved()
    }
    async fn create_domain(&self, _: DomainRecord) -> Result<(), AdminError> {
        unserved()
    }
    async fn update_domain(&self, _: Domain, _: DomainUpdate) -> Result<(), AdminError> {
        unserved()
    }
    async fn delete_domain(&self, _: Domain) -> Result<(), AdminError> {
        unserved()
    }
    async fn alias_domains(&self, _: Option<Domain>) -> Result<Vec<AliasDomainRecord>, Unavailable> {
        unserved()
    }
    async fn create_alias_domain(&self, _: AliasDomainRecord) -> Result<(), AdminError> {
        unserved()
    }
    async fn delete_alias_domain(&self, _: Domain) -> Result<(), AdminError> {
        unserved()
    }
    async fn mailboxes(&self, _: Option<Domain>) -> Result<Vec<MailboxRecord>, Unavailable> {
        unserved()
    }
    async fn create_mailbox(&self, _: NewMailbox) -> Result<(), AdminError> {
        unserved()
    }
    async fn update_mailbox(&self, _: Address, _: MailboxUpdate) -> Result<(), AdminError> {
        unserved()
    }
    async fn delete_mailbox(&self, _: Address) -> Result<(), AdminError> {
        unserved()
    }
    async fn set_password(&self, _: Address, _: Secret) -> Result<(), AdminError> {
        unserved()
    }
    async fn aliases(&self, _: Option<Domain>) -> Result<Vec<AliasRecord>, Unavailable> {
        unserved()
    }
    async fn create_alias(&self, _: AliasRecord) -> Result<(), AdminError> {
        unserved()
    }
    async fn update_alias(&self, _: String, _: AliasUpdate) -> Result<(), AdminError> {
        unserved()
    }
    async fn delete_alias(&self, _: String) -> Result<(), AdminError> {
        unserved()
    }
}
