//! Load with a ledger: who was told 250 for which message, and whether each of those arrived once and whole.
//!
//! Every attempt has a body of its own, made from its number, so that a message found on disk proves by itself which
//! attempt it is and that it is whole. Nothing is ever sent again by the load itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::client::Smtp;
use crate::mailbox::Mailbox;
use crate::sink::Sink;
use crate::site::Endpoints;

/// How messages are sent.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Connections at a time.
    pub connections: usize,
    /// Messages on one connection before the next.
    pub messages_per_connection: u32,
    /// The recipients of each message; one list after the other is used.
    pub recipients: Vec<Vec<String>>,
    /// Bytes of each body, at least.
    pub size: usize,
    /// The envelope sender.
    pub sender: String,
}

impl Plan {
    /// Four connections, five messages each, 1 KiB, from a foreign sender, to these lists of recipients in turn.
    #[must_use]
    pub fn to(recipients: &[&[&str]]) -> Self {
        let owned = |list: &&[&str]| list.iter().map(|&address| address.to_owned()).collect();
        Self {
            connections: 4,
            messages_per_connection: 5,
            recipients: recipients.iter().map(owned).collect(),
            size: 1024,
            sender: "load@a.test".to_owned(),
        }
    }
}

/// An attempt that got a 250 after its data.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The attempt's number.
    pub number: u64,
    /// The id in the reply.
    pub id: String,
    /// Its recipients.
    pub recipients: Vec<String>,
}

/// What the load knows in the end.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Accepted attempts.
    pub accepted: Vec<Accepted>,
    /// Attempts that were begun.
    pub attempts: u64,
    /// Temporary refusals (4xx) of any command.
    pub deferred: u64,
    /// Permanent refusals: with recipients that exist there must be none.
    pub refused: Vec<String>,
}

/// Where copies may lie: a function from an address to the bodies found there.
pub type Copies<'a> = dyn Fn(&str) -> Result<Vec<Vec<u8>>> + 'a;

