//! Which mechanisms a connection is offered, and why not the others: it depends on TLS, on what the stored
//! passwords allow, and on the site's wish.

use auth_api::sasl::{LoginContext, MechanismOffer};
use sasl::mechanism::{self, Entry, Proof, Wants};
use sasl::password::{Reading, Unmarked};

use super::Shared;
use crate::site::Site;
use crate::state;

/// What is known of the site as a whole. Of a single user nothing is known before he names himself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Knowledge {
    /// Passwords may be stored in clear.
    pub cleartext: bool,
    /// Keys for SCRAM are stored, or are going to be.
    pub scram_keys: bool,
    /// Tokens can be checked.
    pub tokens: bool,
}

impl Shared {
    /// The mechanisms to offer, best first.
    pub(super) async fn offered(&self, context: &LoginContext) -> Vec<String> {
        let offers = self.offers(context).await;
        offers
            .into_iter()
            .filter(|offer| offer.offered)
            .map(|offer| offer.name)
            .collect()
    }

    /// Each mechanism that there is, and why it is not offered.
    pub(super) async fn offers(&self, context: &LoginContext) -> Vec<MechanismOffer> {
        let site = self.sites.current();
        let knowledge = self.knowledge(&site).await;
        let offer = |entry: &Entry| {
            let verdict = offer(entry, context, &site, knowledge);
            MechanismOffer {
                name: entry.name.to_owned(),
                offered: verdict.is_ok(),
                reason: verdict.err().unwrap_or_default().to_owned(),
            }
        };
        mechanism::MECHANISMS.iter().map(offer).collect()
    }

    pub(super) async fn knowledge(&self, site: &Site) -> Knowledge {
        let rules = &site.settings.logins;
        let unmarked: Unmarked = site.unmarked_passwords().await;
        let kept = || async { self.state.read(state::has_scram_keys).await.unwrap_or(false) };
        Knowledge {
            cleartext: rules.cleartext || unmarked.allows(Reading::Cleartext),
            scram_keys: rules.store_scram_keys || kept().await,
            tokens: site.settings.tokens.is_some(),
        }
    }
}

/// Whether a mechanism may be used on a connection; an error says why not.
///
/// A list of the site's own is believed where it knows better than we do: what a column with marks of its
/// schemes holds, nobody sees before its row is read.
pub fn offer(
    entry: &Entry,
    context: &LoginContext,
    site: &Site,
    knowledge: Knowledge,
) -> Result<(), &'static str> {
    let listed = match &site.settings.logins.mechanisms {
        Some(list) if !list.contains(&entry.name) => return Err("[authd] mechanisms does not name it"),
        list => list.is_some(),
    };
    let tls = context.tls.as_ref();
    if entry.plaintext && tls.is_none() && !context.trusted {
        return Err("it shows the secret, and there is no TLS");
    }
    if entry.needs_tls_binding
        && !tls.is_some_and(|tls| !tls.tls_exporter.is_empty() || !tls.tls_server_end_point.is_empty())
    {
        return Err("it is bound to the TLS connection, and there is none that it can be bound to");
    }
    match entry.proof {
        Proof::Password => Ok(()),
        Proof::Stored(Wants::Cleartext | Wants::CramMd5) if listed || knowledge.cleartext => Ok(()),
        Proof::Stored(Wants::Cleartext | Wants::CramMd5) => Err("passwords are not stored in clear here"),
        Proof::Stored(Wants::Scram(_)) if listed || knowledge.cleartext || knowledge.scram_keys => Ok(()),
        Proof::Stored(Wants::Scram(_)) => {
            Err("passwords are not stored in clear here, and keys for SCRAM are not kept")
        }
        Proof::Token if knowledge.tokens => Ok(()),
        Proof::Token => Err("no keys to check tokens with are configured"),
        Proof::Certificate if tls.is_some_and(|tls| !tls.client_names.is_empty()) => Ok(()),
        Proof::Certificate => Err("the client showed no certificate with a mail address"),
    }
}

/// Whether the form of a mechanism that is bound to TLS is offered beside it, so that a client that could
/// have used it, and was made not to, can be told (RFC 5802 6).
pub fn plus(entry: &Entry, context: &LoginContext, site: &Site, knowledge: Knowledge) -> bool {
    mechanism::find(&format!("{}-PLUS", entry.name))
        .is_some_and(|plus| offer(plus, context, site, knowledge).is_ok())
}
