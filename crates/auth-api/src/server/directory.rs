//! `postrider.directory.v1.Directory`: translation only.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::allow::{Method, check};
use super::{Directory, trace, within};
use crate::convert::address;
use crate::pb::directory as pb;
use crate::{CALL_DEADLINE, Role};

pub struct Service<D> {
    pub role: Role,
    pub directory: Arc<D>,
}

#[tonic::async_trait]
impl<D: Directory> pb::directory_server::Directory for Service<D> {
    async fn resolve_recipient(
        &self,
        request: Request<pb::ResolveRecipientRequest>,
    ) -> Result<Response<pb::ResolveRecipientResponse>, Status> {
        check(self.role, Method::ResolveRecipient)?;
        let trace = trace(&request);
        let recipient = request.into_inner().try_into()?;
        let answer = within(CALL_DEADLINE, self.directory.resolve(recipient, trace)).await?;
        Ok(Response::new(answer.into()))
    }

    async fn route(&self, request: Request<pb::RouteRequest>) -> Result<Response<pb::RouteResponse>, Status> {
        check(self.role, Method::Route)?;
        let trace = trace(&request);
        let address = address(&request.into_inner().final_address)?;
        let answer = within(CALL_DEADLINE, self.directory.route(address, trace)).await?;
        Ok(Response::new(answer.into()))
    }

    async fn lookup_mailbox(
        &self,
        request: Request<pb::LookupMailboxRequest>,
    ) -> Result<Response<pb::LookupMailboxResponse>, Status> {
        check(self.role, Method::LookupMailbox)?;
        let trace = trace(&request);
        let address = address(&request.into_inner().final_address)?;
        let answer = within(CALL_DEADLINE, self.directory.lookup_mailbox(address, trace)).await?;
        Ok(Response::new(answer.into()))
    }

    async fn check_sender_login(
        &self,
        request: Request<pb::CheckSenderLoginRequest>,
    ) -> Result<Response<pb::CheckSenderLoginResponse>, Status> {
        check(self.role, Method::CheckSenderLogin)?;
        let trace = trace(&request);
        let request = request.into_inner();
        let (login, sender) = (address(&request.login)?, address(&request.sender)?);
        let work = self.directory.check_sender_login(login, sender, trace);
        let answer = within(CALL_DEADLINE, work).await?;
        Ok(Response::new(answer.into()))
    }

    async fn check_access(
        &self,
        request: Request<pb::CheckAccessRequest>,
    ) -> Result<Response<pb::CheckAccessResponse>, Status> {
        check(self.role, Method::CheckAccess)?;
        let trace = trace(&request);
        let question = request.into_inner().try_into()?;
        let answer = within(CALL_DEADLINE, self.directory.check_access(question, trace)).await?;
        Ok(Response::new(answer.into()))
    }

    async fn vacation(
        &self,
        request: Request<pb::VacationRequest>,
    ) -> Result<Response<pb::VacationResponse>, Status> {
        check(self.role, Method::Vacation)?;
        let trace = trace(&request);
        let address = address(&request.into_inner().address)?;
        let answer = within(CALL_DEADLINE, self.directory.vacation(address, trace)).await?;
        Ok(Response::new(answer.into()))
    }

    async fn usage(&self, request: Request<pb::UsageRequest>) -> Result<Response<pb::UsageResponse>, Status> {
        check(self.role, Method::Usage)?;
        let trace = trace(&request);
        let address = address(&request.into_inner().address)?;
        let answer = within(CALL_DEADLINE, self.directory.usage(address, trace)).await?;
        Ok(Response::new(answer.into()))
    }

    async fn explain(
        &self,
        request: Request<pb::ExplainRequest>,
    ) -> Result<Response<pb::ExplainResponse>, Status> {
        check(self.role, Method::Explain)?;
        let question = request.into_inner().try_into()?;
        let explanation = async { Ok(self.directory.explain(question).await) };
        Ok(Response::new(within(CALL_DEADLINE, explanation).await?.into()))
    }
}
