//! TRANSACTION over a snapshot of the maildrop, and UPDATE after QUIT.

use std::fmt::Write;

use super::COMMON_CAPABILITIES;
use crate::command::{Command, CommandError};
use crate::multiline::Extent;
use crate::reply::{Reply, ResponseCode};

/// A maildrop as it was when it was locked; messages are counted from 0 here and from 1 on the wire.
pub trait Maildrop {
    /// Number of messages.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Size of a message in octets, with CRLF line ends. Only asked for indexes below `len`.
    fn size(&self, index: usize) -> u64;
    /// Writes the unique id of a message: 1 to 70 characters 0x21 to 0x7E (RFC 1939 7), never used for
    /// another message.
    fn write_uidl(&self, index: usize, out: &mut String);
}

/// The state after a login.
#[derive(Debug)]
pub struct Transaction<M> {
    maildrop: M,
    deleted: Vec<bool>,
    left: usize,
    left_octets: u64,
    utf8: bool,
    errors: u32,
    error_limit: u32,
}

/// What the session does next.
#[derive(Debug)]
pub enum TransactionStep {
    /// Send it and go on.
    Reply(Reply),
    /// Send the lines of this scan, piece by piece ([`Transaction::scan`]).
    Scan(Scan),
    /// Send a message through a [`crate::DotEncoder`].
    Retrieve {
        /// Which, from 0.
        index: usize,
        /// How much of it.
        extent: Extent,
    },
    /// Go on with [`Transaction::quit`].
    Quit,
    /// Send it and close, removing nothing.
    Close(Reply),
}

/// A LIST or UIDL over all messages that is being sent.
#[derive(Debug)]
pub struct Scan {
    uidl: bool,
    /// The next message; none when even the lone dot has been written.
    next: Option<usize>,
    started: bool,
}

impl<M: Maildrop> Transaction<M> {
    pub(super) fn new(maildrop: M, utf8: bool, error_limit: u32) -> Self {
        let mut transaction = Self {
            deleted: vec![false; maildrop.len()],
            maildrop,
            left: 0,
            left_octets: 0,
            utf8,
            errors: 0,
            error_limit,
        };
        transaction.reset();
        transaction
    }

    /// The maildrop.
    pub fn maildrop(&self) -> &M {
        &self.maildrop
    }

    /// Whether the client asked for UTF-8 mode (RFC 6856 2.1).
    pub fn utf8(&self) -> bool {
        self.utf8
    }

    /// Takes one command, or what was wrong with it.
    pub fn handle(&mut self, command: Result<Command, CommandError>) -> TransactionStep {
        let command = match command {
            Ok(command) => command,
            Err(CommandError::Unknown) => return self.mistake("Invalid command."),
            Err(_) => return self.mistake("Invalid arguments."),
        };
        let answer = match command {
            Command::Quit => return TransactionStep::Quit,
            Command::Capa => Ok(Self::capabilities()),
            Command::Noop => Ok(Reply::ok("Yup.")),
            Command::Stat => Ok(Reply::ok(format!("{} {}", self.left, self.left_octets))),
            Command::Rset => {
                self.reset();
                Ok(Reply::ok("Resurrected."))
            }
            Command::List(None) => return TransactionStep::Scan(Scan::new(false)),
            Command::Uidl(None) => return TransactionStep::Scan(Scan::new(true)),
            Command::List(Some(number)) => self
                .index(number)
                .map(|i| Reply::ok(format!("{number} {}", self.maildrop.size(i)))),
            Command::Uidl(Some(number)) => self.index(number).map(|i| {
                let mut text = format!("{number} ");
                self.maildrop.write_uidl(i, &mut text);
                Reply::ok(text)
            }),
            Command::Retr(number) => match self.index(number) {
                Ok(index) => {
                    return TransactionStep::Retrieve {
                        index,
                        extent: Extent::Whole,
                    };
                }
                Err(reply) => Err(reply),
            },
            Command::Top { message, lines } => match self.index(message) {
                Ok(index) => {
                    return TransactionStep::Retrieve {
                        index,
                        extent: Extent::Top(lines),
                    };
                }
                Err(reply) => Err(reply),
            },
            Command::Dele(number) => self.index(number).map(|i| {
                self.deleted[i] = true;
                self.left -= 1;
                self.left_octets -= self.maildrop.size(i);
                Reply::ok("Deleted.")
            }),
            // STLS, UTF8 and logins belong to the state before (RFC 2595 4, RFC 6856 2, RFC 5034 4).
            _ => return self.mistake("Not after the login."),
        };
        TransactionStep::Reply(answer.unwrap_or_else(|reply| reply))
    }

