//! What the answers of deliver mean for the client and the queue: "Store first, queue only what must wait"
//! (architecture.md section 2), as a pure function.

use mail_types::{EnhancedStatus, Reply};
use smtp_proto::client::{Outcome, Stage};
use spool::InitialState;

use crate::envelope::{Envelope, Recipient};

/// What is to be done after an attempt of direct delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Everybody has it, and nobody wants a report: 250.
    Accept,
    /// Nobody got it and nothing has to wait: this reply.
    Refuse(Reply),
    /// Put these recipients (by position) into the spool in these states, then 250.
    Spool {
        /// The recipients.
        states: Vec<(usize, InitialState)>,
        /// Whether somebody has it already: a failure of the spool is then worth an alarm.
        partial: bool,
    },
}

/// Decides. `outcomes` stand in the order of the recipients. `patient`: the client is another server, which
/// tries again; mail programs (services that require AUTH) do not.
pub fn plan(envelope: &Envelope, outcomes: &[Outcome], patient: bool) -> Plan {
    let verdicts: Vec<Verdict<'_>> = outcomes.iter().map(Verdict::of).collect();
    let any = |wanted: fn(&Verdict<'_>) -> bool| verdicts.iter().any(wanted);
    let delivered = any(|v| matches!(v, Verdict::Delivered(_)));
    let silent = any(|v| matches!(v, Verdict::Silent { .. }));
    if !delivered && !silent {
        let may_wait = any(|v| matches!(v, Verdict::Later(reply) if !is_over_quota(reply)));
        if patient || !may_wait {
            return Plan::Refuse(worst(&verdicts));
        }
    }
    let states: Vec<(usize, InitialState)> = envelope
        .recipients
        .iter()
        .zip(&verdicts)
        .enumerate()
        .filter_map(|(position, (recipient, verdict))| Some((position, verdict.state(recipient, envelope)?)))
        .collect();
    if states.is_empty() {
        Plan::Accept
    } else {
        Plan::Spool {
            states,
            partial: delivered,
        }
    }
}

/// One recipient's answer, sorted.
enum Verdict<'a> {
    Delivered(&'a Reply),
    Later(&'a Reply),
    Never(&'a Reply),
    /// No answer; `sent`: but it may have been delivered.
    Silent {
        sent: bool,
    },
}

impl<'a> Verdict<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        match outcome {
            Outcome::Unknown => Self::Silent { sent: true },
            Outcome::NotSent => Self::Silent { sent: false },
            Outcome::Replied { stage, reply } => match reply.code {
                // deliver goes away: no word about this recipient. At the end of data it might have come
                // after the delivery.
                421 => Self::Silent {
                    sent: *stage == Stage::EndOfData,
                },
                200..300 if *stage == Stage::EndOfData => Self::Delivered(reply),
                400..500 => Self::Later(reply),
                500..600 => Self::Never(reply),
                // A positive answer where it means nothing.
                _ => Self::Silent { sent: false },
            },
        }
    }

    /// The state in which the recipient enters the spool; none: it need not.
    fn state(&self, recipient: &Recipient, envelope: &Envelope) -> Option<InitialState> {
        // Nobody hears of what happens to a report.
        let reports = !envelope.sender().is_null();
        match self {
            Self::Delivered(reply) => {
                let wants = recipient.notify.is_some_and(|notify| notify.success)
                    || envelope.reports_expansion(&recipient.original);
                (reports && wants).then(|| InitialState::Delivered((*reply).clone()))
            }
            Self::Later(_) | Self::Silent { sent: false } => Some(InitialState::Waiting),
            Self::Silent { sent: true } => Some(InitialState::MaybeRepeated),
            Self::Never(reply) => reports.then(|| InitialState::Failed((*reply).clone())),
        }
    }
}

