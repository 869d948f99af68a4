//! The foreground: the daemons' logs on the terminal, a dead daemon started again, a peaceful end on Ctrl-C.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use tests::Site;
use tokio::signal::unix::{SignalKind, signal};

use super::say::Say;

/// How often logs and processes are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// A daemon that lived shorter than this is started again only after a pause.
const SHORT_LIFE: Duration = Duration::from_secs(5);
/// That pause.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs until SIGINT, SIGTERM or SIGHUP.
pub fn foreground(site: &mut Site, say: &Say) -> Result<()> {
    say.done("running; Ctrl-C stops it");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut watch = Watch::new(site)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => break,
                _ = tick.tick() => watch.look(site, say)?,
            }
        }
        anyhow::Ok(())
    })?;
    say.heading("stopping");
    let ended = site.shut_down();
    watch.print_logs(say);
    ended?;
    say.done("stopped");
    Ok(())
}

struct Watch {
    logs: Vec<(String, Tail)>,
    /// When each daemon was last started, and until when a dead one is left alone.
    started: HashMap<String, Instant>,
}

impl Watch {
    fn new(site: &mut Site) -> Result<Self> {
        let mut logs = Vec::new();
        let mut started = HashMap::new();
        for process in site.processes() {
            logs.push((process.name().to_owned(), Tail::at_end(process.log_file())?));
            started.insert(process.name().to_owned(), Instant::now());
        }
        Ok(Self { logs, started })
    }

    fn look(&mut self, site: &mut Site, say: &Say) -> Result<()> {
        self.print_logs(say);
        for process in site.processes() {
            let name = process.name().to_owned();
            if let Some(status) = process.exited()? {
                self.print_logs(say);
                say.note(&format!(
                    "xtask    | {name} has ended ({status}); starting it again"
                ));
            } else if process.is_running()? {
                continue;
            }
            let last = self.started.get(&name).copied();
            let fresh = last.is_some_and(|at| at.elapsed() < SHORT_LIFE);
            let rested = last.is_none_or(|at| at.elapsed() >= PAUSE);
            if fresh && !rested {
                continue;
            }
            process.start()?;
            self.started.insert(name.clone(), Instant::now());
            say.note(&format!(
                "xtask    | {name} started again, process {}",
                process.pid()?
            ));
        }
        Ok(())
    }

    fn print_logs(&mut self, say: &Say) {
        for (name, tail) in &mut self.logs {
            for line in tail.lines() {
                say.line(&format!("{:8} | {line}", name.as_str()));
            }
        }
    }
}

/// A growing file, read line by line from its end at the start.
struct Tail {
    file: File,
    part: Vec<u8>,
}

impl Tail {
    fn at_end(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file,
            part: Vec::new(),
        })
    }

    /// The lines that were completed since the last call.
    fn lines(&mut self) -> Vec<String> {
        // A log that cannot be read is not worth stopping the server for.
        let _ = self.file.read_to_end(&mut self.part);
        let Some(end) = self.part.iter().rposition(|&b| b == b'\n') else {
            return Vec::new();
        };
        let whole: Vec<u8> = self.part.drain(..=end).collect();
        String::from_utf8_lossy(&whole)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}
