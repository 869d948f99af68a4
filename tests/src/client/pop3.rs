//! A POP3 client that a test steers command by command.

use anyhow::{Context, Result, ensure};

use super::line::{Line, Tls, show};

/// A connection to a POP3 server.
pub struct Pop3 {
    /// The connection underneath.
    pub line: Line,
}

impl Pop3 {
    /// Takes a fresh connection and reads the greeting.
    ///
    /// # Errors
    /// When the greeting is not `+OK`.
    pub fn greet(line: Line) -> Result<Self> {
        let mut pop3 = Self { line };
        let status = pop3.status()?;
        ensure!(status.starts_with("+OK"), "greeting: {status}");
        Ok(pop3)
    }

    /// Reads one status line.
    ///
    /// # Errors
    /// When the server closes, says nothing in time, or no status.
    pub fn status(&mut self) -> Result<String> {
        let line = self.line.line()?.context("the server closed the connection")?;
        ensure!(
            line.starts_with(b"+") || line.starts_with(b"-ERR"),
            "not a status: {}",
            show(&line)
        );
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Sends a command and reads its status line, whatever it is.
    ///
    /// # Errors
    /// As [`Pop3::status`].
    pub fn command(&mut self, command: &str) -> Result<String> {
        self.line.send(format!("{command}\r\n").as_bytes())?;
        self.status().with_context(|| format!("after {command:.80}"))
    }

    /// Like [`Pop3::command`], and the status has to be `+OK`.
    ///
    /// # Errors
    /// When it is not.
    pub fn ok(&mut self, command: &str) -> Result<String> {
        let status = self.command(command)?;
        ensure!(status.starts_with("+OK"), "{command:.80}: {status}");
        Ok(status)
    }

    /// Sends a command and reads its lines, dot-stuffing removed, CRLF after each.
    ///
    /// # Errors
    /// When the status is not `+OK`.
    pub fn lines(&mut self, command: &str) -> Result<Vec<u8>> {
        self.ok(command)?;
        self.dotted()
    }

    /// Reads lines up to the lone dot.
    ///
    /// # Errors
    /// When the connection closes before it.
    pub fn dotted(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let line = self
                .line
                .line()?
                .context("the connection closed before the dot")?;
            if line == b"." {
                return Ok(out);
            }
            out.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            out.extend_from_slice(b"\r\n");
        }
    }

    /// `STLS` and the handshake.
    ///
    /// # Errors
    /// When the server refuses or its certificate does not verify.
    pub fn start_tls(&mut self, tls: &Tls) -> Result<()> {
        self.ok("STLS")?;
        self.line.start_tls(tls)
    }

    /// `USER` and `PASS`, which have to succeed.
    ///
    /// # Errors
    /// When they do not.
    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        self.ok(&format!("USER {user}"))?;
        self.ok(&format!("PASS {password}")).map(drop)
    }

    /// `STAT`: number of messages and octets.
    ///
    /// # Errors
    /// When the answer is not two numbers.
    pub fn stat(&mut self) -> Result<(u32, u64)> {
        let status = self.ok("STAT")?;
        let mut words = status.split_ascii_whitespace().skip(1);
        let mut number = || words.next().with_context(|| format!("two numbers in {status}"));
        Ok((number()?.parse()?, number()?.parse()?))
    }

    /// `QUIT`, after which the server has to close.
    ///
    /// # Errors
    /// When it does not.
    pub fn quit(mut self) -> Result<()> {
        self.ok("QUIT")?;
        ensure!(self.line.line()?.is_none(), "the server goes on after QUIT");
        Ok(())
    }
}
