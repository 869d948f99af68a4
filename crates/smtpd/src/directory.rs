//! What smtpd asks authd, as a small trait, and the real client behind it.

use std::future::Future;

use auth_api::client::{Client, Exchange};
use auth_api::directory::{Resolution, SenderLogin};
use auth_api::sasl::{Account, LoginContext, LoginStep, Validity};
use auth_api::{Trace, Unavailable, access};
use mail_types::{Address, Secret};
use smtp_proto::command::RcptPath;

/// The questions of an SMTP session. No answer is a temporary failure, never a refusal.
pub trait Directory: Send + Sync + 'static {
    /// A login in progress.
    type Login: Login;

    /// Where a recipient delivers.
    fn resolve(
        &self,
        recipient: &RcptPath,
        trace: Trace,
    ) -> impl Future<Output = Result<Resolution, Unavailable>> + Send;

    /// Whether a login may send as an address.
    fn check_sender_login(
        &self,
        login: &Address,
        sender: &Address,
        trace: Trace,
    ) -> impl Future<Output = Result<SenderLogin, Unavailable>> + Send;

    /// Whether the session of this login may go on.
    fn still_valid(&self, login: &Account) -> impl Future<Output = Result<Validity, Unavailable>> + Send;

    /// What the access(5) tables say.
    fn check_access(
        &self,
        question: access::Question,
        trace: Trace,
    ) -> impl Future<Output = Result<access::Answer, Unavailable>> + Send;

    /// The mechanisms to announce, best first.
    fn mechanisms(
        &self,
        context: &LoginContext,
    ) -> impl Future<Output = Result<Vec<String>, Unavailable>> + Send;

    /// Starts a login.
    fn login(
        &self,
        context: &LoginContext,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> impl Future<Output = (LoginStep, Self::Login)> + Send;
}

/// A login after its first step; dropped, it is abandoned.
pub trait Login: Send + Sync {
    /// The next step.
    fn next(&mut self, response: Secret) -> impl Future<Output = LoginStep> + Send;
}

impl Directory for Client {
    type Login = Exchange;

    async fn resolve(&self, recipient: &RcptPath, trace: Trace) -> Result<Resolution, Unavailable> {
        match recipient {
            RcptPath::Address(address) => Self::resolve(self, address, trace).await,
            RcptPath::Postmaster => self.resolve_postmaster(trace).await,
        }
    }

    async fn check_sender_login(
        &self,
        login: &Address,
        sender: &Address,
        trace: Trace,
    ) -> Result<SenderLogin, Unavailable> {
        Self::check_sender_login(self, login, sender, trace).await
    }

    async fn check_access(
        &self,
        question: access::Question,
        trace: Trace,
    ) -> Result<access::Answer, Unavailable> {
        Self::check_access(self, question, trace).await
    }

    async fn still_valid(&self, login: &Account) -> Result<Validity, Unavailable> {
        let session = (login.address.clone(), login.revision);
        let answers = Self::still_valid(self, vec![session]).await?;
        let answer = answers.into_iter().next();
        answer.ok_or_else(|| Unavailable::new("StillValid: no answer for the session"))
    }

    async fn mechanisms(&self, context: &LoginContext) -> Result<Vec<String>, Unavailable> {
        Self::mechanisms(self, context).await
    }

    async fn login(
        &self,
        context: &LoginContext,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> (LoginStep, Exchange) {
        Self::login(self, context, mechanism, initial).await
    }
}

impl Login for Exchange {
    async fn next(&mut self, response: Secret) -> LoginStep {
        Self::next(self, response).await
    }
}
