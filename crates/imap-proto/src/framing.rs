//! Cutting the input into commands: lines, literals, limits (RFC 3501 2.2, RFC 7888).
//!
//! The caller feeds what it read and asks [`Framer::next`] until that returns `None`; only then it reads
//! again, so a client that pipelines is slowed down by the socket and never by a growing buffer here.

/// What the client may send; all sizes in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All lines of one command together, literals not counted.
    pub line: usize,
    /// One literal.
    pub literal: usize,
    /// Number of literals in one command.
    pub literals: usize,
    /// Lines and literals of one command together.
    pub total: usize,
    /// How much of a refused line or literal is read and thrown away to stay in step; more ends the session.
    pub discard: u64,
    /// The greatest message for APPEND; `None` before login, when APPEND is refused without a continuation.
    pub append: Option<u64>,
}

impl Limits {
    /// Before login: 8 KiB of lines, four literals of 1 KiB (robustness.md section 3).
    pub const fn before_login() -> Self {
        Self {
            line: 8192,
            literal: 1024,
            literals: 4,
            total: 12 * 1024,
            discard: 64 * 1024,
            append: None,
        }
    }

    /// After login: 64 KiB of lines, literals of 128 KiB, 1 MiB in all; APPEND up to `message_size` octets.
    pub const fn after_login(message_size: u64) -> Self {
        Self {
            line: 65_536,
            literal: 131_072,
            literals: 1000,
            total: 1 << 20,
            discard: 1 << 20,
            append: Some(message_size),
        }
    }
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A literal is announced and acceptable: send a continuation request (`+ OK`).
    Continue,
    /// One whole command without the line end of its last line, literals included as they came.
    Command(Vec<u8>),
    /// APPEND up to its message literal: parse `head` with [`crate::command::parse`], then call
    /// [`Framer::accept`] (and send a continuation when `sync`) or [`Framer::refuse`].
    Append {
        /// The command without the message literal.
        head: Vec<u8>,
        /// Octets of the message.
        size: u64,
        /// Whether the client waits for a continuation.
        sync: bool,
    },
    /// A piece of the message that was accepted.
    AppendData(Vec<u8>),
    /// The message is complete and the command's line ended. `false`: something else followed (for
    /// example a second message, RFC 3502, which is not offered): the command is BAD.
    AppendEnd(bool),
    /// A command was refused; the session goes on.
    Refused {
        /// The command's tag, `*` where there was none.
        tag: String,
        /// Why.
        reason: Refusal,
    },
    /// The client cannot be understood any more: say BYE and close.
    Fatal(Refusal),
}

/// Why input was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A line beyond [`Limits::line`].
    #[error("Command line too long")]
    LineTooLong,
    /// A literal beyond [`Limits::literal`], or a command beyond [`Limits::total`].
    #[error("Literal too big")]
    LiteralTooBig,
    /// More than [`Limits::literals`].
    #[error("Too many literals")]
    TooManyLiterals,
    /// A message beyond [`Limits::append`].
    #[error("Message too big")]
    MessageTooBig,
    /// APPEND before login.
    #[error("Log in first")]
    LoginFirst,
}

#[derive(Debug)]
enum State {
    /// Collecting lines.
    Line,
    /// Collecting a literal, so many octets are missing.
    Literal(usize),
    /// [`Input::Append`] was given out; waiting for accept or refuse.
    Decide { size: u64, sync: bool },
    /// Passing the message on.
    Message(u64),
    /// Waiting for the line end after the message.
    Tail,
    /// Throwing a literal away, then the rest of its line.
    SkipLiteral(u64),
    /// Throwing the rest of a line away.
    SkipLine,
    /// Nothing more is read.
    Dead,
}

/// See the module's description.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    state: State,
    /// Input not looked at yet begins at `at`.
    buf: Vec<u8>,
    at: usize,
    /// The command so far.
    command: Vec<u8>,
    /// How far `command` consists of lines (not literals).
    line_octets: usize,
    literals: usize,
    skipped: u64,
}

