//! Which mechanisms a connection is offered, and why not the others: it depends on TLS, on what the stored
//! passwords allow, and on the site's wish.

use auth_api::sasl::{LoginContext, MechanismOffer};
use sasl::mechanism::{self, Entry, Proof, Wants};

use super::Shared;
use crate::site::Site;
use crate::state;

/// What is known of the site as a whole. Of a single user nothing is known before he names himself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Knowledge {
    /// Passwords may be stored in clear; `None`: the tables are away.
    pub cleartext: Option<bool>,
    /// Keys for SCRAM are stored, or are going to be; `None`: our own state does not say.
    pub scram_keys: Option<bool>,
    /// Tokens can be checked.
    pub tokens: bool,
}

/// Why a mechanism may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOffered {
    /// It is not for this connection or this site.
    Refused(&'static str),
    /// The tables would say, and are away. It stays in the list: no login can be judged meanwhile, and
    /// whoever tries it hears that the trouble is temporary.
    Tables,
    /// Our own state would say, and cannot be read. It is not in the list: others work without.
    State,
}

impl NotOffered {
    /// The same in words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Refused(reason) => reason,
            Self::Tables => "the database is away, and what it stores decides",
            Self::State => "authd's own state cannot be read, and whether keys for SCRAM are kept decides",
        }
    }
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
                offered: matches!(verdict, Ok(()) | Err(NotOffered::Tables)),
                reason: verdict.err().map_or("", NotOffered::reason).to_owned(),
            }
        };
        mechanism::MECHANISMS.iter().map(offer).collect()
    }

    pub(super) async fn knowledge(&self, site: &Site) -> Knowledge {
        let rules = &site.settings.logins;
        let cleartext = match rules.cleartext {
            true => Some(true),
            false => site.may_have_cleartext().await.ok(),
        };
        let scram_keys = match rules.store_scram_keys {
            true => Some(true),
            false => self.state.read(state::has_scram_keys).await.ok(),
        };
        Knowledge {
            cleartext,
            scram_keys,
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
) -> Result<(), NotOffered> {
    let refused = |reason| Err(NotOffered::Refused(reason));
    let listed = match &site.settings.logins.mechanisms {
        Some(list) if !list.contains(&entry.name) => return refused("[authd] mechanisms does not name it"),
        list => list.is_some(),
    };
    let tls = context.tls.as_ref();
    if entry.plaintext && tls.is_none() && !context.trusted {
        return refused("it shows the secret, and there is no TLS");
    }
    if entry.needs_tls_binding
        && !tls.is_some_and(|tls| !tls.tls_exporter.is_empty() || !tls.tls_server_end_point.is_empty())
    {
        return refused("it is bound to the TLS connection, and there is none that it can be bound to");
    }
    match entry.proof {
        Proof::Password => Ok(()),
        Proof::Stored(_) if listed || knowledge.cleartext == Some(true) => Ok(()),
        Proof::Stored(Wants::Scram(_)) if knowledge.scram_keys == Some(true) => Ok(()),
        Proof::Stored(_) if knowledge.cleartext.is_none() => Err(NotOffered::Tables),
        Proof::Stored(Wants::Scram(_)) if knowledge.scram_keys.is_none() => Err(NotOffered::State),
        Proof::Stored(Wants::Scram(_)) => {
            refused("passwords are not stored in clear here, and keys for SCRAM are not kept")
        }
        Proof::Stored(Wants::Cleartext | Wants::CramMd5) => refused("passwords are not stored in clear here"),
        Proof::Token if knowledge.tokens => Ok(()),
        Proof::Token => refused("no keys to check tokens with are configured"),
        Proof::Certificate if tls.is_some_and(|tls| !tls.client_names.is_empty()) => Ok(()),
        Proof::Certificate => refused("the client showed no certificate with a mail address"),
    }
}

/// Whether the form of a mechanism that is bound to TLS is offered beside it, so that a client that could
/// have used it, and was made not to, can be told (RFC 5802 6).
pub fn plus(entry: &Entry, context: &LoginContext, site: &Site, knowledge: Knowledge) -> bool {
    mechanism::find(&format!("{}-PLUS", entry.name))
        .is_some_and(|plus| offer(plus, context, site, knowledge).is_ok())
}
