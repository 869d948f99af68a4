//! What PostfixAdmin does with its tables: each change one transaction, with the row of `log` that the panel
//! would write.

mod aliases;
mod domains;
mod mailboxes;
mod sql;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use auth_api::admin::{
    AdminError, AliasDomainRecord, AliasRecord, AliasUpdate, DomainRecord, DomainUpdate, MailboxRecord,
    MailboxUpdate, NewMailbox,
};
use auth_api::{Unavailable, server};
use events::{About, Log};
use mail_types::{Address, Domain, Secret};

use self::sql::Change;
use crate::database::DbError;
use crate::login::Hashing;
use crate::site::{Site, Sites};

/// The Admin service.
pub struct AdminService {
    sites: Arc<Sites>,
    hashing: Arc<Hashing>,
    events: Log,
}

impl AdminService {
    /// Works on the site in force.
    pub fn new(sites: Arc<Sites>, hashing: Arc<Hashing>, events: Log) -> Self {
        Self {
            sites,
            hashing,
            events,
        }
    }

    /// Makes a change and tells it.
    async fn commit(&self, site: &Site, change: Change) -> Result<(), AdminError> {
        let (object, action, key) = (change.object, change.action, change.key.clone());
        change.commit(site).await?;
        tracing::info!(object, action, key, "changed by an administrator");
        let kind = events::authd::Kind::AdminChanged {
            object: object.to_owned(),
            action: action.to_owned(),
            key,
        };
        self.events.emit(About::process(), kind);
        Ok(())
    }

    /// Hashes a new password in the scheme of the site.
    async fn hashed(&self, site: &Site, password: Secret) -> Result<Secret, AdminError> {
        let scheme = site.settings.admin.scheme;
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| Unavailable::new(error.to_string()))?;
        let work = move || sasl::password::store(scheme, &password, salt);
        match self.hashing.run(work).await {
            Ok(Ok(column)) => Ok(Secret::new(column)),
            Ok(Err(error)) => Err(AdminError::Invalid(error.to_string())),
            Err(busy) => Err(Unavailable::new(busy.to_string()).into()),
        }
    }
}

/// What a database error is to an administrator.
fn admin_error(error: DbError) -> AdminError {
    match error {
        DbError::Away(_) | DbError::Busy(_) => AdminError::Unavailable(Unavailable::new(error.to_string())),
        DbError::Duplicate => AdminError::Exists("it exists already".into()),
        DbError::Conflict => AdminError::NotFound("there is no such row (any more)".into()),
        DbError::Forbidden(reason) => AdminError::Invalid(format!(
            "the database account may only read ({reason}); grant it INSERT, UPDATE and DELETE, or use the \
             site's own panel"
        )),
        DbError::Foreign(_) | DbError::Charset(_) => AdminError::Invalid(error.to_string()),
        DbError::Refused(reason) => AdminError::Invalid(format!("the database refused: {reason}")),
    }
}

/// The same for lists.
fn unavailable(error: &DbError) -> Unavailable {
    Unavailable::new(error.to_string())
}

impl server::Admin for AdminService {
    async fn domains(&self) -> Result<Vec<DomainRecord>, Unavailable> {
        domains::list(&self.sites.current())
            .await
            .map_err(|e| unavailable(&e))
    }

    async fn create_domain(&self, record: DomainRecord) -> Result<(), AdminError> {
        let site = self.sites.current();
        let change = domains::create(&site, &record).await?;
        self.commit(&site, change).await
    }

    async fn update_domain(&self, domain: Domain, update: DomainUpdate) -> Result<(), AdminError> {
        let site = self.sites.current();
        let change = domains::update(&site, &domain, &update).await?;
        self.commit(&site, change).await
    }

    async fn delete_domain(&self, domain: Domain) -> Result<(), AdminError> {
        let site = self.sites.current();
        let change = domains::delete(&site, &domain).await?;
        self.commit(&site, change).await
    }

    async fn alias_domains(&self, target: Option<Domain>) -> Result<Vec<AliasDomainRecord>, Unavailable> {
        domains::list_mirrors(&self.sites.current(), target.as_ref())
            .await
            .map_err(|e| unavailable(&e))
    }

    async fn create_alias_domain(&self, record: AliasDomainRecord) -> Result<(), AdminError> {
        let site = self.sites.current();
        let change = domains::create_mirror(&site, &record).await?;
        self.commit(&site, change).await
    }

    async fn delete_alias_domain(&self, domain: Domain) -> Result<(), AdminError> {
        let site = self.sites.current();
        let change = domains::delete_mirror(&site, &domain).await?;
        self.commit(&site, change).await
    }

    async fn mailboxes(&self, domain: Option<Domain>) -> Result<Vec<MailboxRecord>, Unavailable> {
        mailboxes::list(&self.sites.current(), domain.as_ref())
            .await
            .map_err(|e| unavailable(&e))
    }

    async fn create_mailbox(&self, mailbox: NewMailbox) -> Result<(), AdminError> {
        let site = self.sites.current();
        mailboxes::check_new(&site, &mailbox).await?;
        let password = self.hashed(&site, mailbox.password.clone()).await?;
        let change = mailboxes::create(&site, &mailbox, password).await?;
        self.commit(&site, change).await
    }

    async fn update_mailbox(&self, address: Address, update: MailboxUpdate) -> Result<(), AdminError> {
        let site = self.sites.current();
        let change = mailboxes::update(&site, &address, &update).await?;
        self.commit(&site, change).await
    }

    async fn delete_mailbox(&self, address: Address) -> Result<(), AdminError> {
        let site = self.sites.current();
        // The lists that mention it may change meanwhile; then the plan is made anew.
        for _ in 0..3 {
            let change = mailboxes::delete(&site, &address).await?;
            match self.commit(&site, change).await {
                Err(AdminError::NotFound(_)) => {}
                other => return other,
            }
        }
        Err(AdminError::Unavailable(Unavailable::new(
            "the rows keep changing",
        )))
    }

    async fn set_password(&self, address: Address, password: Secret) -> Result<(), AdminError> {
        let site = self.sites.current();
        let password = self.hashed(&site, password).await?;
        let change = mailboxes::set_password(&site, &address, password).await?;
        self.commit(&site, change).await
    }

    async fn aliases(&self, domain: Option<Domain>) -> Result<Vec<AliasRecord>, Unavailable> {
        aliases::list(&self.sites.current(), domain.as_ref())
            .await
            .map_err(|e| unavailable(&e))
    }

    async fn create_alias(&self, record: AliasRecord) -> Result<(), AdminError> {
        let site = self.sites.current();
        let change = aliases::create(&site, &record).await?;
        self.commit(&site, change).await
    }

    async fn update_alias(&self, address: String, update: AliasUpdate) -> Result<(), AdminError> {
        let site = self.sites.current();
        let change = aliases::update(&site, &address, &update).await?;
        self.commit(&site, change).await
    }

    async fn delete_alias(&self, address: String) -> Result<(), AdminError> {
        let site = self.sites.current();
        let change = aliases::delete(&site, &address).await?;
        self.commit(&site, change).await
    }
}
