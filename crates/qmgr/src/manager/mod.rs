//! The one owner of the queue in memory: takes inputs, asks the scheduler, starts what is to be done.
//!
//! Everything that blocks or waits runs in a task of its own and comes back as an [`Input`]. So there is no
//! lock, and every decision about a message is taken here, one after the other.

mod administer;
mod entry;
mod resolve;
mod spooling;
mod verdicts;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_api::Unavailable;
use auth_api::client::Client;
use auth_api::directory::{Resolution, Route};
use daemon::{BoxError, Context};
use events::{About, qmgr as event};
use futures_util::FutureExt;
use mail_types::MailId;
use spool::{ReadError, Record, Scan, Spool};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bounce::ReportError;
use crate::config::Settings;
use crate::job::{self, Ended};
use crate::message::Verdict;
use crate::outbound::Sender;
use crate::recover::{Loaded, Recovered};
use crate::results::Results;
use crate::scheduler::{Action, Destination, Job, Key, Scheduler};

pub use administer::{Command, Wish};
pub use entry::Entry;

/// What the manager is told.
#[derive(Debug)]
pub enum Input {
    /// A message was published.
    Arrived(MailId),
    /// It was read.
    Loaded(MailId, Box<Result<Loaded, ReadError>>),
    /// `incoming/` was listed.
    Scanned(Result<Scan, String>),
    /// A recipient got a verdict.
    Verdict(Key, Verdict),
    /// A job ended; all its verdicts were given before.
    JobDone(Job, Ended),
    /// authd said where a recipient goes.
    Routed(Key, Result<Route, Unavailable>),
    /// authd said what a recipient of a message made here is.
    Resolved(Key, Result<Resolution, Unavailable>),
    /// Its expansion is in the journal.
    Expanded(Key, Record, Result<(), String>),
    /// A deferral was written, or not.
    Wrote(MailId),
    /// The reports of a message were made.
    Reported(MailId, Vec<MailId>, Result<Vec<Record>, ReportError>),
    /// A message was unlinked, or not.
    Removed(MailId, Result<(), String>),
    /// Whether the journal of a message can be written.
    SpoolTested(Key, Result<(), String>),
    /// An operator's wish.
    Command(Command),
    /// It is written down.
    Administered(administer::Change),
}

/// The manager.
pub struct Manager {
    ctx: Context<Settings>,
    settings: Arc<Settings>,
    spool: Spool,
    authd: Client,
    sender: Arc<Sender>,
    scheduler: Scheduler,
    entries: HashMap<MailId, Entry>,
    /// Messages that are being read.
    loading: HashSet<MailId>,
    /// Reports that must not be touched before their *reported* record is written.
    embargo: HashSet<MailId>,
    /// Messages to look at again: reports that could not be made, files that could not be removed.
    again: BTreeSet<(Instant, MailId)>,
    /// Journals whose message is gone.
    orphans: Vec<MailId>,
    /// Deliveries under way. They end with the manager.
    jobs: JoinSet<()>,
    inputs: mpsc::UnboundedReceiver<Input>,
    inbox: mpsc::UnboundedSender<Input>,
    next_scan: Instant,
    next_sweep: Instant,
    next_self_test: Instant,
    scanning: bool,
}

/// How long after an error of the disk a message is looked at again.
const AGAIN: Duration = Duration::from_secs(10);
/// How often journals of removed messages are swept.
const SWEEP: Duration = Duration::from_secs(1);
/// How often a suspect volume is tested (robustness.md 4.2).
const SELF_TEST: Duration = Duration::from_secs(30);
/// Actions that are begun before inputs are taken again.
const ACTIONS: usize = 1000;
/// Inputs that are handled before the scheduler is asked again.
const BATCH: usize = 256;

impl Manager {
    /// Takes the spool over. `inputs` is the other end of `inbox`.
    pub fn new(
        ctx: Context<Settings>,
        spool: Spool,
        authd: Client,
        (inbox, inputs): (mpsc::UnboundedSender<Input>, mpsc::UnboundedReceiver<Input>),
    ) -> Result<Self, BoxError> {
        let settings = ctx.settings();
        let now = ctx.clock.instant();
        Ok(Self {
            sender: Arc::new(Sender::new(settings.outbound.clone(), settings.hostname.clone())?),
            scheduler: Scheduler::new(settings.limits.clone()),
            next_scan: now + settings.scan_interval,
            next_sweep: now + SWEEP,
            next_self_test: now + SELF_TEST,
            ctx,
            settings,
            spool,
            authd,
            entries: HashMap::new(),
            loading: HashSet::new(),
            embargo: HashSet::new(),
            again: BTreeSet::new(),
            orphans: Vec::new(),
            jobs: JoinSet::new(),
            inputs,
            inbox,
            scanning: false,
        })
    }

    /// Takes over what the start found.
    pub fn adopt(&mut self, recovered: Recovered) {
        self.embargo = recovered.embargo;
        for (id, reason) in recovered.quarantined {
            self.quarantined(id, reason);
        }
        for loaded in recovered.messages {
            self.insert(loaded, true);
        }
    }

