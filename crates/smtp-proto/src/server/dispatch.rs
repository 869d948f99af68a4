//! From a command line to an event or a refusal: the order of commands (RFC 5321 4.1.4, compat.md 2.6).

use std::ops::Range;
use std::time::Instant;

use mail_types::Reply;

use super::{CloseReason, Event, Internal, Phase, Question, Session, TlsPolicy};
use crate::Protocol;
use crate::command::{self, Auth, Bdat, Command, CommandError, Hello, HelloKind, Mail, Rcpt, RcptPath, Verb};
use crate::reply;

impl Session {
    /// A whole line off the input, without its CRLF. Outer `None`: more input is needed; inner `None`: the
    /// line was too long and is dealt with.
    pub(super) fn take_line(&mut self, now: Instant) -> Option<Option<Range<usize>>> {
        self.start_record(now);
        let pending = self.pending();
        let limits = &self.config.limits;
        let is_auth = matches!(self.phase, Phase::AuthLine)
            || pending
                .get(..5)
                .is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH "));
        let limit = if is_auth {
            limits.auth_line
        } else {
            limits.command_line
        };
        let end = memchr::memmem::find(pending, b"\r\n");
        // One more octet than the limit may be there: the CR.
        if end.unwrap_or(pending.len().saturating_sub(1)) > limit {
            self.phase = Phase::LongLine(0);
            let reply = match is_auth {
                // RFC 4954 6.
                true => reply::new(500, (5, 5, 6), "Error: authentication exchange line is too long"),
                false => reply::new(500, (5, 5, 2), "Error: line too long"),
            };
            self.say(&reply);
            return Some(None);
        }
        let line = self.consumed..self.consumed + end?;
        self.consumed = line.end + 2;
        self.record.over = true;
        Some(Some(line))
    }

    /// Drops input up to the end of the line.
    pub(super) fn discard_line(&mut self, seen: usize, now: Instant) -> Option<()> {
        self.start_record(now);
        let pending = self.pending();
        if let Some(end) = memchr::memmem::find(pending, b"\r\n") {
            self.consumed += end + 2;
            self.phase = Phase::Line;
            self.record.over = true;
            return Some(());
        }
        // A CR at the very end may be half of the line's end.
        let dropped = pending.len() - usize::from(pending.last() == Some(&b'\r'));
        self.consumed += dropped;
        let seen = seen + dropped;
        if seen > self.config.limits.discard {
            self.end(CloseReason::EndlessLine, None);
            return Some(());
        }
        self.phase = Phase::LongLine(seen);
        None
    }

    /// Acts on a command line; `None` means that it was answered here and there is nothing to tell.
    pub(super) fn command(&mut self, line: Range<usize>) -> Option<Internal> {
        let text = &self.input[line.clone()];
        if is_foreign(text) {
            let rude = reply::new(221, (2, 7, 0), "Error: I can break rules, too. Goodbye.");
            self.end(CloseReason::ForeignProtocol, Some(&rude));
            return None;
        }
        let verb = command::verb(text);
        if self.config.tls == TlsPolicy::Required && !self.tls && !allowed_before_tls(verb) {
            return Some(self.refuse(line, reply::tls_required()));
        }
        let parsed = command::parse(text, &self.config.params);
        let verdict = match parsed {
            Ok(command) => self.ordered(command),
            Err(error) => {
                if verb == Some(Verb::Bdat) {
                    self.spoil();
                }
                Err(error.reply())
            }
        };
        match verdict {
            Ok(event) => {
                if verb == Some(Verb::Auth) {
                    self.input[line].fill(0);
                }
                event.map(Internal::Event)
            }
            Err(reply) => Some(self.refuse(line, reply)),
        }
    }