/// What was found for the accepted messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// `number recipient` of each copy that is missing.
    pub lost: Vec<String>,
    /// `number recipient` of each that is there more than once.
    pub doubled: Vec<String>,
    /// Copies whose bytes are not what was sent.
    pub damaged: Vec<String>,
    /// Copies that were found of accepted messages.
    pub copies: u64,
}

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    ledger: Arc<Mutex<Ledger>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the connections; they go on, whatever the server does, until [`Load::stop`].
    #[must_use]
    pub fn start(endpoints: &Endpoints, plan: &Plan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let numbers = Arc::new(AtomicU64::new(0));
        let threads = (0..plan.connections)
            .map(|_| {
                let worker = Worker {
                    endpoints: endpoints.clone(),
                    plan: plan.clone(),
                    stop: Arc::clone(&stop),
                    ledger: Arc::clone(&ledger),
                    numbers: Arc::clone(&numbers),
                };
                thread::spawn(move || worker.run())
            })
            .collect();
        Self {
            stop,
            ledger,
            threads,
        }
    }

    /// How many messages have been accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .accepted
            .len()
    }

    /// How many messages have been begun so far.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .attempts
    }

    /// Stops after the messages that are under way, and gives the ledger.
    ///
    /// # Errors
    /// When a connection's thread panicked.
    pub fn stop(mut self) -> Result<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                bail!("a thread of the load panicked");
            }
        }
        Ok(std::mem::take(
            &mut *self.ledger.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Worker {
    endpoints: Endpoints,
    plan: Plan,
    stop: Arc<AtomicBool>,
    ledger: Arc<Mutex<Ledger>>,
    numbers: Arc<AtomicU64>,
}

impl Worker {
    fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            // The server may be dead at the moment: that is what the test does to it.
            if self.connection().is_err() {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn connection(&self) -> Result<()> {
        let mut smtp = self.endpoints.smtp("mx")?;
        for _ in 0..self.plan.messages_per_connection {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.message(&mut smtp)?;
        }
        smtp.quit()
    }

    fn message(&self, smtp: &mut Smtp) -> Result<()> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.note(|ledger| ledger.attempts += 1);
        let turn = usize::try_from(number)? % self.plan.recipients.len();
        let recipients = &self.plan.recipients[turn];
        let text = message(number, self.plan.size);
        let mut commands = vec![format!("MAIL FROM:<{}>", self.plan.sender)];
        commands.extend(recipients.iter().map(|address| format!("RCPT TO:<{address}>")));
        commands.push("DATA".to_owned());
        for command in &commands {
            let reply = smtp.command(command)?;
            if reply.code >= 400 {
                self.refused(number, reply.code, &reply.text());
                smtp.command("RSET")?;
                return Ok(());
            }
        }
        smtp.line.send(text.as_bytes())?;
        smtp.line.send(b".\r\n")?;
        let reply = smtp.reply()?;
        match reply.queued_as() {
            Ok(id) => {
                let accepted = Accepted {
                    number,
                    id: id.to_owned(),
                    recipients: recipients.clone(),
                };
                self.note(|ledger| ledger.accepted.push(accepted));
            }
            Err(_) => self.refused(number, reply.code, &reply.text()),
        }
        Ok(())
    }

    fn refused(&self, number: u64, code: u16, text: &str) {
        self.note(|ledger| {
            if code < 500 {
                ledger.deferred += 1;
            } else {
                ledger.refused.push(format!("{number}: {text}"));
            }
        });
    }

    fn note(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Ledger {
    /// Looks for every accepted message at every recipient of it.
    ///
    /// # Errors
    /// When the copies cannot be read.
    pub fn check(&self, copies: &Copies<'_>) -> Result<Findings> {
        let addresses: BTreeSet<&String> = self
            .accepted
            .iter()
            .flat_map(|message| &message.recipients)
            .collect();
        let mut found: BTreeMap<(&str, u64), u64> = BTreeMap::new();
        let mut findings = Findings::default();
        for address in addresses {
            for copy in copies(address)? {
                match number_of_whole(&copy) {
                    Some(number) => *found.entry((address, number)).or_default() += 1,
                    None => findings
                        .damaged
                        .push(format!("{address}: {}", String::from_utf8_lossy(&copy))),
                }
            }
        }
        for message in &self.accepted {
            for address in &message.recipients {
                let name = format!("{} ({}) for {address}", message.number, message.id);
                match found
                    .get(&(address.as_str(), message.number))
                    .copied()
                    .unwrap_or_default()
                {
                    0 => findings.lost.push(name),
                    1 => findings.copies += 1,
                    _ => {
                        findings.copies += 1;
                        findings.doubled.push(name);
                    }
                }
            }
        }
        Ok(findings)
    }
}

/// The messages of an inbox as [`Ledger::check`] wants them.
///
/// # Errors
/// When a file cannot be read.
pub fn inbox_copies(mailbox: &Mailbox) -> Result<Vec<Vec<u8>>> {
    Ok(mailbox
        .messages()?
        .into_iter()
        .map(|message| message.bytes)
        .collect())
}

/// The messages of a sink for one recipient, line ends as on disk.
#[must_use]
pub fn sink_copies(sink: &Sink, address: &str) -> Vec<Vec<u8>> {
    let wanted = format!("<{address}>");
    let mut copies = Vec::new();
    for message in sink.taken() {
        let times = message
            .recipients
            .iter()
            .filter(|recipient| recipient.starts_with(&wanted))
            .count();
        let bytes: Vec<u8> = message
            .data
            .iter()
            .copied()
            .filter(|&byte| byte != b'\r')
            .collect();
        copies.extend(std::iter::repeat_n(bytes, times));
    }
    copies
}

const BEGIN: &str = "X-Load-Number: ";

/// The message of an attempt, CRLF line ends, without the final dot.
fn message(number: u64, size: usize) -> String {
    let header = format!("From: <load@a.test>\r\nSubject: load\r\n{BEGIN}{number}\r\n\r\n");
    let lines = size.saturating_sub(header.len()).div_ceil(LINE);
    header + &body(number, lines)
}

/// Length of a line of a body.
const LINE: usize = 66;

/// So many lines that no other attempt has, and a last one.
fn body(number: u64, lines: usize) -> String {
    let mut text = String::with_capacity(lines * LINE + 8);
    // xorshift64: quick, and different for each number.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..lines {
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Writing into a String cannot fail.
            let _ = write!(text, "{state:016x}");
        }
        text.push_str("\r\n");
    }
    text.push_str("end\r\n");
    text
}

/// The number of the attempt that a copy is, if its body is whole; other header lines may stand before ours.
fn number_of_whole(copy: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(copy).ok()?;
    let (_, rest) = text.split_once(BEGIN)?;
    let number = rest.lines().next()?.parse().ok()?;
    let (_, body) = text.split_once("\n\n")?;
    (body == self::body(number, body.lines().count().checked_sub(1)?).replace("\r\n", "\n")).then_some(number)
}

#[cfg(test)]
mod tests {
    //! A copy is recognised, and a damaged one is not.

    use super::*;

    #[test]
    fn whole_copies_are_recognised() {
        for size in [0, 300, 1024, 5000] {
            let sent = message(7, size).replace("\r\n", "\n");
            let copy = format!("Return-Path: <x@y.test>\nReceived: from z\n{sent}");
            assert_eq!(number_of_whole(copy.as_bytes()), Some(7), "{size}");
            let cut = &copy[..copy.len() - 5];
            assert_eq!(number_of_whole(cut.as_bytes()), None);
            assert_eq!(number_of_whole(copy.replacen("end", "enc", 1).as_bytes()), None);
        }
    }
}
