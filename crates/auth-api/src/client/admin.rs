//! The Admin service's methods of [`Client`]; they need the admin socket.

use mail_types::{Address, Domain, Secret};
use tonic::Response;
use tonic::transport::Channel;

use super::link::{Retry, connection_failed, unavailable};
use super::rows::Rows;
use super::{Client, MAX_ANSWER};
use crate::admin::{
    AdminError, AdministratorRecord, AdministratorUpdate, AliasDomainRecord, AliasDomainUpdate, AliasRecord,
    AliasUpdate, AppPasswordRecord, DirectoryState, DomainCounts, DomainRecord, DomainUpdate,
    FetchmailRecord, LogEntry, MailboxRecord, MailboxUpdate, NewAdministrator, NewAppPassword, NewMailbox,
    VacationRecord, Which,
};
use crate::convert::Malformed;
use crate::convert::admin::{
    alias_domain_update, alias_update, change_result, domain_update, list_error, mailbox_update,
};
use crate::convert::panel::administrator_update;
use crate::pb::admin as pb;
use crate::pb::admin::admin_client::AdminClient;
use crate::{ADMIN_TIMEOUT, DELETE_DOMAIN_TIMEOUT, Trace, Unavailable};

/// Makes a unary change and turns its answer into a result.
macro_rules! change {
    ($self:ident, $method:ident, $request:expr) => {
        change!($self, $method, $request, ADMIN_TIMEOUT)
    };
    ($self:ident, $method:ident, $request:expr, $timeout:expr) => {{
        let request = $request;
        let answer = $self
            .inner
            .questions
            .call(
                request,
                Trace::default(),
                $timeout,
                Retry::No,
                async |channel, request| admin(channel).$method(request).await,
            )
            .await?;
        change_result(answer)
    }};
}

/// Opens a list.
macro_rules! list {
    ($self:ident, $method:ident, $request:expr) => {{
        let (client, request) = ($self.clone(), $request);
        Rows::new(async move {
            client
                .inner
                .questions
                .call(
                    request,
                    Trace::default(),
                    ADMIN_TIMEOUT,
                    Retry::Yes,
                    async |channel, request| admin(channel).$method(request).await,
                )
                .await
        })
    }};
}

impl Client {
    /// All domains by name, or one.
    pub fn domains(&self, only: Option<&Domain>) -> Rows<DomainRecord> {
        let domain = only.map(ToString::to_string).unwrap_or_default();
        list!(self, list_domains, pb::ListDomainsRequest { domain })
    }

    /// Adds a domain; with `alias_of` the alias domain row too.
    pub async fn create_domain(&self, record: DomainRecord) -> Result<(), AdminError> {
        change!(self, create_domain, pb::Domain::from(record))
    }

    /// Changes a domain.
    pub async fn update_domain(&self, domain: &Domain, update: DomainUpdate) -> Result<(), AdminError> {
        change!(self, update_domain, domain_update(domain, update))
    }

    /// How much is in a domain.
    pub async fn count_domain(&self, domain: &Domain) -> Result<DomainCounts, AdminError> {
        let questions = &self.inner.questions;
        let (request, trace) = (name(domain.to_string()), Trace::default());
        let answer = questions
            .call(
                request,
                trace,
                ADMIN_TIMEOUT,
                Retry::Yes,
                async |channel, request| match admin(channel).count_domain(request).await {
                    Ok(counts) => Ok(Response::new(Ok(counts.into_inner()))),
                    Err(status) if connection_failed(&status) => Err(status),
                    Err(status) => Ok(Response::new(Err(status))),
                },
            )
            .await?;
        let counts = answer.map_err(|status| list_error(&status, unavailable(&status)))?;
        Ok(counts.into())
    }

    /// Deletes a domain with its mailboxes, aliases and alias domain rows. Maildirs stay. Waits at most
    /// [`DELETE_DOMAIN_TIMEOUT`].
    pub async fn delete_domain(&self, domain: &Domain) -> Result<(), AdminError> {
        change!(
            self,
            delete_domain,
            name(domain.to_string()),
            DELETE_DOMAIN_TIMEOUT
        )
    }

