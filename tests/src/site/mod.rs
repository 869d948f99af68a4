//! One running Postrider: configuration, certificate, database and six daemons in a directory of their own.

mod builder;
mod endpoints;
mod settings;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

pub use builder::SiteBuilder;
pub use endpoints::{Endpoints, Ports};
pub use settings::Settings;

use crate::backend::Database;
use crate::client::Smtp;
use crate::events::Events;
use crate::mailbox::Mailbox;
use crate::process::{Account, Process};
use crate::wait;

/// The daemons in the order of their start; each does without the later ones, and waits for the earlier ones.
pub const DAEMONS: [&str; 6] = ["authd", "deliver", "qmgr", "smtpd", "imapd", "pop3d"];

/// The user part of the addresses and the password of the two accounts that every site has.
pub const PASSWORD: &str = "secret";

/// A running site. Its daemons are killed and its directory is removed when it is dropped; when the test is failing
/// by a panic, the logs are printed first. [`SiteBuilder::run`] does this for errors too.
pub struct Site {
    endpoints: Endpoints,
    directory: PathBuf,
    account: Option<Account>,
    settings: Settings,
    processes: Vec<Process>,
    database: Option<Database>,
    // Held for as long as the site lives: its address, and its directory if that goes away with it.
    _claim: Option<TcpListener>,
    _temporary: Option<tempfile::TempDir>,
}

impl Site {
    /// Begins the description of a site; nothing set means: SQLite, `example.com` with `alice` and `bob`.
    #[must_use]
    pub fn builder() -> SiteBuilder {
        SiteBuilder::new()
    }

    /// The directory with everything of the site below it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the site listens, for the threads of a load.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The configuration file.
    #[must_use]
    pub fn configuration_file(&self) -> PathBuf {
        self.directory.join("etc/postrider.toml")
    }

    /// The account that the daemons run under and that owns the Maildirs.
    #[must_use]
    pub fn ids(&self) -> (u32, u32) {
        Account::ids(self.account)
    }

    /// The inbox of an account of the usual layout, `DOMAIN/USER/` below the mail root.
    #[must_use]
    pub fn mailbox(&self, address: &str) -> Mailbox {
        let (local, domain) = address.split_once('@').unwrap_or((address, ""));
        self.mailbox_at(&format!("{domain}/{local}"))
    }

    /// The Maildir at a path below the mail root.
    #[must_use]
    pub fn mailbox_at(&self, maildir: &str) -> Mailbox {
        Mailbox::at(self.endpoints.mail_root.join(maildir))
    }

