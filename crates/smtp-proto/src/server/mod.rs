//! The server's session: lines and bodies in, [`Event`]s out, answers in, replies out.
//!
//! The session keeps the order of commands, the framing, the counters and the deadlines; what an address or a
//! login is worth, the caller decides by answering. A loop around it looks like this:
//!
//! ```text
//! session.greet();
//! loop {
//!     while let Some(event) = session.next_event(now) { ... session.answer(reply) ... }
//!     if let Some(pause) = session.take_pause() { wait }
//!     write session.output(), then session.output_written()
//!     if session.is_closed() { break }
//!     read at the end of session.input(), until session.deadline(); late: session.on_deadline()
//! }
//! ```

mod body;
mod config;
mod dispatch;
mod event;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use mail_types::Reply;

pub use config::{AuthPolicy, Config, Limits, TlsPolicy};
pub use event::{CloseReason, EndOfData, Event};

use crate::Protocol;
use crate::command::{Bdat, Hello, HelloKind, parse_auth_response};
use crate::framing::BodyDecoder;
use crate::reply;

/// One connection, as the server sees it.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    input: Vec<u8>,
    /// How much of `input` is done with.
    consumed: usize,
    output: Vec<u8>,
    phase: Phase,
    /// What EHLO and STARTTLS forget.
    hello: Option<Hello>,
    tls: bool,
    authenticated: bool,
    mechanisms: Vec<String>,
    /// Dropped whole at RSET, EHLO, STARTTLS and the end of a message, never cleared field by field.
    transaction: Option<Transaction>,
    counters: Counters,
    pause: Duration,
    record: Record,
}

/// What the next input octet is, or whom we wait for.
#[derive(Debug)]
enum Phase {
    /// A command line.
    Line,
    /// The rest of a line that was too long; so many octets of it were seen.
    LongLine(usize),
    /// The caller's answer.
    Asked(Question),
    /// An AUTH response.
    AuthLine,
    /// A DATA body.
    Body,
    /// So many octets of a BDAT body.
    Chunk { left: u64, bdat: Bdat },
    /// A BDAT chunk was read to its end.
    ChunkDone(Bdat),
    /// So many octets of a BDAT that was refused, then this reply.
    Swallow { left: u64, then: Reply },
    /// A TLS handshake, outside of this session.
    Handshake,
    /// The reason has to be told.
    Closing(CloseReason),
    /// Nothing.
    Closed,
}

/// What the caller was asked.
#[derive(Debug)]
enum Question {
    Hello(Hello),
    Mail { smtputf8: bool },
    Rcpt,
    Data(Option<Bdat>),
    Auth,
    StartTls,
    EndOfData { left: usize, fault: bool },
}

/// An open mail transaction.
#[derive(Debug, Default)]
struct Transaction {
    smtputf8: bool,
    /// Recipients that got 250.
    accepted: usize,
    /// Whether there was any RCPT.
    tried: bool,
    /// BDAT commands so far, bad ones too; DATA is out of order from the first.
    chunks: u32,
    /// A BDAT failed: nothing but RSET helps (RFC 3030 2).
    spoiled: bool,
    decoder: Option<BodyDecoder>,
}

#[derive(Debug, Default)]
struct Counters {
    errors: u32,
    junk: u32,
    auth_failures: u32,
    auth_troubles: u32,
}

/// The record that is being read: since when, and how much body of it came.
#[derive(Debug)]
struct Record {
    start: Instant,
    octets: u64,
    /// The next call starts a new one.
    over: bool,
}

/// An event before its text is borrowed.
enum Internal {
    Event(Event<'static>),
    Text(std::ops::Range<usize>),
}

impl Session {
    /// A session on a new connection; `tls` says whether TLS is already active (port 465).
    pub fn new(config: Arc<Config>, tls: bool, now: Instant) -> Self {
        Self {
            config,
            input: Vec::new(),
            consumed: 0,
            output: Vec::new(),
            phase: Phase::Line,
            hello: None,
            tls,
            authenticated: false,
            mechanisms: Vec::new(),
            transaction: None,
            counters: Counters::default(),
            pause: Duration::ZERO,
            record: Record {
                start: now,
                octets: 0,
                over: true,
            },
        }
    }

