//! One dialogue of a sink: commands are answered well unless a rule says otherwise, and messages are recorded.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Action, Offers, Rule, Shared, Stage, Taken};
use crate::pki::Pki;

/// What a sink shows when it offers TLS.
pub(super) fn server_config(pki: &Pki) -> Result<Arc<ServerConfig>> {
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

/// One client's dialogue.
pub(super) struct Session {
    wire: BufReader<Wire>,
    shared: Arc<Shared>,
    offers: Arc<Offers>,
    tls: Option<Arc<ServerConfig>>,
    message: Taken,
}

impl Session {
    pub(super) fn new(
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

    pub(super) fn run(&mut self) -> Result<()> {
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