    /// Works until the shutdown, and then until the running jobs have ended or their time is over.
    pub async fn run(mut self) {
        let mut reloads = self.ctx.reloads();
        let shutdown = self.ctx.shutdown.clone();
        loop {
            let more = self.act();
            let wait = match more {
                true => Duration::ZERO,
                false => self.wake_at().saturating_duration_since(self.ctx.clock.instant()),
            };
            tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(input) => self.handle_batch(input),
                    None => break,
                },
                () = tokio::time::sleep(wait) => self.timers(),
                changed = reloads.changed() => if changed.is_ok() { self.reload() },
                () = shutdown.cancelled() => break,
            }
        }
        self.drain().await;
    }

    /// Nothing new is begun; what is being sent may come to its end.
    async fn drain(&mut self) {
        let until = tokio::time::sleep(self.settings.drain);
        tokio::pin!(until);
        while !self.jobs.is_empty() {
            tokio::select! {
                Some(input) = self.inputs.recv() => self.handle(input),
                _ = self.jobs.join_next() => {}
                () = &mut until => {
                    tracing::warn!(jobs = self.jobs.len(), "ending while messages are being sent; they are tried again");
                    break;
                }
            }
        }
        while let Ok(input) = self.inputs.try_recv() {
            self.handle(input);
        }
    }

    fn reload(&mut self) {
        let settings = self.ctx.settings();
        match Sender::new(settings.outbound.clone(), settings.hostname.clone()) {
            Ok(sender) => self.sender = Arc::new(sender),
            Err(error) => tracing::error!(%error, "the old outbound options stay in force"),
        }
        self.scheduler.set_limits(settings.limits.clone());
        self.settings = settings;
    }

    fn wake_at(&self) -> Instant {
        let again = self.again.first().map(|(at, _)| *at);
        let scheduler = self.scheduler.wake_at();
        [again, scheduler]
            .into_iter()
            .flatten()
            .fold(self.next_scan.min(self.next_sweep), Instant::min)
    }

    fn timers(&mut self) {
        let now = self.ctx.clock.instant();
        if now >= self.next_scan {
            self.next_scan = now + self.settings.scan_interval;
            self.scan();
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            self.sweep();
        }
        while let Some((at, id)) = self.again.first().copied()
            && at <= now
        {
            self.again.remove(&(at, id));
            self.settle(id);
        }
    }

    fn handle_batch(&mut self, first: Input) {
        self.handle(first);
        for _ in 0..BATCH {
            match self.inputs.try_recv() {
                Ok(input) => self.handle(input),
                Err(_) => break,
            }
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Arrived(id) => self.load(id),
            Input::Loaded(id, result) => self.loaded(id, *result),
            Input::Scanned(result) => self.scanned(result),
            Input::Verdict(key, verdict) => self.verdict(key, verdict),
            Input::JobDone(job, ended) => self.job_done(&job, ended),
            Input::Routed(key, result) => self.routed(key, result),
            Input::Resolved(key, result) => self.resolved(key, result),
            Input::Expanded(key, record, result) => self.expanded(key, &record, result),
            Input::Wrote(id) => self.not_busy(id),
            Input::Reported(id, ids, result) => self.reported(id, ids, result),
            Input::Removed(id, result) => self.removed(id, result),
            Input::SpoolTested(key, result) => self.spool_tested(key, result),
            Input::Command(command) => self.command(command),
            Input::Administered(change) => self.administered(change),
        }
    }

    /// Does what the scheduler says; returns whether there is more to do at once.
    fn act(&mut self) -> bool {
        let now = self.ctx.clock.instant();
        for _ in 0..ACTIONS {
            let Some(action) = self.scheduler.next(now) else {
                return false;
            };
            match action {
                Action::Route(key) => self.ask_route(key),
                Action::Resolve(key) => self.ask_resolve(key),
                Action::Attempt(job) => self.start(job),
                Action::TestSpool(key) => self.test_spool(key),
                Action::Postpone(key, reply) => {
                    self.verdict(
                        key,
                        Verdict::Deferred {
                            reply,
                            mta: String::new(),
                            repeated: false,
                        },
                    );
                }
            }
        }
        true
    }

    fn start(&mut self, job: Job) {
        let Some(entry) = self.entries.get_mut(&job.id) else {
            self.scheduler.remove(job.id);
            self.scheduler.job_done(
                &job.destination,
                &crate::scheduler::Health::Unknown,
                self.ctx.clock.instant(),
            );
            return;
        };
        entry.busy += 1;
        entry.running.extend(&job.recipients);
        let parcel = entry.parcel(&job.recipients);
        // The journal of a remote attempt is prepared; of a local one, written unless it is the only one.
        let alone = entry.state.recipients.len() == 1
            && entry
                .state
                .recipients
                .values()
                .all(|r| !r.recipient.notify.is_some_and(|n| n.success));
        let local = job.destination == Destination::Local;
        entry.journaled |= !(local && alone);
        let results = Results {
            id: job.id,
            spool: self.spool.clone(),
            manager: self.inbox.clone(),
            clock: self.ctx.clock.clone(),
            events: self.ctx.events.clone(),
            skip_success: local && alone,
        };
        let (sender, settings, inbox) = (
            Arc::clone(&self.sender),
            Arc::clone(&self.settings),
            self.inbox.clone(),
        );
        let (destination, shuffle) = (job.destination.clone(), self.ctx.random_u64());
        self.jobs.spawn(async move {
            let run = job::run(parcel, destination, sender, settings, results, shuffle);
            let ended = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(id = %job.id, "a delivery ended by a fault of the program");
                Ended::nothing()
            });
            let _ = inbox.send(Input::JobDone(job, ended));
        });
    }

    fn emit(&self, id: MailId, index: Option<u32>, kind: event::Kind) {
        let mut about = About::message(id);
        if let Some(index) = index {
            about = about.recipient(index);
        }
        if let Some(parent) = self.entries.get(&id).and_then(|entry| entry.envelope.parent) {
            about = about.parent(parent);
        }
        self.ctx.events.emit(about, kind);
    }

    /// Something of a message came to its end.
    fn not_busy(&mut self, id: MailId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.busy = entry.busy.saturating_sub(1);
            if entry.busy == 0 {
                self.settle(id);
            }
        }
    }
}
