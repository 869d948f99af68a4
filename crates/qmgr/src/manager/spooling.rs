//! What the manager does with the spool: find and read messages, make their reports, remove what is done.

use std::sync::Arc;

use daemon::blocking;
use events::{About, qmgr as event};
use mail_types::MailId;
use spool::{Progress, ReadError, Record, Scan, Spool};

use super::{AGAIN, Entry, Input, Manager, SELF_TEST};
use crate::bounce::{self, Order, ReportError};
use crate::recover::{self, Loaded};
use crate::scheduler::{Key, Service};

impl Manager {
    /// Reads a message unless it is known, or must not be touched yet.
    pub(super) fn load(&mut self, id: MailId) {
        if self.entries.contains_key(&id) || self.embargo.contains(&id) || !self.loading.insert(id) {
            return;
        }
        self.in_background(move |spool| Input::Loaded(id, Box::new(recover::load(spool, id))));
    }

    pub(super) fn loaded(&mut self, id: MailId, result: Result<Loaded, ReadError>) {
        self.loading.remove(&id);
        match result {
            // A report may have been planned under this id while it was read.
            Ok(_) if self.embargo.contains(&id) => {}
            Ok(loaded) => self.insert(loaded, false),
            // It is gone already: a hint that came late.
            Err(ReadError::Missing(_)) => {}
            Err(ReadError::Damaged(damage)) => self.damaged(id, damage.0),
            Err(error) => {
                tracing::warn!(%id, error = %daemon::describe(&error), "a message cannot be read now");
            }
        }
    }

    pub(super) fn insert(&mut self, loaded: Loaded, from_before: bool) {
        let id = loaded.id;
        if self.entries.contains_key(&id) {
            return;
        }
        let entry = Entry::new(loaded, from_before);
        let waiting = entry.waiting(self.ctx.clock.unix_millis());
        let held = entry.state.held;
        let kind = event::Kind::PickedUp {
            sender: entry.envelope.sender.to_string(),
            size: entry.size,
            recipients: u32::try_from(waiting.len()).unwrap_or(u32::MAX),
            reason: if from_before { "restart" } else { "new" }.to_owned(),
        };
        let complete = entry.state.is_complete();
        self.entries.insert(id, entry);
        if !complete {
            self.emit(id, None, kind);
        }
        self.scheduler.add(id, waiting, self.ctx.clock.instant());
        if held {
            self.scheduler.hold(id, true);
        }
        self.settle(id);
    }

    pub(super) fn scan(&mut self) {
        if !std::mem::replace(&mut self.scanning, true) {
            self.in_background(|spool| Input::Scanned(spool.scan().map_err(|e| daemon::describe(&e))));
        }
    }

    pub(super) fn scanned(&mut self, result: Result<Scan, String>) {
        self.scanning = false;
        match result {
            Ok(scan) => {
                for id in scan.messages {
                    self.load(id);
                }
            }
            Err(reason) => tracing::warn!(reason, "the spool cannot be listed"),
        }
    }

    /// Puts a damaged message aside; the others go on.
    pub(super) fn damaged(&mut self, id: MailId, reason: String) {
        self.scheduler.remove(id);
        self.quarantined(Some(id), reason);
        self.entries.remove(&id);
        let spool = self.spool.clone();
        tokio::spawn(async move {
            if let Ok(Err(error)) = blocking(move || spool.quarantine(id)).await {
                tracing::error!(%id, error = %daemon::describe(&error), "a damaged message cannot be put aside");
            }
        });
    }

    pub(super) fn quarantined(&self, id: Option<MailId>, reason: String) {
        let shown = id.map(|id| id.to_string()).unwrap_or_default();
        tracing::error!(id = shown, reason, "put into quarantine");
        let about = id.map_or_else(About::process, About::message);
        self.ctx.events.emit(about, event::Kind::Quarantined { reason });
    }

    /// Decides about a message as a whole, when nothing of it is under way: its reports, its end.
    pub(super) fn settle(&mut self, id: MailId) {
        let now_ms = self.ctx.clock.unix_millis();
        let delay = self
            .settings
            .delay_notice
            .map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.busy > 0 {
            return;
        }
        if entry.state.is_complete() {
            entry.busy += 1;
            self.in_background(move |spool| {
                Input::Removed(id, spool.remove_message(id).map_err(|e| daemon::describe(&e)))
            });
            return;
        }
        if entry.state.deleted {
            return;
        }
        let planned = bounce::plan(id, &entry.state, entry.state.due_reports(delay), now_ms);
        let mut planned: Vec<Record> = planned.into_iter().map(Record::Report).collect();
        for record in &planned {
            entry.state.apply(record);
        }
        let reports: Vec<_> = entry.state.unfinished_reports().cloned().collect();
        if reports.is_empty() {
            return;
        }
        if std::mem::take(&mut entry.rewrite_reports) {
            planned = reports.iter().cloned().map(Record::Report).collect();
        }
        entry.busy += 1;
        entry.journaled = true;
        let ids: Vec<MailId> = reports.iter().map(|report| report.id).collect();
        self.embargo.extend(&ids);
        let lifetime = self.scheduler.limits().backoff.lifetime;
        let age = entry.state.waiting().map(|(_, state)| match &state.progress {
            Progress::Waiting(Some(attempt)) => attempt.age_ms,
            _ => 0,
        });
        let order = Order {
            id,
            envelope: Arc::clone(&entry.envelope),
            state: entry.state.clone(),
            reports,
            planned,
            hostname: self.settings.hostname.clone(),
            retry_for_ms: u64::try_from(lifetime.as_millis())
                .unwrap_or(u64::MAX)
                .saturating_sub(age.max().unwrap_or(0)),
        };
        self.in_background(move |spool| Input::Reported(id, ids, bounce::make(spool, &order)));
    }

