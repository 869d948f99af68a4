//! The human log: standard error, one escaped line per event, written by a thread so that it never blocks.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Lines that may wait; more are dropped and counted.
const QUEUE: usize = 8_192;

/// How long lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(2);

/// What is written at once, in bytes.
const LARGEST_WRITE: usize = 1 << 16;

static HANDLE: OnceLock<Handle> = OnceLock::new();

struct Handle {
    filter: reload::Handle<EnvFilter, Registry>,
    lines: Lines,
}

/// Starts the log. `RUST_LOG` wins over `level`. Called once; later calls only set the level.
pub(crate) fn start(level: &str) {
    if HANDLE.get().is_some() {
        set_level(level);
        return;
    }
    let (sender, receiver) = sync_channel(QUEUE);
    let lines = Lines {
        sender,
        dropped: Arc::default(),
    };
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&receiver));
    if let Err(error) = thread {
        eprintln!("the log cannot start: {error}");
        return;
    }
    let (filter, handle) = reload::Layer::new(filter(level));
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(lines.clone());
    // The journal has its own time.
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let registry = tracing_subscriber::registry().with(filter);
    let started = if under_systemd {
        registry.with(layer.without_time()).try_init()
    } else {
        registry.with(layer).try_init()
    };
    if started.is_ok() {
        let _ = HANDLE.set(Handle {
            filter: handle,
            lines,
        });
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(level))
        .unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Sets the level after a reload.
pub(crate) fn set_level(level: &str) {
    if let Some(handle) = HANDLE.get() {
        let _ = handle.filter.reload(filter(level));
    }
}

/// Lines lost so far because nobody read standard error fast enough.
pub(crate) fn dropped() -> u64 {
    HANDLE
        .get()
        .map_or(0, |handle| handle.lines.dropped.load(Ordering::Relaxed))
}

/// Waits until everything said so far is written, at most `limit`.
pub(crate) fn flush(limit: Duration) {
    if let Some(handle) = HANDLE.get() {
        let (done, wait) = sync_channel(1);
        if handle.lines.sender.try_send(Line::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(limit);
        }
    }
}

enum Line {
    Text(Vec<u8>),
    Flush(SyncSender<()>),
}

fn write_lines(lines: &Receiver<Line>) {
    let mut text = Vec::new();
    while let Ok(first) = lines.recv() {
        // While this thread does not wait on the queue, nobody has to wake it: under load it takes what
        // gathered meanwhile, and waking costs the speakers nothing.
        if matches!(first, Line::Text(_)) {
            std::thread::sleep(GATHER);
        }
        let mut next = Some(first);
        while let Some(line) = next {
            match line {
                Line::Text(line) => text.extend_from_slice(&line),
                Line::Flush(done) => {
                    write_out(&mut text);
                    let _ = done.try_send(());
                }
            }
            if text.len() > LARGEST_WRITE {
                write_out(&mut text);
            }
            next = lines.try_recv().ok();
        }
        write_out(&mut text);
    }
}

/// Nobody is left to be told when standard error is gone.
fn write_out(text: &mut Vec<u8>) {
    let _ = io::stderr().lock().write_all(text);
    text.clear();
}

#[derive(Clone)]
struct Lines {
    sender: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = LineWriter<'w>;
    fn make_writer(&'w self) -> Self::Writer {
        LineWriter {
            lines: self,
            text: Vec::new(),
        }
    }
}

/// Collects one event; sent when it is dropped.
struct LineWriter<'w> {
    lines: &'w Lines,
    text: Vec<u8>,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter<'_> {
    fn drop(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let line = Line::Text(one_line(&self.text));
        if self.lines.sender.try_send(line).is_err() {
            self.lines.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One line whatever a peer sent: control characters (C0, DEL, C1) and line separators escaped, one line end.
fn one_line(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.trim_end_matches('\n').chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_sends_stays_on_one_line() {
        assert_eq!(one_line(b"a\r\nb\x1b[31m\n"), b"a\\r\\nb\\u{1b}[31m\n");
        assert_eq!(one_line("x\u{85}y\u{2028}z".as_bytes()), b"x\\u{85}y\\u{2028}z\n");
        assert_eq!(one_line(b"\xff"), "\u{fffd}\n".as_bytes());
    }
}
