//! Route: transport and next hop of a final address, without alias expansion.

use auth_api::directory::{NextHop, Route};
use mail_types::Address;

use super::domains::Kind;
use super::transport::Transport;
use super::{Directory, DirectoryError, Steps};

impl Directory {
    /// How a final address leaves qmgr.
    pub async fn route(&self, address: &Address, steps: &mut Steps) -> Result<Route, DirectoryError> {
        steps.at(&address.lookup_key(), 0);
        let (kind, route) = self.route_of(address, steps).await?;
        // What ends a message must not rest on rows that are missing, nor must that a domain is not ours. An
        // explicit hop and a backup MX come from a row that is there.
        let final_ = matches!(route, Route::Unknown(_) | Route::Error(_) | Route::Discard);
        let by_default = matches!(&route, Route::Smtp(hop) if !hop.explicit);
        let rests_on_absence = match kind {
            Kind::Vacation => false,
            Kind::Relay => final_,
            _ => final_ || by_default,
        };
        if steps.from_replica() && rests_on_absence {
            return Err(DirectoryError::Unsure(address.to_string()));
        }
        Ok(route)
    }

    async fn route_of(&self, address: &Address, steps: &mut Steps) -> Result<(Kind, Route), DirectoryError> {
        let mut ask = self.ask(steps).await?;
        let info = ask.domain(address.domain()).await?;
        if info.kind == Kind::Vacation {
            // Nobody's mail: deliver itself answers for who is away.
            return Ok((info.kind, Route::Discard));
        }
        if let Some(to) = ask.relocated(address).await? {
            let bounce = Route::Error(format!("5.1.6 User has moved to {to}"));
            return Ok((info.kind, bounce));
        }
        let by_mx = |explicit| {
            Route::Smtp(NextHop {
                host: address.domain().to_string(),
                port: None,
                use_mx: true,
                explicit,
            })
        };
        let route = match ask.transport(address, &info).await? {
            Transport::Local if info.kind != Kind::Local => {
                Route::Misconfigured(Transport::NO_LOCAL.to_owned())
            }
            Transport::ClassVia(hop) if leaves(info.kind) => Route::Smtp(hop),
            Transport::Class | Transport::ClassVia(_) | Transport::Local => match info.kind {
                kind if leaves(kind) => by_mx(false),
                _ => match ask.mailbox_here(address, &info).await? {
                    Some(_) => Route::Local,
                    None => Route::Unknown(info.unknown_user()),
                },
            },
            Transport::SmtpToDomain => by_mx(true),
            Transport::Smtp(hop) => Route::Smtp(hop),
            Transport::Lmtp(hop) => Route::Lmtp(hop),
            Transport::Error(status, text) => Route::Error(format!("{status} {text}")),
            Transport::Retry(text) => Route::Retry(text),
            Transport::Discard | Transport::Vacation => Route::Discard,
            Transport::Unsupported(reason) => Route::Misconfigured(reason),
        };
        Ok((info.kind, route))
    }
}

/// Whether mail for such a domain goes to another host where no transport says so.
fn leaves(kind: Kind) -> bool {
    matches!(kind, Kind::Foreign | Kind::Inactive | Kind::Relay)
}
