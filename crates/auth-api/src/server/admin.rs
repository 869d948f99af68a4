//! `postrider.admin.v1.Admin`: translation only.

use std::sync::Arc;
use std::time::Duration;

use mail_types::{Domain, Secret};
use tonic::{Request, Response, Status};

use super::allow::{Method, check};
use super::{Admin, within};
use crate::admin::AdminError;
use crate::convert::admin::change_response;
use crate::convert::{address, domain};
use crate::pb::admin as pb;
use crate::{ADMIN_TIMEOUT, Role};

/// authd gives up a little before the client does, so that the client hears why.
const DEADLINE: Duration = ADMIN_TIMEOUT.saturating_sub(Duration::from_secs(1));

pub struct Service<A> {
    pub role: Role,
    pub admin: Arc<A>,
}

type Rows<T> = futures_util::stream::Iter<std::vec::IntoIter<Result<T, Status>>>;
type Changed = Result<Response<pb::ChangeResponse>, Status>;

impl<A: Admin> Service<A> {
    /// What every method begins with.
    fn open<T>(&self, request: Request<T>) -> Result<(&A, T), Status> {
        check(self.role, Method::Admin)?;
        Ok((&self.admin, request.into_inner()))
    }
}

/// Runs a change within its deadline.
async fn change(work: impl Future<Output = Result<(), AdminError>>) -> Changed {
    let result = within(DEADLINE, async { Ok(work.await) }).await?;
    change_response(result).map(Response::new)
}

/// Runs a list within its deadline.
async fn list<R, T: From<R>>(
    work: impl Future<Output = Result<Vec<R>, crate::Unavailable>>,
) -> Result<Response<Rows<T>>, Status> {
    let rows: Vec<Result<T, Status>> = within(DEADLINE, work)
        .await?
        .into_iter()
        .map(|row| Ok(row.into()))
        .collect();
    Ok(Response::new(futures_util::stream::iter(rows)))
}

/// The domain that a list is restricted to.
fn restriction(name: &str) -> Result<Option<Domain>, Status> {
    Ok((!name.is_empty()).then(|| domain(name)).transpose()?)
}

#[tonic::async_trait]
impl<A: Admin> pb::admin_server::Admin for Service<A> {
    type ListDomainsStream = Rows<pb::Domain>;
    type ListAliasDomainsStream = Rows<pb::AliasDomain>;
    type ListMailboxesStream = Rows<pb::Mailbox>;
    type ListAliasesStream = Rows<pb::Alias>;
    type ListAppPasswordsStream = Rows<pb::AppPassword>;
    type ListAdministratorsStream = Rows<pb::Administrator>;
    type ListVacationsStream = Rows<pb::Vacation>;
    type ListFetchmailStream = Rows<pb::Fetchmail>;
    type ListLogStream = Rows<pb::LogEntry>;

    async fn list_domains(
        &self,
        request: Request<pb::ListDomainsRequest>,
    ) -> Result<Response<Self::ListDomainsStream>, Status> {
        let (admin, _) = self.open(request)?;
        list(admin.domains()).await
    }

