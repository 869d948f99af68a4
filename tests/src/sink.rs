//! An SMTP server of another site: it takes what it is given and records it, or refuses, delays and closes on order.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::pki::Pki;
use crate::wait;

/// A point of the dialogue where a sink may misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Instead of the greeting.
    Connect,
    /// At EHLO.
    Ehlo,
    /// At STARTTLS.
    StartTls,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Rcpt,
    /// At DATA.
    Data,
    /// After the final dot.
    Dot,
}

/// What a sink does at a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Gives this reply (`450 4.2.0 later`) instead of the good one.
    Reply(String),
    /// Gives this reply and closes.
    ReplyAndClose(String),
    /// Closes without a word. At [`Stage::Dot`] the message counts as taken: it is recorded first.
    Close,
    /// Says nothing until [`Sink::release`] is called (or the other side goes away), then goes on.
    Hang,
}

#[derive(Debug, Clone)]
struct Rule {
    stage: Stage,
    address: Option<String>,
    action: Action,
    left: Option<u32>,
}

/// What a sink offers in EHLO.
#[derive(Debug, Clone)]
pub struct Offers {
    /// STARTTLS with the certificate of this authority.
    pub starttls: Option<Pki>,
    /// Further capability lines.
    pub capabilities: Vec<String>,
}

impl Default for Offers {
    fn default() -> Self {
        let capabilities = [
            "PIPELINING",
            "SIZE 104857600",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "SMTPUTF8",
        ];
        Self {
            starttls: None,
            capabilities: capabilities.map(str::to_owned).to_vec(),
        }
    }
}

impl Offers {
    /// Exactly these capabilities and no STARTTLS.
    #[must_use]
    pub fn only(capabilities: &[&str]) -> Self {
        Self {
            starttls: None,
            capabilities: capabilities.iter().map(|&line| line.to_owned()).collect(),
        }
    }
}

/// A message that a sink took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Everything after `MAIL FROM:`, with parameters.
    pub mail: String,
    /// Everything after each accepted `RCPT TO:`, with parameters.
    pub recipients: Vec<String>,
    /// The message as it stood on the wire, dots unstuffed, without the final dot.
    pub data: Vec<u8>,
    /// Whether it came under TLS.
    pub tls: bool,
    /// The name given in EHLO or HELO.
    pub helo: String,
}

