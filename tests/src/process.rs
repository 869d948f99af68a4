//! One child process of a site: started under the site's account, its output in a file, signals on demand.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// The account that daemons run under when the harness is root: a number without an entry anywhere, so none is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Account {
    /// `5000:5000` for root, otherwise nothing: the caller's own account then serves.
    #[must_use]
    pub fn unprivileged() -> Option<Self> {
        nix::unistd::geteuid()
            .is_root()
            .then_some(Self { uid: 5000, gid: 5000 })
    }

    /// The ids under which files of the site are made: this account's or the caller's.
    #[must_use]
    pub fn ids(this: Option<Self>) -> (u32, u32) {
        this.map_or_else(
            || (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
            |account| (account.uid, account.gid),
        )
    }

    /// Gives `path` and everything below it to the account.
    ///
    /// # Errors
    /// When a file cannot be read or given away.
    pub fn give(this: Option<Self>, path: &Path) -> Result<()> {
        let Some(account) = this else { return Ok(()) };
        std::os::unix::fs::lchown(path, Some(account.uid), Some(account.gid))
            .with_context(|| format!("chown {}", path.display()))?;
        if path.symlink_metadata()?.is_dir() {
            for entry in fs::read_dir(path)? {
                Self::give(this, &entry?.path())?;
            }
        }
        Ok(())
    }
}

/// A program, its arguments and the process that runs it, if one does.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    account: Option<Account>,
    own_group: bool,
    log: PathBuf,
    child: Option<Child>,
    starts: u32,
}

impl Process {
    /// Describes a process; nothing runs yet.
    #[must_use]
    pub fn new(
        name: &str,
        program: PathBuf,
        arguments: &[&str],
        account: Option<Account>,
        log: PathBuf,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program,
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
            environment: Vec::new(),
            account,
            own_group: false,
            log,
            child: None,
            starts: 0,
        }
    }

    /// Adds an environment variable, from the next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs the program in a process group of its own, so that a terminal's Ctrl-C does not reach it.
    pub fn set_own_group(&mut self) {
        self.own_group = true;
    }

    /// Starts the program; its output is appended to the log file.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        if self.is_running()? {
            bail!("{} runs already", self.name);
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        if self.own_group {
            command.process_group(0);
        }
        let child = command
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        self.child = Some(child);
        self.starts += 1;
        Ok(())
    }

    /// The name used in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    ///
    /// # Errors
    /// When nothing runs.
    pub fn pid(&self) -> Result<u32> {
        match &self.child {
            Some(child) => Ok(child.id()),
            None => bail!("{} does not run", self.name),
        }
    }

    /// How often the program was started by the harness.
    #[must_use]
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// Whether the process is alive; its exit is noticed here.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.exited()?.is_none() && self.child.is_some())
    }

    /// The exit status if the process ended without being told to; it is reaped.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When nothing runs.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()?)?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// When nothing runs.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            bail!("{} does not run", self.name)
        };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits up to `limit` for the end; SIGKILL after it.
    ///
    /// # Errors
    /// When it had to be killed.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let name = self.name.clone();
        let ended = wait::until(&format!("{name} to end after SIGTERM"), limit, || self.exited());
        if ended.is_err() && self.child.is_some() {
            self.kill()?;
        }
        ended
    }

    /// The last `lines` lines of the output.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The file that takes the output.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Resident memory in bytes, from `/proc`.
    ///
    /// # Errors
    /// When nothing runs.
    pub fn resident_memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS in status")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // A stopped process is killed all the same; nothing can be done about an error here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Empties or creates a file, for logs that a site begins anew.
///
/// # Errors
/// When the file cannot be made.
pub fn fresh_file(path: &Path) -> Result<()> {
    File::create(path).with_context(|| format!("create {}", path.display()))?;
    Ok(())
}
