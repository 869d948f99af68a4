//! What happens with a verdict: final results are applied, deferrals are scheduled and written down.

use std::time::Duration;

use daemon::blocking;
use events::qmgr as event;
use mail_types::{EnhancedStatus, Reply};
use spool::{Attempt, FinalResult, Outcome, Record, Safety};

use super::{Input, Manager};
use crate::job::Ended;
use crate::message::Verdict;
use crate::results::Results;
use crate::scheduler::{Health, Job, Key, Progress, Service};

impl Manager {
    pub(super) fn verdict(&mut self, key: Key, verdict: Verdict) {
        let Some(entry) = self.entries.get_mut(&key.0) else {
            return;
        };
        entry.running.remove(&key.1);
        match verdict {
            Verdict::Final { outcome, reply, mta } => self.is_final(key, outcome, reply, mta),
            Verdict::Deferred { reply, mta, repeated } => {
                if repeated {
                    entry.repeated.insert(key.1);
                }
                self.deferred(key, reply, mta);
            }
            Verdict::Trouble {
                service,
                reason,
                repeated,
            } => {
                if repeated {
                    entry.repeated.insert(key.1);
                }
                self.trouble(key, service, reason);
            }
        }
    }

    pub(super) fn trouble(&mut self, key: Key, service: Service, reason: String) {
        let name = match service {
            Service::Authd => "authd",
            Service::Deliver => "deliver",
            Service::Spool => "spool",
        };
        if !self.scheduler.is_down(service) {
            tracing::warn!(
                service = name,
                reason,
                "cannot be used; tried again every few seconds"
            );
        }
        self.emit(
            key.0,
            Some(key.1),
            event::Kind::Waiting {
                service: name.to_owned(),
                reason,
            },
        );
        self.scheduler.trouble(key, service, self.ctx.clock.instant());
    }

    pub(super) fn service_up(&mut self, service: Service) {
        if self.scheduler.is_down(service) {
            tracing::info!(?service, "can be used again");
            self.scheduler.service_up(service);
        }
    }

    /// The result is in the journal already, or needs not be there.
    fn is_final(&mut self, key: Key, outcome: Outcome, reply: Reply, mta: String) {
        let at_ms = self.ctx.clock.unix_millis();
        let Some(entry) = self.entries.get_mut(&key.0) else {
            return;
        };
        let address = entry.address(key.1);
        let reported = entry.state.recipients.get(&key.1).map(|r| r.recipient.notify);
        let null_sender = entry.envelope.sender.is_null();
        let server = if mta.is_empty() {
            "here".to_owned()
        } else {
            mta.clone()
        };
        let event_reply = (&reply).into();
        let failed = event::Kind::Failed {
            address: address.clone(),
            status: reply
                .status
                .map(|s| s.to_string())
                .unwrap_or_else(|| "5.0.0".to_owned()),
            reason: reply.to_string(),
        };
        entry.state.apply(&Record::Result(FinalResult {
            recipient: key.1,
            outcome,
            reply,
            mta,
            at_ms,
        }));
        self.scheduler.finished(key);
        let kind = match outcome {
            Outcome::Delivered | Outcome::Passed | Outcome::Relayed => event::Kind::Delivered {
                address,
                server,
                reply: event_reply,
            },
            Outcome::Discarded => event::Kind::Discarded { address },
            Outcome::Failed => failed,
        };
        self.emit(key.0, Some(key.1), kind);
        let never = reported.flatten().is_some_and(|notify| !notify.failure);
        if outcome == Outcome::Failed && (null_sender || never) {
            let reason = if null_sender {
                "the sender is <>"
            } else {
                "NOTIFY without FAILURE"
            };
            let kind = event::Kind::ReportSuppressed {
                report: "failed".to_owned(),
                reason: reason.to_owned(),
            };
            self.emit(key.0, Some(key.1), kind);
        }
        // Outside of a job nothing else comes that would settle it.
        if self.entries.get(&key.0).is_some_and(|entry| entry.busy == 0) {
            self.settle(key.0);
        }
    }

