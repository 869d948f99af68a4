//! An SMTP (and LMTP) client that a test steers line by line.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::line::{Line, Tls, show};

/// One reply: its code and the text of its lines, without codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// Text of each line after `250-` or `250 `.
    pub lines: Vec<String>,
}

impl Reply {
    /// The whole reply, code before each line, lines joined by `\n`.
    #[must_use]
    pub fn text(&self) -> String {
        let lines: Vec<String> = self
            .lines
            .iter()
            .map(|line| format!("{} {line}", self.code))
            .collect();
        lines.join("\n")
    }

    /// The id in `250 2.0.0 Ok: queued as ID`.
    ///
    /// # Errors
    /// When the reply is another one.
    pub fn queued_as(&self) -> Result<&str> {
        let last = self.lines.last().context("an empty reply")?;
        match last.split_once("queued as ") {
            Some((_, id)) if self.code == 250 => Ok(id.trim()),
            _ => bail!("not a reply to an accepted message: {}", self.text()),
        }
    }
}

/// A message's envelope with the parameters that a test wants to add.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// Reverse path without brackets.
    pub from: &'a str,
    /// What follows `MAIL FROM:<...>`, e.g. ` BODY=8BITMIME`.
    pub mail_parameters: &'a str,
    /// Forward paths without brackets, each with what follows it.
    pub recipients: Vec<(&'a str, &'a str)>,
}

/// A connection to an SMTP or LMTP server.
pub struct Smtp {
    /// The connection underneath, for tests that need more than commands.
    pub line: Line,
}

impl Smtp {
    /// Takes a fresh connection and reads the greeting.
    ///
    /// # Errors
    /// When the greeting is not 220.
    pub fn greet(line: Line) -> Result<Self> {
        let mut smtp = Self { line };
        let reply = smtp.reply()?;
        ensure!(reply.code == 220, "greeting: {}", reply.text());
        Ok(smtp)
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// When the server closes, says nothing in time, or nothing that is a reply.
    pub fn reply(&mut self) -> Result<Reply> {
        match self.reply_or_end()? {
            Some(reply) => Ok(reply),
            None => bail!("the server closed the connection instead of replying"),
        }
    }

    /// Reads one reply, or `None` when the server has closed the connection.
    ///
    /// # Errors
    /// When the server says nothing in time, or nothing that is a reply.
    pub fn reply_or_end(&mut self) -> Result<Option<Reply>> {
        let mut lines = Vec::new();
        loop {
            let Some(line) = self.line.line()? else {
                ensure!(lines.is_empty(), "the connection closed inside a reply");
                return Ok(None);
            };
            let text = String::from_utf8_lossy(&line).into_owned();
            let code = text.get(..3).and_then(|digits| digits.parse::<u16>().ok());
            let Some(code) = code else {
                bail!("not a reply: {}", show(&line))
            };
            lines.push(text.get(4..).unwrap_or_default().to_owned());
            if text.as_bytes().get(3) != Some(&b'-') {
                return Ok(Some(Reply { code, lines }));
            }
        }
    }

    /// Sends a command (CRLF is added) and reads its reply.
    ///
    /// # Errors
    /// As [`Smtp::reply`].
    pub fn command(&mut self, command: &str) -> Result<Reply> {
        self.line.send(format!("{command}\r\n").as_bytes())?;
        self.reply().with_context(|| format!("after {command:.80}"))
    }

    /// Like [`Smtp::command`], and the reply has to have this code.
    ///
    /// # Errors
    /// When it has another one.
    pub fn expect(&mut self, command: &str, code: u16) -> Result<Reply> {
        let reply = self.command(command)?;
        ensure!(
            reply.code == code,
            "{command:.80}: wanted {code}, got {}",
            reply.text()
        );
        Ok(reply)
    }

    /// `EHLO client.test`; the capability lines without the host name.
    ///
    /// # Errors
    /// When the answer is not 250.
    pub fn ehlo(&mut self) -> Result<Vec<String>> {
        Ok(self.expect("EHLO client.test", 250)?.lines.split_off(1))
    }

    /// `LHLO client.test`; the capability lines.
    ///
    /// # Errors
    /// When the answer is not 250.
    pub fn lhlo(&mut self) -> Result<Vec<String>> {
        Ok(self.expect("LHLO client.test", 250)?.lines.split_off(1))
    }

    /// `STARTTLS`, the handshake, and EHLO again.
    ///
    /// # Errors
    /// When the server refuses or its certificate does not verify.
    pub fn start_tls(&mut self, tls: &Tls) -> Result<Vec<String>> {
        self.expect("STARTTLS", 220)?;
        self.line.start_tls(tls)?;
        self.ehlo()
    }

    /// `AUTH PLAIN` with an initial response; the server's answer as it is.
    ///
    /// # Errors
    /// As [`Smtp::reply`].
    pub fn auth_plain(&mut self, user: &str, password: &str) -> Result<Reply> {
        let response = STANDARD.encode(format!("\0{user}\0{password}"));
        self.command(&format!("AUTH PLAIN {response}"))
    }

    /// `AUTH LOGIN` with both prompts; the server's last answer as it is.
    ///
    /// # Errors
    /// When a prompt is missing.
    pub fn auth_login(&mut self, user: &str, password: &str) -> Result<Reply> {
        self.expect("AUTH LOGIN", 334)?;
        self.expect(&STANDARD.encode(user), 334)?;
        self.command(&STANDARD.encode(password))
    }

    /// Logs in, which has to succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        let reply = self.auth_plain(user, password)?;
        ensure!(reply.code == 235, "login as {user}: {}", reply.text());
        Ok(())
    }

    /// Sends one message and returns the reply to its end, which has to be 250.
    ///
    /// # Errors
    /// When any step is refused.
    pub fn send(&mut self, from: &str, to: &[&str], message: &str) -> Result<Reply> {
        let recipients = to.iter().map(|&address| (address, "")).collect();
        let reply = self.try_send(
            &Envelope {
                from,
                mail_parameters: "",
                recipients,
            },
            message.as_bytes(),
        )?;
        ensure!(
            reply.code == 250,
            "message from {from} to {to:?}: {}",
            reply.text()
        );
        Ok(reply)
    }

    /// Sends one message and returns the first reply that is no success, or the reply to its end. The transaction is
    /// reset after a refusal.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn try_send(&mut self, envelope: &Envelope<'_>, message: &[u8]) -> Result<Reply> {
        let mut commands = vec![format!(
            "MAIL FROM:<{}>{}",
            envelope.from, envelope.mail_parameters
        )];
        commands.extend(
            envelope
                .recipients
                .iter()
                .map(|(to, parameters)| format!("RCPT TO:<{to}>{parameters}")),
        );
        for command in &commands {
            let reply = self.command(command)?;
            if reply.code != 250 {
                self.expect("RSET", 250)?;
                return Ok(reply);
            }
        }
        let reply = self.command("DATA")?;
        if reply.code != 354 {
            return Ok(reply);
        }
        self.line.send(&stuffed(message))?;
        self.reply().context("after the end of the message")
    }

    /// `QUIT`, after which the server has to close.
    ///
    /// # Errors
    /// When it does not.
    pub fn quit(mut self) -> Result<()> {
        self.expect("QUIT", 221)?;
        ensure!(self.line.line()?.is_none(), "the server goes on after QUIT");
        Ok(())
    }
}

/// A message as DATA takes it: CRLF line ends (a lone LF is made one), dots doubled, the closing dot.
pub(crate) fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    let body = message.strip_suffix(b"\n").unwrap_or(message);
    for line in body.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
