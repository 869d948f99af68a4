//! What deliver asks authd, as a trait so that tests can answer.

use std::future::Future;

use auth_api::directory::MailboxAnswer;
use auth_api::{Trace, Unavailable};
use mail_types::Address;

/// Answers where a final address lies.
pub trait Directory: Send + Sync + 'static {
    /// The mailbox of a final address; no alias is expanded.
    fn lookup_mailbox(
        &self,
        address: &Address,
        trace: Trace,
    ) -> impl Future<Output = Result<MailboxAnswer, Unavailable>> + Send;
}

impl Directory for auth_api::client::Client {
    async fn lookup_mailbox(&self, address: &Address, trace: Trace) -> Result<MailboxAnswer, Unavailable> {
        Self::lookup_mailbox(self, address, trace).await
    }
}
