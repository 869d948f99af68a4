//! What authd says: where a recipient goes, and what the recipients of messages made here are.

use auth_api::directory::{Delivery, NextHop, Refusal, Resolution, Route, Target, Verdict as Answer};
use auth_api::{Trace, Unavailable};
use daemon::blocking;
use events::qmgr as event;
use mail_types::{EnhancedStatus, Reply};
use spool::{InitialState, Outcome, Recipient, Record, Safety};

use super::{Input, Manager};
use crate::message::Verdict;
use crate::scheduler::{Destination, Key, Service};

impl Manager {
    pub(super) fn ask_route(&mut self, key: Key) {
        let Some(address) = self.recipient(key).and_then(|r| r.final_address.clone()) else {
            self.scheduler.finished(key);
            return;
        };
        let (authd, inbox, trace) = (self.authd.clone(), self.inbox.clone(), trace(key));
        tokio::spawn(async move {
            let answer = authd.route(&address, trace).await;
            let _ = inbox.send(Input::Routed(key, answer));
        });
    }

    pub(super) fn ask_resolve(&mut self, key: Key) {
        let Some(address) = self.recipient(key).map(|r| r.original.clone()) else {
            self.scheduler.finished(key);
            return;
        };
        let (authd, inbox, trace) = (self.authd.clone(), self.inbox.clone(), trace(key));
        tokio::spawn(async move {
            let answer = authd.resolve(&address, trace).await;
            let _ = inbox.send(Input::Resolved(key, answer));
        });
    }

    fn recipient(&self, key: Key) -> Option<&Recipient> {
        Some(&self.entries.get(&key.0)?.state.recipients.get(&key.1)?.recipient)
    }

    pub(super) fn routed(&mut self, key: Key, answer: Result<Route, Unavailable>) {
        let route = match answer {
            Ok(route) => route,
            Err(error) => return self.trouble(key, Service::Authd, error.reason),
        };
        self.service_up(Service::Authd);
        let Some(recipient) = self.recipient(key).cloned() else {
            return;
        };
        let address = recipient
            .final_address
            .as_ref()
            .unwrap_or(&recipient.original)
            .to_string();
        let leaves = recipient.expanded.then(|| recipient.original.clone());
        let go =
            |destination: Destination, original| (destination.to_string(), Next::Go(destination, original));
        let (shown, next) = match route {
            Route::Local => go(Destination::Local, None),
            Route::Lmtp(hop) => go(Destination::Lmtp(hop), None),
            Route::Smtp(hop) => go(Destination::Smtp(self.next_hop(hop)), leaves),
            Route::Error(text) => (format!("error:{text}"), Next::Fail(error_reply(&text))),
            Route::Retry(text) => {
                let reply = Reply::new(450, EnhancedStatus::new(4, 3, 0), text.clone());
                (format!("retry:{text}"), Next::Defer(reply))
            }
            Route::Discard => ("discard:".to_owned(), Next::Discard),
            Route::Unknown(refusal) => (
                format!("unknown: {}", refusal.text),
                Next::Fail(refused(&refusal)),
            ),
            Route::Misconfigured(why) => {
                let reply = Reply::new(
                    451,
                    EnhancedStatus::new(4, 3, 5),
                    format!("mail system configuration error: {why}"),
                );
                (format!("misconfigured: {why}"), Next::Defer(reply))
            }
        };
        self.emit(
            key.0,
            Some(key.1),
            event::Kind::Routed {
                address,
                route: shown,
            },
        );
        match next {
            Next::Go(destination, original) => self.scheduler.routed(key, destination, original),
            Next::Fail(reply) => self.finish(key, Outcome::Failed, reply, String::new()),
            Next::Defer(reply) => {
                self.verdict(
                    key,
                    Verdict::Deferred {
                        reply,
                        mta: String::new(),
                        repeated: false,
                    },
                );
            }
            Next::Discard => {
                let reply = Reply::new(250, EnhancedStatus::new(2, 0, 0), "discarded");
                self.finish(key, Outcome::Discarded, reply, String::new());
            }
        }
    }

    /// relayhost takes the place of a domain's own MX records, not of what the transport table says.
    fn next_hop(&self, hop: NextHop) -> NextHop {
        match &self.settings.outbound.relayhost {
            Some(relayhost) if !hop.explicit => relayhost.clone(),
            _ => hop,
        }
    }