impl Framer {
    /// Makes a framer for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Line,
            buf: Vec::new(),
            at: 0,
            command: Vec::new(),
            line_octets: 0,
            literals: 0,
            skipped: 0,
        }
    }

    /// Takes new limits from the next command on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Adds what was read from the connection.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Whether octets are here that no command took yet. After STARTTLS such octets are an injection.
    pub fn has_pending(&self) -> bool {
        self.at < self.buf.len() || !self.command.is_empty()
    }

    /// Whether a command is half read (for time limits).
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Line) && !self.has_pending()
    }

    /// Forgets all input, as after STARTTLS.
    pub fn reset(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Refuses the literal for which [`Input::Continue`] was just given out, where none may come (a SASL
    /// response, DONE): the client waits and does not send it. The command so far is forgotten.
    pub fn refuse_literal_of_line(&mut self) {
        if matches!(self.state, State::Literal(_)) {
            self.start_over();
        }
    }

    /// Accepts the message literal just announced; the octets follow as [`Input::AppendData`].
    pub fn accept(&mut self) {
        if let State::Decide { size, .. } = self.state {
            self.state = State::Message(size);
        }
    }

    /// Refuses the message literal just announced (the caller answers). A literal that the client sends
    /// without asking is thrown away; `false` when it is too big for that, and the session must end.
    #[must_use]
    pub fn refuse(&mut self) -> bool {
        let State::Decide { size, sync } = self.state else {
            return true;
        };
        if sync {
            self.start_over();
        } else if size
            <= self
                .limits
                .append
                .unwrap_or(0)
                .saturating_mul(4)
                .max(self.limits.discard)
        {
            self.skip_literal(size);
        } else {
            self.state = State::Dead;
            return false;
        }
        true
    }

    /// The next thing that came in; `None`: read more.
    #[allow(
        clippy::should_implement_trait,
        reason = "not an iterator: it may go on after None"
    )]
    pub fn next(&mut self) -> Option<Input> {
        loop {
            let event = match self.state {
                State::Line => self.line(),
                State::Literal(missing) => self.literal(missing),
                State::Message(missing) => return self.message(missing),
                State::Tail => self.tail(),
                State::SkipLiteral(missing) => self.skip(missing),
                State::SkipLine => self.skip_line(),
                State::Decide { .. } | State::Dead => return None,
            };
            match event {
                Step::Again => {}
                Step::Wait => {
                    self.compact();
                    return None;
                }
                Step::Give(input) => {
                    self.compact();
                    return Some(input);
                }
            }
        }
    }

    fn line(&mut self) -> Step {
        let Some((line, used)) = self.find_line() else {
            if self.line_octets + (self.buf.len() - self.at) > self.limits.line {
                return self.refuse_line();
            }
            return Step::Wait;
        };
        if self.line_octets + line.len() > self.limits.line {
            return self.refuse_line();
        }
        let line = line.to_vec();
        self.at += used;
        self.line_octets += line.len();
        self.command.extend_from_slice(&line);
        match announced_literal(&line) {
            None => {
                let command = std::mem::take(&mut self.command);
                self.start_over();
                Step::Give(Input::Command(command))
            }
            Some(literal) => self.announce(literal),
        }
    }

    fn announce(&mut self, literal: Announced) -> Step {
        let head_len = self.command.len() - literal.text_len;
        if let Some(message_next) = append_position(&self.command[..head_len]) {
            let refusal = match (self.limits.append, literal.size) {
                (None, _) => Some(Refusal::LoginFirst),
                (Some(max), Some(size)) if message_next && size <= max => {
                    self.command.truncate(head_len);
                    let head = std::mem::take(&mut self.command);
                    self.state = State::Decide {
                        size,
                        sync: literal.sync,
                    };
                    return Step::Give(Input::Append {
                        head,
                        size,
                        sync: literal.sync,
                    });
                }
                (Some(_), _) if message_next => Some(Refusal::MessageTooBig),
                _ => None,
            };
            if let Some(reason) = refusal {
                return self.refuse_literal(literal, reason);
            }
        }
        self.literals += 1;
        match literal.size.and_then(|size| usize::try_from(size).ok()) {
            _ if self.literals > self.limits.literals => {
                self.refuse_literal(literal, Refusal::TooManyLiterals)
            }
            Some(size) if size <= self.limits.literal && self.command.len() + size <= self.limits.total => {
                self.command.extend_from_slice(b"\r\n");
                self.state = State::Literal(size);
                if literal.sync {
                    Step::Give(Input::Continue)
                } else {
                    Step::Again
                }
            }
            _ => self.refuse_literal(literal, Refusal::LiteralTooBig),
        }
    }

    fn literal(&mut self, missing: usize) -> Step {
        let take = missing.min(self.buf.len() - self.at);
        self.command.extend_from_slice(&self.buf[self.at..self.at + take]);
        self.at += take;
        if take == missing {
            self.state = State::Line;
            Step::Again
        } else {
            self.state = State::Literal(missing - take);
            Step::Wait
        }
    }

    fn message(&mut self, missing: u64) -> Option<Input> {
        if missing == 0 {
            self.state = State::Tail;
            return self.next();
        }
        let here = (self.buf.len() - self.at) as u64;
        let take = missing.min(here);
        if take == 0 {
            self.compact();
            return None;
        }
        self.state = State::Message(missing - take);
        let end = self.at + usize::try_from(take).unwrap_or(0);
        let data = self.buf[self.at..end].to_vec();
        self.at = end;
        self.compact();
        Some(Input::AppendData(data))
    }

    fn tail(&mut self) -> Step {
        let Some((line, used)) = self.find_line() else {
            if self.buf.len() - self.at > self.limits.line {
                self.state = State::Dead;
                return Step::Give(Input::Fatal(Refusal::LineTooLong));
            }
            return Step::Wait;
        };
        let clean = line.is_empty();
        let literal = announced_literal(line);
        self.at += used;
        match literal {
            Some(literal) if !literal.sync => match literal.size {
                Some(size) if size <= self.limits.discard => self.skip_literal(size),
                _ => {
                    self.state = State::Dead;
                    return Step::Give(Input::Fatal(Refusal::LiteralTooBig));
                }
            },
            _ => self.start_over(),
        }
        Step::Give(Input::AppendEnd(clean))
    }

    fn skip(&mut self, missing: u64) -> Step {
        let take = missing.min((self.buf.len() - self.at) as u64);
        self.at += usize::try_from(take).unwrap_or(0);
        if take == missing {
            self.state = State::SkipLine;
            Step::Again
        } else {
            self.state = State::SkipLiteral(missing - take);
            Step::Wait
        }
    }

    fn skip_line(&mut self) -> Step {
        let Some((line, used)) = self.find_line() else {
            // The end may announce a literal, so a little is kept; the rest is gone for good.
            let here = self.buf.len() - self.at;
            let drop = here.saturating_sub(32);
            self.skipped += drop as u64;
            self.at += drop;
            if self.skipped > self.limits.discard {
                self.state = State::Dead;
                return Step::Give(Input::Fatal(Refusal::LineTooLong));
            }
            return Step::Wait;
        };
        let literal = announced_literal(line);
        self.at += used;
        match literal {
            Some(literal) if !literal.sync => match literal.size {
                Some(size) if size <= self.limits.discard => {
                    self.state = State::SkipLiteral(size);
                    Step::Again
                }
                _ => {
                    self.state = State::Dead;
                    Step::Give(Input::Fatal(Refusal::LiteralTooBig))
                }
            },
            _ => {
                self.start_over();
                Step::Again
            }
        }
    }

    fn refuse_line(&mut self) -> Step {
        // The tag may still be in the buffer: a first line that never ended.
        let tag = if self.command.is_empty() {
            tag_of(&self.buf[self.at..])
        } else {
            tag_of(&self.command)
        };
        self.command = Vec::new();
        self.skipped = 0;
        self.state = State::SkipLine;
        Step::Give(Input::Refused {
            tag,
            reason: Refusal::LineTooLong,
        })
    }

    fn refuse_literal(&mut self, literal: Announced, reason: Refusal) -> Step {
        let tag = tag_of(&self.command);
        match literal.size {
            _ if literal.sync => self.start_over(),
            Some(size) if size <= self.limits.discard => self.skip_literal(size),
            _ => {
                self.state = State::Dead;
                return Step::Give(Input::Fatal(reason));
            }
        }
        Step::Give(Input::Refused { tag, reason })
    }

    fn skip_literal(&mut self, size: u64) {
        self.start_over();
        self.state = State::SkipLiteral(size);
    }

    fn start_over(&mut self) {
        self.state = State::Line;
        self.command = Vec::new();
        self.line_octets = 0;
        self.literals = 0;
        self.skipped = 0;
    }

    /// The next line without its end, and how many octets it takes with it. A lone LF ends a line too.
    fn find_line(&self) -> Option<(&[u8], usize)> {
        let rest = &self.buf[self.at..];
        let end = memchr::memchr(b'\n', rest)?;
        let line = &rest[..end];
        Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
    }

    /// Gives memory back: an idle connection holds none.
    fn compact(&mut self) {
        if self.at == self.buf.len() {
            self.buf = Vec::new();
            self.at = 0;
        } else if self.at > 16 * 1024 {
            self.buf.drain(..self.at);
            self.at = 0;
        }
    }
}

