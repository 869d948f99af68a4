//! What is true after every row, said or not (robustness.md 2, the general oracle), and files put or removed by hand.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::connection::Connection;
use super::parse::Row;
use super::pattern::Pattern;
use super::world::{self, World};
use crate::site::DAEMONS;

/// The state of the daemons before a row.
pub struct Before {
    memory: HashMap<String, u64>,
    starts: HashMap<String, u32>,
    logs: HashMap<String, usize>,
}

impl Before {
    /// Notes it.
    ///
    /// # Errors
    /// When a daemon does not run.
    pub fn note(world: &mut World) -> Result<Self> {
        let mut before = Self {
            memory: HashMap::new(),
            starts: HashMap::new(),
            logs: HashMap::new(),
        };
        let Some(own) = &mut world.own else {
            return Ok(before);
        };
        for name in DAEMONS {
            let process = own.site.daemon(name)?;
            before.memory.insert(name.to_owned(), process.resident_memory()?);
            before.starts.insert(name.to_owned(), process.starts());
            before
                .logs
                .insert(name.to_owned(), fs::read(process.log_file())?.len());
        }
        Ok(before)
    }

    /// Compares with now. A daemon that the row itself started again is only looked at for life.
    ///
    /// # Errors
    /// What is not as it should be.
    pub fn compare(&self, world: &mut World, row: &Row) -> Result<()> {
        let Some(own) = &mut world.own else { return Ok(()) };
        own.site.check_alive()?;
        for name in DAEMONS {
            let process = own.site.daemon(name)?;
            if !process.is_running()? {
                bail!("the row leaves {name} dead");
            }
            let log = fs::read(process.log_file())?;
            let new = log.get(self.logs[name]..).unwrap_or_default();
            check_log(name, new)?;
            if process.starts() == self.starts[name] {
                let (before, now) = (self.memory[name], process.resident_memory()?);
                let grown = now.saturating_sub(before);
                ensure!(grown <= row.memory, "{name} grew by {} KiB", grown / 1024);
            }
        }
        for what in ["spool", "maildir"] {
            own.site.mailctl(&["check", what])?;
        }
        Ok(())
    }
}

/// One line each, escaped, without the password.
fn check_log(name: &str, log: &[u8]) -> Result<()> {
    for line in log.split(|&b| b == b'\n') {
        if let Some(control) = line.iter().find(|&&b| b < 0x20 && b != b'\t') {
            bail!(
                "{name}'s log has the control character {control:#x}: {}",
                line.escape_ascii()
            );
        }
        ensure!(
            !world::contains(line, world::PASSWORD.as_bytes()),
            "the password is in {name}'s log: {}",
            line.escape_ascii()
        );
    }
    Ok(())
}

/// A second connection, opened before the case and used after it.
pub struct Bystander(Connection);

impl Bystander {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// When the server does not greet.
    pub fn open(world: &World, row: &Row) -> Result<Self> {
        let mut connection = Connection::open(&world.endpoints, &row.service)?;
        let greeting = match row.service.as_str() {
            "pop3" | "pop3s" => "+OK",
            "imap" | "imaps" => "* OK",
            _ => "220",
        };
        expect(&mut connection, greeting)?;
        Ok(Self(connection))
    }

    /// Asks for something that is always served.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_served(mut self) -> Result<()> {
        let (command, wanted) = match self.0.service.as_str() {
            "pop3" | "pop3s" => ("CAPA\r\n", "+OK"),
            "imap" | "imaps" => ("b CAPABILITY\r\n", "b OK"),
            "lmtp" => ("LHLO bystander.test\r\n", "250"),
            _ => ("EHLO bystander.test\r\n", "250"),
        };
        self.0
            .line
            .send(command.as_bytes())
            .context("a second connection was cut off")?;
        expect(&mut self.0, wanted).context("a second connection was not served")
    }
}

fn expect(connection: &mut Connection, wanted: &str) -> Result<()> {
    let pattern = Pattern::parse(wanted, connection.service.starts_with("imap"))?;
    let answer = connection.answer(&pattern)?;
    pattern
        .check(&answer.status, &answer.text, answer.seconds)
        .with_context(|| answer.text.escape_ascii().to_string())
}

/// Puts a message into `new`, as another program of the account would.
///
/// # Errors
/// When the file cannot be made.
pub fn put(world: &mut World, address: &str, bytes: &[u8]) -> Result<()> {
    let (uid, gid) = world.own()?.site.ids();
    let root = world.mailbox(address).path().to_path_buf();
    let give = |path: &std::path::Path| std::os::unix::fs::chown(path, Some(uid), Some(gid));
    let mut part = world.endpoints.mail_root.clone();
    for name in root.strip_prefix(&world.endpoints.mail_root)?.components() {
        part.push(name);
        if !part.exists() {
            fs::create_dir(&part)?;
            give(&part)?;
        }
    }
    for folder in ["new", "cur", "tmp"] {
        let path = root.join(folder);
        if !path.exists() {
            fs::create_dir(&path)?;
            give(&path)?;
        }
    }
    let name = format!(
        "1000000000.P{}.by-hand",
        crate::random_bytes(8)?
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    );
    let temporary = root.join("tmp").join(&name);
    fs::write(&temporary, bytes)?;
    give(&temporary)?;
    fs::rename(&temporary, root.join("new").join(&name)).context("put a message")
}

/// Removes files of the Maildir by name; `*` stands for anything in the last part.
///
/// # Errors
/// When no file has that name.
pub fn remove(world: &mut World, address: &str, file: &str) -> Result<()> {
    let path = world.mailbox(address).path().join(file);
    let folder = path.parent().context("a file lies in a folder")?;
    let wanted = path
        .file_name()
        .context("a file has a name")?
        .to_string_lossy()
        .into_owned();
    let (begin, end) = wanted.split_once('*').unwrap_or((&wanted, ""));
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let fits = if wanted.contains('*') {
            name.starts_with(begin) && name.ends_with(end)
        } else {
            name == wanted
        };
        if fits {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    ensure!(removed > 0, "no file is called {}", path.display());
    Ok(())
}