    pub(super) fn resolved(&mut self, key: Key, answer: Result<Resolution, Unavailable>) {
        let resolution = match answer {
            Ok(resolution) => resolution,
            Err(error) => return self.trouble(key, Service::Authd, error.reason),
        };
        self.service_up(Service::Authd);
        let steps: Vec<events::Step> = resolution.steps.iter().map(Into::into).collect();
        match resolution.verdict {
            Answer::Refuse(refusal) => self.finish(key, Outcome::Failed, refused(&refusal), String::new()),
            Answer::ExpansionError(why) => {
                let reply = Reply::new(
                    451,
                    EnhancedStatus::new(4, 6, 0),
                    format!("Alias expansion error: {why}"),
                );
                self.verdict(
                    key,
                    Verdict::Deferred {
                        reply,
                        mta: String::new(),
                        repeated: false,
                    },
                );
            }
            Answer::Deliver(deliveries) => self.expand(key, deliveries, steps),
        }
    }

    /// Writes an expansion down; it counts when it is durable (architecture.md section 2).
    fn expand(&mut self, key: Key, deliveries: Vec<Delivery>, steps: Vec<events::Step>) {
        let Some(entry) = self.entries.get_mut(&key.0) else {
            return;
        };
        let Some(parent) = entry.state.recipients.get(&key.1).map(|r| r.recipient.clone()) else {
            return;
        };
        let first = entry.state.next_index();
        let single = deliveries.len() == 1;
        // RFC 3461 5.2.7.3: one target inherits; several do not confirm, one report says what they became.
        let asks_success = parent.notify.is_some_and(|notify| notify.success);
        let notify = parent.notify.map(|notify| mail_types::Notify {
            success: notify.success && single,
            ..notify
        });
        let recipients: Vec<Recipient> = (first..)
            .zip(deliveries)
            .map(|(index, delivery)| Recipient {
                index,
                original: parent.original.clone(),
                state: match &delivery.target {
                    Target::Dead { refusal } => InitialState::Failed(refused(refusal)),
                    Target::Mailbox | Target::Remote => InitialState::Waiting,
                },
                final_address: Some(delivery.final_address),
                expanded: delivery.expanded,
                notify,
                orcpt: parent.orcpt.clone(),
            })
            .collect();
        let kind = event::Kind::Expanded {
            address: parent.original.to_string(),
            steps,
            deliveries: recipients.iter().map(shown).collect(),
        };
        let record = Record::Expansion {
            of: key.1,
            recipients,
            report: asks_success && !single,
        };
        entry.busy += 1;
        entry.journaled = true;
        self.emit(key.0, Some(key.1), kind);
        let (spool, inbox) = (self.spool.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let copy = record.clone();
            let written = blocking(move || spool.append_journal(key.0, &[copy], Safety::Durable)).await;
            let result = match written {
                Ok(result) => result.map_err(|e| daemon::describe(&e)),
                Err(error) => Err(error.to_string()),
            };
            let _ = inbox.send(Input::Expanded(key, record, result));
        });
    }

    pub(super) fn expanded(&mut self, key: Key, record: &Record, result: Result<(), String>) {
        match result {
            Err(reason) => self.trouble(key, Service::Spool, reason),
            Ok(()) => {
                self.scheduler.finished(key);
                let now_ms = self.ctx.clock.unix_millis();
                if let Some(entry) = self.entries.get_mut(&key.0) {
                    entry.state.apply(record);
                    let waiting = entry.waiting(now_ms);
                    let held = entry.state.held;
                    self.scheduler.add(key.0, waiting, self.ctx.clock.instant());
                    if held {
                        self.scheduler.hold(key.0, true);
                    }
                }
            }
        }
        self.not_busy(key.0);
    }
}

/// What to do with a recipient whose route is known.
enum Next {
    Go(Destination, Option<mail_types::Address>),
    Fail(Reply),
    Defer(Reply),
    Discard,
}

fn trace(key: Key) -> Trace {
    Trace {
        session: None,
        message: Some(key.0),
    }
}

fn refused(refusal: &Refusal) -> Reply {
    Reply::new(refusal.code, refusal.status, refusal.text.clone())
}

/// The text of `error:` may begin with a status of its own.
fn error_reply(text: &str) -> Reply {
    let text = text.trim();
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    match first.parse::<EnhancedStatus>() {
        Ok(status) if status.class == 5 => Reply::new(554, status, rest.trim()),
        _ => Reply::new(554, EnhancedStatus::new(5, 0, 0), text),
    }
}

fn shown(recipient: &Recipient) -> events::Delivery {
    events::Delivery {
        index: recipient.index,
        final_address: recipient
            .final_address
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        expanded: recipient.expanded,
        target: match &recipient.state {
            InitialState::Failed(reply) => format!("dead: {reply}"),
            _ => "live".to_owned(),
        },
    }
}