enum Step {
    Again,
    Wait,
    Give(Input),
}

/// A literal announced at the end of a line.
#[derive(Clone, Copy)]
struct Announced {
    /// `None`: more than 64 bits.
    size: Option<u64>,
    sync: bool,
    /// Octets of `{n}` itself.
    text_len: usize,
}

/// Finds `{n}` or `{n+}` at the end of a line (RFC 7888 section 8, without the literal8 of BINARY).
fn announced_literal(line: &[u8]) -> Option<Announced> {
    let inner = line.strip_suffix(b"}")?;
    // A number that matters has at most 20 digits; leading zeros beyond that are not worth a scan.
    let open = inner.iter().rev().take(32).position(|b| *b == b'{')?;
    let digits = &inner[inner.len() - open..];
    let (digits, sync) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
    Some(Announced {
        size,
        sync,
        text_len: open + 2,
    })
}

/// For a command that is APPEND: whether the next literal is the message (`true`) or the mailbox name.
fn append_position(head: &[u8]) -> Option<bool> {
    let space = memchr::memchr(b' ', head)?;
    let rest = &head[space + 1..];
    let (verb, arguments) = rest.split_at_checked(7)?;
    if !verb.eq_ignore_ascii_case(b"APPEND ") {
        return None;
    }
    Some(!arguments.is_empty())
}

/// The tag a command begins with, `*` where that is no tag.
fn tag_of(command: &[u8]) -> String {
    let end = command
        .iter()
        .take(crate::command::MAX_TAG + 1)
        .position(|b| *b == b' ');
    let tag = end.and_then(|end| crate::command::tag(&command[..end]));
    tag.unwrap_or_else(|| "*".to_owned())
}

#[cfg(test)]
mod tests;
