//! ResolveRecipient: the whole chain for one envelope recipient.

use auth_api::directory::{Delivery, DomainClass, Recipient, Resolution, Target, Verdict};
use mail_types::Address;

use super::expand::{Expansion, Final};
use super::{Directory, DirectoryError, Steps};

impl Directory {
    /// Where a recipient delivers.
    pub async fn resolve(&self, recipient: &Recipient) -> Result<Resolution, DirectoryError> {
        let mut steps = Steps::default();
        let typed = match recipient {
            Recipient::Address(address) => address.clone(),
            Recipient::Postmaster => {
                let postmaster = self.rules.postmaster.clone();
                steps.say("postmaster_address", "postmaster", &postmaster.to_string());
                postmaster
            }
        };
        let bare = *recipient == Recipient::Postmaster;
        let (class, expansion) = self.expand(&typed, &mut steps).await?;
        let verdict = match expansion {
            Expansion::Error(reason) => Verdict::ExpansionError(reason),
            Expansion::Finals(finals) => verdict(finals, (!bare).then_some(&typed)),
        };
        if bare && matches!(verdict, Verdict::Refuse(_)) {
            // RFC 5321 4.5.1: the bare postmaster is never refused. Mail waits until it is put right.
            return Err(DirectoryError::Misconfigured(format!(
                "postmaster_address is {typed}, which does not exist"
            )));
        }
        Ok(Resolution {
            // The bare postmaster is ours, wherever his mail goes.
            class: if bare { DomainClass::Mailbox } else { class },
            verdict,
            steps: steps.0,
        })
    }
}

/// The verdict about final addresses; `typed` is `None` for the bare postmaster, where everything counts as
/// expanded.
fn verdict(finals: Vec<Final>, typed: Option<&Address>) -> Verdict {
    let dead = |f: &Final| match &f.target {
        Target::Dead { refusal } => Some(refusal.clone()),
        Target::Mailbox | Target::Remote => None,
    };
    let refusals: Vec<_> = finals.iter().map(dead).collect();
    match refusals.into_iter().collect::<Option<Vec<_>>>() {
        // All dead: the first says why.
        Some(all) => match all.into_iter().next() {
            Some(refusal) => Verdict::Refuse(refusal),
            None => Verdict::ExpansionError("the alias has no target".into()),
        },
        None => {
            let delivery = |f: Final| Delivery {
                expanded: typed.is_none_or(|typed| typed.lookup_key() != f.address.lookup_key()),
                final_address: f.address,
                target: f.target,
            };
            Verdict::Deliver(finals.into_iter().map(delivery).collect())
        }
    }
}