    /// Queues the banner.
    pub fn greet(&mut self) {
        let text = format!("{} {}", self.config.hostname, self.config.banner);
        self.say(&Reply::plain(220, text));
    }

    /// Says `last_words` and ends the session: a connection refused, a shutdown.
    pub fn close(&mut self, last_words: &Reply) {
        self.end(CloseReason::Refused, Some(last_words));
    }

    /// Sets the mechanisms that EHLO announces where AUTH is possible.
    pub fn set_mechanisms(&mut self, mechanisms: Vec<String>) {
        self.mechanisms = mechanisms;
    }

    /// Where to append what was read from the peer.
    pub fn input(&mut self) -> &mut Vec<u8> {
        if self.consumed == self.input.len() {
            self.input.clear();
            // A big body leaves a big buffer; an idle session is to be small.
            if self.input.capacity() > IDLE_BUFFER && matches!(self.phase, Phase::Line | Phase::AuthLine) {
                self.input = Vec::new();
            }
        } else {
            self.input.drain(..self.consumed);
        }
        self.consumed = 0;
        let room = match self.phase {
            Phase::Body | Phase::Chunk { .. } | Phase::Swallow { .. } => BODY_READ,
            _ => LINE_READ,
        };
        self.input.reserve(room);
        &mut self.input
    }

    /// What is to be written to the peer.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// All of [`Session::output`] was written.
    pub fn output_written(&mut self) {
        self.output.clear();
    }

    /// How long to wait before the output is written (too many errors); asked once.
    pub fn take_pause(&mut self) -> Option<Duration> {
        let pause = std::mem::take(&mut self.pause);
        (!pause.is_zero()).then_some(pause)
    }

    /// Until when the record that is being read must be complete. Only while waiting for the peer.
    pub fn deadline(&self) -> Instant {
        let limits = &self.config.limits;
        let plain = self.record.start + limits.timeout;
        match self.phase {
            Phase::Body | Phase::Chunk { .. } | Phase::Swallow { .. } => {
                let earned = Duration::from_secs(self.record.octets / limits.body_rate.max(1));
                plain.max(self.record.start + limits.body_grace + earned)
            }
            _ => plain,
        }
    }

    /// The deadline passed: `421 4.4.2` and the end.
    pub fn on_deadline(&mut self) {
        let reply = reply::timed_out(&self.config.hostname);
        self.end(CloseReason::Timeout, Some(&reply));
    }

    /// Whether the session is over: write the output and close.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether a login succeeded.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether TLS is active.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The greeting, once accepted.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// Whether the next octets are a command line: nothing is lost if the session ends here.
    pub fn expects_command(&self) -> bool {
        matches!(self.phase, Phase::Line)
    }

    /// Whether a mail transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// The next event, or none: then the peer's (or, after a question, the caller's) turn has come.
    pub fn next_event(&mut self, now: Instant) -> Option<Event<'_>> {
        match self.advance(now)? {
            Internal::Event(event) => Some(event),
            Internal::Text(range) => Some(Event::Body(&self.input[range])),
        }
    }

    fn advance(&mut self, now: Instant) -> Option<Internal> {
        loop {
            let step = match &self.phase {
                Phase::Line => {
                    if self.pending().first() == Some(&TLS_HANDSHAKE) {
                        self.end(CloseReason::ForeignProtocol, None);
                        continue;
                    }
                    match self.take_line(now)? {
                        Some(line) => self.command(line),
                        None => continue,
                    }
                }
                Phase::AuthLine => match self.take_line(now)? {
                    Some(line) => Some(self.auth_line(line)),
                    None => Some(Internal::Event(Event::AuthAborted)),
                },
                Phase::LongLine(seen) => {
                    let seen = *seen;
                    self.discard_line(seen, now)?;
                    None
                }
                Phase::Body => self.body(now)?,
                Phase::Chunk { .. } => self.chunk(now)?,
                Phase::ChunkDone(bdat) => {
                    let bdat = *bdat;
                    self.chunk_done(bdat).map(Internal::Event)
                }
                Phase::Swallow { .. } => {
                    self.swallow(now)?;
                    None
                }
                Phase::Closing(reason) => {
                    let reason = *reason;
                    self.phase = Phase::Closed;
                    Some(Internal::Event(Event::Closing(reason)))
                }
                Phase::Asked(_) | Phase::Handshake | Phase::Closed => return None,
            };
            if step.is_some() {
                return step;
            }
        }
    }

