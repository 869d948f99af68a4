//! `postrider.admin.v1.Admin`: translation only.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use mail_types::{Domain, Secret};
use tonic::{Request, Response, Status};

use super::allow::{Method, check};
use super::{Admin, within, within_admin};
use crate::admin::{AdminError, Page};
use crate::convert::admin::change_response;
use crate::convert::{address, domain};
use crate::pb::admin as pb;
use crate::{ADMIN_TIMEOUT, DELETE_DOMAIN_TIMEOUT, Role};

/// authd gives up a little before the client does, so that the client hears why. Of a list each page has it.
const DEADLINE: Duration = ADMIN_TIMEOUT.saturating_sub(Duration::from_secs(1));

pub struct Service<A> {
    pub role: Role,
    pub admin: Arc<A>,
}

type Rows<T> = BoxStream<'static, Result<T, Status>>;
type Listed<T> = Result<Response<Rows<T>>, Status>;
type Changed = Result<Response<pb::ChangeResponse>, Status>;

impl<A: Admin> Service<A> {
    /// What every method begins with.
    fn open<T>(&self, request: Request<T>) -> Result<(&A, T), Status> {
        check(self.role, Method::Admin)?;
        Ok((&self.admin, request.into_inner()))
    }

    /// Answers with a list: its next page is read when the client has taken the one before.
    fn list<W, R, T, F>(&self, which: W, fetch: fn(Arc<A>, W, Option<String>) -> F) -> Listed<T>
    where
        W: Clone + Send + 'static,
        R: Send + 'static,
        T: From<R> + Send + 'static,
        F: Future<Output = Result<Page<R>, AdminError>> + Send + 'static,
    {
        check(self.role, Method::Admin)?;
        let admin = self.admin.clone();
        let pages = stream::try_unfold(Some(None), move |after: Option<Option<String>>| {
            let page = after.map(|after| fetch(admin.clone(), which.clone(), after));
            async move {
                let Some(page) = page else { return Ok(None) };
                let page = within_admin(DEADLINE, page).await?;
                let rows = page.rows.into_iter().map(|row| Ok(T::from(row)));
                Ok::<_, Status>(Some((stream::iter(rows), page.next.map(Some))))
            }
        });
        Ok(Response::new(pages.try_flatten().boxed()))
    }
}

/// Runs a change within its deadline.
async fn change(work: impl Future<Output = Result<(), AdminError>>) -> Changed {
    change_within(DEADLINE, work).await
}

async fn change_within(deadline: Duration, work: impl Future<Output = Result<(), AdminError>>) -> Changed {
    let result = within(deadline, async { Ok(work.await) }).await?;
    change_response(result).map(Response::new)
}

/// Answers with a list that is short.
async fn short<R, T: From<R> + Send + 'static>(
    work: impl Future<Output = Result<Vec<R>, AdminError>>,
) -> Listed<T> {
    let rows = within_admin(DEADLINE, work).await?;
    let rows: Vec<Result<T, Status>> = rows.into_iter().map(|row| Ok(row.into())).collect();
    Ok(Response::new(stream::iter(rows).boxed()))
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
        self.list(
            restriction(&request.into_inner().domain)?,
            |admin, only, after| async move { admin.domains(only, after).await },
        )
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

    async fn count_domain(&self, request: Request<pb::Name>) -> Result<Response<pb::DomainCounts>, Status> {
        let (admin, request) = self.open(request)?;
        let counts = within_admin(DEADLINE, admin.count_domain(domain(&request.name)?)).await?;
        Ok(Response::new(counts.into()))
    }

    async fn delete_domain(&self, request: Request<pb::Name>) -> Changed {
        let (admin, request) = self.open(request)?;
        let deadline = DELETE_DOMAIN_TIMEOUT.saturating_sub(Duration::from_secs(1));
        change_within(deadline, admin.delete_domain(domain(&request.name)?)).await
    }

    async fn list_alias_domains(
        &self,
        request: Request<pb::ListRequest>,
    ) -> Result<Response<Self::ListAliasDomainsStream>, Status> {
        self.list(
            request.into_inner().try_into()?,
            |admin, which, after| async move { admin.alias_domains(which, after).await },
        )
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
        self.list(
            request.into_inner().try_into()?,
            |admin, which, after| async move { admin.mailboxes(which, after).await },
        )
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
        short(admin.app_passwords(address(&request.name)?)).await
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
        self.list(
            request.into_inner().try_into()?,
            |admin, which, after| async move { admin.aliases(which, after).await },
        )
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
        let only = Some(request.into_inner().username).filter(|name| !name.is_empty());
        self.list(only, |admin, only, after| async move {
            admin.administrators(only, after).await
        })
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
        self.list(
            request.into_inner().try_into()?,
            |admin, which, after| async move { admin.vacations(which, after).await },
        )
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
        self.list(
            request.into_inner().try_into()?,
            |admin, which, after| async move { admin.fetchmail(which, after).await },
        )
    }

    async fn list_log(
        &self,
        request: Request<pb::ListLogRequest>,
    ) -> Result<Response<Self::ListLogStream>, Status> {
        let (admin, request) = self.open(request)?;
        short(admin.log(restriction(&request.domain)?, request.limit)).await
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
