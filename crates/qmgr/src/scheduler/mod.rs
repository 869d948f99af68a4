//! What happens next with each recipient. Pure: the state of the queue and `now` go in, actions come out.
//!
//! A recipient waits for its time; then it is due in the lane of its domain; lanes are served in turn, each
//! only as far as its destination can use it, so that a hundred thousand recipients of a dead domain do not
//! stand before the one of a live domain (robustness.md Q17). It is asked about at authd, then queued at its
//! destination, whose number of connections follows additive increase and multiplicative decrease.
//!
//! Trouble of our own (authd, deliver or the spool cannot be used) is no attempt: the recipients are parked,
//! one of them is tried every two seconds, and the first success releases them all.

mod backoff;
mod choose;
mod destination;
mod phases;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use mail_types::{Address, Domain, MailId, Reply};

pub use backoff::{Backoff, Progress};
pub use destination::Destination;

/// A recipient of a message.
pub type Key = (MailId, u32);

/// The numbers that the scheduler works with; they may change while it runs.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most recipients that are worked on at a time.
    pub active: usize,
    /// Connections to a destination at first, and at most.
    pub concurrency: (u32, u32),
    /// Most connections to other servers in all.
    pub total_concurrency: u32,
    /// Most recipients of one transaction.
    pub recipients: usize,
    /// The retry schedule.
    pub backoff: Backoff,
    /// How often a daemon or disk that is away is tried.
    pub probe: Duration,
}

/// A recipient that enters the scheduler.
#[derive(Debug, Clone)]
pub struct NewRecipient {
    /// Its index in the message.
    pub index: u32,
    /// The domain of the final address (of the original where that is not known yet).
    pub domain: Domain,
    /// Whether the final address is known.
    pub resolved: bool,
    /// What its journal says.
    pub progress: Progress,
    /// How much of the running gap is over.
    pub elapsed: Duration,
}

/// Something of our own that everybody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// authd.
    Authd,
    /// deliver.
    Deliver,
    /// The spool: full or suspect.
    Spool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask authd what this recipient of a message made here is; then [`Scheduler::finished`] it and
    /// [`Scheduler::add`] what it became.
    Resolve(Key),
    /// Ask authd where this recipient goes; then [`Scheduler::routed`], or a result.
    Route(Key),
    /// Send; give each recipient a result, then call [`Scheduler::job_done`].
    Attempt(Job),
    /// Find out whether the journal of this message can be written; then [`Scheduler::service_up`] or
    /// [`Scheduler::trouble`].
    TestSpool(Key),
    /// Treat as deferred for this reason without trying: the destination is dead.
    Postpone(Key, Reply),
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The message.
    pub id: MailId,
    /// Where to.
    pub destination: Destination,
    /// Indexes of the recipients.
    pub recipients: Vec<u32>,
}

/// How a destination did in a job, apart from what it said about recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It answered.
    Good,
    /// It could not be reached or hung up, for this reason.
    Bad(Reply),
    /// Nothing can be said.
    Unknown,
}

#[derive(Debug)]
struct Message {
    held: bool,
    recipients: BTreeMap<u32, Recipient>,
    /// Recipients that authd is being asked about.
    asking: u32,
}

#[derive(Debug)]
struct Recipient {
    domain: Domain,
    resolved: bool,
    progress: Progress,
    /// When the running gap began.
    since: Instant,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Until then.
    Waiting(Instant),
    /// In its lane.
    Due,
    /// An action is out.
    Asking,
    /// Its destination is known; it waits for the other recipients of the message, to go with them.
    Routed(Destination, Option<Address>),
    /// At its destination.
    Queued(Destination),
    /// Being sent.
    Running,
    /// A service is away.
    Parked(Service),
}

impl Phase {
    fn is_active(&self) -> bool {
        matches!(
            self,
            Self::Asking | Self::Routed(..) | Self::Queued(_) | Self::Running
        )
    }
}

/// The recipients of one domain that are due, by message, and the messages that are active.
#[derive(Debug, Default)]
struct Lane {
    due: VecDeque<MailId>,
    active: HashMap<MailId, u32>,
    in_ring: bool,
    /// Where its recipients went last; its appetite says how many messages are made ready.
    destination: Option<Destination>,
}