impl Taken {
    /// The message as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    taken: Vec<Taken>,
    raw: Vec<u8>,
    connections: u32,
    commands: HashMap<String, u32>,
    held: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
    over: AtomicBool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running sink; it ends when this is dropped.
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Sink {
    /// Starts a sink on `address` and `port` that offers `offers`.
    ///
    /// # Errors
    /// When the port is taken or the certificate does not load.
    pub fn start(address: Ipv4Addr, port: u16, offers: Offers) -> Result<Self> {
        let listener =
            TcpListener::bind((address, port)).with_context(|| format!("sink on {address}:{port}"))?;
        let address = listener.local_addr()?;
        let tls = offers.starttls.as_ref().map(server_config).transpose()?;
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            let offers = Arc::new(offers);
            for stream in listener.incoming() {
                if for_thread.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (shared, offers, tls) = (Arc::clone(&for_thread), Arc::clone(&offers), tls.clone());
                thread::spawn(move || {
                    // A session that broke ends here; what it had completed is recorded.
                    let _ = Session::new(stream, shared, offers, tls).and_then(|mut session| session.run());
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on does `action` at `stage`, for ever.
    pub fn on(&self, stage: Stage, action: Action) {
        self.add(Rule {
            stage,
            address: None,
            action,
            left: None,
        });
    }

    /// Does `action` at `stage` the next `times` times.
    pub fn next(&self, times: u32, stage: Stage, action: Action) {
        self.add(Rule {
            stage,
            address: None,
            action,
            left: Some(times),
        });
    }

    /// Does `action` at RCPT for one address, for ever.
    pub fn on_recipient(&self, address: &str, action: Action) {
        self.add(Rule {
            stage: Stage::Rcpt,
            address: Some(address.to_ascii_lowercase()),
            action,
            left: None,
        });
    }

    /// Behaves well from now on.
    pub fn behave(&self) {
        self.shared.state().rules.clear();
        self.release();
    }

    /// Lets every session go on that hangs.
    pub fn release(&self) {
        self.shared.state().held = false;
        self.shared.released.notify_all();
    }

    /// The messages taken so far.
    #[must_use]
    pub fn taken(&self) -> Vec<Taken> {
        self.shared.state().taken.clone()
    }

    /// Waits until `count` messages have been taken, and gives them; more than that is an error.
    ///
    /// # Errors
    /// When they do not come, or too many do.
    pub fn wait(&self, count: usize) -> Result<Vec<Taken>> {
        let what = format!("{count} messages at the sink {}", self.address);
        wait::for_true(&what, wait::LONG, || Ok(self.shared.state().taken.len() >= count))?;
        let taken = self.taken();
        ensure!(
            taken.len() == count,
            "{} messages at the sink, not {count}",
            taken.len()
        );
        Ok(taken)
    }

    /// Everything that clients sent, commands and data, after TLS.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        self.shared.state().raw.clone()
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.shared.state().connections
    }

    /// How often a command (`RCPT`) was given.
    #[must_use]
    pub fn commands(&self, verb: &str) -> u32 {
        self.shared
            .state()
            .commands
            .get(verb)
            .copied()
            .unwrap_or_default()
    }

    /// Forgets what was taken and read.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.taken.clear();
        state.raw.clear();
        state.commands.clear();
        state.connections = 0;
    }

    fn add(&self, rule: Rule) {
        let mut state = self.shared.state();
        if rule.action == Action::Hang {
            state.held = true;
        }
        state.rules.push(rule);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.release();
        // The listener's thread looks at `over` after its next connection: this one.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn server_config(pki: &Pki) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(&pki.certificate_file)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&pki.key_file)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Wire {
    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// What a session does after a command.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Close,
}

struct Session {
    wire: BufReader<Wire>,
    shared: Arc<Shared>,
    offers: Arc<Offers>,
    tls: Option<Arc<ServerConfig>>,
    message: Taken,
}

impl Session {
    fn new(
        stream: TcpStream,
        shared: Arc<Shared>,
        offers: Arc<Offers>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Self> {
        stream.set_nodelay(true)?;
        shared.state().connections += 1;
        Ok(Self {
            wire: BufReader::new(Wire::Plain(stream)),
            shared,
            offers,
            tls,
            message: Taken::default(),
        })
    }

    fn run(&mut self) -> Result<()> {
        if self.act(Stage::Connect, None, "220 sink.test ESMTP")? == Next::Close {
            return Ok(());
        }
        while let Some(line) = self.line()? {
            let verb = line
                .split([' ', ':'])
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase();
            *self.shared.state().commands.entry(verb.clone()).or_default() += 1;
            if self.command(&verb, &line)? == Next::Close {
                return Ok(());
            }
        }
        Ok(())
    }

    fn command(&mut self, verb: &str, line: &str) -> Result<Next> {
        match verb {
            "EHLO" | "HELO" => {
                line[4..].trim().clone_into(&mut self.message.helo);
                let reply = if verb == "EHLO" {
                    self.capabilities()
                } else {
                    "250 sink.test".to_owned()
                };
                self.act(Stage::Ehlo, None, &reply)
            }
            "STARTTLS" => self.start_tls(),
            "MAIL" => {
                let path = line
                    .split_once(':')
                    .map_or("", |(_, rest)| rest)
                    .trim()
                    .to_owned();
                self.message.mail = path;
                self.message.recipients.clear();
                self.act(Stage::Mail, None, "250 2.1.0 ok")
            }
            "RCPT" => {
                let path = line
                    .split_once(':')
                    .map_or("", |(_, rest)| rest)
                    .trim()
                    .to_owned();
                let address = path
                    .trim_start_matches('<')
                    .split('>')
                    .next()
                    .unwrap_or_default()
                    .to_ascii_lowercase();
                let before = self.message.recipients.len();
                self.message.recipients.push(path);
                let (next, good) = self.act_and_tell(Stage::Rcpt, Some(&address), "250 2.1.5 ok")?;
                if !good {
                    self.message.recipients.truncate(before);
                }
                Ok(next)
            }
            "DATA" if self.message.recipients.is_empty() => self.say("554 5.5.1 no valid recipients"),
            "DATA" => {
                let (next, good) = self.act_and_tell(Stage::Data, None, "354 go on")?;
                if good { self.data() } else { Ok(next) }
            }
            "RSET" | "NOOP" => self.say("250 2.0.0 ok"),
            "QUIT" => {
                self.say("221 2.0.0 bye")?;
                Ok(Next::Close)
            }
            _ => self.say("500 5.5.2 what?"),
        }
    }

    fn capabilities(&self) -> String {
        let mut lines = vec!["sink.test".to_owned()];
        lines.extend(self.offers.capabilities.iter().cloned());
        if self.tls.is_some() && matches!(self.wire.get_ref(), Wire::Plain(_)) {
            lines.push("STARTTLS".to_owned());
        }
        let last = lines.len() - 1;
        let numbered = lines
            .iter()
            .enumerate()
            .map(|(i, line)| format!("250{}{line}", if i == last { ' ' } else { '-' }));
        numbered.collect::<Vec<_>>().join("\r\n")
    }

    fn start_tls(&mut self) -> Result<Next> {
        let Some(config) = self.tls.clone() else {
            return self.say("502 5.5.1 no TLS here");
        };
        let (next, good) = self.act_and_tell(Stage::StartTls, None, "220 2.0.0 go ahead")?;
        if !good {
            return Ok(next);
        }
        let Wire::Plain(stream) = self.wire.get_ref() else {
            return self.say("503 5.5.1 TLS is on");
        };
        let mut stream = stream.try_clone()?;
        let mut session = ServerConnection::new(config)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        self.wire = BufReader::new(Wire::Tls(Box::new(StreamOwned::new(session, stream))));
        self.message = Taken {
            tls: true,
            ..Taken::default()
        };
        Ok(Next::GoOn)
    }

    /// Reads the message; what is recorded is what stood between DATA and the dot.
    fn data(&mut self) -> Result<Next> {
        let mut data = Vec::new();
        loop {
            let line = self.raw_line()?.context("the client left inside a message")?;
            if line == b".\r\n" {
                break;
            }
            data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        self.message.data = data;
        let rule = self.rule(Stage::Dot, None);
        if matches!(rule, None | Some(Action::Close | Action::Hang)) {
            let taken = self.message.clone();
            self.shared.state().taken.push(taken);
        }
        self.obey(rule, "250 2.0.0 taken").map(|(next, _)| next)
    }

    fn act(&mut self, stage: Stage, address: Option<&str>, good: &str) -> Result<Next> {
        self.act_and_tell(stage, address, good).map(|(next, _)| next)
    }

    fn act_and_tell(&mut self, stage: Stage, address: Option<&str>, good: &str) -> Result<(Next, bool)> {
        let rule = self.rule(stage, address);
        self.obey(rule, good)
    }

    /// The action of the first rule that fits; one that is used up goes away.
    fn rule(&self, stage: Stage, address: Option<&str>) -> Option<Action> {
        let mut state = self.shared.state();
        let fits = |rule: &Rule| {
            rule.stage == stage && (rule.address.is_none() || rule.address.as_deref() == address)
        };
        let at = state.rules.iter().position(fits)?;
        let action = state.rules[at].action.clone();
        if let Some(left) = &mut state.rules[at].left {
            *left -= 1;
            if *left == 0 {
                state.rules.remove(at);
            }
        }
        Some(action)
    }

    fn obey(&mut self, action: Option<Action>, good: &str) -> Result<(Next, bool)> {
        match action {
            None => Ok((self.say(good)?, true)),
            Some(Action::Reply(reply)) => Ok((self.say(&reply)?, reply.starts_with(['2', '3']))),
            Some(Action::ReplyAndClose(reply)) => {
                self.say(&reply)?;
                Ok((Next::Close, false))
            }
            Some(Action::Close) => Ok((Next::Close, false)),
            Some(Action::Hang) => {
                let mut state = self.shared.state();
                while state.held && !self.shared.over.load(Ordering::Relaxed) {
                    state = self
                        .shared
                        .released
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                drop(state);
                Ok((self.say(good)?, true))
            }
        }
    }

    fn say(&mut self, reply: &str) -> Result<Next> {
        self.wire.get_mut().send(format!("{reply}\r\n").as_bytes())?;
        Ok(Next::GoOn)
    }

    fn line(&mut self) -> Result<Option<String>> {
        let line = self.raw_line()?;
        Ok(line.map(|bytes| {
            String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\r', '\n'])
                .to_owned()
        }))
    }

    fn raw_line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.wire.read_until(b'\n', &mut line)?;
        self.shared.state().raw.extend_from_slice(&line);
        Ok((read > 0).then_some(line))
    }
}
