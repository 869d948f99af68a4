//! What an operator wants of the queue. Changes are durable before they are confirmed.

use daemon::blocking;
use events::qmgr as event;
use mail_types::MailId;
use queue_api::{Flush, QueueError, QueuedMessage, Selection, ShownMessage};
use spool::{Record, Safety, WriteError};
use tokio::sync::oneshot;

use super::{Input, Manager};
use crate::message::Text;

/// An operator's wish, and where the answer goes.
#[derive(Debug)]
pub enum Command {
    /// All messages, oldest first.
    List(oneshot::Sender<Vec<QueuedMessage>>),
    /// One message with its header.
    Show(MailId, oneshot::Sender<Result<ShownMessage, QueueError>>),
    /// Try now.
    Flush(Flush, oneshot::Sender<Result<Vec<MailId>, QueueError>>),
    /// Change messages.
    Change(Wish, Selection, oneshot::Sender<Result<Vec<MailId>, QueueError>>),
}

/// A change of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Put on hold.
    Hold,
    /// End that.
    Release,
    /// Start afresh.
    Requeue,
    /// Remove without a report.
    Delete,
}

impl Wish {
    fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Requeue => "requeue",
            Self::Delete => "delete",
        }
    }

    fn record(self) -> Record {
        match self {
            Self::Hold => Record::Hold { on: true },
            Self::Release => Record::Hold { on: false },
            Self::Requeue => Record::Requeue,
            Self::Delete => Record::Deleted,
        }
    }
}

/// A change that is written down.
#[derive(Debug)]
pub struct Change {
    wish: Wish,
    ids: Vec<MailId>,
    /// What could not be written down, and why.
    failed: Vec<MailId>,
    error: Option<String>,
    reply: oneshot::Sender<Result<Vec<MailId>, QueueError>>,
}

impl Manager {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::List(reply) => {
                let now = self.ctx.clock.instant();
                let mut all: Vec<_> = self
                    .entries
                    .values()
                    .map(|entry| entry.view(&self.scheduler, now))
                    .collect();
                all.sort_by_key(|message| message.id);
                let _ = reply.send(all);
            }
            Command::Show(id, reply) => self.show(id, reply),
            Command::Flush(flush, reply) => {
                let _ = reply.send(Ok(self.flush(&flush)));
            }
            Command::Change(wish, selection, reply) => self.change(wish, selection, reply),
        }
    }

    fn show(&mut self, id: MailId, reply: oneshot::Sender<Result<ShownMessage, QueueError>>) {
        let Some(entry) = self.entries.get(&id) else {
            let _ = reply.send(Err(QueueError::NotFound(id)));
            return;
        };
        let message = entry.view(&self.scheduler, self.ctx.clock.instant());
        let (finished, top, spool) = (entry.finished(), entry.envelope.top.clone(), self.spool.clone());
        tokio::spawn(async move {
            let read = blocking(move || Text::open(&spool, id, true).and_then(|text| text.header())).await;
            let answer = match read {
                Ok(Ok(header)) => {
                    let header = [top.as_bytes(), &header].concat();
                    Ok(ShownMessage {
                        message,
                        header,
                        finished,
                    })
                }
                Ok(Err(error)) => Err(QueueError::Unavailable(daemon::describe(&error))),
                Err(error) => Err(QueueError::Unavailable(error.to_string())),
            };
            let _ = reply.send(answer);
        });
    }

    fn flush(&mut self, flush: &Flush) -> Vec<MailId> {
        let scheduler = &mut self.scheduler;
        let mut ids: Vec<MailId> = match flush {
            Flush::All => self
                .entries
                .keys()
                .copied()
                .filter(|id| scheduler.flush(*id))
                .collect(),
            Flush::Message(id) => Some(*id).filter(|id| scheduler.flush(*id)).into_iter().collect(),
            Flush::Domain(domain) => self
                .entries
                .keys()
                .copied()
                .filter(|id| scheduler.flush_domain(*id, domain))
                .collect(),
        };
        ids.sort_unstable();
        let messages = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        self.ctx
            .events
            .emit(events::About::process(), event::Kind::QueueFlushed { messages });
        for id in &ids {
            self.emit(
                *id,
                None,
                event::Kind::Administered {
                    action: "flush".to_owned(),
                },
            );
        }
        ids
    }

    /// Writes the change down for every message that it changes.
    fn change(
        &mut self,
        wish: Wish,
        selection: Selection,
        reply: oneshot::Sender<Result<Vec<MailId>, QueueError>>,
    ) {
        let mut ids: Vec<MailId> = match selection {
            Selection::All => self.entries.keys().copied().collect(),
            Selection::Ids(ids) => ids,
        };
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| {
            self.entries.get(id).is_some_and(|entry| match wish {
                _ if entry.state.deleted => false,
                Wish::Hold => !entry.state.held,
                Wish::Release => entry.state.held,
                Wish::Requeue | Wish::Delete => true,
            })
        });
        for id in &ids {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.busy += 1;
                entry.journaled = true;
            }
        }
        self.in_background(move |spool| {
            let mut change = Change {
                wish,
                ids: Vec::new(),
                failed: Vec::new(),
                error: None,
                reply,
            };
            for id in ids {
                match spool.append_journal(id, &[wish.record()], Safety::Durable) {
                    Ok(()) => change.ids.push(id),
                    // A removal must never need space: the file is unlinked without a record before it.
                    Err(WriteError::Full(_)) if wish == Wish::Delete => change.ids.push(id),
                    Err(error) => {
                        change.failed.push(id);
                        change.error = Some(daemon::describe(&error));
                    }
                }
            }
            Input::Administered(change)
        });
    }

    pub(super) fn administered(&mut self, change: Change) {
        let Change {
            wish,
            ids,
            failed,
            error,
            reply,
        } = change;
        for id in &ids {
            let Some(entry) = self.entries.get_mut(id) else {
                continue;
            };
            entry.state.apply(&wish.record());
            match wish {
                Wish::Hold => self.scheduler.hold(*id, true),
                Wish::Release => self.scheduler.hold(*id, false),
                Wish::Requeue => self.scheduler.requeue(*id),
                Wish::Delete => self.scheduler.remove(*id),
            }
            self.emit(
                *id,
                None,
                event::Kind::Administered {
                    action: wish.name().to_owned(),
                },
            );
            self.not_busy(*id);
        }
        for id in failed {
            self.not_busy(id);
        }
        let _ = reply.send(match error {
            Some(error) => Err(QueueError::Unavailable(error)),
            None => Ok(ids),
        });
    }
}
