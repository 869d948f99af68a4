//! System calls of a daemon, as strace saw them: their order, their files, and faults put in their place.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::Process;
use crate::wait;

/// A running strace and the file into which it writes.
#[derive(Debug)]
pub struct Trace {
    file: PathBuf,
    strace: Option<Child>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        // It ends with its daemon at the latest.
        let _ = self.detach();
    }
}

/// One system call that has returned.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The thread.
    pub thread: u32,
    /// Wall time of its entry, in seconds.
    pub start: f64,
    /// Wall time of its return, in seconds.
    pub end: f64,
    /// `fdatasync`.
    pub name: String,
    /// Arguments and result; descriptors with their paths.
    pub text: String,
}

impl Call {
    /// A call that makes a file or directory durable.
    #[must_use]
    pub fn is_sync(&self) -> bool {
        matches!(
            self.name.as_str(),
            "fsync" | "fdatasync" | "syncfs" | "sync_file_range"
        )
    }

    /// Whether it sends a reply that contains `needle`.
    #[must_use]
    pub fn is_send_of(&self, needle: &str) -> bool {
        matches!(self.name.as_str(), "sendto" | "sendmsg" | "write" | "writev")
            && self.text.contains("250 2")
            && self.text.contains(needle)
    }

    /// The path of the first descriptor.
    #[must_use]
    pub fn path(&self) -> &str {
        let inner = self.text.split_once('<').map_or("", |(_, rest)| rest);
        inner.split_once('>').map_or("", |(path, _)| path)
    }

    /// The path that a `renameat` takes away.
    #[must_use]
    pub fn renamed_from(&self) -> Option<String> {
        let name = self.text.split('"').nth(1)?;
        Some(format!("{}/{name}", self.path()))
    }

    /// Whether strace put an error in its place.
    #[must_use]
    pub fn is_injected(&self) -> bool {
        self.text.contains("(INJECTED)")
    }
}

impl Trace {
    /// Attaches strace to a running daemon: these calls, and everything that sends. `faults` are `inject=` expressions of
    /// strace, e.g. `inject=fdatasync:error=EIO:when=3+5` (counted per thread).
    ///
    /// Only root can do it, and it has to: the daemons are not dumpable, so not even their own account may look inside.
    ///
    /// # Errors
    /// When strace cannot be started or does not attach.
    pub fn attach(process: &Process, file: &Path, calls: &[&str], faults: &[&str]) -> Result<Self> {
        let mut command = Command::new("strace");
        command
            .args(["-f", "-y", "-ttt", "-T", "-s", "256", "-o"])
            .arg(file)
            .arg("-e")
            .arg(format!("trace={},sendto,sendmsg,write,writev", calls.join(",")));
        for fault in faults {
            command.args(["-e", fault]);
        }
        let said = file.with_extension("strace");
        let strace = command
            .arg("-p")
            .arg(process.pid()?.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?)
            .spawn()
            .context("start strace")?;
        let trace = Self {
            file: file.to_path_buf(),
            strace: Some(strace),
        };
        wait::for_true("strace to attach", wait::LONG, || {
            Ok(fs::read_to_string(&said)?.contains("attached"))
        })
        .with_context(|| fs::read_to_string(&said).unwrap_or_default())?;
        Ok(trace)
    }

    /// Lets the daemon go on without strace; everything seen is in the file then.
    ///
    /// # Errors
    /// When strace cannot be told or waited for.
    pub fn detach(&mut self) -> Result<()> {
        if let Some(mut strace) = self.strace.take() {
            kill(Pid::from_raw(i32::try_from(strace.id())?), Signal::SIGINT)?;
            strace.wait()?;
        }
        Ok(())
    }

    /// What has been traced so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn calls(&self) -> Result<Vec<Call>> {
        // The last line may be half written: it does not parse and is left out.
        let bytes = fs::read(&self.file).with_context(|| self.file.display().to_string())?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// Waits until a call satisfies `wanted`; strace writes a little after the fact.
    ///
    /// # Errors
    /// When none does in time.
    pub fn wait_for(&self, wanted: impl Fn(&Call) -> bool) -> Result<Call> {
        wait::until("a system call in the trace", wait::LONG, || {
            Ok(self.calls()?.into_iter().find(|call| wanted(call)))
        })
        .with_context(|| format!("the end of the trace:\n{}", self.tail()))
    }

    /// The last lines as they are, for a failure's message.
    fn tail(&self) -> String {
        let text = fs::read(&self.file)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Reads strace's lines; a call that was interrupted by the line of another thread is put together again.
    #[must_use]
    pub fn parse(text: &str) -> Vec<Call> {
        let mut open: HashMap<u32, (f64, String)> = HashMap::new();
        let mut calls = Vec::new();
        for line in text.lines() {
            let Some((thread, at, rest)) = split(line) else {
                continue;
            };
            if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
                open.insert(thread, (at, begun.to_owned()));
            } else if let Some(resumed) = rest.strip_prefix("<... ") {
                let tail = resumed.split_once(" resumed>").map_or("", |(_, tail)| tail);
                if let Some((start, begun)) = open.remove(&thread) {
                    calls.extend(call(thread, start, at, &(begun + tail)));
                }
            } else {
                calls.extend(call(thread, at, at + duration(rest), rest));
            }
        }
        calls
    }
}

fn split(line: &str) -> Option<(u32, f64, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (at, rest) = rest.trim_start().split_once(' ')?;
    Some((thread.parse().ok()?, at.parse().ok()?, rest))
}

/// The seconds that `-T` puts at the end.
fn duration(rest: &str) -> f64 {
    let inner = rest.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
    inner.and_then(|(_, seconds)| seconds.parse().ok()).unwrap_or(0.0)
}

fn call(thread: u32, start: f64, end: f64, text: &str) -> Option<Call> {
    let (name, _) = text.split_once('(')?;
    Some(Call {
        thread,
        start,
        end,
        name: name.to_owned(),
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    //! Lines as strace 6 writes them.

    use super::*;

    #[test]
    fn interrupted_calls_are_joined() {
        let text = "12 1.5 fdatasync(9</s/tmp/a> <unfinished ...>\n\
                    13 1.6 write(4<socket:[7]>, \"250 2.0.0 Ok\", 12) = 12 <0.000010>\n\
                    12 1.7 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED) <0.000020>\n\
                    12 1.8 fsy";
        let calls = Trace::parse(text);
        assert_eq!(calls.len(), 2, "{calls:?}");
        assert!(calls[0].is_send_of("Ok"));
        assert!(calls[1].is_sync() && calls[1].is_injected());
        assert_eq!((calls[1].start, calls[1].end), (1.5, 1.7));
        assert_eq!(calls[1].path(), "/s/tmp/a");
    }
}
