//! What `up` says while it works: colours and the clock only where a person looks.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use anyhow::Result;

/// The terminal, or the file that stands in for it.
pub struct Say {
    colours: bool,
}

impl Say {
    /// Looks whether standard output is a terminal, and whether `NO_COLOR` is set.
    pub fn new() -> Self {
        Self {
            colours: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// Begins a part of the work.
    pub fn heading(&self, text: &str) {
        self.line(&self.paint("1", text));
    }

    /// Says that something has ended well.
    pub fn done(&self, text: &str) {
        self.line(&self.paint("32", text));
    }

    /// Says something that the reader should know.
    pub fn note(&self, text: &str) {
        self.line(&self.paint("33", text));
    }

    /// Says something plainly.
    pub fn line(&self, text: &str) {
        // A reader that went away is no reason to stop the server.
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// Does one step, named before and timed after it.
    pub fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let begin = Instant::now();
        let mut out = io::stdout();
        let _ = write!(out, "  {name} ... ");
        let _ = out.flush();
        let outcome = work();
        let seconds = begin.elapsed().as_secs_f64();
        let verdict = match &outcome {
            Ok(_) => self.paint("32", "ok"),
            Err(_) => self.paint("31", "failed"),
        };
        let _ = writeln!(out, "{verdict} ({seconds:.1} s)");
        outcome
    }

    /// Text in bold or in a colour (an SGR number), if there are colours.
    pub fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
