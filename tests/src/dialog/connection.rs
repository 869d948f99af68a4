//! One connection of a dialogue: it reads whole replies, as the service's protocol has them.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::pattern::Pattern;
use crate::client::Line;
use crate::site::Endpoints;

/// What a server said, or that it closed.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The code, `+OK`, `OK`...; `eof` when the connection was closed.
    pub status: String,
    /// All of it, lines joined by LF.
    pub text: Vec<u8>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// An open (or closed) connection.
pub struct Connection {
    /// The connection underneath.
    pub line: Line,
    /// `mx`, `pop3`...
    pub service: String,
    /// The last answer, for `save` and after `flood`.
    pub last: Answer,
    /// An answer that `flood` read and the next `<` has to see.
    pending: Option<Answer>,
    /// How many messages it was told are accepted.
    pub accepted: u32,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(endpoints: &Endpoints, service: &str) -> Result<Self> {
        let mut line = endpoints.line(service)?;
        line.set_patience(Duration::from_secs(10));
        Ok(Self {
            line,
            service: service.to_owned(),
            last: Answer::default(),
            pending: None,
            accepted: 0,
        })
    }

    /// Reads one answer as the pattern's protocol has it; a closed connection is an answer too.
    ///
    /// # Errors
    /// When nothing comes in time.
    pub fn answer(&mut self, pattern: &Pattern) -> Result<Answer> {
        let begin = Instant::now();
        let mut answer = match self.pending.take() {
            Some(answer) => answer,
            None if self.service.starts_with("pop3") => self.pop3()?,
            None if self.service.starts_with("imap") => self.imap(pattern)?,
            None => self.smtp()?,
        };
        answer.seconds = begin.elapsed().as_secs_f64();
        self.last = answer.clone();
        Ok(answer)
    }

    /// Reads a POP3 status and, after `+OK`, the lines up to the dot.
    ///
    /// # Errors
    /// When nothing comes in time.
    pub fn answer_with_lines(&mut self) -> Result<Answer> {
        let begin = Instant::now();
        let mut answer = self.pop3()?;
        if answer.status == "+OK" {
            loop {
                let line = self
                    .line
                    .line()?
                    .context("the connection closed before the dot")?;
                if line == b"." {
                    break;
                }
                answer.text.push(b'\n');
                answer
                    .text
                    .extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            }
        }
        answer.seconds = begin.elapsed().as_secs_f64();
        self.last = answer.clone();
        Ok(answer)
    }

    /// Sends a text many times while it reads replies; the last one is seen by the next `<`.
    ///
    /// # Errors
    /// When the connection is not plain.
    pub fn flood(&mut self, text: &[u8], times: u32) -> Result<()> {
        let mut handle = self.line.tcp_handle()?;
        let block_times = (64 * 1024 / text.len().max(1)).clamp(1, times as usize);
        let block = text.repeat(block_times);
        let left = times as usize;
        let writer = thread::spawn(move || {
            let mut left = left;
            while left > 0 {
                let now = left.min(block_times);
                let bytes = &block[..block.len() / block_times * now];
                // The server closed or reads no more: that is what a flood finds out.
                if handle.write_all(bytes).is_err() {
                    return;
                }
                left -= now;
            }
        });
        let patience = self.line.patience();
        let mut last = None;
        loop {
            let writing = !writer.is_finished();
            if self
                .line
                .peek(Duration::from_millis(if writing { 200 } else { 500 }))?
                .is_empty()
            {
                if self.line.is_ended() || !writing {
                    break;
                }
                continue;
            }
            let answer = self.smtp()?;
            let ended = answer.status == "eof";
            if !ended {
                last = Some(answer);
            }
            if ended {
                break;
            }
        }
        self.line.set_patience(patience);
        if self.line.is_ended() {
            // Nothing is read any more, so the writer's next write fails.
            let _ = self
                .line
                .tcp_handle()
                .and_then(|handle| Ok(handle.shutdown(std::net::Shutdown::Both)?));
        }
        if writer.join().is_err() {
            bail!("the flood's writer panicked");
        }
        self.pending = last;
        Ok(())
    }

    /// Sends bytes one by one until the server says something or closes.
    ///
    /// # Errors
    /// When the connection cannot be read.
    pub fn drip(&mut self, text: &[u8], pause: Duration) -> Result<()> {
        for byte in text {
            if self.line.send(&[*byte]).is_err() || !self.line.peek(pause)?.is_empty() || self.line.is_ended()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads until the server is silent for a moment or closes.
    ///
    /// # Errors
    /// When the connection cannot be read.
    pub fn forget(&mut self) -> Result<()> {
        self.pending = None;
        while !self.line.is_ended() {
            if self.line.peek(Duration::from_millis(300))?.is_empty() {
                break;
            }
            let seen = self.line.peek(Duration::ZERO)?.to_vec();
            self.count_accepted(&seen);
            self.line.discard();
        }
        Ok(())
    }

    fn smtp(&mut self) -> Result<Answer> {
        let mut text = Vec::new();
        loop {
            let Some(line) = self.line.line()? else {
                return end_inside(&text, "a reply");
            };
            let code = line.get(..3).filter(|code| code.iter().all(u8::is_ascii_digit));
            let Some(code) = code else {
                bail!("not a reply: {}", line.escape_ascii())
            };
            let status = String::from_utf8_lossy(code).into_owned();
            if !text.is_empty() {
                text.push(b'\n');
            }
            text.extend_from_slice(&line);
            if line.get(3) != Some(&b'-') {
                self.count_accepted(&text);
                return Ok(Answer {
                    status,
                    text,
                    seconds: 0.0,
                });
            }
        }
    }

    fn pop3(&mut self) -> Result<Answer> {
        let Some(text) = self.line.line()? else {
            return end_inside(&[], "a status");
        };
        let status = text.split(|&b| b == b' ').next().unwrap_or_default();
        let status = String::from_utf8_lossy(status).into_owned();
        Ok(Answer {
            status,
            text,
            seconds: 0.0,
        })
    }

    fn imap(&mut self, pattern: &Pattern) -> Result<Answer> {
        let mut text: Vec<u8> = Vec::new();
        loop {
            let Some(line) = self.line.line()? else {
                return end_inside(&[], "a response");
            };
            if !text.is_empty() {
                text.push(b'\n');
            }
            text.extend_from_slice(&line);
            let words: Vec<&[u8]> = line.splitn(3, |&b| b == b' ').collect();
            let tag = String::from_utf8_lossy(words[0]).into_owned();
            let status = words
                .get(1)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .unwrap_or_default();
            match &pattern.tag {
                None => {
                    return Ok(Answer {
                        status: tag,
                        text,
                        seconds: 0.0,
                    });
                }
                Some(wanted) if *wanted == tag || tag == "+" => {
                    return Ok(Answer {
                        status,
                        text,
                        seconds: 0.0,
                    });
                }
                Some(_) => {}
            }
        }
    }

    fn count_accepted(&mut self, text: &[u8]) {
        let marker = b"queued as ";
        let count = text
            .windows(marker.len())
            .filter(|window| window == marker)
            .count();
        self.accepted += u32::try_from(count).unwrap_or(u32::MAX);
    }
}

fn end_inside(so_far: &[u8], what: &str) -> Result<Answer> {
    if !so_far.is_empty() {
        bail!("the connection closed inside {what}: {}", so_far.escape_ascii());
    }
    Ok(Answer {
        status: "eof".to_owned(),
        ..Answer::default()
    })
}
