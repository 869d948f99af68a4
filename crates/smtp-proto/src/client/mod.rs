//! The client's session, for SMTP and LMTP: one envelope and one body at a time, one outcome per recipient.
//!
//! ```text
//! Greeting -> EHLO -> Event::Ready        starttls() -> Event::StartTls -> tls_started() -> Event::Ready
//! begin(mail, rcpts) -> Event::Mail, Event::Rcpt... -> Event::SendBody
//! body(..)*, end_body() -> Event::Verdict... -> Event::Done      begin() again, or quit()
//! begin_whole(mail, rcpts, body) -> Event::Mail, Event::Rcpt..., Event::Verdict... -> Event::Done
//! ```
//!
//! The caller writes [`Session::output`] after each call, appends what it read to [`Session::input`] and takes
//! events. Whatever happens, [`Session::outcomes`] says exactly what each recipient got: nothing is ever
//! collapsed into one result, and a message whose end was sent without an answer is told apart from one
//! whose end was not.

mod encode;
mod event;
mod extensions;
mod reply;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

use mail_types::Reply;

pub use event::{Event, Failure, Outcome, Stage, Timeouts};
pub use extensions::Extensions;
pub use reply::ReplyError;

use crate::Protocol;
use crate::command::{Mail, Rcpt};
use crate::framing::DotStuffer;

/// One connection, as the client sees it.
#[derive(Debug)]
pub struct Session {
    protocol: Protocol,
    name: String,
    timeouts: Timeouts,
    input: Vec<u8>,
    output: Vec<u8>,
    /// The replies that are due, in order.
    due: VecDeque<Due>,
    /// Events that follow from one reply.
    events: VecDeque<Event>,
    waiting_since: Option<Instant>,
    extensions: Extensions,
    transaction: Option<Transaction>,
    /// The server still has a transaction open that must go before the next.
    reset_first: bool,
    dead: bool,
}

/// What a due reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Greeting,
    Hello,
    Helo,
    StartTls,
    Mail,
    Rcpt(usize),
    Data,
    /// LMTP: of one recipient; SMTP: of all.
    EndOfData(Option<usize>),
    /// BDAT LAST, sent before it was known who is accepted; becomes one of the others when its turn comes.
    Chunk,
    /// The end of a body that was sent to nobody.
    EmptyBody,
    Rset,
    Quit,
}

#[derive(Debug)]
struct Transaction {
    rcpts: Vec<Rcpt>,
    replies: Vec<Option<(Stage, Reply)>>,
    accepted: Vec<bool>,
    pipelined: bool,
    stuffer: DotStuffer,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Before 354.
    Envelope,
    Body,
    EndSent,
    Over,
}

impl Session {
    /// A session on a new connection that calls itself `name`.
    pub fn new(protocol: Protocol, name: impl Into<String>, timeouts: Timeouts) -> Self {
        Self {
            protocol,
            name: name.into(),
            timeouts,
            input: Vec::new(),
            output: Vec::new(),
            due: VecDeque::from([Due::Greeting]),
            events: VecDeque::new(),
            waiting_since: None,
            extensions: Extensions::default(),
            transaction: None,
            reset_first: false,
            dead: false,
        }
    }

    /// Where to append what was read from the peer.
    pub fn input(&mut self) -> &mut Vec<u8> {
        self.input.reserve(READ);
        &mut self.input
    }

    /// What is to be written to the peer.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// All of [`Session::output`] was written.
    pub fn output_written(&mut self) {
        self.output.clear();
        if self.output.capacity() > IDLE_BUFFER {
            self.output = Vec::new();
        }
    }

    /// The times in use.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Until when the reply that is due next must be complete; `None` where none is due.
    pub fn deadline(&self) -> Option<Instant> {
        let time = match self.due.front()? {
            Due::Greeting => self.timeouts.greeting,
            Due::Hello | Due::Helo | Due::StartTls => self.timeouts.hello,
            Due::Mail => self.timeouts.mail,
            Due::Rcpt(_) => self.timeouts.rcpt,
            Due::Data => self.timeouts.data,
            Due::EndOfData(_) | Due::Chunk | Due::EmptyBody => self.timeouts.end_of_data,
            Due::Rset | Due::Quit => self.timeouts.farewell,
        };
        self.waiting_since.map(|since| since + time)
    }