    async fn create_domain(&self, request: Request<pb::Domain>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.create_domain(request.try_into()?)).await
    }

    async fn update_domain(&self, request: Request<pb::DomainUpdate>) -> Changed {
        let (admin, request) = self.open(request)?;
        let (name, update) = request.try_into()?;
        change(admin.update_domain(name, update)).await
    }

    async fn delete_domain(&self, request: Request<pb::Name>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.delete_domain(domain(&request.name)?)).await
    }

    async fn list_alias_domains(
        &self,
        request: Request<pb::ListRequest>,
    ) -> Result<Response<Self::ListAliasDomainsStream>, Status> {
        let (admin, request) = self.open(request)?;
        list(admin.alias_domains(restriction(&request.domain)?)).await
    }

    async fn create_alias_domain(&self, request: Request<pb::AliasDomain>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.create_alias_domain(request.try_into()?)).await
    }

    async fn update_alias_domain(&self, request: Request<pb::AliasDomainUpdate>) -> Changed {
        let (admin, request) = self.open(request)?;
        let (name, update) = request.try_into()?;
        change(admin.update_alias_domain(name, update)).await
    }

    async fn delete_alias_domain(&self, request: Request<pb::Name>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.delete_alias_domain(domain(&request.name)?)).await
    }

    async fn list_mailboxes(
        &self,
        request: Request<pb::ListRequest>,
    ) -> Result<Response<Self::ListMailboxesStream>, Status> {
        let (admin, request) = self.open(request)?;
        list(admin.mailboxes(restriction(&request.domain)?)).await
    }

    async fn create_mailbox(&self, request: Request<pb::NewMailbox>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.create_mailbox(request.try_into()?)).await
    }

    async fn update_mailbox(&self, request: Request<pb::MailboxUpdate>) -> Changed {
        let (admin, request) = self.open(request)?;
        let (name, update) = request.try_into()?;
        change(admin.update_mailbox(name, update)).await
    }

    async fn delete_mailbox(&self, request: Request<pb::Name>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.delete_mailbox(address(&request.name)?)).await
    }

    async fn set_password(&self, request: Request<pb::SetPasswordRequest>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.set_password(address(&request.address)?, Secret::new(request.password))).await
    }

    async fn list_app_passwords(
        &self,
        request: Request<pb::Name>,
    ) -> Result<Response<Self::ListAppPasswordsStream>, Status> {
        let (admin, request) = self.open(request)?;
        list(admin.app_passwords(address(&request.name)?)).await
    }

    async fn create_app_password(&self, request: Request<pb::NewAppPassword>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.create_app_password(request.try_into()?)).await
    }

    async fn delete_app_password(&self, request: Request<pb::AppPasswordKey>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.delete_app_password(address(&request.address)?, request.id)).await
    }

    async fn list_aliases(
        &self,
        request: Request<pb::ListRequest>,
    ) -> Result<Response<Self::ListAliasesStream>, Status> {
        let (admin, request) = self.open(request)?;
        list(admin.aliases(restriction(&request.domain)?)).await
    }

    async fn create_alias(&self, request: Request<pb::Alias>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.create_alias(request.into())).await
    }

    async fn update_alias(&self, request: Request<pb::AliasUpdate>) -> Changed {
        let (admin, request) = self.open(request)?;
        let (name, update) = request.into();
        change(admin.update_alias(name, update)).await
    }

    async fn delete_alias(&self, request: Request<pb::Name>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.delete_alias(request.name)).await
    }
    async fn list_administrators(
        &self,
        request: Request<pb::ListAdministratorsRequest>,
    ) -> Result<Response<Self::ListAdministratorsStream>, Status> {
        let (admin, _) = self.open(request)?;
        list(admin.administrators()).await
    }

    async fn create_administrator(&self, request: Request<pb::NewAdministrator>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.create_administrator(request.try_into()?)).await
    }

    async fn update_administrator(&self, request: Request<pb::AdministratorUpdate>) -> Changed {
        let (admin, request) = self.open(request)?;
        let (name, update) = request.try_into()?;
        change(admin.update_administrator(name, update)).await
    }

    async fn delete_administrator(&self, request: Request<pb::Name>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.delete_administrator(request.name)).await
    }

    async fn set_administrator_password(&self, request: Request<pb::SetPasswordRequest>) -> Changed {
        let (admin, request) = self.open(request)?;
        let password = Secret::new(request.password);
        change(admin.set_administrator_password(request.address, password)).await
    }

    async fn list_vacations(
        &self,
        request: Request<pb::ListRequest>,
    ) -> Result<Response<Self::ListVacationsStream>, Status> {
        let (admin, request) = self.open(request)?;
        list(admin.vacations(restriction(&request.domain)?)).await
    }

    async fn set_vacation(&self, request: Request<pb::Vacation>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.set_vacation(request.try_into()?)).await
    }

    async fn clear_vacation(&self, request: Request<pb::Name>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.clear_vacation(address(&request.name)?)).await
    }

    async fn list_fetchmail(
        &self,
        request: Request<pb::ListRequest>,
    ) -> Result<Response<Self::ListFetchmailStream>, Status> {
        let (admin, request) = self.open(request)?;
        list(admin.fetchmail(restriction(&request.domain)?)).await
    }

    async fn list_log(
        &self,
        request: Request<pb::ListLogRequest>,
    ) -> Result<Response<Self::ListLogStream>, Status> {
        let (admin, request) = self.open(request)?;
        list(admin.log(restriction(&request.domain)?, request.limit)).await
    }

    async fn directory_status(
        &self,
        request: Request<pb::DirectoryStatusRequest>,
    ) -> Result<Response<pb::DirectoryState>, Status> {
        let (admin, _) = self.open(request)?;
        let state = within(DEADLINE, admin.directory_state()).await?;
        Ok(Response::new(state.into()))
    }

    async fn refresh_directory(
        &self,
        request: Request<pb::RefreshDirectoryRequest>,
    ) -> Result<Response<pb::DirectoryState>, Status> {
        let (admin, _) = self.open(request)?;
        let state = within(DEADLINE, admin.refresh_directory()).await?;
        Ok(Response::new(state.into()))
    }
}
