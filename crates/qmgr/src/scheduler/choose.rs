//! What is done next: probes of what is away, jobs for destinations, questions for lanes, each in turn.

use std::time::Instant;

use mail_types::{Domain, MailId};

use super::{ASKING, Action, Destination, FIRST_APPETITE, Job, Phase, Scheduler, Service, destination};

impl Scheduler {
    pub(super) fn next_job(&mut self, now: Instant) -> Option<Action> {
        while let Some(destination) = self.destination_ring.pop_front() {
            let needs = if destination == Destination::Local {
                Service::Deliver
            } else {
                Service::Spool
            };
            let blocked = self.down.contains_key(&needs);
            let crowded = destination != Destination::Local && self.running >= self.limits.total_concurrency;
            let limit = self.limits.recipients;
            let Some(state) = self.destinations.get_mut(&destination) else {
                continue;
            };
            state.in_ring = false;
            if let Some(reason) = state.dead_reason(now) {
                let Some((id, indexes)) = state.pop(limit) else {
                    continue;
                };
                for index in indexes {
                    self.set_phase((id, index), Some(Phase::Running));
                    self.ready
                        .push_back(Action::Postpone((id, index), reason.clone()));
                }
                self.offer(&destination);
                return self.ready.pop_front();
            }
            if crowded {
                // The next job that ends offers only its own destination, so this one stays in the ring.
                state.in_ring = true;
                self.destination_ring.push_front(destination);
                return None;
            }
            if blocked || !state.has_room() {
                continue;
            }
            let Some((id, recipients)) = state.pop(limit) else {
                continue;
            };
            let action = self.start(id, destination.clone(), recipients);
            self.offer(&destination);
            return Some(action);
        }
        None
    }

    fn start(&mut self, id: MailId, destination: Destination, recipients: Vec<u32>) -> Action {
        for index in &recipients {
            self.set_phase((id, *index), Some(Phase::Running));
        }
        let state = self
            .destinations
            .entry(destination.clone())
            .or_insert_with(|| destination::State::new(self.limits.concurrency.0));
        state.running += 1;
        if destination != Destination::Local {
            self.running += 1;
        }
        Action::Attempt(Job {
            id,
            destination,
            recipients,
        })
    }

    /// Lets the next lane in: all recipients of its first message that are due.
    pub(super) fn next_question(&mut self) -> Option<Action> {
        if self.down.contains_key(&Service::Authd) {
            return None;
        }
        // Each round takes a message out of a lane or a lane out of the ring.
        while self.active < self.limits.active && self.asking < ASKING {
            let domain = self.lane_ring.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&domain) else {
                continue;
            };
            lane.in_ring = false;
            let appetite = lane
                .destination
                .as_ref()
                .and_then(|d| self.destinations.get(d))
                .map_or(FIRST_APPETITE, destination::State::appetite);
            if lane.active.len() >= appetite {
                // Back in the ring when one of its messages is through.
                continue;
            }
            let Some(id) = lane.due.pop_front() else { continue };
            if !lane.due.is_empty() {
                lane.in_ring = true;
                self.lane_ring.push_back(domain.clone());
            }
            self.ask(id, &domain);
            if let Some(action) = self.ready.pop_front() {
                return Some(action);
            }
        }
        None
    }

    /// Asks authd about the due recipients of a message in one domain.
    fn ask(&mut self, id: MailId, domain: &Domain) {
        let Some(message) = self.messages.get(&id) else {
            return;
        };
        if message.held {
            return;
        }
        let due: Vec<(u32, bool)> = message
            .recipients
            .iter()
            .filter(|(_, r)| r.phase == Phase::Due && r.domain == *domain)
            .map(|(index, r)| (*index, r.resolved))
            .collect();
        for (index, resolved) in due {
            self.set_phase((id, index), Some(Phase::Asking));
            let key = (id, index);
            self.ready.push_back(if resolved {
                Action::Route(key)
            } else {
                Action::Resolve(key)
            });
        }
    }

    /// Tries one parked recipient of a service whose time has come.
    pub(super) fn probe(&mut self, now: Instant) -> Option<Action> {
        let due: Vec<Service> = self
            .down
            .iter()
            .filter(|(_, down)| down.next_probe <= now)
            .map(|(service, _)| *service)
            .collect();
        for service in due {
            let candidate = loop {
                let Some(down) = self.down.get_mut(&service) else {
                    break None;
                };
                let Some(key) = down.parked.pop_front() else {
                    break None;
                };
                let held = self.messages.get(&key.0).is_some_and(|m| m.held);
                if self.phase(key) == Some(&Phase::Parked(service)) {
                    if held {
                        self.make_due(key);
                        continue;
                    }
                    break Some(key);
                }
            };
            let Some((id, index)) = candidate else {
                // Nobody is left who could try: let the next one find out.
                self.service_up(service);
                continue;
            };
            if let Some(down) = self.down.get_mut(&service) {
                down.next_probe = now + self.limits.probe;
            }
            if service == Service::Deliver {
                return Some(self.start(id, Destination::Local, vec![index]));
            }
            self.set_phase((id, index), Some(Phase::Asking));
            let resolved = self
                .messages
                .get(&id)
                .and_then(|m| m.recipients.get(&index))
                .is_some_and(|r| r.resolved);
            return Some(match service {
                Service::Spool => Action::TestSpool((id, index)),
                _ if resolved => Action::Route((id, index)),
                _ => Action::Resolve((id, index)),
            });
        }
        None
    }
}
