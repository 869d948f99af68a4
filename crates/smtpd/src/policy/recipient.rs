//! Whether a recipient is accepted: relay rules and authd's verdict (compat.md 2.3, 2.4, 2.6).

use auth_api::Unavailable;
use auth_api::directory::{Delivery, DomainClass, Resolution, Verdict};
use mail_types::Reply;

use crate::error;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// In `mynetworks`.
    pub own_network: bool,
    /// Has logged in.
    pub authenticated: bool,
}

/// What becomes of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Accepted.
    Accept {
        /// The rule, for the log.
        rule: &'static str,
        /// Where it leads.
        deliveries: Vec<Delivery>,
    },
    /// Refused, for good or for now.
    Refuse {
        /// What the client hears.
        reply: Reply,
        /// For the log.
        reason: String,
    },
}

/// Judges the recipient typed as `typed`.
pub fn judge(typed: &str, answer: Result<&Resolution, &Unavailable>, client: Client) -> Decision {
    let resolution = match answer {
        Ok(resolution) => resolution,
        Err(unavailable) => {
            return Decision::Refuse {
                reply: error::lookup_failure(typed),
                reason: unavailable.to_string(),
            };
        }
    };
    let Some(rule) = rule(resolution.class, client) else {
        return Decision::Refuse {
            reply: error::relay_denied(typed),
            reason: "neither our domain nor a client that may relay".to_owned(),
        };
    };
    match &resolution.verdict {
        Verdict::Deliver(deliveries) if deliveries.is_empty() => Decision::Refuse {
            // authd promises at least one; without one there is nobody to deliver to.
            reply: error::lookup_failure(typed),
            reason: "authd named no delivery".to_owned(),
        },
        Verdict::Deliver(deliveries) => Decision::Accept {
            rule,
            deliveries: deliveries.clone(),
        },
        Verdict::Refuse(refusal) => Decision::Refuse {
            reply: Reply::new(
                refusal.code,
                refusal.status,
                format!("<{typed}>: Recipient address rejected: {}", refusal.text),
            ),
            reason: refusal.text.clone(),
        },
        Verdict::ExpansionError(reason) => Decision::Refuse {
            reply: error::expansion_error(),
            reason: reason.clone(),
        },
    }
}

/// Why a client may send to a domain of this class; none: it may not.
fn rule(class: DomainClass, client: Client) -> Option<&'static str> {
    match class {
        DomainClass::Mailbox | DomainClass::Alias => Some("own domain"),
        DomainClass::Relay => Some("backup MX"),
        DomainClass::Foreign if client.authenticated => Some("authenticated"),
        DomainClass::Foreign if client.own_network => Some("own network"),
        DomainClass::Foreign => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth_api::directory::{Refusal, Target};
    use mail_types::EnhancedStatus;

    const STRANGER: Client = Client {
        own_network: false,
        authenticated: false,
    };

    fn resolution(class: DomainClass, verdict: Verdict) -> Resolution {
        Resolution {
            class,
            verdict,
            steps: Vec::new(),
        }
    }

    fn said(answer: Result<&Resolution, &Unavailable>, client: Client) -> String {
        match judge("u@x.test", answer, client) {
            Decision::Accept { rule, .. } => rule.to_owned(),
            Decision::Refuse { reply, .. } => reply.to_string(),
        }
    }

    #[test]
    fn relay_rules() {
        let deliver = Verdict::Deliver(vec![Delivery {
            final_address: "u@x.test".parse().unwrap(),
            expanded: false,
            target: Target::Remote,
        }]);
        let foreign = resolution(DomainClass::Foreign, deliver.clone());
        assert_eq!(
            said(Ok(&foreign), STRANGER),
            "554 5.7.1 <u@x.test>: Relay access denied"
        );
        let user = Client {
            authenticated: true,
            ..STRANGER
        };
        assert_eq!(said(Ok(&foreign), user), "authenticated");
        let network = Client {
            own_network: true,
            ..STRANGER
        };
        assert_eq!(said(Ok(&foreign), network), "own network");
        let backup = resolution(DomainClass::Relay, deliver);
        assert_eq!(said(Ok(&backup), STRANGER), "backup MX");
    }

    #[test]
    fn refusals_in_the_words_that_scripts_know() {
        let unknown = Verdict::Refuse(Refusal {
            code: 550,
            status: EnhancedStatus::new(5, 1, 1),
            text: "User unknown in virtual mailbox table".into(),
        });
        assert_eq!(
            said(Ok(&resolution(DomainClass::Mailbox, unknown)), STRANGER),
            "550 5.1.1 <u@x.test>: Recipient address rejected: User unknown in virtual mailbox table"
        );
        let loop_ = resolution(DomainClass::Mailbox, Verdict::ExpansionError("loop".into()));
        assert_eq!(said(Ok(&loop_), STRANGER), "451 4.6.0 Alias expansion error");
        let away = Unavailable::new("database is away");
        assert_eq!(
            said(Err(&away), STRANGER),
            "451 4.3.0 <u@x.test>: Temporary lookup failure"
        );
    }
}
