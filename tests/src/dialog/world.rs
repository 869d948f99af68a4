//! The world of a row: the server, its accounts, the sink; started by the runner or found running.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use regex::bytes::Regex;

use super::step::{Control, SinkStep};
use crate::dns::{self, Dns};
use crate::mailbox::Mailbox;
use crate::sink::{Action, Offers, Sink, Stage};
use crate::site::{Endpoints, Site};
use crate::wait;

/// The port that foreign servers have in tests.
const SINK_PORT: u16 = 2526;
/// The two accounts and the domain of every dialogue.
pub const ACCOUNTS: [&str; 2] = ["u@local.test", "v@local.test"];
/// Their password.
pub const PASSWORD: &str = crate::site::PASSWORD;

/// What rows run against.
pub struct World {
    /// Where the server listens.
    pub endpoints: Endpoints,
    /// The server's daemons and the sink, if they are ours.
    pub own: Option<Own>,
}

/// The parts that only a world of the runner's own has.
pub struct Own {
    /// The site.
    pub site: Site,
    /// `a.test`'s mail exchanger.
    pub sink: Sink,
    // Answers for as long as the world lives.
    _dns: Dns,
    _claim: std::net::TcpListener,
}

impl World {
    /// Starts a site with `local.test`, and a sink for `a.test`.
    ///
    /// # Errors
    /// When anything of it does not start.
    pub fn start(settings: &[(String, String)]) -> Result<Self> {
        let (address, claim) = dns::claim_address()?;
        let sink = Sink::start(address, SINK_PORT, Offers::default())?;
        let dns = Dns::start()?;
        dns.mail_domain("a.test", address);
        let mut builder = Site::builder()
            .bare()
            .domain("local.test")
            .account(ACCOUNTS[0])
            .account(ACCOUNTS[1])
            .alias("root@local.test", ACCOUNTS[0])
            .world(&dns, SINK_PORT);
        for (option, value) in settings {
            let value: toml::Value = format!("v = {value}")
                .parse::<toml::Table>()
                .ok()
                .and_then(|mut table| table.remove("v"))
                .with_context(|| format!("set {option} {value}: not a TOML value"))?;
            builder = builder.set(option, value);
        }
        let site = builder.start()?;
        let endpoints = site.endpoints().clone();
        Ok(Self {
            endpoints,
            own: Some(Own {
                site,
                sink,
                _dns: dns,
                _claim: claim,
            }),
        })
    }

    /// The runner's own parts.
    ///
    /// # Errors
    /// When the server is somebody else's: the row cannot be run, which is a failure.
    pub fn own(&mut self) -> Result<&mut Own> {
        self.own
            .as_mut()
            .context("this row needs control of the daemons or a sink, and the server is not the runner's")
    }

    /// An account's inbox.
    #[must_use]
    pub fn mailbox(&self, address: &str) -> Mailbox {
        let (local, domain) = address.split_once('@').unwrap_or((address, ""));
        Mailbox::at(self.endpoints.mail_root.join(domain).join(local))
    }