    /// A command that is right in itself: an event, an answer of our own, or a refusal for its place.
    fn ordered(&mut self, command: Command) -> Result<Option<Event<'static>>, Reply> {
        match command {
            Command::Hello(hello) => self.on_hello(hello),
            Command::Mail(mail) => self.on_mail(mail).map(Some),
            Command::Rcpt(rcpt) => self.on_rcpt(rcpt).map(Some),
            Command::Data => self.on_data().map(Some),
            Command::Bdat(bdat) => Ok(self.on_bdat(bdat)),
            Command::Auth(auth) => self.on_auth(auth).map(Some),
            Command::StartTls => self.on_starttls(),
            Command::Rset => {
                self.transaction = None;
                self.junk(&reply::ok());
                Ok(Some(Event::Reset))
            }
            Command::Noop => Ok(self.junk(&reply::ok())),
            Command::Help => Ok(self.junk(&reply::new(
                214,
                (2, 0, 0),
                "Commands: EHLO MAIL RCPT DATA RSET NOOP QUIT",
            ))),
            // The same words for every address (RFC 5321 3.5.3): nothing is given away.
            Command::Vrfy(_) if self.hello.is_none() => Err(reply::out_of_order("send HELO/EHLO first")),
            Command::Vrfy(address) => Ok(self.junk(&reply::new(252, (2, 0, 0), address))),
            Command::Quit => {
                self.end(CloseReason::Quit, Some(&reply::bye()));
                Ok(None)
            }
        }
    }

    fn on_hello(&mut self, hello: Hello) -> Result<Option<Event<'static>>, Reply> {
        if (hello.kind == HelloKind::Lhlo) != (self.config.protocol == Protocol::Lmtp) {
            return Err(CommandError::Unrecognized.reply());
        }
        if self.hello.is_some() {
            self.count_junk();
        }
        self.transaction = None;
        if matches!(self.phase, Phase::Closing(_)) {
            return Ok(None);
        }
        self.phase = Phase::Asked(Question::Hello(hello.clone()));
        Ok(Some(Event::Hello(hello)))
    }

    fn on_mail(&mut self, mail: Mail) -> Result<Event<'static>, Reply> {
        self.greeting_needed()?;
        if self.transaction.is_some() {
            return Err(reply::out_of_order("nested MAIL command"));
        }
        if mail
            .params
            .size
            .is_some_and(|size| size > self.config.limits.body.message)
        {
            return Err(reply::declared_too_big());
        }
        self.phase = Phase::Asked(Question::Mail {
            smtputf8: mail.params.smtputf8,
        });
        Ok(Event::Mail(mail))
    }

    fn on_rcpt(&mut self, rcpt: Rcpt) -> Result<Event<'static>, Reply> {
        self.greeting_needed()?;
        let limit = self.config.limits.recipients;
        let Some(transaction) = &mut self.transaction else {
            return Err(reply::out_of_order("need MAIL command"));
        };
        if transaction.chunks > 0 {
            return Err(reply::out_of_order("RCPT after BDAT command"));
        }
        transaction.tried = true;
        if !rcpt.typed.is_ascii() && !transaction.smtputf8 && matches!(rcpt.path, RcptPath::Address(_)) {
            return Err(CommandError::NeedsUtf8.reply());
        }
        if transaction.accepted >= limit {
            return Err(reply::too_many_recipients());
        }
        self.phase = Phase::Asked(Question::Rcpt);
        Ok(Event::Rcpt(rcpt))
    }

    fn on_data(&mut self) -> Result<Event<'static>, Reply> {
        if self.transaction.as_ref().is_some_and(|t| t.chunks > 0) {
            return Err(reply::out_of_order("DATA after BDAT command"));
        }
        self.recipients_needed()?;
        self.phase = Phase::Asked(Question::Data(None));
        Ok(Event::Data)
    }

    /// The octets of a BDAT follow whatever the reply will be, so no refusal leaves them unread.
    fn on_bdat(&mut self, bdat: Bdat) -> Option<Event<'static>> {
        let spoiled = self.transaction.as_ref().is_some_and(|t| t.spoiled);
        let refusal = if spoiled {
            Some(reply::out_of_order("BDAT failed before, send RSET first"))
        } else {
            self.recipients_needed().err()
        };
        if let Some(refusal) = refusal {
            self.spoil();
            self.refuse_chunk(bdat, refusal);
            return None;
        }
        let (limit, flood) = (self.config.limits.chunks, self.flood_mark());
        let transaction = self.transaction.as_mut()?;
        transaction.chunks += 1;
        let size = transaction
            .decoder
            .as_ref()
            .map_or(0, crate::framing::BodyDecoder::size);
        if transaction.chunks > limit {
            let reply = reply::abuse(&self.config.hostname, "too many BDAT commands");
            self.end(CloseReason::TooManyChunks, Some(&reply));
        } else if size.saturating_add(bdat.size) > flood {
            self.end(CloseReason::BodyFlood, Some(&super::body::too_big()));
        } else if transaction.decoder.is_some() {
            self.start_chunk(bdat);
        } else {
            self.phase = Phase::Asked(Question::Data(Some(bdat)));
            return Some(Event::Data);
        }
        None
    }

    fn on_auth(&mut self, auth: Auth) -> Result<Event<'static>, Reply> {
        self.greeting_needed()?;
        if self.config.auth == super::AuthPolicy::Off {
            return Err(reply::out_of_order("authentication not enabled"));
        }
        if !self.auth_possible() {
            let text = "Encryption required for requested authentication mechanism";
            return Err(reply::new(504, (5, 5, 4), text));
        }
        if self.authenticated {
            return Err(reply::out_of_order("already authenticated"));
        }
        if self.transaction.is_some() {
            return Err(reply::out_of_order("MAIL transaction in progress"));
        }
        self.phase = Phase::Asked(Question::Auth);
        Ok(Event::Auth {
            mechanism: auth.mechanism,
            initial: auth.initial,
        })
    }

    fn on_starttls(&mut self) -> Result<Option<Event<'static>>, Reply> {
        if self.config.tls == TlsPolicy::Off {
            return Err(reply::not_implemented());
        }
        if self.tls {
            return Err(reply::new(554, (5, 5, 1), "Error: TLS already active"));
        }
        if self.transaction.is_some() {
            return Err(reply::out_of_order("MAIL transaction in progress"));
        }
        // Whatever stands behind STARTTLS came in the clear and would be taken for the protected
        // dialogue: the connection cannot be trusted (CVE-2011-0411).
        if !self.pending().is_empty() {
            let reply = reply::new(554, (5, 5, 0), "Error: SMTP protocol synchronization");
            self.end(CloseReason::InjectedPlaintext, Some(&reply));
            return Ok(None);
        }
        self.phase = Phase::Asked(Question::StartTls);
        Ok(Some(Event::StartTls))
    }

    fn greeting_needed(&self) -> Result<(), Reply> {
        match self.hello {
            Some(_) => Ok(()),
            None => Err(reply::out_of_order("send HELO/EHLO first")),
        }
    }

    fn recipients_needed(&self) -> Result<(), Reply> {
        self.greeting_needed()?;
        match &self.transaction {
            None => Err(reply::out_of_order("need MAIL command")),
            Some(t) if t.accepted > 0 => Ok(()),
            Some(t) if t.tried && self.config.protocol == Protocol::Smtp => {
                Err(reply::new(554, (5, 5, 1), "Error: no valid recipients"))
            }
            Some(_) => Err(reply::out_of_order("need RCPT command")),
        }
    }

    /// A BDAT went wrong: only RSET leads on.
    fn spoil(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.chunks += 1;
            transaction.spoiled = true;
        }
    }

    /// Answers a command without use, and counts it.
    fn junk(&mut self, reply: &Reply) -> Option<Event<'static>> {
        self.count_junk();
        if !matches!(self.phase, Phase::Closing(_)) {
            self.say(reply);
        }
        None
    }

    fn count_junk(&mut self) {
        self.counters.junk += 1;
        if self.counters.junk > self.config.limits.junk_commands {
            let reply = reply::abuse(&self.config.hostname, "too many junk commands");
            self.end(CloseReason::TooManyJunkCommands, Some(&reply));
        }
    }

    fn refuse(&mut self, line: Range<usize>, reply: Reply) -> Internal {
        let text = &self.input[line];
        let text = match command::verb(text) {
            // The rest of the line may be a password.
            Some(Verb::Auth) => &text[..4],
            _ => &text[..text.len().min(LOGGED)],
        };
        let command = String::from_utf8_lossy(text).into_owned();
        self.say(&reply);
        Internal::Event(Event::Refused { command, reply })
    }
}

/// EHLO HELO NOOP QUIT STARTTLS HELP (compat.md 2.6).
fn allowed_before_tls(verb: Option<Verb>) -> bool {
    matches!(
        verb,
        Some(Verb::Hello(_) | Verb::Noop | Verb::Quit | Verb::StartTls | Verb::Help)
    )
}

/// HTTP requests, and header lines of a message sent outside DATA: a client that is led to talk to us by
/// somebody else, or that ignores our replies.
fn is_foreign(line: &[u8]) -> bool {
    let word = line.split(|b| *b == b' ').next().unwrap_or_default();
    if HTTP.iter().any(|verb| word.eq_ignore_ascii_case(verb)) {
        return true;
    }
    match word.strip_suffix(b":") {
        Some(name) => !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-'),
        None => false,
    }
}

const HTTP: [&[u8]; 9] = [
    b"GET", b"POST", b"PUT", b"HEAD", b"CONNECT", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE",
];
/// Octets of a refused command line that are logged.
const LOGGED: usize = 200;