    fn deferred(&mut self, key: Key, reply: Reply, mta: String) {
        let now = self.ctx.clock.instant();
        let Some(progress) = self.scheduler.deferred(key, now) else {
            return;
        };
        if progress.is_expired(&self.scheduler.limits().backoff) {
            let text = format!("delivery time expired; last: {reply}");
            let reply = Reply::new(554, EnhancedStatus::new(5, 4, 7), text);
            self.finish(key, Outcome::Failed, reply, mta);
            return;
        }
        let gap = progress.gap;
        let next = self.ctx.clock.now() + gap;
        let kind = event::Kind::Deferred {
            address: self
                .entries
                .get(&key.0)
                .map(|e| e.address(key.1))
                .unwrap_or_default(),
            reason: reply.to_string(),
            attempts: progress.attempts,
            next_attempt: jiff::Timestamp::try_from(next)
                .map(|t| t.to_string())
                .unwrap_or_default(),
        };
        self.emit(key.0, Some(key.1), kind);
        let attempt = self.attempt(key, reply, mta, progress);
        self.write(key.0, Record::Attempt(attempt));
    }

    fn attempt(&self, key: Key, reply: Reply, mta: String, progress: Progress) -> Attempt {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Attempt {
            recipients: vec![key.1],
            reply,
            mta,
            at_ms: self.ctx.clock.unix_millis(),
            attempts: progress.attempts,
            age_ms: millis(progress.age),
            gap_ms: millis(progress.gap),
        }
    }

    /// Applies a record whose loss costs little, and writes it soon.
    fn write(&mut self, id: mail_types::MailId, record: Record) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.state.apply(&record);
        entry.busy += 1;
        entry.journaled = true;
        let (spool, inbox) = (self.spool.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let written = blocking(move || spool.append_journal(id, &[record], Safety::Soon)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!(%id, error = %daemon::describe(&error), "a deferral could not be written down");
            }
            let _ = inbox.send(Input::Wrote(id));
        });
    }

    /// Gives a recipient a final result that was decided here: written durably, then applied.
    pub(super) fn finish(&mut self, key: Key, outcome: Outcome, reply: Reply, mta: String) {
        let Some(entry) = self.entries.get_mut(&key.0) else {
            return;
        };
        entry.busy += 1;
        entry.journaled = true;
        let results = Results {
            id: key.0,
            spool: self.spool.clone(),
            manager: self.inbox.clone(),
            clock: self.ctx.clock.clone(),
            events: self.ctx.events.clone(),
            skip_success: false,
        };
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            results.give(key.1, Verdict::Final { outcome, reply, mta }).await;
            let _ = inbox.send(Input::Wrote(key.0));
        });
    }

    pub(super) fn job_done(&mut self, job: &Job, ended: Ended) {
        // This one, and whoever ended meanwhile.
        while self.jobs.try_join_next().is_some() {}
        let now = self.ctx.clock.instant();
        if let Some(reason) = ended.damaged {
            self.scheduler.job_done(&job.destination, &Health::Unknown, now);
            self.damaged(job.id, reason);
            return;
        }
        let mut forgotten = Vec::new();
        if let Some(entry) = self.entries.get_mut(&job.id) {
            // After trouble the whole file is checked once more: it may be the file's.
            entry.verified = ended.verified && !matches!(ended.health, Health::Bad(_));
            forgotten = job
                .recipients
                .iter()
                .copied()
                .filter(|index| entry.running.remove(index))
                .collect();
        }
        for index in forgotten {
            let reply = Reply::new(451, EnhancedStatus::new(4, 3, 0), "internal error");
            self.deferred((job.id, index), reply, String::new());
        }
        self.scheduler.job_done(&job.destination, &ended.health, now);
        if job.destination == crate::scheduler::Destination::Local && ended.health == Health::Good {
            self.deliver_answered(job);
        }
        self.not_busy(job.id);
    }

    /// deliver answered somebody, and complained to nobody of this job about itself.
    fn deliver_answered(&mut self, job: &Job) {
        let complained = job
            .recipients
            .iter()
            .any(|index| self.scheduler.is_parked((job.id, *index)));
        if !complained {
            self.service_up(Service::Deliver);
        }
    }
}