    /// Does something to a daemon.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn control(&mut self, name: &str, action: Control) -> Result<()> {
        let site = &mut self.own()?.site;
        match action {
            Control::Kill => site.kill(name),
            Control::Restart => {
                if site.daemon(name)?.is_running()? {
                    site.kill(name)?;
                }
                site.start(name)
            }
            Control::Terminate => site.daemon(name)?.terminate(wait::LONG).map(drop),
            Control::Stop => site.daemon(name)?.signal(Signal::SIGSTOP),
            Control::Continue => site.daemon(name)?.signal(Signal::SIGCONT),
            Control::Reload => site.reload(name),
        }
    }

    /// Steers or looks at the sink.
    ///
    /// # Errors
    /// When what it holds is not what was expected.
    pub fn sink(&mut self, step: &SinkStep, needle: &[u8]) -> Result<()> {
        let sink = &self.own()?.sink;
        let all = || {
            sink.taken()
                .iter()
                .flat_map(|message| message.data.clone())
                .collect::<Vec<u8>>()
        };
        match step {
            SinkStep::Behave => sink.behave(),
            SinkStep::Reply { stage, text } => sink.on(parse_stage(stage)?, Action::Reply(text.clone())),
            SinkStep::Close { stage } => sink.on(parse_stage(stage)?, Action::Close),
            SinkStep::Hang { stage } => sink.on(parse_stage(stage)?, Action::Hang),
            SinkStep::Messages(count) => drop(sink.wait(*count)?),
            SinkStep::Data(wanted) => {
                let found = contains(&all(), needle);
                ensure!(
                    found == wanted.present,
                    "the sink's data: {}",
                    all().escape_ascii()
                );
            }
            SinkStep::Clean => check_clean(&sink.raw(), &all())?,
        }
        Ok(())
    }

    /// How many messages wait in the queue, and how many of them have the null sender.
    ///
    /// # Errors
    /// When mailctl fails.
    pub fn queue(&mut self) -> Result<(usize, usize)> {
        let list = self.own()?.site.queue()?;
        let bounces = list
            .iter()
            .filter(|message| message["sender"].as_str().is_some_and(str::is_empty))
            .count();
        Ok((list.len(), bounces))
    }

    /// The ids of all messages that are in an inbox, in the queue or at the sink.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub fn message_ids(&mut self) -> Result<BTreeSet<String>> {
        let received = Regex::new(r"(?m)\bid ([0-9A-Za-z]{20})\b")?;
        let mut ids = BTreeSet::new();
        let mut collect = |bytes: &[u8]| {
            // The newest Received line stands first; those below it are other servers'.
            if let Some(found) = received.captures(bytes) {
                ids.insert(String::from_utf8_lossy(&found[1]).into_owned());
            }
        };
        for account in ACCOUNTS {
            self.mailbox(account)
                .messages()?
                .iter()
                .for_each(|message| collect(&message.bytes));
        }
        if let Some(own) = &mut self.own {
            own.sink.taken().iter().for_each(|message| collect(&message.data));
            ids.extend(own.site.spooled()?);
        }
        Ok(ids)
    }

    /// Waits until nothing is in the queue that could still move: for the ids of accepted messages to be final.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn settle(&mut self) -> Result<()> {
        self.own()?.site.wait_queue_empty()
    }

    /// Empties inboxes, queue and sink for the next run.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clean(&mut self) -> Result<()> {
        for account in ACCOUNTS {
            for message in self.mailbox(account).messages()? {
                fs::remove_file(&message.path).with_context(|| message.path.display().to_string())?;
            }
        }
        if let Some(own) = &mut self.own {
            own.sink.behave();
            let waiting = own.site.spooled()?;
            for id in &waiting {
                // It may have been delivered meanwhile; what counts is the look below.
                let _ = own.site.mailctl_output(&["queue", "delete", id])?;
            }
            if !waiting.is_empty() {
                own.site.wait_queue_empty()?;
            }
            own.sink.forget();
        }
        Ok(())
    }
}

fn parse_stage(name: &str) -> Result<Stage> {
    Ok(match name {
        "connect" => Stage::Connect,
        "ehlo" => Stage::Ehlo,
        "starttls" => Stage::StartTls,
        "mail" => Stage::Mail,
        "rcpt" => Stage::Rcpt,
        "data" => Stage::Data,
        "dot" => Stage::Dot,
        _ => bail!("no stage is called {name}"),
    })
}

/// What another server must never get from us: line ends that are none, NUL, a second end of data.
fn check_clean(raw: &[u8], data: &[u8]) -> Result<()> {
    for (at, &byte) in raw.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| raw.get(at)).copied();
        let bare =
            (byte == b'\n' && before != Some(b'\r')) || (byte == b'\r' && raw.get(at + 1) != Some(&b'\n'));
        ensure!(
            !bare && byte != 0,
            "byte {at} of what the sink read is bare: {}",
            near(raw, at)
        );
    }
    ensure!(
        !contains(data, b"\r\n.\r\n") || !contains(raw, b"\r\n.\r\nMAIL"),
        "a lone dot inside a message"
    );
    Ok(())
}

fn near(bytes: &[u8], at: usize) -> String {
    bytes[at.saturating_sub(20)..(at + 20).min(bytes.len())]
        .escape_ascii()
        .to_string()
}

/// Whether `needle` stands in `haystack`; an empty one does not.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|window| window == needle)
}
