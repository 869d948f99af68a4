//! The envelope of one message: sender, and recipients after expansion, each with its index.

use auth_api::directory::{Delivery, Refusal, Target};
use mail_types::{Address, EnhancedStatus, MailId, Notify, OriginalRecipient, Reply, ReversePath};
use smtp_proto::command::{Mail, RcptParams};
use spool::ExpandedOriginal;

/// One delivery of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Its index; with the id it is the delivery key.
    pub index: u32,
    /// The address as typed.
    pub original: Address,
    /// Where it leads.
    pub final_address: Address,
    /// Whether an alias led there.
    pub expanded: bool,
    /// NOTIFY as it holds for this delivery.
    pub notify: Option<Notify>,
    /// ORCPT, likewise.
    pub orcpt: Option<OriginalRecipient>,
    /// What it is.
    pub target: Target,
}

/// The envelope, from MAIL on.
#[derive(Debug)]
pub struct Envelope {
    /// The message's id.
    pub id: MailId,
    /// The sender and its parameters.
    pub mail: Mail,
    /// The deliveries, in the order of their indexes.
    pub recipients: Vec<Recipient>,
    /// Originals that are owed an *expanded* report (RFC 3461 5.2.7.3 c).
    pub expanded: Vec<ExpandedOriginal>,
    /// The addresses as typed, each once.
    originals: Vec<Address>,
    next_index: u32,
}

impl Envelope {
    /// An envelope without recipients.
    pub fn new(id: MailId, mail: Mail) -> Self {
        Self {
            id,
            mail,
            recipients: Vec::new(),
            expanded: Vec::new(),
            originals: Vec::new(),
            next_index: 0,
        }
    }

    /// The sender.
    pub fn sender(&self) -> &ReversePath {
        &self.mail.path
    }

    /// Adds what an accepted recipient leads to. Deliveries that are there already, with the same original
    /// and final address, merge; the result holds the new ones.
    pub fn add(&mut self, original: &Address, params: &RcptParams, deliveries: &[Delivery]) -> &[Recipient] {
        let before = self.recipients.len();
        if !self.originals.iter().any(|known| same(known, original)) {
            self.originals.push(original.clone());
        }
        let (notify, orcpt) = if let [_] = deliveries {
            (params.notify, params.orcpt.clone())
        } else {
            // Success is answered by one report for all (RFC 3461 5.2.7.3 c).
            let notify = params.notify.map(|notify| Notify {
                success: false,
                ..notify
            });
            (notify, params.orcpt.clone())
        };
        for delivery in deliveries {
            let known = self
                .recipients
                .iter()
                .any(|r| same(&r.original, original) && same(&r.final_address, &delivery.final_address));
            if known {
                continue;
            }
            self.recipients.push(Recipient {
                index: self.next_index,
                original: original.clone(),
                final_address: delivery.final_address.clone(),
                expanded: delivery.expanded,
                notify,
                orcpt: orcpt.clone(),
                target: delivery.target.clone(),
            });
            self.next_index += 1;
        }
        if deliveries.len() > 1 && params.notify.is_some_and(|n| n.success) && self.recipients.len() > before
        {
            self.expanded.push(ExpandedOriginal {
                original: original.clone(),
                orcpt: params.orcpt.clone(),
            });
        }
        &self.recipients[before..]
    }

    /// The one address as typed, where there is only one: only then may Received name it.
    pub fn only_recipient(&self) -> Option<&Address> {
        match &self.originals[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether every recipient is a mailbox here and there are at most `limit`.
    pub fn is_direct(&self, limit: usize) -> bool {
        self.recipients.len() <= limit && self.recipients.iter().all(|r| r.target == Target::Mailbox)
    }

    /// Whether an original is owed an *expanded* report.
    pub fn reports_expansion(&self, original: &Address) -> bool {
        self.expanded
            .iter()
            .any(|expanded| expanded.original == *original)
    }
}

/// Tables know addresses without case (compat.md 2.2), so one mailbox typed in two cases is one recipient.
fn same(a: &Address, b: &Address) -> bool {
    a == b || a.lookup_key() == b.lookup_key()
}

/// A refusal of authd as the reply of a final delivery.
pub fn dead_reply(refusal: &Refusal) -> Reply {
    let class = u8::try_from(refusal.code / 100).unwrap_or(5);
    let status = EnhancedStatus {
        class,
        ..refusal.status
    };
    Reply::new(refusal.code, status, refusal.text.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str, target: Target) -> Delivery {
        Delivery {
            final_address: text.parse().unwrap(),
            expanded: true,
            target,
        }
    }

    fn envelope() -> Envelope {
        Envelope::new(MailId::new(1, 1), Mail::new(ReversePath::Null))
    }

    fn params(notify: &str) -> RcptParams {
        RcptParams {
            notify: Notify::parse(notify),
            orcpt: OriginalRecipient::parse("rfc822;x@a.test"),
            private: Vec::new(),
        }
    }

    #[test]
    fn indexes_go_on_and_duplicates_merge() {
        let mut envelope = envelope();
        let (a, b) = ("a@l.test".parse().unwrap(), "b@l.test".parse().unwrap());
        let both = [to("a@l.test", Target::Mailbox), to("b@l.test", Target::Mailbox)];
        envelope.add(&a, &RcptParams::default(), &both);
        envelope.add(&"A@L.TEST".parse().unwrap(), &RcptParams::default(), &both);
        assert_eq!(envelope.recipients.len(), 2);
        assert_eq!(envelope.only_recipient(), Some(&a));
        let added = envelope.add(&b, &RcptParams::default(), &both[1..]);
        assert_eq!(added[0].index, 2, "another original is another delivery");
        assert_eq!(envelope.only_recipient(), None);
        assert!(envelope.is_direct(3) && !envelope.is_direct(2));
    }

    #[test]
    fn one_target_inherits_several_report_once() {
        let mut envelope = envelope();
        let a = "a@l.test".parse().unwrap();
        let one = envelope.add(&a, &params("SUCCESS"), &[to("x@l.test", Target::Mailbox)]);
        assert!(one[0].notify.unwrap().success && one[0].orcpt.is_some());
        assert!(envelope.expanded.is_empty());
        let b = "b@l.test".parse().unwrap();
        let both = [to("x@l.test", Target::Mailbox), to("y@r.test", Target::Remote)];
        let several = envelope.add(&b, &params("SUCCESS,FAILURE"), &both);
        assert!(several.iter().all(|r| r.notify == Notify::parse("FAILURE")));
        assert!(envelope.reports_expansion(&b) && !envelope.reports_expansion(&a));
        assert!(!envelope.is_direct(20), "one is remote");
    }
}
