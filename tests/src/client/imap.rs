//! An IMAP client that a test steers command by command.

use anyhow::{Context, Result, bail, ensure};

use super::line::{Line, Tls, show};

/// The answer to one command: everything up to its tagged line. Literals stand in the text where they came.
#[derive(Debug, Clone)]
pub struct ImapReply {
    /// Untagged responses, each whole, with its literals.
    pub untagged: Vec<Vec<u8>>,
    /// What followed the tag, e.g. `OK LOGIN completed`.
    pub tagged: String,
}

impl ImapReply {
    /// Whether the command succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.tagged.starts_with("OK")
    }

    /// The untagged responses as text, one a line.
    #[must_use]
    pub fn text(&self) -> String {
        let lines: Vec<String> = self
            .untagged
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        lines.join("\n")
    }

    /// The first untagged response that contains `needle`.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, needle: &str) -> Result<String> {
        let found = self
            .untagged
            .iter()
            .map(|line| String::from_utf8_lossy(line))
            .find(|line| line.contains(needle));
        found
            .map(std::borrow::Cow::into_owned)
            .with_context(|| format!("no {needle:?} in\n{}", self.text()))
    }
}

/// A connection to an IMAP server.
pub struct Imap {
    /// The connection underneath.
    pub line: Line,
    next_tag: u32,
}

impl Imap {
    /// Takes a fresh connection and reads the greeting.
    ///
    /// # Errors
    /// When the greeting is not `* OK`.
    pub fn greet(mut line: Line) -> Result<Self> {
        let greeting = line.line()?.context("the server closed instead of greeting")?;
        ensure!(greeting.starts_with(b"* OK"), "greeting: {}", show(&greeting));
        Ok(Self { line, next_tag: 0 })
    }

    /// Sends a command without waiting for its answer; gives its tag.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn begin(&mut self, command: &str) -> Result<String> {
        self.next_tag += 1;
        let tag = format!("t{}", self.next_tag);
        self.line.send(format!("{tag} {command}\r\n").as_bytes())?;
        Ok(tag)
    }

    /// Sends a command and reads its answer, whatever it is.
    ///
    /// # Errors
    /// When the connection breaks or the server does not answer in time.
    pub fn command(&mut self, command: &str) -> Result<ImapReply> {
        let tag = self.begin(command)?;
        self.finish(&tag).with_context(|| format!("after {command:.80}"))
    }

    /// Like [`Imap::command`], and the answer has to be OK.
    ///
    /// # Errors
    /// When it is NO or BAD.
    pub fn ok(&mut self, command: &str) -> Result<ImapReply> {
        let reply = self.command(command)?;
        ensure!(reply.is_ok(), "{command:.80}: {}", reply.tagged);
        Ok(reply)
    }

    /// Reads up to the line that bears `tag`.
    ///
    /// # Errors
    /// When the connection breaks or the server does not answer in time.
    pub fn finish(&mut self, tag: &str) -> Result<ImapReply> {
        let mut untagged = Vec::new();
        loop {
            let response = self.response()?;
            if let Some(rest) = response
                .strip_prefix(tag.as_bytes())
                .and_then(|rest| rest.strip_prefix(b" "))
            {
                return Ok(ImapReply {
                    untagged,
                    tagged: String::from_utf8_lossy(rest).into_owned(),
                });
            }
            if response.starts_with(b"+") {
                bail!("an unexpected continuation: {}", show(&response));
            }
            untagged.push(response);
        }
    }

    /// Reads one response with its literals.
    ///
    /// # Errors
    /// When the server closes or does not answer in time.
    pub fn response(&mut self) -> Result<Vec<u8>> {
        let mut response = Vec::new();
        loop {
            let line = self.line.line()?.context("the server closed the connection")?;
            let literal = literal_length(&line);
            response.extend_from_slice(&line);
            let Some(length) = literal else {
                return Ok(response);
            };
            response.extend_from_slice(b"\r\n");
            response.extend(self.line.exactly(length)?);
        }
    }

    /// `STARTTLS` and the handshake.
    ///
    /// # Errors
    /// When the server refuses or its certificate does not verify.
    pub fn start_tls(&mut self, tls: &Tls) -> Result<()> {
        self.ok("STARTTLS")?;
        self.line.start_tls(tls)
    }

    /// `LOGIN`, which has to succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        self.ok(&format!("LOGIN \"{user}\" \"{password}\"")).map(drop)
    }

    /// `SELECT`; the number of messages.
    ///
    /// # Errors
    /// When it fails.
    pub fn select(&mut self, mailbox: &str) -> Result<u32> {
        let reply = self.ok(&format!("SELECT \"{mailbox}\""))?;
        let exists = reply.find(" EXISTS")?;
        exists
            .trim_start_matches("* ")
            .trim_end_matches(" EXISTS")
            .parse()
            .context("EXISTS")
    }

    /// The whole text of one message of the selected mailbox, by sequence number; no flag is set.
    ///
    /// # Errors
    /// When there is no such message.
    pub fn fetch_body(&mut self, number: u32) -> Result<Vec<u8>> {
        let reply = self.ok(&format!("FETCH {number} (BODY.PEEK[])"))?;
        let response = reply
            .untagged
            .iter()
            .find(|line| contains(line, b"BODY[]"))
            .context("no BODY[] in the answer")?;
        let at = response
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .context("no literal in the answer")?;
        let length = literal_length(&response[..at]).context("no literal in the answer")?;
        Ok(response[at + 2..at + 2 + length].to_vec())
    }

    /// `APPEND` of a message with a synchronising literal.
    ///
    /// # Errors
    /// When it is refused.
    pub fn append(&mut self, mailbox: &str, flags: &str, message: &[u8]) -> Result<ImapReply> {
        let tag = self.begin(&format!("APPEND \"{mailbox}\" ({flags}) {{{}}}", message.len()))?;
        let line = self.line.line()?.context("the server closed the connection")?;
        ensure!(line.starts_with(b"+"), "APPEND: {}", show(&line));
        self.line.send(message)?;
        self.line.send(b"\r\n")?;
        let reply = self.finish(&tag)?;
        ensure!(reply.is_ok(), "APPEND: {}", reply.tagged);
        Ok(reply)
    }

    /// `LOGOUT`, after which the server has to close.
    ///
    /// # Errors
    /// When it does not.
    pub fn logout(mut self) -> Result<()> {
        self.ok("LOGOUT")?;
        ensure!(self.line.line()?.is_none(), "the server goes on after LOGOUT");
        Ok(())
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn literal_length(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let at = inner.iter().rposition(|&b| b == b'{')?;
    std::str::from_utf8(&inner[at + 1..]).ok()?.parse().ok()
}
