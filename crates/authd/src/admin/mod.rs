//! What PostfixAdmin does with its tables: each change one transaction, with the row of `log` that the panel
//! would write.
//!
//! A change is planned from what the tables say now, as statements that hit exactly what the plan is about or
//! undo the whole. The panel and other administrators work on the same rows: where they were faster the change
//! is planned anew, which then says what is in its way.

mod administrators;
mod aliases;
mod demolition;
mod domains;
mod limits;
mod mailboxes;
mod mirrors;
mod pages;
mod panel;
mod passwords;
mod sql;
mod state;
#[cfg(test)]
mod tests;
mod vacation;

use std::sync::Arc;

use auth_api::admin::{
    AdminError, AdministratorRecord, AdministratorUpdate, AliasDomainRecord, AliasDomainUpdate, AliasRecord,
    AliasUpdate, AppPasswordRecord, DirectoryState, DomainCounts, DomainRecord, DomainUpdate,
    FetchmailRecord, LogEntry, MailboxRecord, MailboxUpdate, NewAdministrator, NewAppPassword, NewMailbox,
    Page, VacationRecord, Which,
};
use auth_api::{Unavailable, server};
use events::{About, Log};
use mail_types::{Address, Domain, Secret};

use self::sql::{Change, Tables};
use crate::database::DbError;
use crate::login::{Hashing, Logins};
use crate::site::{Site, Sites};

/// How often a change is planned.
const PLANS: u32 = 4;

/// The Admin service.
pub struct AdminService {
    sites: Arc<Sites>,
    hashing: Arc<Hashing>,
    events: Log,
    logins: Option<Logins>,
}

/// Plans a change and makes it, again where the rows changed in between.
macro_rules! change {
    ($self:ident, |$tables:ident| $plan:expr) => {{
        let site = $self.sites.current();
        let mut left = PLANS;
        loop {
            let $tables = Tables::of(&site).await.map_err(admin_error)?;
            let change = $plan.await?;
            left -= 1;
            if let Some(result) = $self.commit(&site, &$tables, change, left).await {
                break result;
            }
        }
    }};
}

/// Answers a list, or a page of one.
macro_rules! list {
    ($self:ident, |$tables:ident| $rows:expr) => {{
        let site = $self.sites.current();
        let $tables = Tables::of(&site).await.map_err(admin_error)?;
        $rows.await
    }};
}

impl AdminService {
    /// Works on the site in force.
    pub fn new(sites: Arc<Sites>, hashing: Arc<Hashing>, events: Log) -> Self {
        Self {
            sites,
            hashing,
            events,
            logins: None,
        }
    }

    /// The same, where logins hear of new passwords.
    #[must_use]
    pub fn with_logins(self, logins: Logins) -> Self {
        let logins = Some(logins);
        Self { logins, ..self }
    }

    /// Makes a change and tells it. `None`: the rows changed since it was planned, and there are plans left.
    async fn commit(
        &self,
        site: &Site,
        tables: &Tables<'_>,
        change: Change,
        left: u32,
    ) -> Option<Result<(), AdminError>> {
        let (object, action, key) = (change.object, change.action, change.key.clone());
        match change.commit(tables).await {
            Ok(()) => {}
            // Locks that were given up have changed nothing either.
            Err(DbError::Conflict | DbError::Duplicate | DbError::Busy(_)) if left > 0 => return None,
            Err(DbError::Conflict) => {
                let reason = Unavailable::new("others keep changing these rows");
                return Some(Err(reason.into()));
            }
            Err(DbError::Duplicate) => {
                return Some(Err(AdminError::Exists(format!("{key} exists already"))));
            }
            Err(error) => {
                if let (DbError::Refused(_), Ok(panel)) = (&error, site.panel()) {
                    // The panel may have been upgraded under us.
                    panel.forget_schema();
                }
                if let DbError::Away(_) = &error {
                    // Its commit may have been made all the same.
                    site.changed(object, action, &key).await;
                }
                return Some(Err(admin_error(error)));
            }
        }
        site.changed(object, action, &key).await;
        tracing::info!(object, action, key, "changed by an administrator");
        let kind = events::authd::Kind::AdminChanged {
            object: object.to_owned(),
            action: action.to_owned(),
            key,
        };
        self.events.emit(About::process(), kind);
        Some(Ok(()))
    }