    /// The decision log.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::at(&self.directory.join("events"))
    }

    /// The site's database.
    ///
    /// # Errors
    /// When the site uses one that is not the harness's.
    pub fn database(&mut self) -> Result<&mut Database> {
        self.database
            .as_mut()
            .context("this site's database is not the harness's")
    }

    /// Executes SQL on the site's database, as its panel would.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn sql(&self, statements: &str) -> Result<()> {
        self.database
            .as_ref()
            .context("this site's database is not the harness's")?
            .execute(statements)
    }

    /// A daemon's process, for signals and figures.
    ///
    /// # Errors
    /// When there is no daemon of this name.
    pub fn daemon(&mut self, name: &str) -> Result<&mut Process> {
        let found = self.processes.iter_mut().find(|process| process.name() == name);
        found.with_context(|| format!("there is no daemon {name}"))
    }

    /// All processes, in the order of their start.
    pub fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// SIGKILL to a daemon.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.daemon(name)?.kill()
    }

    /// Starts a daemon that was killed or has ended, and waits until it serves.
    ///
    /// # Errors
    /// When it does not; the end of its log is in the error.
    pub fn start(&mut self, name: &str) -> Result<()> {
        self.daemon(name)?.start()?;
        self.wait_ready(name)
    }

    /// Kills and starts a daemon.
    ///
    /// # Errors
    /// As [`Site::start`].
    pub fn restart(&mut self, name: &str) -> Result<()> {
        self.kill(name)?;
        self.start(name)
    }

    /// SIGHUP to a daemon, and waits until its log says that it has reloaded (or refused to).
    ///
    /// # Errors
    /// When nothing is said about it.
    pub fn reload(&mut self, name: &str) -> Result<()> {
        let process = self.daemon(name)?;
        let before = fs::read_to_string(process.log_file())?.len();
        process.signal(Signal::SIGHUP)?;
        let log = process.log_file().to_path_buf();
        wait::for_true(&format!("{name} to reload"), wait::LONG, || {
            let text = fs::read_to_string(&log)?;
            Ok(text.get(before..).is_some_and(|new| new.contains("reload")))
        })
    }

    /// Changes an option in the configuration file; daemons see it when they are reloaded or restarted.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&mut self, option: &str, value: impl Into<toml::Value>) -> Result<()> {
        self.settings.set(option, value);
        self.write_configuration()
    }

    /// The configuration as it stands in the file.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Runs `mailctl` with the site's configuration, under the site's account; its output whatever it is.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn mailctl_output(&self, arguments: &[&str]) -> Result<Output> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(self.directory.join("bin/mailctl"));
        command
            .arg("--config")
            .arg(self.configuration_file())
            .args(arguments)
            .stdin(Stdio::null());
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command.output().context("run mailctl")
    }

    /// Runs `mailctl`, which has to succeed; what it printed.
    ///
    /// # Errors
    /// When it fails; what it said is in the error.
    pub fn mailctl(&self, arguments: &[&str]) -> Result<String> {
        let output = self.mailctl_output(arguments)?;
        let [out, err] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        ensure!(
            output.status.success(),
            "mailctl {} ({}):\n{out}{err}",
            arguments.join(" "),
            output.status
        );
        Ok(out)
    }

    /// Runs `mailctl --json`, which has to succeed; what it printed.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn mailctl_json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let out = self.mailctl(&[&["--json"], arguments].concat())?;
        serde_json::from_str(&out).with_context(|| out)
    }

    /// Waits until a daemon answers on everything that it listens on.
    ///
    /// # Errors
    /// When it ends or does not answer; the end of its log is in the error.
    pub fn wait_ready(&mut self, name: &str) -> Result<()> {
        let endpoints = self.endpoints.clone();
        let run = self.directory.join("run");
        let process = self.daemon(name)?;
        let what = format!("{name} to serve");
        let ready = wait::for_true(&what, wait::LONG, || {
            if let Some(status) = process.exited()? {
                return Ok(status.success() && bail_ended(name)?);
            }
            Ok(endpoints::answers(&endpoints, &run, name))
        });
        ready.with_context(|| format!("the end of {name}'s log:\n{}", process.log_tail(30)))
    }

    /// Fails if a daemon has ended that nobody told to.
    ///
    /// # Errors
    /// The name and the end of the log of the one that did.
    pub fn check_alive(&mut self) -> Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.exited()? {
                bail!("{} ended ({status}):\n{}", process.name(), process.log_tail(30));
            }
        }
        Ok(())
    }

    /// SIGTERM to all that run, the last started first; each has to end with status 0.
    ///
    /// # Errors
    /// When one does not.
    pub fn shut_down(&mut self) -> Result<()> {
        let mut running = Vec::new();
        for process in self.processes.iter_mut().rev() {
            if process.is_running()? {
                // A stopped process cannot hear SIGTERM.
                process.signal(Signal::SIGCONT)?;
                process.signal(Signal::SIGTERM)?;
                running.push(process);
            }
        }
        for process in running {
            let name = process.name().to_owned();
            let status = wait::until(&format!("{name} to end"), wait::LONG, || process.exited())
                .with_context(|| process.log_tail(20))?;
            ensure!(
                status.success(),
                "{name} ended with {status} after SIGTERM:\n{}",
                process.log_tail(20)
            );
        }
        Ok(())
    }

    /// The ends of all logs, for a failure's message.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for process in &self.processes {
            text.push_str(&format!("---- {}\n{}\n", process.name(), process.log_tail(60)));
        }
        text.push_str("---- the last events\n");
        for event in self.events().last(40).unwrap_or_default() {
            text.push_str(&format!("{event}\n"));
        }
        text
    }

    /// A connection on submission with STARTTLS and AUTH done.
    ///
    /// # Errors
    /// When any step fails.
    pub fn submit_as(&self, address: &str) -> Result<Smtp> {
        self.endpoints.submit_as(address, PASSWORD)
    }

    /// Waits until the queue is empty.
    ///
    /// # Errors
    /// When it does not become so; what is in it is in the error.
    pub fn wait_queue_empty(&self) -> Result<()> {
        self.wait_queue(0).map(drop)
    }

    /// Waits until `count` messages are in the queue; the listing.
    ///
    /// # Errors
    /// When it does not come to that; what is in it is in the error.
    pub fn wait_queue(&self, count: usize) -> Result<Vec<serde_json::Value>> {
        let what = format!("{count} messages in the queue");
        let reached = wait::for_true(&what, wait::LONG, || Ok(self.spooled()?.len() == count));
        let list = self.queue()?;
        reached.with_context(|| format!("there are {}: {list:?}", list.len()))?;
        Ok(list)
    }

    /// The ids of the messages in the queue's directories, read without any code of the project.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn spooled(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        let incoming = self.directory.join("spool/incoming");
        for shard in fs::read_dir(&incoming).with_context(|| incoming.display().to_string())? {
            for file in fs::read_dir(shard?.path())? {
                let name = file?.file_name().to_string_lossy().into_owned();
                if name.len() == 20 {
                    ids.push(name);
                }
            }
        }
        Ok(ids)
    }

    /// What is in the queue, as `mailctl` shows it.
    ///
    /// # Errors
    /// When mailctl fails.
    pub fn queue(&self) -> Result<Vec<serde_json::Value>> {
        let listing = self.mailctl_json(&["queue", "list"])?;
        Ok(listing.as_array().cloned().unwrap_or_default())
    }

    /// Asks for an attempt now for everything that waits, instead of sleeping until its time has come.
    ///
    /// # Errors
    /// When mailctl fails.
    pub fn flush(&self) -> Result<()> {
        self.mailctl(&["queue", "flush"]).map(drop)
    }

    fn write_configuration(&self) -> Result<()> {
        let file = self.configuration_file();
        let text = self.settings.to_toml()?;
        // Replaced in one step: a daemon that reloads meanwhile sees the old or the new one.
        let new = file.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &file).with_context(|| file.display().to_string())
    }

    /// How long a graceful end may take before `shut_down` of a foreground run gives up.
    pub const DRAIN: Duration = Duration::from_secs(30);
}

impl std::ops::Deref for Site {
    type Target = Endpoints;

    fn deref(&self) -> &Endpoints {
        &self.endpoints
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        // Clients of a server that is gone must not hold it up, nor the other way round: all at once, without grace.
        self.processes.clear();
    }
}

fn bail_ended(name: &str) -> Result<bool> {
    bail!("{name} has ended")
}
