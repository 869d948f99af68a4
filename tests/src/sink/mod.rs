//! An SMTP server of another site: it takes what it is given and records it, or refuses, delays and closes on order.

mod session;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::pki::Pki;
use crate::wait;
use session::Session;

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
        let tls = offers.starttls.as_ref().map(session::server_config).transpose()?;
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
