//! Message bodies in a session: DATA, BDAT chunks, what is swallowed, and the answers to a message.

use std::time::Instant;

use mail_types::Reply;

use super::{CloseReason, EndOfData, Event, Internal, Phase, Question, Session};
use crate::Protocol;
use crate::command::Bdat;
use crate::framing::{BodyDecoder, BodyFault, Framing, Step};
use crate::reply;

impl Session {
    pub(super) fn start_body(&mut self, bdat: Option<Bdat>) {
        let framing = if bdat.is_some() {
            Framing::Counted
        } else {
            Framing::Dots
        };
        let limits = self.config.limits.body;
        if let Some(transaction) = &mut self.transaction {
            transaction.decoder = Some(BodyDecoder::new(framing, limits));
        }
        match bdat {
            None => {
                self.say(&reply::start_data());
                self.phase = Phase::Body;
            }
            Some(bdat) => self.start_chunk(bdat),
        }
    }

    pub(super) fn start_chunk(&mut self, bdat: Bdat) {
        self.phase = Phase::Chunk {
            left: bdat.size,
            bdat,
        };
        self.record.over = true;
    }

    /// Reads a chunk's octets, which follow whatever we think of them, before the refusal is said.
    pub(super) fn refuse_chunk(&mut self, bdat: Bdat, then: Reply) {
        if bdat.size > self.flood_mark() {
            self.end(CloseReason::BodyFlood, Some(&then));
            return;
        }
        self.phase = Phase::Swallow {
            left: bdat.size,
            then,
        };
        self.record.over = true;
    }

    /// Where a body is so far above the limit that the connection is better closed.
    pub(super) fn flood_mark(&self) -> u64 {
        self.config
            .limits
            .body
            .message
            .saturating_mul(2)
            .saturating_add(FLOOD_SLACK)
    }

    pub(super) fn body(&mut self, now: Instant) -> Option<Option<Internal>> {
        self.start_record(now);
        let flood = self.flood_mark();
        let decoder = self.transaction.as_mut().and_then(|t| t.decoder.as_mut())?;
        let base = self.consumed;
        match decoder.step(&self.input[base..]) {
            Step::More => None,
            Step::Text { consumed, text } => {
                let flooded = decoder.size() > flood;
                self.take(consumed);
                if flooded {
                    self.end(CloseReason::BodyFlood, Some(&too_big()));
                    return Some(None);
                }
                let text = base + text.start..base + text.end;
                Some((!text.is_empty()).then_some(Internal::Text(text)))
            }
            Step::Crlf { consumed } => {
                self.take(consumed);
                Some(Some(Internal::Event(Event::Body(b"\r\n"))))
            }
            Step::End { consumed } => {
                let (fault, size) = (decoder.fault(), decoder.size());
                self.take(consumed);
                Some(Some(Internal::Event(self.end_of_data(fault, size, true))))
            }
        }
    }

    pub(super) fn chunk(&mut self, now: Instant) -> Option<Option<Internal>> {
        self.start_record(now);
        let Phase::Chunk { left, bdat } = self.phase else {
            return None;
        };
        if left == 0 {
            self.phase = Phase::ChunkDone(bdat);
            let rest = self.decoder()?.finish_counted_if(bdat.last);
            return Some(rest.map(|text| Internal::Event(Event::Body(text))));
        }
        let base = self.consumed;
        let available = self.input.len() - base;
        let end = base + usize::try_from(left).unwrap_or(usize::MAX).min(available);
        let decoder = self.transaction.as_mut().and_then(|t| t.decoder.as_mut())?;
        let step = decoder.step(&self.input[base..end]);
        let (consumed, text) = match step {
            Step::Text { consumed, text } => {
                let text = base + text.start..base + text.end;
                (consumed, (!text.is_empty()).then_some(Internal::Text(text)))
            }
            Step::Crlf { consumed } => (consumed, Some(Internal::Event(Event::Body(b"\r\n")))),
            // A counted body has no end of its own.
            Step::More | Step::End { .. } => return None,
        };
        self.take(consumed);
        self.phase = Phase::Chunk {
            left: left - consumed as u64,
            bdat,
        };
        Some(text)
    }

    fn decoder(&mut self) -> Option<&mut BodyDecoder> {
        self.transaction.as_mut()?.decoder.as_mut()
    }

    pub(super) fn chunk_done(&mut self, bdat: Bdat) -> Option<Event<'static>> {
        let (fault, size) = self.decoder().map(|decoder| (decoder.fault(), decoder.size()))?;
        if bdat.last || fault.is_some() {
            return Some(self.end_of_data(fault, size, bdat.last));
        }
        self.phase = Phase::Line;
        self.record.over = true;
        self.say(&reply::new(250, (2, 0, 0), format!("Ok: {} bytes", bdat.size)));
        None
    }

    fn end_of_data(&mut self, fault: Option<BodyFault>, size: u64, last: bool) -> Event<'static> {
        let accepted = self.transaction.as_ref().map_or(1, |t| t.accepted);
        // Only the end of the message is answered once per recipient, not a chunk before it.
        let answers = match self.config.protocol {
            Protocol::Lmtp if last => accepted,
            _ => 1,
        };
        self.phase = Phase::Asked(Question::EndOfData {
            left: answers,
            fault: fault.is_some(),
        });
        Event::EndOfData(EndOfData { fault, size, answers })
    }

    pub(super) fn swallow(&mut self, now: Instant) -> Option<()> {
        self.start_record(now);
        let available = self.pending().len();
        let Phase::Swallow { left, then } = &mut self.phase else {
            return None;
        };
        let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
        *left -= taken as u64;
        if *left > 0 {
            self.take(taken);
            return None;
        }
        let then = then.clone();
        self.phase = Phase::Line;
        self.record.over = true;
        self.take(taken);
        self.say(&then);
        Some(())
    }

    pub(super) fn message_verdict(&mut self, left: usize, fault: bool, reply: &Reply) {
        if fault && reply.is_positive() {
            self.say(&reply::new(554, (5, 6, 0), "Error: message content rejected"));
        } else {
            self.say(reply);
        }
        if matches!(self.phase, Phase::Closing(_)) {
            return;
        }
        if reply.is_positive() {
            self.counters.errors = 0;
            self.counters.junk = 0;
        }
        if left > 1 {
            let left = left - 1;
            self.phase = Phase::Asked(Question::EndOfData { left, fault });
        } else {
            self.transaction = None;
        }
    }
}

impl BodyDecoder {
    /// [`BodyDecoder::finish_counted`] where the message ends here.
    fn finish_counted_if(&mut self, last: bool) -> Option<&'static [u8]> {
        if last { self.finish_counted() } else { None }
    }
}

/// `552 5.3.4 Error: message file too big`.
pub(super) fn too_big() -> Reply {
    reply::new(552, (5, 3, 4), "Error: message file too big")
}

/// Octets above twice the size limit that are still read and dropped.
const FLOOD_SLACK: u64 = 1024 * 1024;