#[derive(Debug)]
struct Down {
    next_probe: Instant,
    parked: VecDeque<Key>,
}

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    messages: HashMap<MailId, Message>,
    timers: BTreeSet<(Instant, MailId, u32)>,
    lanes: HashMap<Domain, Lane>,
    lane_ring: VecDeque<Domain>,
    destinations: HashMap<Destination, destination::State>,
    destination_ring: VecDeque<Destination>,
    down: BTreeMap<Service, Down>,
    active: usize,
    asking: usize,
    running: u32,
    /// Actions that were decided outside of [`Scheduler::next`].
    ready: VecDeque<Action>,
}

/// Most questions to authd at a time.
const ASKING: usize = 64;
/// Destinations whose concurrency is remembered while nobody waits for them.
const REMEMBERED: usize = 4096;
/// The appetite for a domain whose destination is not known yet.
const FIRST_APPETITE: usize = 8;

impl Scheduler {
    /// An empty scheduler.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            messages: HashMap::new(),
            timers: BTreeSet::new(),
            lanes: HashMap::new(),
            lane_ring: VecDeque::new(),
            destinations: HashMap::new(),
            destination_ring: VecDeque::new(),
            down: BTreeMap::new(),
            active: 0,
            asking: 0,
            running: 0,
            ready: VecDeque::new(),
        }
    }

    /// Takes new limits over.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The limits in use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Adds recipients to a message, which need not be known yet. The next attempt is at most one longest
    /// gap away, whatever the journal said.
    pub fn add(&mut self, id: MailId, recipients: Vec<NewRecipient>, now: Instant) {
        for new in recipients {
            let elapsed = new.elapsed.min(new.progress.gap.saturating_mul(2));
            let wait = new
                .progress
                .gap
                .saturating_sub(elapsed)
                .min(self.limits.backoff.max);
            let recipient = Recipient {
                domain: new.domain,
                resolved: new.resolved,
                progress: new.progress,
                since: now.checked_sub(elapsed).unwrap_or(now),
                phase: Phase::Due,
            };
            let message = self.messages.entry(id).or_insert_with(|| Message {
                held: false,
                recipients: BTreeMap::new(),
                asking: 0,
            });
            if message.recipients.insert(new.index, recipient).is_none() {
                self.wait_until((id, new.index), now + wait, now);
            }
        }
    }

    /// Forgets a recipient: it is final.
    pub fn finished(&mut self, key: Key) {
        self.set_phase(key, None);
        if let Some(message) = self.messages.get_mut(&key.0) {
            message.recipients.remove(&key.1);
            if message.recipients.is_empty() {
                self.messages.remove(&key.0);
            }
        }
    }

    /// Forgets a message.
    pub fn remove(&mut self, id: MailId) {
        let indexes: Vec<u32> = self
            .messages
            .get(&id)
            .map(|m| m.recipients.keys().copied().collect())
            .unwrap_or_default();
        for index in indexes {
            self.finished((id, index));
        }
    }

    /// Holds a message, or ends that. What is being sent is finished.
    pub fn hold(&mut self, id: MailId, on: bool) {
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        message.held = on;
        let keys: Vec<Key> = message.recipients.keys().map(|index| (id, *index)).collect();
        for key in keys {
            let phase = self.phase(key).cloned();
            match phase {
                Some(Phase::Queued(_)) if on => self.make_due(key),
                Some(Phase::Due) if !on => self.make_due(key),
                _ => {}
            }
        }
    }

    /// Tries a message now. Returns whether anything waited.
    pub fn flush(&mut self, id: MailId) -> bool {
        self.flush_where(id, |_| true)
    }

    /// Tries the recipients of one domain now. Returns whether anything waited.
    pub fn flush_domain(&mut self, id: MailId, domain: &Domain) -> bool {
        self.flush_where(id, |recipient| recipient.domain == *domain)
    }

    fn flush_where(&mut self, id: MailId, which: impl Fn(&Recipient) -> bool) -> bool {
        let Some(message) = self.messages.get(&id) else {
            return false;
        };
        if message.held {
            return false;
        }
        let waiting: Vec<u32> = message
            .recipients
            .iter()
            .filter(|(_, r)| matches!(r.phase, Phase::Waiting(_)) && which(r))
            .map(|(index, _)| *index)
            .collect();
        for index in &waiting {
            self.make_due((id, *index));
        }
        if !waiting.is_empty() {
            // An operator who flushes wants a real attempt.
            for state in self.destinations.values_mut() {
                state.revive();
            }
        }
        !waiting.is_empty()
    }

    /// Starts a message afresh: no attempts, no age, due now. What is being sent is finished first.
    pub fn requeue(&mut self, id: MailId) {
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        let mut again = Vec::new();
        for (index, recipient) in &mut message.recipients {
            recipient.progress = Progress::default();
            if !matches!(recipient.phase, Phase::Running | Phase::Asking | Phase::Due) {
                again.push((id, *index));
            }
        }
        for key in again {
            self.make_due(key);
        }
    }

    /// authd said where a recipient goes. `original` is set where it came out of an alias and leaves us.
    pub fn routed(&mut self, key: Key, destination: Destination, original: Option<Address>) {
        if self.phase(key) != Some(&Phase::Asking) {
            return;
        }
        self.set_phase(key, Some(Phase::Routed(destination, original)));
        self.queue_if_all_known(key.0);
    }

    /// A recipient was deferred. Says what to write down; where it is expired it is still scheduled, and
    /// the caller gives it its final result.
    pub fn deferred(&mut self, key: Key, now: Instant) -> Option<Progress> {
        let backoff = self.limits.backoff.clone();
        let recipient = self.messages.get_mut(&key.0)?.recipients.get_mut(&key.1)?;
        let elapsed = now.saturating_duration_since(recipient.since);
        recipient.progress = recipient.progress.after_attempt(elapsed, &backoff, key.0);
        recipient.since = now;
        let progress = recipient.progress;
        self.wait_until(key, now + progress.gap, now);
        Some(progress)
    }

    /// Something of our own is away: no attempt. The recipient waits until it is back.
    pub fn trouble(&mut self, key: Key, service: Service, now: Instant) {
        if self.phase(key).is_none() {
            return;
        }
        let next_probe = now + self.limits.probe;
        self.set_phase(key, Some(Phase::Parked(service)));
        let down = self.down.entry(service).or_insert_with(|| Down {
            next_probe,
            parked: VecDeque::new(),
        });
        down.next_probe = next_probe;
        down.parked.push_back(key);
    }

    /// A service answered: everything that waited for it is due.
    pub fn service_up(&mut self, service: Service) {
        if let Some(down) = self.down.remove(&service) {
            for key in down.parked {
                if self.phase(key) == Some(&Phase::Parked(service)) {
                    self.make_due(key);
                }
            }
            // Destinations that stood still.
            let all: Vec<Destination> = self.destinations.keys().cloned().collect();
            for destination in all {
                self.offer(&destination);
            }
        }
    }

    /// Whether a recipient waits for a service of ours.
    pub fn is_parked(&self, key: Key) -> bool {
        matches!(self.phase(key), Some(Phase::Parked(_)))
    }

    /// Whether a service is known to be away.
    pub fn is_down(&self, service: Service) -> bool {
        self.down.contains_key(&service)
    }

    /// A job ended, after each of its recipients got a result.
    pub fn job_done(&mut self, destination: &Destination, health: &Health, now: Instant) {
        let pause = self.limits.backoff.min;
        let limit = self.limits.concurrency.1;
        if let Some(state) = self.destinations.get_mut(destination) {
            state.running = state.running.saturating_sub(1);
            if *destination != Destination::Local {
                match health {
                    Health::Good => state.good(limit),
                    Health::Bad(reason) => state.bad(reason, now, pause),
                    Health::Unknown => {}
                }
                self.running = self.running.saturating_sub(1);
            }
        }
        self.offer(destination);
        if self.destinations.len() > REMEMBERED {
            self.destinations.retain(|_, state| !state.is_forgettable(now));
        }
    }

    /// The next thing to do; none until [`Scheduler::wake_at`] or until something changes.
    pub fn next(&mut self, now: Instant) -> Option<Action> {
        self.expire_timers(now);
        if let Some(action) = self.ready.pop_front() {
            return Some(action);
        }
        self.probe(now)
            .or_else(|| self.next_job(now))
            .or_else(|| self.next_question())
    }

    /// When [`Scheduler::next`] has something to say if nothing else happens.
    pub fn wake_at(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _, _)| *at);
        let probe = self.down.values().map(|down| down.next_probe).min();
        timer.into_iter().chain(probe).min()
    }

    /// What a listing shows of a recipient: attempts, and when the next one is unless it is under way.
    pub fn view(&self, key: Key) -> Option<(Progress, Option<Instant>, bool)> {
        let recipient = self.messages.get(&key.0)?.recipients.get(&key.1)?;
        let next = match recipient.phase {
            Phase::Waiting(at) => Some(at),
            _ => None,
        };
        Some((recipient.progress, next, recipient.phase.is_active()))
    }
}

#[cfg(test)]
mod tests;
