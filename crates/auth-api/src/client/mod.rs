//! The client: one cheap handle, cloned into every session of a daemon.

mod admin;
mod exchange;
mod link;
mod mechanisms;
mod rows;
mod sasl;
mod sessions;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use mail_types::Address;

use self::link::{Link, Retry};
use crate::access;
use crate::directory::{
    Explanation, MailboxAnswer, Question, Recipient, Resolution, Route, SenderLogin, Usage, Vacation,
};
use crate::pb::directory as pb;
use crate::pb::directory::directory_client::DirectoryClient;
use crate::{CALL_TIMEOUT, Trace, Unavailable};

pub use self::exchange::Exchange;
pub use self::mechanisms::Mechanisms;
pub use self::rows::Rows;
pub use self::sessions::{OpenSession, Sessions};

/// Answers are at most this long.
const MAX_ANSWER: usize = 4 << 20;

/// Asks authd. Cloning is cheap and shares the connections: one for questions, one for logins.
///
/// Nothing is opened before the first call, so this may be made before authd runs; a connection that broke
/// is opened again by the next call. All methods need a tokio runtime.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    questions: Link,
    logins: Link,
}

impl Client {
    /// A client of the role's socket, `run_dir/authd/ROLE/sock`.
    pub fn connect(socket: impl Into<PathBuf>) -> Self {
        let socket = socket.into();
        Self {
            inner: Arc::new(Inner {
                questions: Link::new(socket.clone()),
                logins: Link::new(socket),
            }),
        }
    }

    /// Where an envelope recipient delivers (roles smtpd, qmgr, admin).
    pub async fn resolve(&self, recipient: &Address, trace: Trace) -> Result<Resolution, Unavailable> {
        self.resolve_recipient(&Recipient::Address(recipient.clone()), trace)
            .await
    }

    /// Where bare `<postmaster>` delivers (roles smtpd, qmgr, admin).
    pub async fn resolve_postmaster(&self, trace: Trace) -> Result<Resolution, Unavailable> {
        self.resolve_recipient(&Recipient::Postmaster, trace).await
    }

    async fn resolve_recipient(
        &self,
        recipient: &Recipient,
        trace: Trace,
    ) -> Result<Resolution, Unavailable> {
        let request = pb::ResolveRecipientRequest::from(recipient);
        let answer = self
            .inner
            .questions
            .call(
                request,
                trace,
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| directory(channel).resolve_recipient(request).await,
            )
            .await?;
        Ok(answer.try_into()?)
    }

    /// Transport and next hop of a final address (roles qmgr, admin).
    pub async fn route(&self, final_address: &Address, trace: Trace) -> Result<Route, Unavailable> {
        let request = pb::RouteRequest {
            final_address: final_address.to_string(),
        };
        let answer = self
            .inner
            .questions
            .call(
                request,
                trace,
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| directory(channel).route(request).await,
            )
            .await?;
        Ok(answer.try_into()?)
    }

    /// Where the mailbox of a final address lies (roles deliver, imapd, pop3d, admin).
    pub async fn lookup_mailbox(
        &self,
        final_address: &Address,
        trace: Trace,
    ) -> Result<MailboxAnswer, Unavailable> {
        let request = pb::LookupMailboxRequest {
            final_address: final_address.to_string(),
        };
        let answer = self
            .inner
            .questions
            .call(
                request,
                trace,
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| directory(channel).lookup_mailbox(request).await,
            )
            .await?;
        Ok(answer.try_into()?)
    }

    /// Whether a login may send as an address (roles smtpd, admin).
    pub async fn check_sender_login(
        &self,
        login: &Address,
        sender: &Address,
        trace: Trace,
    ) -> Result<SenderLogin, Unavailable> {
        let request = pb::CheckSenderLoginRequest {
            login: login.to_string(),
            sender: sender.to_string(),
        };
        let answer = self
            .inner
            .questions
            .call(
                request,
                trace,
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| directory(channel).check_sender_login(request).await,
            )
            .await?;
        Ok(answer.into())
    }

    /// What the access(5) tables say (roles smtpd, admin).
    pub async fn check_access(
        &self,
        question: access::Question,
        trace: Trace,
    ) -> Result<access::Answer, Unavailable> {
        let request = pb::CheckAccessRequest::from(question);
        let answer = self
            .inner
            .questions
            .call(
                request,
                trace,
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| directory(channel).check_access(request).await,
            )
            .await?;
        Ok(answer.try_into()?)
    }

    /// The absence notice of an address (roles deliver, admin).
    pub async fn vacation(&self, address: &Address, trace: Trace) -> Result<Option<Vacation>, Unavailable> {
        let request = pb::VacationRequest {
            address: address.to_string(),
        };
        let answer = self
            .inner
            .questions
            .call(
                request,
                trace,
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| directory(channel).vacation(request).await,
            )
            .await?;
        Ok(answer.try_into()?)
    }

    /// How full a mailbox is, as the tables say (role admin).
    pub async fn usage(&self, address: &Address, trace: Trace) -> Result<Usage, Unavailable> {
        let request = pb::UsageRequest {
            address: address.to_string(),
        };
        let answer = self
            .inner
            .questions
            .call(
                request,
                trace,
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| directory(channel).usage(request).await,
            )
            .await?;
        Ok(answer.try_into()?)
    }

    /// The answer to a question with its whole reasoning (role admin).
    pub async fn explain(&self, question: &Question) -> Result<Explanation, Unavailable> {
        let answer = self
            .inner
            .questions
            .call(
                pb::ExplainRequest::from(question),
                Trace::default(),
                CALL_TIMEOUT,
                Retry::Yes,
                async |channel, request| directory(channel).explain(request).await,
            )
            .await?;
        Ok(answer.try_into()?)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client")
            .field(&self.inner.questions.socket())
            .finish()
    }
}

fn directory(channel: tonic::transport::Channel) -> DirectoryClient<tonic::transport::Channel> {
    DirectoryClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}