    /// Answers the question asked by the last event.
    ///
    /// A positive answer to a faulty end of data is turned into a refusal: no caller can accept what the
    /// framing refused. Answers after the session ended (too many errors) are dropped.
    pub fn answer(&mut self, reply: &Reply) {
        if !matches!(self.phase, Phase::Asked(_)) {
            return;
        }
        let Phase::Asked(question) = std::mem::replace(&mut self.phase, Phase::Line) else {
            return;
        };
        self.record.over = true;
        match question {
            Question::Hello(hello) if reply.is_positive() => self.greeted(hello),
            Question::Data(bdat) if reply.is_positive() || reply.code == 354 => self.start_body(bdat),
            Question::Data(Some(bdat)) => self.refuse_chunk(bdat, reply.clone()),
            Question::Mail { smtputf8 } if reply.is_positive() => {
                self.transaction = Some(Transaction {
                    smtputf8,
                    ..Transaction::default()
                });
                self.say(reply);
            }
            Question::Rcpt => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.tried = true;
                    transaction.accepted += usize::from(reply.is_positive());
                }
                self.say(reply);
            }
            Question::Auth => self.auth_verdict(reply),
            Question::StartTls if reply.is_positive() => {
                self.say(reply);
                self.phase = Phase::Handshake;
            }
            Question::EndOfData { left, fault } => self.message_verdict(left, fault, reply),
            Question::Hello(_) | Question::Data(None) | Question::Mail { .. } | Question::StartTls => {
                self.say(reply);
            }
        }
    }

    /// Answers [`Event::Hello`] with our name and the extensions.
    pub fn accept_hello(&mut self) {
        self.answer(&reply::ok());
    }

    /// Answers [`Event::Data`]: 354, or for BDAT nothing yet.
    pub fn accept_data(&mut self) {
        self.answer(&reply::start_data());
    }

    /// Answers [`Event::Auth`] or [`Event::AuthResponse`] with a challenge.
    pub fn challenge(&mut self, data: &[u8]) {
        if matches!(self.phase, Phase::Asked(Question::Auth)) {
            let text = base64::engine::general_purpose::STANDARD.encode(data);
            self.say(&Reply::plain(334, text));
            self.phase = Phase::AuthLine;
            self.record.over = true;
        }
    }

    /// The handshake that [`Event::StartTls`] asked for succeeded: everything said before is forgotten
    /// (RFC 3207 4.2).
    pub fn tls_started(&mut self) {
        self.tls = true;
        self.authenticated = false;
        self.hello = None;
        self.transaction = None;
        self.input = Vec::new();
        self.consumed = 0;
        self.phase = Phase::Line;
        self.record.over = true;
    }

    fn greeted(&mut self, hello: Hello) {
        let mut text = self.config.hostname.clone();
        if hello.kind != HelloKind::Helo {
            for line in self.extensions() {
                text.push('\n');
                text.push_str(&line);
            }
        }
        self.say(&Reply::plain(250, text));
        self.hello = Some(hello);
    }

    /// The extensions in the order of compat.md 2.6; LIMITS (RFC 9422) and private ones last.
    fn extensions(&self) -> Vec<String> {
        let config = &self.config;
        let smtp = config.protocol == Protocol::Smtp;
        let mut lines = vec![
            "PIPELINING".to_owned(),
            format!("SIZE {}", config.limits.body.message),
        ];
        if config.tls != TlsPolicy::Off && !self.tls {
            lines.push("STARTTLS".into());
        }
        if self.auth_possible() && !self.mechanisms.is_empty() {
            lines.push(format!("AUTH {}", self.mechanisms.join(" ")));
        }
        lines.extend(["ENHANCEDSTATUSCODES".into(), "8BITMIME".into()]);
        if smtp {
            lines.push("DSN".into());
        }
        lines.extend(["SMTPUTF8".into(), "CHUNKING".into()]);
        if smtp {
            lines.push(format!("LIMITS RCPTMAX={}", config.limits.recipients));
        }
        lines.extend(config.private_extensions.iter().map(ToString::to_string));
        lines
    }

    fn auth_possible(&self) -> bool {
        match self.config.auth {
            AuthPolicy::Off => false,
            AuthPolicy::UnderTls => self.tls,
            AuthPolicy::Always => true,
        }
    }

    fn auth_verdict(&mut self, reply: &Reply) {
        self.authenticated = reply.is_positive();
        // What could not be tried (501, RFC 4954 4) is an error like any other and no guess.
        if reply.is_permanent() && reply.code != 501 {
            self.counters.auth_failures += 1;
        }
        // Whoever is told that nobody can judge comes back later; to guess on is not for one connection.
        if reply.code == 454 {
            self.counters.auth_troubles += 1;
        }
        self.say(reply);
        if self.counters.auth_failures >= self.config.limits.auth_failures {
            self.end(CloseReason::TooManyAuthFailures, None);
        } else if self.counters.auth_troubles >= self.config.limits.auth_troubles {
            self.end(CloseReason::LoginsNotJudged, None);
        }
    }

    fn auth_line(&mut self, line: std::ops::Range<usize>) -> Internal {
        let parsed = parse_auth_response(&self.input[line.clone()]);
        self.input[line].fill(0);
        let event = match parsed {
            Ok(Some(response)) => {
                self.phase = Phase::Asked(Question::Auth);
                Event::AuthResponse(response)
            }
            Ok(None) => {
                self.phase = Phase::Line;
                self.say(&reply::auth_aborted());
                Event::AuthAborted
            }
            Err(error) => {
                self.phase = Phase::Line;
                self.say(&error.reply());
                Event::AuthAborted
            }
        };
        Internal::Event(event)
    }

    /// The input not yet consumed.
    fn pending(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    fn take(&mut self, octets: usize) {
        self.consumed += octets;
        self.record.octets += octets as u64;
    }

    fn start_record(&mut self, now: Instant) {
        if self.record.over {
            self.record = Record {
                start: now,
                octets: 0,
                over: false,
            };
        }
    }

    /// Queues a reply and counts what it says.
    fn say(&mut self, reply: &Reply) {
        reply::encode(reply, &mut self.output);
        if !reply.is_permanent() {
            return;
        }
        self.counters.errors += 1;
        let limits = &self.config.limits;
        let beyond = self.counters.errors.saturating_sub(limits.soft_errors);
        self.pause += limits.error_delay * beyond;
        if self.counters.errors >= limits.hard_errors {
            let reply = reply::abuse(&self.config.hostname, "too many errors");
            self.end(CloseReason::TooManyErrors, Some(&reply));
        }
    }

    /// Ends the session: last words, no more input.
    fn end(&mut self, reason: CloseReason, last_words: Option<&Reply>) {
        if matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            return;
        }
        if let Some(reply) = last_words {
            reply::encode(reply, &mut self.output);
        }
        self.phase = Phase::Closing(reason);
        self.transaction = None;
    }
}

/// The first octet of a TLS record that carries a handshake; no SMTP command starts with it.
const TLS_HANDSHAKE: u8 = 0x16;
/// How much to read at once: commands, bodies.
const LINE_READ: usize = 2 * 1024;
const BODY_READ: usize = 64 * 1024;
/// A buffer above this is given back when the session is idle.
const IDLE_BUFFER: usize = 8 * 1024;