    /// Hashes a new password in the scheme of the site, if its rules allow it.
    async fn hashed(&self, site: &Site, password: &Secret) -> Result<Secret, AdminError> {
        passwords::check(&site.settings.admin.passwords, password)?;
        let scheme = site.settings.admin.scheme;
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| Unavailable::new(error.to_string()))?;
        let password = password.clone();
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
        DbError::Duplicate => AdminError::Exists("it exists already".into()),
        DbError::Conflict => AdminError::NotFound("there is no such row (any more)".into()),
        DbError::Forbidden(reason) => AdminError::Denied(forbidden(&reason)),
        DbError::Foreign(_) | DbError::Charset(_) => AdminError::Invalid(error.to_string()),
        DbError::Refused(reason) => AdminError::Invalid(format!("the database refused: {reason}")),
        away => AdminError::Unavailable(Unavailable::new(away.to_string())),
    }
}

/// Names the grant that is missing, to the account that the server names.
fn forbidden(reason: &str) -> String {
    let account = reason
        .split_once("user ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .filter(|account| account.starts_with('\'') && account.contains("'@'"));
    let grant = match account {
        Some(account) => format!("GRANT SELECT, INSERT, UPDATE, DELETE ON the database TO {account}"),
        None => "give it the right to write".to_owned(),
    };
    format!(
        "the database account may not do this ({reason}); {grant}, or name one that may in [authd.mysql] \
         admin_user, or use the site's own panel"
    )
}

impl server::Admin for AdminService {
    async fn domains(
        &self,
        only: Option<Domain>,
        after: Option<String>,
    ) -> Result<Page<DomainRecord>, AdminError> {
        let which = only.map_or(Which::All, |domain| Which::One(domain.to_string()));
        list!(self, |tables| domains::list(&tables, &which, after.as_deref()))
    }

    async fn create_domain(&self, record: DomainRecord) -> Result<(), AdminError> {
        change!(self, |tables| domains::create(&tables, &record))
    }

    async fn update_domain(&self, domain: Domain, update: DomainUpdate) -> Result<(), AdminError> {
        change!(self, |tables| domains::update(&tables, &domain, &update))
    }

    async fn count_domain(&self, domain: Domain) -> Result<DomainCounts, AdminError> {
        list!(self, |tables| domains::count(&tables, &domain))
    }

    async fn delete_domain(&self, domain: Domain) -> Result<(), AdminError> {
        change!(self, |tables| demolition::delete(&tables, &domain))
    }

    async fn alias_domains(
        &self,
        which: Which,
        after: Option<String>,
    ) -> Result<Page<AliasDomainRecord>, AdminError> {
        list!(self, |tables| mirrors::list(&tables, &which, after.as_deref()))
    }

    async fn create_alias_domain(&self, record: AliasDomainRecord) -> Result<(), AdminError> {
        change!(self, |tables| mirrors::create(&tables, &record))
    }

    async fn update_alias_domain(&self, domain: Domain, update: AliasDomainUpdate) -> Result<(), AdminError> {
        change!(self, |tables| mirrors::update(&tables, &domain, &update))
    }

    async fn delete_alias_domain(&self, domain: Domain) -> Result<(), AdminError> {
        change!(self, |tables| mirrors::delete(&tables, &domain))
    }

    async fn mailboxes(
        &self,
        which: Which,
        after: Option<String>,
    ) -> Result<Page<MailboxRecord>, AdminError> {
        list!(self, |tables| mailboxes::list(&tables, &which, after.as_deref()))
    }

    async fn create_mailbox(&self, mailbox: NewMailbox) -> Result<(), AdminError> {
        let site = self.sites.current();
        let tables = Tables::of(&site).await.map_err(admin_error)?;
        mailboxes::create(&tables, &mailbox, None).await?;
        let password = self.hashed(&site, &mailbox.password).await?;
        change!(self, |tables| mailboxes::create(
            &tables,
            &mailbox,
            Some(&password)
        ))
    }

    async fn update_mailbox(&self, address: Address, update: MailboxUpdate) -> Result<(), AdminError> {
        change!(self, |tables| mailboxes::update(&tables, &address, &update))
    }

    async fn delete_mailbox(&self, address: Address) -> Result<(), AdminError> {
        change!(self, |tables| mailboxes::delete(&tables, &address))
    }

    async fn set_password(&self, address: Address, password: Secret) -> Result<(), AdminError> {
        let site = self.sites.current();
        let column = self.hashed(&site, &password).await?;
        let changed = change!(self, |tables| passwords::set(&tables, &address, column.clone()));
        if let (Ok(()), Some(logins)) = (&changed, &self.logins) {
            logins.password_changed(&address, &password, &column).await;
        }
        changed
    }

    async fn app_passwords(&self, address: Address) -> Result<Vec<AppPasswordRecord>, AdminError> {
        list!(self, |tables| passwords::list(&tables, &address))
    }

    async fn create_app_password(&self, new: NewAppPassword) -> Result<(), AdminError> {
        let site = self.sites.current();
        let tables = Tables::of(&site).await.map_err(admin_error)?;
        passwords::create_app(&tables, &new, None).await?;
        let password = self.hashed(&site, &new.password).await?;
        change!(self, |tables| passwords::create_app(
            &tables,
            &new,
            Some(&password)
        ))
    }

    async fn delete_app_password(&self, address: Address, id: i64) -> Result<(), AdminError> {
        change!(self, |tables| passwords::delete_app(&tables, &address, id))
    }

    async fn aliases(&self, which: Which, after: Option<String>) -> Result<Page<AliasRecord>, AdminError> {
        list!(self, |tables| aliases::list(&tables, &which, after.as_deref()))
    }

    async fn create_alias(&self, record: AliasRecord) -> Result<(), AdminError> {
        change!(self, |tables| aliases::create(&tables, &record))
    }

    async fn update_alias(&self, address: String, update: AliasUpdate) -> Result<(), AdminError> {
        change!(self, |tables| aliases::update(&tables, &address, &update))
    }

    async fn delete_alias(&self, address: String) -> Result<(), AdminError> {
        change!(self, |tables| aliases::delete(&tables, &address))
    }

    async fn administrators(
        &self,
        only: Option<String>,
        after: Option<String>,
    ) -> Result<Page<AdministratorRecord>, AdminError> {
        let which = only.map_or(Which::All, Which::One);
        list!(self, |tables| administrators::list(
            &tables,
            &which,
            after.as_deref()
        ))
    }

    async fn create_administrator(&self, new: NewAdministrator) -> Result<(), AdminError> {
        let site = self.sites.current();
        let tables = Tables::of(&site).await.map_err(admin_error)?;
        administrators::create(&tables, &new, None).await?;
        let password = self.hashed(&site, &new.password).await?;
        change!(self, |tables| administrators::create(
            &tables,
            &new,
            Some(&password)
        ))
    }

    async fn update_administrator(
        &self,
        username: String,
        update: AdministratorUpdate,
    ) -> Result<(), AdminError> {
        change!(self, |tables| administrators::update(&tables, &username, &update))
    }

    async fn delete_administrator(&self, username: String) -> Result<(), AdminError> {
        change!(self, |tables| administrators::delete(&tables, &username))
    }

    async fn set_administrator_password(&self, username: String, password: Secret) -> Result<(), AdminError> {
        let site = self.sites.current();
        let password = self.hashed(&site, &password).await?;
        change!(self, |tables| administrators::set_password(
            &tables,
            &username,
            password.clone()
        ))
    }

    async fn vacations(
        &self,
        which: Which,
        after: Option<String>,
    ) -> Result<Page<VacationRecord>, AdminError> {
        list!(self, |tables| vacation::list(&tables, &which, after.as_deref()))
    }

    async fn set_vacation(&self, record: VacationRecord) -> Result<(), AdminError> {
        change!(self, |tables| vacation::set(&tables, &record))
    }

    async fn clear_vacation(&self, address: Address) -> Result<(), AdminError> {
        change!(self, |tables| vacation::clear(&tables, &address))
    }

    async fn fetchmail(
        &self,
        which: Which,
        after: Option<String>,
    ) -> Result<Page<FetchmailRecord>, AdminError> {
        list!(self, |tables| panel::fetchmail(&tables, &which, after.as_deref()))
    }

    async fn log(&self, domain: Option<Domain>, limit: u32) -> Result<Vec<LogEntry>, AdminError> {
        list!(self, |tables| panel::log(&tables, domain.as_ref(), limit))
    }

    async fn directory_state(&self) -> Result<DirectoryState, Unavailable> {
        Ok(state::of(&self.sites.current()).await)
    }

    async fn refresh_directory(&self) -> Result<DirectoryState, Unavailable> {
        let site = self.sites.current();
        if let Some(replica) = &site.replica {
            replica.request_refresh(true);
        }
        Ok(state::of(&site).await)
    }
}
