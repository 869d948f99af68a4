//! One run of a row: its steps are taken one by one, and a transcript is kept for the message of a failure.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use regex::bytes::Regex;

use super::connection::{Answer, Connection};
use super::parse::Row;
use super::pattern::Pattern;
use super::step::{Kind, Needle, SinkStep, Step};
use super::text;
use super::world::{self, World};
use crate::wait;

/// How the input of a row is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As written.
    Plain,
    /// In two segments, the second begins with this byte of the input.
    Cut(usize),
    /// Up to this byte, then the connection ends; `true`: by RST.
    Dropped(usize, bool),
}

/// What a run found out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Bytes of the input blocks.
    pub input: usize,
    /// Messages that the server said it accepted.
    pub accepted: u32,
}

/// What a step means for those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoOn,
    /// The connection is over: only what looks at the result is done.
    Ended,
}

/// A run under way.
pub struct Run<'a> {
    world: &'a mut World,
    row: &'a Row,
    mode: Mode,
    connections: HashMap<String, Connection>,
    values: HashMap<String, String>,
    in_input: bool,
    outcome: Outcome,
    closed_accepted: u32,
    transcript: Vec<String>,
}

impl<'a> Run<'a> {
    /// Prepares a run.
    #[must_use]
    pub fn new(world: &'a mut World, row: &'a Row, mode: Mode) -> Self {
        let host = world.endpoints.tls.name.clone();
        let values = [
            ("user", world::ACCOUNTS[0]),
            ("password", world::PASSWORD),
            ("local", "local.test"),
            ("host", host.as_str()),
        ];
        let values = values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            world,
            row,
            mode,
            connections: HashMap::new(),
            values,
            in_input: false,
            outcome: Outcome::default(),
            closed_accepted: 0,
            transcript: Vec::new(),
        }
    }

    /// Takes all steps.
    ///
    /// # Errors
    /// The first expectation that fails, with the transcript up to it.
    pub fn go(mut self) -> Result<Outcome> {
        let row = self.row;
        let taken = self.steps(&row.steps, Flow::GoOn);
        if let Err(error) = taken {
            return Err(error.context(format!(
                "{} ({:?}):\n{}",
                row.id,
                self.mode,
                self.transcript.join("\n")
            )));
        }
        self.outcome.accepted = self.closed_accepted
            + self
                .connections
                .values()
                .map(|connection| connection.accepted)
                .sum::<u32>();
        Ok(self.outcome)
    }

    fn steps(&mut self, steps: &[Step], mut flow: Flow) -> Result<Flow> {
        for step in steps {
            let dropped = flow == Flow::Ended && matches!(self.mode, Mode::Dropped(..));
            if dropped || (flow == Flow::Ended && !looks_at_the_result(&step.kind)) {
                continue;
            }
            let place = || format!("{}:{}", self.row.file.display(), step.line);
            let place = place();
            flow = self.step(step, flow).with_context(|| place)?;
        }
        Ok(flow)
    }

    fn step(&mut self, step: &Step, flow: Flow) -> Result<Flow> {
        let name = step.connection.as_str();
        match &step.kind {
            Kind::Send { text, line_end } => return self.send(name, text, *line_end),
            Kind::Expect(pattern) => return self.expect(name, pattern),
            Kind::ExpectLines(pattern) => {
                let answer = self.connection(name)?.answer_with_lines()?;
                self.compare(pattern, &answer)?;
            }
            Kind::Input(steps) => {
                self.in_input = true;
                let flow = self.steps(steps, flow)?;
                self.in_input = false;
                return Ok(flow);
            }
            Kind::Repeat(times, steps) => {
                let mut flow = flow;
                for _ in 0..*times {
                    flow = self.steps(steps, flow)?;
                }
                return Ok(flow);
            }
            Kind::ExpectEnd
            | Kind::ExpectAny
            | Kind::Quit
            | Kind::Flood { .. }
            | Kind::Drip { .. }
            | Kind::StartTls
            | Kind::CloseNotify
            | Kind::Drop
            | Kind::Reset
            | Kind::HalfClose
            | Kind::Connect(_)
            | Kind::Deadline(_) => self.on_connection(name, &step.kind)?,
            Kind::Pause(milliseconds) => thread::sleep(Duration::from_millis(*milliseconds)),
            Kind::Save { name: value, regex } => {
                let last = self.connection(name)?.last.text.clone();
                let found = Regex::new(regex)?
                    .captures(&last)
                    .and_then(|c| c.get(1).map(|m| m.as_bytes().to_vec()));
                let found =
                    found.with_context(|| format!("{regex} does not match {}", last.escape_ascii()))?;
                self.values
                    .insert(value.clone(), String::from_utf8_lossy(&found).into_owned());
            }
            other => self.on_world(other)?,
        }
        Ok(flow)
    }

    fn connection(&mut self, name: &str) -> Result<&mut Connection> {
        if !self.connections.contains_key(name) {
            ensure!(name.is_empty(), "there is no connection called {name}");
            let connection = Connection::open(&self.world.endpoints, &self.row.service)?;
            self.connections.insert(String::new(), connection);
        }
        self.connections.get_mut(name).context("the connection is closed")
    }

    fn send(&mut self, name: &str, text: &str, line_end: bool) -> Result<Flow> {
        let mut bytes = text::expand(text, &self.values)?;
        if line_end {
            bytes.extend_from_slice(b"\r\n");
        }
        self.note(name, "->", &bytes);
        let begin = self.outcome.input;
        if self.in_input {
            self.outcome.input += bytes.len();
        }
        let inside = |at: usize| self.in_input && at >= begin && at < begin + bytes.len();
        match self.mode {
            Mode::Cut(at) if inside(at) && at > begin => {
                let (first, second) = bytes.split_at(at - begin);
                let (first, second) = (first.to_vec(), second.to_vec());
                // The server may have closed after the first part; the next expectation finds out.
                let _ = self.connection(name)?.line.send(&first);
                thread::sleep(Duration::from_millis(3));
                let _ = self.connection(name)?.line.send(&second);
            }
            Mode::Dropped(at, by_reset) if inside(at) => {
                let first = bytes[..at - begin].to_vec();
                let connection = self.connection(name)?;
                let _ = connection.line.send(&first);
                if by_reset {
                    connection.line.reset()?;
                } else {
                    connection.line.close();
                }
                return Ok(Flow::Ended);
            }
            _ => {
                let _ = self.connection(name)?.line.send(&bytes);
            }
        }
        Ok(Flow::GoOn)
    }

    fn expect(&mut self, name: &str, pattern: &Pattern) -> Result<Flow> {
        let answer = self.connection(name)?.answer(pattern)?;
        self.note(name, "<-", &answer.text);
        if answer.status == "eof" {
            ensure!(pattern.allows_end(), "the server closed the connection");
            return Ok(if name.is_empty() { Flow::Ended } else { Flow::GoOn });
        }
        self.compare(pattern, &answer)?;
        Ok(Flow::GoOn)
    }

    fn compare(&mut self, pattern: &Pattern, answer: &Answer) -> Result<()> {
        pattern
            .filled(&self.values)?
            .check(&answer.status, &answer.text, answer.seconds)
            .with_context(|| format!("got: {}", crate::client::show_bytes(&answer.text)))
    }

    fn on_connection(&mut self, name: &str, kind: &Kind) -> Result<()> {
        let tls = self.world.endpoints.tls.clone();
        match kind {
            Kind::ExpectEnd => {
                let connection = self.connection(name)?;
                if let Some(line) = connection.line.line()? {
                    bail!("the server goes on: {}", line.escape_ascii());
                }
            }
            Kind::ExpectAny => self.connection(name)?.forget()?,
            Kind::Quit => self.quit(name)?,
            Kind::Flood { times, text } => {
                let bytes = text::expand(text, &self.values)?;
                self.connection(name)?.flood(&bytes, *times)?;
            }
            Kind::Drip { milliseconds, text } => {
                let bytes = text::expand(text, &self.values)?;
                self.connection(name)?
                    .drip(&bytes, Duration::from_millis(*milliseconds))?;
            }
            Kind::StartTls => self.connection(name)?.line.start_tls(&tls)?,
            Kind::CloseNotify => self.connection(name)?.line.end_tls()?,
            Kind::Drop => self.connection(name)?.line.close(),
            Kind::Reset => self.connection(name)?.line.reset()?,
            Kind::HalfClose => self.connection(name)?.line.half_close()?,
            Kind::Connect(service) => {
                let service = service.clone().unwrap_or_else(|| self.row.service.clone());
                let connection = Connection::open(&self.world.endpoints, &service)?;
                if let Some(old) = self.connections.insert(name.to_owned(), connection) {
                    self.closed_accepted += old.accepted;
                }
            }
            Kind::Deadline(seconds) => self
                .connection(name)?
                .line
                .set_patience(Duration::from_secs_f64(*seconds)),
            _ => bail!("not a step of a connection"),
        }
        Ok(())
    }

    /// The good-bye has to be the next reply: one too many before it is thereby found.
    fn quit(&mut self, name: &str) -> Result<()> {
        let connection = self.connection(name)?;
        let (command, pattern) = match connection.service.as_str() {
            "pop3" | "pop3s" => ("QUIT\r\n", Pattern::parse("+OK", false)?),
            "imap" | "imaps" => ("zz LOGOUT\r\n", Pattern::parse("zz OK", true)?),
            _ => ("QUIT\r\n", Pattern::parse("221", false)?),
        };
        connection.line.send(command.as_bytes()).context("QUIT")?;
        let answer = connection.answer(&pattern)?;
        self.note(name, "<-", &answer.text);
        ensure!(answer.status != "eof", "the server closed before QUIT");
        self.compare(&pattern, &answer)
            .context("the reply to QUIT (is there one too many before it?)")?;
        let after = self.connection(name)?.line.line()?;
        ensure!(
            after.is_none(),
            "a line after the good-bye: {:?}",
            after.map(|line| line.escape_ascii().to_string())
        );
        Ok(())
    }

    fn on_world(&mut self, kind: &Kind) -> Result<()> {
        match kind {
            Kind::Daemon { name, action } => self.world.control(name, *action),
            Kind::Settle => self.world.settle(),
            Kind::Mailbox {
                address,
                count,
                needle,
            } => self.mailbox(address, *count, needle.as_ref()),
            Kind::MailboxBody { address, text } => {
                let wanted = text::expand(text, &self.values)?;
                let messages = self.world.mailbox(address).messages()?;
                let newest = messages.last().context("no message there")?;
                let body = newest.body();
                ensure!(body == wanted, "the body is {}", crate::client::show_bytes(body));
                Ok(())
            }
            Kind::Put { address, text } => {
                let bytes = text::expand(text, &self.values)?;
                super::check::put(self.world, address, &bytes)
            }
            Kind::Remove { address, file } => super::check::remove(self.world, address, file),
            Kind::Sink(step) => {
                let needle = match step {
                    SinkStep::Data(needle) => text::expand(&needle.text, &self.values)?,
                    _ => Vec::new(),
                };
                self.world.sink(step, &needle)
            }
            Kind::Queue(count) => self.queue(
                |messages, _| messages == *count,
                &format!("{count} messages in the queue"),
            ),
            Kind::QueueBounces(count) => self.queue(
                |_, bounces| bounces == *count,
                &format!("{count} bounces in the queue"),
            ),
            _ => bail!("not a step of the world"),
        }
    }

    fn mailbox(&mut self, address: &str, count: usize, needle: Option<&Needle>) -> Result<()> {
        let messages = self.world.mailbox(address).wait(count)?;
        if let Some(needle) = needle {
            let bytes = text::expand(&needle.text, &self.values)?;
            let found = messages.iter().any(|message| message.contains(&bytes));
            let shown: Vec<String> = messages.iter().map(crate::mailbox::Message::text).collect();
            ensure!(found == needle.present, "the messages are {shown:?}");
        }
        Ok(())
    }

    fn queue(&mut self, wanted: impl Fn(usize, usize) -> bool, what: &str) -> Result<()> {
        wait::for_true(what, wait::LONG, || {
            let (messages, bounces) = self.world.queue()?;
            Ok(wanted(messages, bounces))
        })
    }

    fn note(&mut self, name: &str, arrow: &str, bytes: &[u8]) {
        let name = if name.is_empty() {
            String::new()
        } else {
            format!("@{name} ")
        };
        self.transcript
            .push(format!("  {name}{arrow} {}", crate::client::show_bytes(bytes)));
    }
}

fn looks_at_the_result(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Settle
            | Kind::Mailbox { .. }
            | Kind::MailboxBody { .. }
            | Kind::Sink(SinkStep::Messages(_) | SinkStep::Data(_) | SinkStep::Clean)
            | Kind::Queue(_)
            | Kind::QueueBounces(_)
            | Kind::Connect(_)
    )
}