    /// Alias domains by name; those of a domain are those that mirror it.
    pub fn alias_domains(&self, which: Which) -> Rows<AliasDomainRecord> {
        list!(self, list_alias_domains, pb::ListRequest::from(which))
    }

    /// Makes one domain mirror another.
    pub async fn create_alias_domain(&self, record: AliasDomainRecord) -> Result<(), AdminError> {
        change!(self, create_alias_domain, pb::AliasDomain::from(record))
    }

    /// Changes whom `alias_domain` mirrors, or whether.
    pub async fn update_alias_domain(
        &self,
        alias_domain: &Domain,
        update: AliasDomainUpdate,
    ) -> Result<(), AdminError> {
        change!(
            self,
            update_alias_domain,
            alias_domain_update(alias_domain, update)
        )
    }

    /// Ends the mirroring of `alias_domain`.
    pub async fn delete_alias_domain(&self, alias_domain: &Domain) -> Result<(), AdminError> {
        change!(self, delete_alias_domain, name(alias_domain.to_string()))
    }

    /// Mailboxes, by address.
    pub fn mailboxes(&self, which: Which) -> Rows<MailboxRecord> {
        list!(self, list_mailboxes, pb::ListRequest::from(which))
    }

    /// Adds a mailbox, with the alias row for it.
    pub async fn create_mailbox(&self, mailbox: NewMailbox) -> Result<(), AdminError> {
        change!(self, create_mailbox, pb::NewMailbox::from(mailbox))
    }

    /// Changes a mailbox.
    pub async fn update_mailbox(&self, address: &Address, update: MailboxUpdate) -> Result<(), AdminError> {
        change!(self, update_mailbox, mailbox_update(address, update))
    }

    /// Deletes a mailbox, its alias row, and its mention in other aliases. The Maildir stays.
    pub async fn delete_mailbox(&self, address: &Address) -> Result<(), AdminError> {
        change!(self, delete_mailbox, name(address.to_string()))
    }

    /// Sets a mailbox's password.
    pub async fn set_password(&self, address: &Address, password: Secret) -> Result<(), AdminError> {
        let request = pb::SetPasswordRequest {
            address: address.to_string(),
            password: password.expose().to_vec(),
        };
        change!(self, set_password, request)
    }

    /// The app passwords of a mailbox.
    pub async fn app_passwords(&self, address: &Address) -> Result<Vec<AppPasswordRecord>, AdminError> {
        let rows = list!(self, list_app_passwords, name(address.to_string()));
        rows.all().await
    }

    /// Adds an app password to a mailbox.
    pub async fn create_app_password(&self, new: NewAppPassword) -> Result<(), AdminError> {
        change!(self, create_app_password, pb::NewAppPassword::from(new))
    }

    /// Deletes an app password of a mailbox.
    pub async fn delete_app_password(&self, address: &Address, id: i64) -> Result<(), AdminError> {
        let address = address.to_string();
        change!(self, delete_app_password, pb::AppPasswordKey { address, id })
    }

    /// Aliases, by address.
    pub fn aliases(&self, which: Which) -> Rows<AliasRecord> {
        list!(self, list_aliases, pb::ListRequest::from(which))
    }

    /// Adds an alias.
    pub async fn create_alias(&self, record: AliasRecord) -> Result<(), AdminError> {
        change!(self, create_alias, pb::Alias::from(record))
    }

    /// Changes the alias of `address` (or `@domain`).
    pub async fn update_alias(&self, address: &str, update: AliasUpdate) -> Result<(), AdminError> {
        change!(self, update_alias, alias_update(address, update))
    }

    /// Deletes the alias of `address` (or `@domain`).
    pub async fn delete_alias(&self, address: &str) -> Result<(), AdminError> {
        change!(self, delete_alias, name(address.to_string()))
    }

