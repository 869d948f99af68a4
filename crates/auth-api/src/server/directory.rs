//! `postrider.directory.v1.Directory`: translation only.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::allow::{Method, check};
use super::{Directory, trace, within};
use crate::convert::address;
use crate::directory::SenderLogin;
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
        Ok(Response::new(pb::CheckSenderLoginResponse {
            owned: answer == SenderLogin::Owned,
        }))
    }
}