    /// What the server announced last.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Whether a transaction can begin now.
    pub fn is_idle(&self) -> bool {
        !self.dead
            && self.due.is_empty()
            && self.events.is_empty()
            && self.input.is_empty()
            && self
                .transaction
                .as_ref()
                .is_none_or(|t| t.progress == Progress::Over)
    }

    /// Asks for TLS.
    pub fn starttls(&mut self) {
        self.output.extend_from_slice(b"STARTTLS\r\n");
        self.due.push_back(Due::StartTls);
    }

    /// The handshake succeeded: what was announced before is forgotten, EHLO is sent again.
    pub fn tls_started(&mut self) {
        self.extensions = Extensions::default();
        self.input.clear();
        self.hello();
    }

    /// Starts a transaction: MAIL, all RCPT and DATA, at once where the server allows pipelining.
    pub fn begin(&mut self, mail: &Mail, rcpts: Vec<Rcpt>) {
        let pipelined = self.extensions.has("PIPELINING");
        self.send_mail(mail);
        if pipelined {
            self.send_rcpts(&rcpts);
            self.output.extend_from_slice(b"DATA\r\n");
            self.due.push_back(Due::Data);
        }
        self.open(rcpts, pipelined, Progress::Envelope);
    }

    /// Whether [`Session::begin_whole`] may be used: the server announced PIPELINING and CHUNKING.
    pub fn takes_whole(&self) -> bool {
        self.extensions.has("PIPELINING") && self.extensions.has("CHUNKING")
    }

    /// Starts and finishes a transaction in one go: MAIL, all RCPT and the whole body as one BDAT (RFC 3030
    /// 2), with CRLF line ends. One round trip; there is no [`Event::SendBody`]. From here on every recipient
    /// without a reply is [`Outcome::Unknown`].
    pub fn begin_whole(&mut self, mail: &Mail, rcpts: Vec<Rcpt>, body: &[&[u8]]) {
        let size: usize = body.iter().map(|piece| piece.len()).sum();
        self.send_mail(mail);
        self.send_rcpts(&rcpts);
        self.output
            .extend_from_slice(format!("BDAT {size} LAST\r\n").as_bytes());
        self.output.reserve(size);
        for piece in body {
            self.output.extend_from_slice(piece);
        }
        self.due.push_back(Due::Chunk);
        self.open(rcpts, true, Progress::EndSent);
    }

    fn send_mail(&mut self, mail: &Mail) {
        if std::mem::take(&mut self.reset_first) {
            self.output.extend_from_slice(b"RSET\r\n");
            self.due.push_back(Due::Rset);
        }
        encode::mail(mail, &self.extensions, &mut self.output);
        self.due.push_back(Due::Mail);
    }

    fn send_rcpts(&mut self, rcpts: &[Rcpt]) {
        for (index, rcpt) in rcpts.iter().enumerate() {
            encode::rcpt(rcpt, &self.extensions, &mut self.output);
            self.due.push_back(Due::Rcpt(index));
        }
    }

    fn open(&mut self, rcpts: Vec<Rcpt>, pipelined: bool, progress: Progress) {
        self.transaction = Some(Transaction {
            replies: vec![None; rcpts.len()],
            accepted: vec![false; rcpts.len()],
            rcpts,
            pipelined,
            stuffer: DotStuffer::default(),
            progress,
        });
    }

    /// Appends a piece of the body (CRLF line ends) after [`Event::SendBody`].
    pub fn body(&mut self, text: &[u8]) {
        if let Some(transaction) = &mut self.transaction
            && transaction.progress == Progress::Body
        {
            transaction.stuffer.push(text, &mut self.output);
        }
    }