    /// A line over its limit.
    pub fn line_too_long(&mut self) -> TransactionStep {
        self.mistake("Line too long.")
    }

    /// Appends lines of a scan until `out` has at least `enough` octets; true when the scan is complete.
    pub fn scan(&self, scan: &mut Scan, enough: usize, out: &mut Vec<u8>) -> bool {
        if !scan.started {
            scan.started = true;
            let text = format!("{} messages ({} octets)", self.left, self.left_octets);
            Reply::ok(text).write(out);
        }
        let mut line = String::new();
        while let Some(index) = scan.next {
            if out.len() >= enough {
                return false;
            }
            if index >= self.maildrop.len() {
                out.extend_from_slice(b".\r\n");
                scan.next = None;
                break;
            }
            scan.next = Some(index + 1);
            if self.deleted[index] {
                continue;
            }
            line.clear();
            // Writing to a String cannot fail.
            let _ = write!(line, "{} ", index + 1);
            if scan.uidl {
                self.maildrop.write_uidl(index, &mut line);
            } else {
                let _ = write!(line, "{}", self.maildrop.size(index));
            }
            line.push_str("\r\n");
            out.extend_from_slice(line.as_bytes());
        }
        true
    }

    /// QUIT: the next state, which knows what is to be removed.
    pub fn quit(self) -> Update<M> {
        Update {
            maildrop: self.maildrop,
            deleted: self.deleted,
        }
    }

    fn capabilities() -> Reply {
        let lines = COMMON_CAPABILITIES.iter().map(ToString::to_string).collect();
        Reply::list("Here's what I can do:", lines)
    }

    /// The index of a message that exists and is not marked as deleted.
    fn index(&self, number: u64) -> Result<usize, Reply> {
        usize::try_from(number)
            .ok()
            .and_then(|number| number.checked_sub(1))
            .filter(|index| self.deleted.get(*index) == Some(&false))
            .ok_or_else(|| Reply::err("No such message."))
    }

    fn reset(&mut self) {
        self.deleted.fill(false);
        self.left = self.maildrop.len();
        self.left_octets = (0..self.left).map(|index| self.maildrop.size(index)).sum();
    }

    fn mistake(&mut self, text: &'static str) -> TransactionStep {
        self.errors += 1;
        if self.errors > self.error_limit {
            TransactionStep::Close(Reply::err("Too many invalid commands."))
        } else {
            TransactionStep::Reply(Reply::err(text))
        }
    }
}

impl Scan {
    fn new(uidl: bool) -> Self {
        Self {
            uidl,
            next: Some(0),
            started: false,
        }
    }
}

/// The state after QUIT.
#[derive(Debug)]
pub struct Update<M> {
    maildrop: M,
    deleted: Vec<bool>,
}

impl<M> Update<M> {
    /// The maildrop.
    pub fn maildrop(&self) -> &M {
        &self.maildrop
    }

    /// The indexes of the messages that are to be removed, from 0.
    pub fn deleted(&self) -> impl Iterator<Item = usize> + '_ {
        self.deleted
            .iter()
            .enumerate()
            .filter_map(|(index, deleted)| deleted.then_some(index))
    }

    /// The last reply, after the removal succeeded or not (RFC 1939 6).
    pub fn reply(complete: bool) -> Reply {
        if complete {
            Reply::ok("Bye-bye.")
        } else {
            Reply::err_code(ResponseCode::SysTemp, "Some deleted messages were not removed.")
        }
    }
}