    pub(super) fn reported(
        &mut self,
        id: MailId,
        ids: Vec<MailId>,
        result: Result<Vec<Record>, ReportError>,
    ) {
        match result {
            Ok(records) => {
                self.report_events(id);
                if let Some(entry) = self.entries.get_mut(&id) {
                    for record in &records {
                        entry.state.apply(record);
                    }
                }
                for report in ids {
                    self.embargo.remove(&report);
                    self.load(report);
                }
                self.not_busy(id);
            }
            Err(error) => {
                tracing::warn!(%id, error = %daemon::describe(&error), "reports are tried again");
                // The ids stay under their embargo: a file may be there already.
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.busy = entry.busy.saturating_sub(1);
                    entry.rewrite_reports = true;
                }
                self.again.insert((self.ctx.clock.instant() + AGAIN, id));
            }
        }
    }

    /// Before the *reported* records are applied: what is unfinished now was just made.
    fn report_events(&self, id: MailId) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        for report in entry.state.unfinished_reports() {
            let kind = event::Kind::ReportMade {
                report: bounce::kind_name(report.kind).to_owned(),
                to: entry.envelope.sender.to_string(),
                about: report.recipients.clone(),
            };
            self.ctx.events.emit(About::message(report.id).parent(id), kind);
        }
    }

    pub(super) fn removed(&mut self, id: MailId, result: Result<(), String>) {
        if let Err(reason) = result {
            // A suspect volume keeps its messages; what is complete stays complete.
            tracing::warn!(%id, reason, "a message that is done cannot be removed yet");
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.busy = entry.busy.saturating_sub(1);
            }
            self.again.insert((self.ctx.clock.instant() + AGAIN, id));
            return;
        }
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        self.scheduler.remove(id);
        if entry.journaled {
            self.orphans.push(id);
        }
        let reason = if entry.state.deleted {
            "deleted by the administrator"
        } else {
            "done"
        };
        let mut about = About::message(id);
        if let Some(parent) = entry.envelope.parent {
            about = about.parent(parent);
        }
        self.ctx.events.emit(
            about,
            event::Kind::Removed {
                reason: reason.to_owned(),
            },
        );
    }

    /// Removes the journals of removed messages, and tests a volume that is suspect.
    pub(super) fn sweep(&mut self) {
        let orphans = std::mem::take(&mut self.orphans);
        let now = self.ctx.clock.instant();
        let suspect = self.spool.is_suspect() && now >= self.next_self_test;
        if suspect {
            self.next_self_test = now + SELF_TEST;
        }
        if orphans.is_empty() && !suspect {
            return;
        }
        let spool = self.spool.clone();
        tokio::spawn(async move {
            let swept = blocking(move || {
                if suspect {
                    spool.self_test()?;
                }
                spool.remove_journals(&orphans)
            });
            if let Ok(Err(error)) = swept.await {
                // They are found as orphans at the next start.
                tracing::warn!(error = %daemon::describe(&error), "journals of removed messages stay");
            }
        });
    }

    pub(super) fn test_spool(&mut self, key: Key) {
        self.in_background(move |spool| {
            Input::SpoolTested(
                key,
                spool.prepare_journal(key.0).map_err(|e| daemon::describe(&e)),
            )
        });
    }

    pub(super) fn spool_tested(&mut self, key: Key, result: Result<(), String>) {
        match result {
            Ok(()) => {
                if let Some(entry) = self.entries.get_mut(&key.0) {
                    entry.journaled = true;
                }
                // Back among the parked, and out again with all of them.
                self.scheduler
                    .trouble(key, Service::Spool, self.ctx.clock.instant());
                self.service_up(Service::Spool);
            }
            Err(reason) => self.trouble(key, Service::Spool, reason),
        }
    }

    /// Runs blocking work on the spool; its result comes back as an input.
    pub(super) fn in_background(&self, work: impl FnOnce(&Spool) -> Input + Send + 'static) {
        let (spool, inbox) = (self.spool.clone(), self.inbox.clone());
        tokio::spawn(async move {
            if let Ok(input) = blocking(move || work(&spool)).await {
                let _ = inbox.send(input);
            }
        });
    }
}
