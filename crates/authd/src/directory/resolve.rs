//! ResolveRecipient: the whole chain for one envelope recipient.

use auth_api::directory::{Delivery, DomainClass, Recipient, Resolution, Target, Verdict};
use mail_types::Address;

use super::expand::{Expanded, Expansion, Final};
use super::{Directory, DirectoryError, Steps};

impl Directory {
    /// Where a recipient delivers. The resolution holds no steps: they are in `steps`.
    pub async fn resolve(
        &self,
        recipient: &Recipient,
        steps: &mut Steps,
    ) -> Result<Resolution, DirectoryError> {
        let typed = match recipient {
            Recipient::Address(address) => address.clone(),
            Recipient::Postmaster => {
                let postmaster = self.rules.postmaster.clone();
                steps.at("postmaster", 0);
                steps.rule("postmaster_address", "postmaster", &postmaster.to_string());
                postmaster
            }
        };
        let bare = *recipient == Recipient::Postmaster;
        let Expanded {
            class,
            expansion,
            by_absence,
        } = self.expand(&typed, steps).await?;
        let verdict = match expansion {
            Expansion::Error(reason) => Verdict::ExpansionError(reason),
            Expansion::Finals(finals) => verdict(finals, (!bare).then_some(&typed)),
        };
        // The bare postmaster is ours, wherever his mail goes.
        let class = if bare { DomainClass::Mailbox } else { class };
        if steps.from_replica()
            && let Some(what) = unsure(class, &verdict, by_absence, &typed)
        {
            return Err(DirectoryError::Unsure(what));
        }
        if bare && matches!(verdict, Verdict::Refuse(_)) {
            // RFC 5321 4.5.1: the bare postmaster is never refused. Mail waits until it is put right.
            return Err(DirectoryError::Misconfigured(format!(
                "postmaster_address is {typed}, which does not exist"
            )));
        }
        Ok(Resolution {
            class,
            verdict,
            steps: Vec::new(),
        })
    }
}

/// What of this answer rests on rows that are missing; `None`: nothing.
fn unsure(class: DomainClass, verdict: &Verdict, by_absence: bool, typed: &Address) -> Option<String> {
    if class == DomainClass::Foreign {
        return Some(format!("the domain {}", typed.domain()));
    }
    match verdict {
        // Only a row that is missing can lead to a catch-all.
        _ if by_absence => Some(typed.to_string()),
        Verdict::Refuse(_) => Some(typed.to_string()),
        Verdict::Deliver(list) => list
            .iter()
            .find(|delivery| matches!(delivery.target, Target::Dead { .. }))
            .map(|dead| dead.final_address.to_string()),
        // Temporary anyway.
        Verdict::ExpansionError(_) => None,
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
