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
fn restriction(request: &pb::ListRequest) -> Result<Option<Domain>, Status> {
    Ok((!request.domain.is_empty())
        .then(|| domain(&request.domain))
        .transpose()?)
}

#[tonic::async_trait]
impl<A: Admin> pb::admin_server::Admin for Service<A> {
    type ListDomainsStream = Rows<pb::Domain>;
    type ListAliasDomainsStream = Rows<pb::AliasDomain>;
    type ListMailboxesStream = Rows<pb::Mailbox>;
    type ListAliasesStream = Rows<pb::Alias>;

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
        list(admin.alias_domains(restriction(&request)?)).await
    }

    async fn create_alias_domain(&self, request: Request<pb::AliasDomain>) -> Changed {
        let (admin, request) = self.open(request)?;
        change(admin.create_alias_domain(request.try_into()?)).await
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
        list(admin.mailboxes(restriction(&request)?)).await
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

    async fn list_aliases(
        &self,
        request: Request<pb::ListRequest>,
    ) -> Result<Response<Self::ListAliasesStream>, Status> {
        let (admin, request) = self.open(request)?;
        list(admin.aliases(restriction(&request)?)).await
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
}