    /// Ends the body.
    pub fn end_body(&mut self) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        if transaction.progress != Progress::Body {
            return;
        }
        transaction.stuffer.finish(&mut self.output);
        transaction.progress = Progress::EndSent;
        self.expect_verdicts();
    }

    /// Puts the replies to a complete message, which go before all others, on the list of what is due.
    fn expect_verdicts(&mut self) {
        let Some(transaction) = &self.transaction else {
            return;
        };
        let accepted = transaction.accepted.iter().enumerate().filter(|(_, ok)| **ok);
        let before = self.due.len();
        match self.protocol {
            _ if !transaction.accepted.contains(&true) => self.due.push_back(Due::EmptyBody),
            Protocol::Smtp => self.due.push_back(Due::EndOfData(None)),
            Protocol::Lmtp => self
                .due
                .extend(accepted.map(|(index, _)| Due::EndOfData(Some(index)))),
        }
        self.due.rotate_left(before);
    }

    /// Says goodbye.
    pub fn quit(&mut self) {
        self.output.extend_from_slice(b"QUIT\r\n");
        self.due.push_back(Due::Quit);
    }

    /// What became of each recipient of the last transaction, as far as it is known now.
    pub fn outcomes(&self) -> Vec<Outcome> {
        let Some(transaction) = &self.transaction else {
            return Vec::new();
        };
        let silent = match transaction.progress {
            Progress::Envelope | Progress::Body => Outcome::NotSent,
            Progress::EndSent | Progress::Over => Outcome::Unknown,
        };
        let outcome = |reply: &Option<(Stage, Reply)>| match reply {
            Some((stage, reply)) => Outcome::Replied {
                stage: *stage,
                reply: reply.clone(),
            },
            None => silent.clone(),
        };
        transaction.replies.iter().map(outcome).collect()
    }

    /// The next event, or none: write the output and read on.
    pub fn next_event(&mut self, now: Instant) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.dead {
                return None;
            }
            if !self.due.is_empty() && self.waiting_since.is_none() {
                self.waiting_since = Some(now);
            }
            let parsed = reply::parse(&self.input);
            match parsed {
                Ok(None) => return None,
                Ok(Some((reply, length))) => {
                    self.input.drain(..length);
                    self.waiting_since = None;
                    self.on_reply(reply);
                }
                Err(error) => self.fail(error.into()),
            }
        }
    }

    fn on_reply(&mut self, reply: Reply) {
        if self.due.front() == Some(&Due::Chunk) {
            self.due.pop_front();
            self.expect_verdicts();
        }
        let Some(due) = self.due.pop_front() else {
            self.on_unsolicited(reply);
            return;
        };
        let closing = (reply.code == 421).then(|| reply.clone());
        match due {
            Due::Greeting if reply.code == 220 => self.hello(),
            Due::Greeting => self.refused(Stage::Greeting, reply),
            Due::Hello if reply.is_positive() => self.ready(&reply),
            Due::Hello if reply.is_permanent() && self.protocol == Protocol::Smtp => {
                self.output
                    .extend_from_slice(format!("HELO {}\r\n", self.name).as_bytes());
                self.due.push_back(Due::Helo);
            }
            Due::Helo if reply.is_positive() => self.ready(&Reply::plain(250, "")),
            Due::Hello | Due::Helo => self.refused(Stage::Hello, reply),
            Due::StartTls if reply.code == 220 => {
                if self.input.is_empty() {
                    self.events.push_back(Event::StartTls);
                } else {
                    self.fail(Failure::InjectedPlaintext);
                }
            }
            Due::StartTls => self.events.push_back(Event::TlsRefused(reply)),
            Due::Mail => self.on_mail(&reply),
            Due::Rcpt(index) => self.on_rcpt(index, reply),
            Due::Data => self.on_data(&reply),
            Due::EndOfData(Some(index)) => self.verdict(index, reply),
            Due::EndOfData(None) => self.verdict_for_all(&reply),
            Due::EmptyBody | Due::Chunk => self.over(),
            Due::Rset => {}
            Due::Quit => {
                self.dead = true;
                self.events.push_back(Event::Closed);
            }
        }
        if let Some(reply) = closing.filter(|_| !self.dead) {
            self.fail(Failure::Closing(reply));
        }
    }

    /// A server may give up in the middle of a body; then its answer counts for everybody.
    fn on_unsolicited(&mut self, reply: Reply) {
        let in_body = self
            .transaction
            .as_ref()
            .is_some_and(|t| t.progress == Progress::Body);
        if in_body && (reply.is_permanent() || reply.is_transient()) {
            self.decide_rest(Stage::EndOfData, &reply);
        }
        self.fail(Failure::Unsolicited(reply));
    }

    fn hello(&mut self) {
        let verb = match self.protocol {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO",
        };
        self.output
            .extend_from_slice(format!("{verb} {}\r\n", self.name).as_bytes());
        self.due.push_back(Due::Hello);
    }

    fn ready(&mut self, reply: &Reply) {
        self.extensions = Extensions::parse(reply);
        self.events.push_back(Event::Ready);
    }

    fn refused(&mut self, stage: Stage, reply: Reply) {
        self.events.push_back(Event::Refused { stage, reply });
    }

    fn on_mail(&mut self, reply: &Reply) {
        self.events.push_back(Event::Mail(reply.clone()));
        if reply.is_positive() {
            self.reset_first = true;
            self.send_next(0);
            return;
        }
        // Its RCPTs will be refused for the wrong reason (503): this is the right one.
        self.decide_rest(Stage::Mail, reply);
        if self.transaction.as_ref().is_some_and(|t| !t.pipelined) {
            self.over();
        }
    }

    fn on_rcpt(&mut self, index: usize, reply: Reply) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        if let Some(slot) = transaction.replies.get_mut(index)
            && slot.is_none()
        {
            if reply.is_positive() {
                transaction.accepted[index] = true;
            } else {
                *slot = Some((Stage::Rcpt, reply.clone()));
            }
            self.events.push_back(Event::Rcpt(index, reply));
        }
        self.send_next(index + 1);
    }

    /// Without pipelining: the next RCPT, or DATA, or nothing where nobody was accepted.
    fn send_next(&mut self, index: usize) {
        let Some(transaction) = &self.transaction else {
            return;
        };
        if transaction.pipelined {
            return;
        }
        if let Some(rcpt) = transaction.rcpts.get(index) {
            encode::rcpt(rcpt, &self.extensions, &mut self.output);
            self.due.push_back(Due::Rcpt(index));
        } else if transaction.accepted.contains(&true) {
            self.output.extend_from_slice(b"DATA\r\n");
            self.due.push_back(Due::Data);
        } else {
            self.over();
        }
    }

    fn on_data(&mut self, reply: &Reply) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        let anybody = transaction.accepted.contains(&true);
        if reply.code == 354 && anybody {
            transaction.progress = Progress::Body;
            self.events.push_back(Event::SendBody);
        } else if reply.code == 354 {
            // DATA was on its way before the refusals came: RFC 2920 3.1 wants a lone dot.
            self.output.extend_from_slice(b".\r\n");
            self.due.push_back(Due::EmptyBody);
        } else {
            // A positive answer other than 354 is as good as none; nothing was sent.
            self.decide_rest(Stage::Data, reply);
            self.over();
        }
    }

    fn verdict(&mut self, index: usize, reply: Reply) {
        self.record_verdict(index, reply);
        if !self.due.iter().any(|due| matches!(due, Due::EndOfData(_))) {
            self.message_over();
        }
    }

    fn verdict_for_all(&mut self, reply: &Reply) {
        let accepted: Vec<usize> = match &self.transaction {
            Some(t) => (0..t.accepted.len()).filter(|index| t.accepted[*index]).collect(),
            None => return,
        };
        for index in accepted {
            self.record_verdict(index, reply.clone());
        }
        self.message_over();
    }

    fn record_verdict(&mut self, index: usize, reply: Reply) {
        if let Some(transaction) = &mut self.transaction {
            transaction.replies[index] = Some((Stage::EndOfData, reply.clone()));
        }
        self.events.push_back(Event::Verdict(index, reply));
    }

    fn message_over(&mut self) {
        self.reset_first = false;
        self.over();
    }

    /// Gives a reply to everybody who has none yet.
    fn decide_rest(&mut self, stage: Stage, reply: &Reply) {
        if let Some(transaction) = &mut self.transaction {
            for slot in transaction.replies.iter_mut().filter(|slot| slot.is_none()) {
                *slot = Some((stage, reply.clone()));
            }
        }
    }

    fn over(&mut self) {
        if let Some(transaction) = &mut self.transaction
            && transaction.progress != Progress::Over
        {
            transaction.progress = Progress::Over;
            self.events.push_back(Event::Done);
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.dead = true;
        self.events.push_back(Event::Failed(failure));
    }
}

/// How much to read at once.
const READ: usize = 2 * 1024;
/// A buffer above this is given back once it is empty.
const IDLE_BUFFER: usize = 64 * 1024;
