//! From one phase to the next, with everything that is counted by phases: timers, lanes, queues.

use std::time::Instant;

use mail_types::{Address, Domain, MailId};

use super::{Destination, Key, Phase, Recipient, Scheduler, destination};

impl Scheduler {
    pub(super) fn phase(&self, key: Key) -> Option<&Phase> {
        Some(&self.messages.get(&key.0)?.recipients.get(&key.1)?.phase)
    }

    /// Changes a phase and everything that is counted by phases. None: it is going away.
    pub(super) fn set_phase(&mut self, key: Key, phase: Option<Phase>) {
        let Some(message) = self.messages.get_mut(&key.0) else {
            return;
        };
        let Some(recipient) = message.recipients.get_mut(&key.1) else {
            return;
        };
        let was_active = recipient.phase.is_active();
        let is_active = phase.as_ref().is_some_and(Phase::is_active);
        let (was_asking, is_asking) = (recipient.phase == Phase::Asking, phase == Some(Phase::Asking));
        if let Phase::Waiting(at) = recipient.phase {
            self.timers.remove(&(at, key.0, key.1));
        }
        if let Phase::Queued(destination) = &recipient.phase
            && phase != Some(Phase::Running)
            && let Some(state) = self.destinations.get_mut(destination)
        {
            state.cancel(key.0, key.1);
        }
        if let Some(Phase::Waiting(at)) = phase {
            self.timers.insert((at, key.0, key.1));
        }
        if let Some(phase) = phase {
            recipient.phase = phase;
        }
        match (was_asking, is_asking) {
            (true, false) => {
                message.asking = message.asking.saturating_sub(1);
                self.asking = self.asking.saturating_sub(1);
            }
            (false, true) => {
                message.asking += 1;
                self.asking += 1;
            }
            _ => {}
        }
        let domain = recipient.domain.clone();
        if was_active != is_active {
            self.count_active(key.0, &domain, is_active);
        }
        if was_asking && !is_asking {
            self.queue_if_all_known(key.0);
        }
    }

    fn count_active(&mut self, id: MailId, domain: &Domain, more: bool) {
        let lane = self.lanes.entry(domain.clone()).or_default();
        if more {
            self.active += 1;
            *lane.active.entry(id).or_default() += 1;
            return;
        }
        self.active = self.active.saturating_sub(1);
        if let Some(count) = lane.active.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                lane.active.remove(&id);
            }
        }
        if lane.due.is_empty() {
            if lane.active.is_empty() {
                self.lanes.remove(domain);
            }
        } else if !std::mem::replace(&mut lane.in_ring, true) {
            self.lane_ring.push_back(domain.clone());
        }
    }

    pub(super) fn wait_until(&mut self, key: Key, at: Instant, now: Instant) {
        if at <= now {
            self.make_due(key);
        } else {
            self.set_phase(key, Some(Phase::Waiting(at)));
        }
    }

    pub(super) fn make_due(&mut self, key: Key) {
        self.set_phase(key, Some(Phase::Due));
        let Some(recipient) = self.messages.get(&key.0).and_then(|m| m.recipients.get(&key.1)) else {
            return;
        };
        let lane = self.lanes.entry(recipient.domain.clone()).or_default();
        if lane.due.back() != Some(&key.0) {
            lane.due.push_back(key.0);
        }
        if !std::mem::replace(&mut lane.in_ring, true) {
            self.lane_ring.push_back(recipient.domain.clone());
        }
    }

    /// Recipients whose time has come, and those of the same message whose time has almost come: they go
    /// together where they can.
    pub(super) fn expire_timers(&mut self, now: Instant) {
        while let Some((at, id, index)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, id, index));
            self.make_due((id, index));
            let Some(message) = self.messages.get(&id) else {
                continue;
            };
            let almost =
                |r: &Recipient| matches!(r.phase, Phase::Waiting(at) if at <= now + r.progress.gap / 10);
            let together: Vec<u32> = message
                .recipients
                .iter()
                .filter(|(_, r)| almost(r))
                .map(|(index, _)| *index)
                .collect();
            for index in together {
                self.make_due((id, index));
            }
        }
    }

    /// Recipients whose message waits for no more answers go to their destinations.
    pub(super) fn queue_if_all_known(&mut self, id: MailId) {
        let Some(message) = self.messages.get(&id) else {
            return;
        };
        if message.asking > 0 {
            return;
        }
        let routed: Vec<(u32, Destination, Option<Address>)> = message
            .recipients
            .iter()
            .filter_map(|(index, r)| match &r.phase {
                Phase::Routed(destination, original) => Some((*index, destination.clone(), original.clone())),
                _ => None,
            })
            .collect();
        let held = message.held;
        for (index, destination, original) in routed {
            if held {
                self.make_due((id, index));
                continue;
            }
            self.set_phase((id, index), Some(Phase::Queued(destination.clone())));
            let initial = match destination {
                Destination::Local => self.limits.concurrency.1,
                _ => self.limits.concurrency.0,
            };
            self.destinations
                .entry(destination.clone())
                .or_insert_with(|| destination::State::new(initial))
                .push((id, original), index);
            if let Some(recipient) = self.messages.get(&id).and_then(|m| m.recipients.get(&index))
                && let Some(lane) = self.lanes.get_mut(&recipient.domain)
            {
                lane.destination = Some(destination.clone());
            }
            self.offer(&destination);
        }
    }

    /// Puts a destination into the ring, if there is something to do for it.
    pub(super) fn offer(&mut self, destination: &Destination) {
        if let Some(state) = self.destinations.get_mut(destination)
            && state.is_waited_for()
            && !std::mem::replace(&mut state.in_ring, true)
        {
            self.destination_ring.push_back(destination.clone());
        }
    }
}