    /// All administrators by name, or one.
    pub fn administrators(&self, only: Option<&str>) -> Rows<AdministratorRecord> {
        let username = only.unwrap_or_default().to_owned();
        list!(
            self,
            list_administrators,
            pb::ListAdministratorsRequest { username }
        )
    }

    /// Adds an administrator.
    pub async fn create_administrator(&self, new: NewAdministrator) -> Result<(), AdminError> {
        change!(self, create_administrator, pb::NewAdministrator::from(new))
    }

    /// Changes an administrator.
    pub async fn update_administrator(
        &self,
        username: &str,
        update: AdministratorUpdate,
    ) -> Result<(), AdminError> {
        change!(
            self,
            update_administrator,
            administrator_update(username, &update)
        )
    }

    /// Deletes an administrator.
    pub async fn delete_administrator(&self, username: &str) -> Result<(), AdminError> {
        change!(self, delete_administrator, name(username.to_owned()))
    }

    /// Sets an administrator's password.
    pub async fn set_administrator_password(
        &self,
        username: &str,
        password: Secret,
    ) -> Result<(), AdminError> {
        let request = pb::SetPasswordRequest {
            address: username.to_owned(),
            password: password.expose().to_vec(),
        };
        change!(self, set_administrator_password, request)
    }

    /// Automatic replies, by address; those that are off too.
    pub fn vacations(&self, which: Which) -> Rows<VacationRecord> {
        list!(self, list_vacations, pb::ListRequest::from(which))
    }

    /// Turns an automatic reply on.
    pub async fn set_vacation(&self, record: VacationRecord) -> Result<(), AdminError> {
        change!(self, set_vacation, pb::Vacation::from(record))
    }

    /// Turns the automatic reply of `address` off; its text stays.
    pub async fn clear_vacation(&self, address: &Address) -> Result<(), AdminError> {
        change!(self, clear_vacation, name(address.to_string()))
    }

    /// Rows of fetchmail, by number; the one of an address are those of that mailbox.
    pub fn fetchmail(&self, which: Which) -> Rows<FetchmailRecord> {
        list!(self, list_fetchmail, pb::ListRequest::from(which))
    }

    /// What administrators did last, in all domains or one; latest first, at most `limit` entries.
    pub async fn log(&self, domain: Option<&Domain>, limit: u32) -> Result<Vec<LogEntry>, AdminError> {
        let domain = domain.map(ToString::to_string).unwrap_or_default();
        let rows = list!(self, list_log, pb::ListLogRequest { domain, limit });
        rows.all().await
    }

    /// Where the rows come from now.
    pub async fn directory_state(&self) -> Result<DirectoryState, Unavailable> {
        let call = async |channel, request| admin(channel).directory_status(request).await;
        let questions = &self.inner.questions;
        let (request, trace) = (pb::DirectoryStatusRequest {}, Trace::default());
        let answer = questions
            .call(request, trace, ADMIN_TIMEOUT, Retry::Yes, call)
            .await?;
        answer.try_into().map_err(malformed)
    }

    /// Begins to bring the copy up to date; the answer is the state meanwhile.
    pub async fn refresh_directory(&self) -> Result<DirectoryState, Unavailable> {
        let call = async |channel, request| admin(channel).refresh_directory(request).await;
        let questions = &self.inner.questions;
        let (request, trace) = (pb::RefreshDirectoryRequest {}, Trace::default());
        let answer = questions
            .call(request, trace, ADMIN_TIMEOUT, Retry::Yes, call)
            .await?;
        answer.try_into().map_err(malformed)
    }
}

fn admin(channel: Channel) -> AdminClient<Channel> {
    AdminClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

fn name(name: String) -> pb::Name {
    pb::Name { name }
}

fn malformed(error: impl Into<Malformed>) -> Unavailable {
    error.into().into()
}

impl From<std::convert::Infallible> for Malformed {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
