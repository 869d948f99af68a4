//! Route: transport and next hop of a final address, without alias expansion.

use auth_api::directory::{DomainClass, NextHop, Route};
use mail_types::Address;

use super::lookup::rehomed;
use super::transport::Transport;
use super::{Directory, DirectoryError, Steps};

impl Directory {
    /// How a final address leaves qmgr.
    pub async fn route(&self, address: &Address) -> Result<Route, DirectoryError> {
        let mut steps = Steps::default();
        let info = self.classify(address.domain(), &mut steps).await?;
        let by_mx = |explicit| {
            Route::Smtp(NextHop {
                host: address.domain().to_string(),
                port: None,
                use_mx: true,
                explicit,
            })
        };
        Ok(match info.transport.clone() {
            _ if info.class == DomainClass::Foreign => by_mx(false),
            Transport::Class if info.class == DomainClass::Relay => by_mx(false),
            Transport::Class => {
                let home = match &info.mirrors {
                    Some(target) => rehomed(address, target),
                    None => address.clone(),
                };
                match self.mailbox(&home, &mut steps).await? {
                    Some(_) => Route::Local,
                    None => Route::Unknown(info.unknown_user()),
                }
            }
            Transport::SmtpToDomain => by_mx(true),
            Transport::Smtp(hop) => Route::Smtp(hop),
            Transport::Lmtp(hop) => Route::Lmtp(hop),
            Transport::Error(status, text) => Route::Error(format!("{status} {text}")),
            Transport::Retry(text) => Route::Retry(text),
            Transport::Discard => Route::Discard,
            Transport::Unsupported(reason) => Route::Misconfigured(reason),
        })
    }
}
