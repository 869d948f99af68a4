//! One destination: who waits for it, how many connections it gets (AIMD), and whether it is dead.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use auth_api::directory::{LmtpHop, NextHop};
use mail_types::{Address, MailId, Reply};

/// Where recipients go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Mailboxes here, through deliver.
    Local,
    /// Another SMTP server.
    Smtp(NextHop),
    /// Another LMTP server.
    Lmtp(LmtpHop),
}

/// For logs and events.
impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Smtp(hop) => {
                if hop.use_mx {
                    write!(f, "smtp:{}", hop.host)?;
                } else {
                    write!(f, "smtp:[{}]", hop.host)?;
                }
                hop.port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
            Self::Lmtp(LmtpHop::Unix(path)) => write!(f, "lmtp:unix:{path}"),
            Self::Lmtp(LmtpHop::Tcp { host, port }) => write!(f, "lmtp:{host}:{port}"),
        }
    }
}

/// Recipients of one message that can share a transaction: those that came out of the same alias, because
/// each original gets its own `Delivered-To` line; or those that came out of none.
pub(super) type Group = (MailId, Option<Address>);

/// What the scheduler knows of a destination.
#[derive(Debug)]
pub(super) struct State {
    queue: VecDeque<Group>,
    members: HashMap<Group, Vec<u32>>,
    pub(super) running: u32,
    /// The connections that it may have now; between 1 and the limit.
    window: f64,
    failures: u32,
    dead: Option<(Instant, Reply)>,
    /// Whether it stands in the scheduler's ring.
    pub(super) in_ring: bool,
}

/// After this many failures in a row a destination is dead for a while.
const DEAD_AFTER: u32 = 2;

impl State {
    pub(super) fn new(initial: u32) -> Self {
        Self {
            queue: VecDeque::new(),
            members: HashMap::new(),
            running: 0,
            window: f64::from(initial.max(1)),
            failures: 0,
            dead: None,
            in_ring: false,
        }
    }

    pub(super) fn push(&mut self, group: Group, index: u32) {
        let members = self.members.entry(group.clone()).or_default();
        if members.is_empty() {
            self.queue.push_back(group);
        }
        members.push(index);
    }

    /// The next recipients to be sent together, at most `limit`.
    pub(super) fn pop(&mut self, limit: usize) -> Option<(MailId, Vec<u32>)> {
        let group = self.queue.front()?.clone();
        let members = self.members.get_mut(&group)?;
        let taken: Vec<u32> = members.drain(..limit.min(members.len())).collect();
        self.queue.pop_front();
        if members.is_empty() {
            self.members.remove(&group);
        } else {
            // To the end: a message of thousands of recipients does not hold up the others.
            self.queue.push_back(group.clone());
        }
        Some((group.0, taken))
    }

    /// Takes a recipient out again.
    pub(super) fn cancel(&mut self, id: MailId, index: u32) {
        for ((message, _), members) in &mut self.members {
            if *message == id {
                members.retain(|member| *member != index);
            }
        }
        let members = &mut self.members;
        self.queue
            .retain(|group| members.get(group).is_some_and(|m| !m.is_empty()));
        members.retain(|_, m| !m.is_empty());
    }

    pub(super) fn is_waited_for(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        f64::from(self.running) < self.window.floor().max(1.0)
    }

    /// How many messages may be made ready for it: enough to keep its connections busy.
    pub(super) fn appetite(&self) -> usize {
        4 * self.window.floor().max(1.0) as usize
    }

    /// Why nobody may go there now.
    pub(super) fn dead_reason(&mut self, now: Instant) -> Option<Reply> {
        match &self.dead {
            Some((until, reason)) if now < *until => Some(reason.clone()),
            _ => {
                self.dead = None;
                None
            }
        }
    }

    /// It answered: one connection more per window of good answers.
    pub(super) fn good(&mut self, limit: u32) {
        self.failures = 0;
        self.dead = None;
        self.window = (self.window + 1.0 / self.window).min(f64::from(limit.max(1)));
    }

    /// It could not be reached: half the connections; dead for `pause` after some in a row.
    pub(super) fn bad(&mut self, reason: &Reply, now: Instant, pause: Duration) {
        self.failures += 1;
        self.window = (self.window / 2.0).max(1.0);
        if self.failures >= DEAD_AFTER {
            self.dead = now.checked_add(pause).map(|until| (until, reason.clone()));
        }
    }

    /// Lets it be tried at once, whatever happened.
    pub(super) fn revive(&mut self) {
        self.failures = 0;
        self.dead = None;
    }

    /// Whether nothing is known of it that is worth keeping.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        self.queue.is_empty()
            && self.running == 0
            && self.dead.as_ref().is_none_or(|(until, _)| *until <= now)
    }
}