/// The reply passed on where nobody got the message: any 4xx, else the 5xx.
fn worst(verdicts: &[Verdict<'_>]) -> Reply {
    let later = verdicts.iter().find_map(|v| match v {
        Verdict::Later(reply) => Some((*reply).clone()),
        _ => None,
    });
    let never = verdicts.iter().find_map(|v| match v {
        Verdict::Never(reply) => Some((*reply).clone()),
        _ => None,
    });
    later
        .or(never)
        .unwrap_or_else(|| smtp_proto::reply::new(451, (4, 3, 0), "Error: no recipient"))
}

fn is_over_quota(reply: &Reply) -> bool {
    reply.status == Some(EnhancedStatus::new(4, 2, 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth_api::directory::{Delivery, Target};
    use mail_types::{MailId, Notify};
    use smtp_proto::command::{Mail, RcptParams};
    use smtp_proto::reply;

    fn envelope(sender: &str, notify: &[Option<&str>]) -> Envelope {
        let mut envelope = Envelope::new(MailId::new(1, 1), Mail::new(sender.parse().unwrap()));
        for (n, notify) in notify.iter().enumerate() {
            let address = format!("u{n}@l.test").parse().unwrap();
            let params = RcptParams {
                notify: notify.and_then(Notify::parse),
                ..RcptParams::default()
            };
            let delivery = Delivery {
                final_address: format!("u{n}@l.test").parse().unwrap(),
                expanded: false,
                target: Target::Mailbox,
            };
            envelope.add(&address, &params, &[delivery]);
        }
        envelope
    }

    fn end(code: u16, status: (u8, u16, u16)) -> Outcome {
        Outcome::Replied {
            stage: Stage::EndOfData,
            reply: reply::new(code, status, "x"),
        }
    }

    fn names(plan: &Plan) -> String {
        match plan {
            Plan::Accept => "250".to_owned(),
            Plan::Refuse(reply) => reply.to_string(),
            Plan::Spool { states, partial } => {
                let states: Vec<String> = states
                    .iter()
                    .map(|(n, state)| match state {
                        InitialState::Waiting => format!("{n} waits"),
                        InitialState::MaybeRepeated => format!("{n} maybe"),
                        InitialState::Delivered(_) => format!("{n} delivered"),
                        InitialState::Failed(_) => format!("{n} failed"),
                    })
                    .collect();
                format!("{}{}", states.join(", "), if *partial { ", partial" } else { "" })
            }
        }
    }

    fn planned(outcomes: &[Outcome], patient: bool) -> String {
        let envelope = envelope("s@a.test", &vec![None; outcomes.len()]);
        names(&plan(&envelope, outcomes, patient))
    }

    const IN: (u8, u16, u16) = (2, 0, 0);

    #[test]
    fn all_in_their_mailboxes() {
        assert_eq!(planned(&[end(250, IN), end(250, IN)], true), "250");
    }

    #[test]
    fn nobody_got_it() {
        let (full, gone, trouble) = (end(452, (4, 2, 2)), end(550, (5, 1, 1)), end(451, (4, 3, 0)));
        assert_eq!(planned(std::slice::from_ref(&gone), true), "550 5.1.1 x");
        assert_eq!(planned(&[gone.clone(), full.clone()], true), "452 4.2.2 x");
        assert_eq!(planned(&[gone.clone(), trouble.clone()], true), "451 4.3.0 x");
        // Mail programs do not try again.
        assert_eq!(planned(&[gone.clone(), full.clone()], false), "452 4.2.2 x");
        assert_eq!(planned(std::slice::from_ref(&gone), false), "550 5.1.1 x");
        assert_eq!(
            planned(&[gone, full, trouble], false),
            "0 failed, 1 waits, 2 waits"
        );
    }

    #[test]
    fn somebody_got_it() {
        let outcomes = [
            end(250, IN),
            end(452, (4, 2, 2)),
            end(550, (5, 1, 1)),
            Outcome::Unknown,
        ];
        assert_eq!(planned(&outcomes, true), "1 waits, 2 failed, 3 maybe, partial");
        assert_eq!(
            planned(&[end(250, IN), Outcome::NotSent], true),
            "1 waits, partial"
        );
    }

    #[test]
    fn deliver_is_away_or_goes_away() {
        assert_eq!(
            planned(&[Outcome::NotSent, Outcome::NotSent], true),
            "0 waits, 1 waits"
        );
        assert_eq!(
            planned(&[Outcome::Unknown, end(550, (5, 1, 1))], true),
            "0 maybe, 1 failed"
        );
        assert_eq!(planned(&[end(421, (4, 3, 2))], true), "0 maybe");
        let at_mail = Outcome::Replied {
            stage: Stage::Mail,
            reply: reply::new(421, (4, 3, 2), "bye"),
        };
        assert_eq!(planned(&[at_mail], true), "0 waits");
    }

    #[test]
    fn a_positive_answer_elsewhere_is_no_delivery() {
        let odd = Outcome::Replied {
            stage: Stage::Data,
            reply: reply::ok(),
        };
        assert_eq!(planned(&[odd], true), "0 waits");
    }

    #[test]
    fn reports_are_owed_before_the_250() {
        let wants = envelope("s@a.test", &[Some("SUCCESS"), None]);
        let both = [end(250, IN), end(250, IN)];
        assert_eq!(names(&plan(&wants, &both, true)), "0 delivered, partial");
        let report = envelope("", &[Some("SUCCESS"), None]);
        assert_eq!(names(&plan(&report, &both, true)), "250", "nobody to tell");
        let mixed = [end(250, IN), end(550, (5, 1, 1))];
        assert_eq!(names(&plan(&report, &mixed, true)), "250", "no bounce for <>");
    }
}
