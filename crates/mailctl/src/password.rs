//! Passwords: from a prompt, standard input or a file, never from the command line, where every user of the
//! host could read them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use clap::Args;
use config::SecretFile;
use mail_types::Secret;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::Failure;

/// Longest password, in bytes (robustness.md 5.4).
const LONGEST: usize = 4_096;

/// Where the password comes from; without an option it is asked for.
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// Read the password from the first line of standard input
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// Read the password from the first line of a file that only its owner can read
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Where a new password comes from; without an option it is asked for twice.
#[derive(Debug, Args)]
pub(crate) struct NewPasswordArgs {
    #[command(flatten)]
    given: PasswordArgs,
    /// Make one, and show it this once
    #[arg(long, conflicts_with_all = ["password_stdin", "password_file"])]
    generate: bool,
}

/// A new password.
pub(crate) struct NewPassword {
    /// The password.
    pub(crate) secret: Secret,
    /// The same where we made it: to be shown.
    pub(crate) generated: Option<String>,
}

impl NewPasswordArgs {
    /// Reads or makes it.
    pub(crate) fn read(&self) -> Result<NewPassword, Failure> {
        if !self.generate {
            return Ok(NewPassword {
                secret: self.given.read(true)?,
                generated: None,
            });
        }
        let text = generate(|bytes| {
            getrandom::fill(bytes).map_err(|error| Failure::internal(format!("random bytes: {error}")))
        })?;
        Ok(NewPassword {
            secret: Secret::new(text.clone()),
            generated: Some(text),
        })
    }
}

impl NewPassword {
    /// What was done, with the password where nobody knows it yet.
    pub(crate) fn tell(&self, text: &str) -> String {
        match &self.generated {
            Some(password) => format!("{text}\npassword: {password}"),
            None => text.to_owned(),
        }
    }
}

/// Letters and digits that nobody takes for one another: 32, so that 5 bits choose one.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Five groups of five, 125 bits, with the digits and letters that rules ask for.
fn generate(random: impl Fn(&mut [u8]) -> Result<(), Failure>) -> Result<String, Failure> {
    loop {
        let mut bytes = [0; 25];
        random(&mut bytes)?;
        let pick = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
        let groups: Vec<String> = bytes
            .chunks(5)
            .map(|group| group.iter().filter_map(pick).collect())
            .collect();
        let text = groups.join("-");
        if text.chars().filter(char::is_ascii_digit).count() >= 2 {
            return Ok(text);
        }
    }
}

impl PasswordArgs {
    /// Whether an option says where it is.
    pub(crate) fn is_given(&self) -> bool {
        self.password_stdin || self.password_file.is_some()
    }

    /// Reads it. A new password is asked for twice.
    pub(crate) fn read(&self, new: bool) -> Result<Secret, Failure> {
        let password = if self.password_stdin {
            first_line(&mut std::io::stdin().lock())?
        } else if let Some(path) = &self.password_file {
            from_file(path)?
        } else {
            prompt(new)?
        };
        judge(password)
    }
}

fn judge(password: Secret) -> Result<Secret, Failure> {
    if password.is_empty() {
        return Err(Failure::bad_request("the password is empty", ""));
    }
    if password.expose().len() > LONGEST || password.expose().contains(&0) {
        let message = format!("a password has at most {LONGEST} bytes and no NUL");
        return Err(Failure::bad_request(message, ""));
    }
    Ok(password)
}

fn first_line(input: &mut dyn BufRead) -> Result<Secret, Failure> {
    let mut line = Vec::new();
    let limit = LONGEST as u64 + 2;
    input
        .take(limit)
        .read_until(b'\n', &mut line)
        .map_err(|error| Failure::unreachable(format!("cannot read the password: {error}"), ""))?;
    while line.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(Secret::new(line))
}

fn from_file(path: &PathBuf) -> Result<Secret, Failure> {
    let unusable = |error: &dyn std::error::Error| Failure::unreachable(describe(error), "");
    let whole = std::path::absolute(path).map_err(|error| unusable(&error))?;
    let file: SecretFile = whole
        .to_string_lossy()
        .parse()
        .map_err(|error: String| Failure::bad_request(error, ""))?;
    file.read_line().map_err(|error| unusable(&error))
}

fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn prompt(new: bool) -> Result<Secret, Failure> {
    let mut terminal = Terminal::open()?;
    let password = terminal.ask(if new { "New password: " } else { "Password: " })?;
    if new && terminal.ask("Again: ")? != password {
        return Err(Failure::bad_request("the two passwords differ", ""));
    }
    Ok(password)
}

/// The controlling terminal, whatever standard input and output are.
struct Terminal {
    reader: BufReader<File>,
    writer: File,
}

impl Terminal {
    fn open() -> Result<Self, Failure> {
        let open = || -> std::io::Result<Self> {
            let writer = File::options().read(true).write(true).open("/dev/tty")?;
            Ok(Self {
                reader: BufReader::new(writer.try_clone()?),
                writer,
            })
        };
        open().map_err(|_| {
            Failure::bad_request(
                "there is no terminal to ask for the password",
                "use --password-stdin or --password-file FILE",
            )
        })
    }

    fn ask(&mut self, text: &str) -> Result<Secret, Failure> {
        let failed = |error: std::io::Error| Failure::internal(format!("the terminal: {error}"));
        let before = tcgetattr(&self.writer).map_err(|error| failed(error.into()))?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        // Before the question, and without a flush: who answers at once (a script) must not lose a line.
        tcsetattr(&self.writer, OptionalActions::Now, &quiet).map_err(|error| failed(error.into()))?;
        let asked = self.writer.write_all(text.as_bytes()).map_err(failed);
        let answer = asked.and_then(|()| first_line(&mut self.reader));
        // Whatever came of it, the terminal shows again what is typed.
        tcsetattr(&self.writer, OptionalActions::Now, &before).map_err(|error| failed(error.into()))?;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> Result<Secret, Failure> {
        judge(first_line(&mut &text[..])?)
    }

    #[test]
    fn a_generated_password_is_easy_to_type_and_hard_to_guess() {
        let calls = std::cell::Cell::new(0);
        let made = generate(|bytes| {
            // The first draw has letters only, which rules about digits would refuse.
            bytes.fill(if calls.replace(calls.get() + 1) == 0 {
                32
            } else {
                31
            });
            Ok(())
        });
        assert_eq!(made.unwrap(), "99999-99999-99999-99999-99999");
        assert_eq!(calls.get(), 2);
        let mut letters = ALPHABET.to_vec();
        letters.dedup();
        assert_eq!(letters.len(), 32);
    }

    #[test]
    fn the_first_line_is_the_password() {
        assert_eq!(line(b"hunter2\r\nmore\n").unwrap().expose(), b"hunter2");
        assert_eq!(line(b" with blanks \n").unwrap().expose(), b" with blanks ");
        assert!(line(b"\n").is_err() && line(b"").is_err() && line(b"a\0b\n").is_err());
        assert!(line(&[b'x'; 4096]).is_ok() && line(&[b'x'; 4097]).is_err());
    }
}
