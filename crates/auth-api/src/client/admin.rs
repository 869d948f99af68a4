//! The Admin service's methods of [`Client`]; they need the admin socket.

use mail_types::{Address, Domain, Secret};
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::link::Retry;
use super::{Client, MAX_ANSWER};
use crate::admin::{
    AdminError, AdministratorRecord, AdministratorUpdate, AliasDomainRecord, AliasDomainUpdate, AliasRecord,
    AliasUpdate, AppPasswordRecord, DirectoryState, DomainRecord, DomainUpdate, FetchmailRecord, LogEntry,
    MailboxRecord, MailboxUpdate, NewAdministrator, NewAppPassword, NewMailbox, VacationRecord,
};
use crate::convert::Malformed;
use crate::convert::admin::{
    alias_domain_update, alias_update, change_result, domain_update, mailbox_update,
};
use crate::convert::panel::administrator_update;
use crate::pb::admin as pb;
use crate::pb::admin::admin_client::AdminClient;
use crate::{ADMIN_TIMEOUT, Trace, Unavailable};

/// Makes a unary change and turns its answer into a result.
macro_rules! change {
    ($self:ident, $method:ident, $request:expr) => {{
        let request = $request;
        let answer = $self
            .inner
            .questions
            .call(
                request,
                Trace::default(),
                ADMIN_TIMEOUT,
                Retry::No,
                async |channel, request| admin(channel).$method(request).await,
            )
            .await?;
        change_result(answer)
    }};
}

/// Collects a list; the whole of it, or an error.
macro_rules! list {
    ($self:ident, $method:ident, $request:expr) => {{
        let request = $request;
        $self
            .inner
            .questions
            .call(
                request,
                Trace::default(),
                ADMIN_TIMEOUT,
                Retry::Yes,
                async |channel, request| collect(admin(channel).$method(request).await?).await,
            )
            .await?
            .into_iter()
            .map(|row| row.try_into().map_err(malformed))
            .collect()
    }};
}

impl Client {
    /// All domains, by name.
    pub async fn domains(&self) -> Result<Vec<DomainRecord>, Unavailable> {
        list!(self, list_domains, pb::ListDomainsRequest {})
    }

    /// Adds a domain; with `alias_of` the alias domain row too.
    pub async fn create_domain(&self, record: DomainRecord) -> Result<(), AdminError> {
        change!(self, create_domain, pb::Domain::from(record))
    }

    /// Changes a domain.
    pub async fn update_domain(&self, domain: &Domain, update: DomainUpdate) -> Result<(), AdminError> {
        change!(self, update_domain, domain_update(domain, update))
    }

    /// Deletes a domain with its mailboxes, aliases and alias domain rows. Maildirs stay.
    pub async fn delete_domain(&self, domain: &Domain) -> Result<(), AdminError> {
        change!(self, delete_domain, name(domain.to_string()))
    }

    /// All alias domains, or those that mirror `target`.
    pub async fn alias_domains(
        &self,
        target: Option<&Domain>,
    ) -> Result<Vec<AliasDomainRecord>, Unavailable> {
        list!(self, list_alias_domains, list_request(target))
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

    /// All mailboxes, or those of one domain, by address.
    pub async fn mailboxes(&self, domain: Option<&Domain>) -> Result<Vec<MailboxRecord>, Unavailable> {
        list!(self, list_mailboxes, list_request(domain))
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
    pub async fn app_passwords(&self, address: &Address) -> Result<Vec<AppPasswordRecord>, Unavailable> {
        list!(self, list_app_passwords, name(address.to_string()))
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

    /// All aliases, or those of one domain, by address.
    pub async fn aliases(&self, domain: Option<&Domain>) -> Result<Vec<AliasRecord>, Unavailable> {
        list!(self, list_aliases, list_request(domain))
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

    /// All administrators, by name.
    pub async fn administrators(&self) -> Result<Vec<AdministratorRecord>, Unavailable> {
        list!(self, list_administrators, pb::ListAdministratorsRequest {})
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

    /// All automatic replies, or those of one domain; those that are off too.
    pub async fn vacations(&self, domain: Option<&Domain>) -> Result<Vec<VacationRecord>, Unavailable> {
        list!(self, list_vacations, list_request(domain))
    }

    /// Turns an automatic reply on.
    pub async fn set_vacation(&self, record: VacationRecord) -> Result<(), AdminError> {
        change!(self, set_vacation, pb::Vacation::from(record))
    }

    /// Turns the automatic reply of `address` off; its text stays.
    pub async fn clear_vacation(&self, address: &Address) -> Result<(), AdminError> {
        change!(self, clear_vacation, name(address.to_string()))
    }

    /// All rows of fetchmail, or those of one domain.
    pub async fn fetchmail(&self, domain: Option<&Domain>) -> Result<Vec<FetchmailRecord>, Unavailable> {
        list!(self, list_fetchmail, list_request(domain))
    }

    /// What administrators did last, in all domains or one; latest first, at most `limit` entries.
    pub async fn log(&self, domain: Option<&Domain>, limit: u32) -> Result<Vec<LogEntry>, Unavailable> {
        let domain = domain.map(ToString::to_string).unwrap_or_default();
        list!(self, list_log, pb::ListLogRequest { domain, limit })
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

fn list_request(domain: Option<&Domain>) -> pb::ListRequest {
    pb::ListRequest {
        domain: domain.map(ToString::to_string).unwrap_or_default(),
    }
}

fn malformed(error: impl Into<Malformed>) -> Unavailable {
    error.into().into()
}

/// Reads a stream to its end.
async fn collect<T>(response: Response<Streaming<T>>) -> Result<Response<Vec<T>>, Status> {
    let mut stream = response.into_inner();
    let mut rows = Vec::new();
    while let Some(row) = stream.message().await? {
        rows.push(row);
    }
    Ok(Response::new(rows))
}

impl From<std::convert::Infallible> for Malformed {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
