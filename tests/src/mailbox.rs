//! What lies in a Maildir, read from disk without any code of the project.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::wait;

/// One account's Maildir.
#[derive(Debug, Clone)]
pub struct Mailbox {
    root: PathBuf,
}

/// One message file.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it lies.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Owner.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
}

impl Mailbox {
    /// The Maildir at `root`, which need not exist yet.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The Maildir's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The messages of the inbox, in `new` and `cur`, sorted by file name.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn messages(&self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        for part in ["new", "cur"] {
            let directory = self.root.join(part);
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| directory.display().to_string()),
            };
            for entry in entries {
                let path = entry?.path();
                // Renamed from new to cur meanwhile, or expunged: the next look sees it or does not.
                let (Ok(bytes), Ok(about)) = (fs::read(&path), fs::metadata(&path)) else {
                    continue;
                };
                messages.push(Message {
                    path,
                    bytes,
                    uid: about.uid(),
                    gid: about.gid(),
                });
            }
        }
        messages.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
        messages.dedup_by(|a, b| a.path.file_name() == b.path.file_name());
        Ok(messages)
    }

    /// How many messages there are.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn count(&self) -> Result<usize> {
        let mut count = 0;
        for part in ["new", "cur"] {
            match fs::read_dir(self.root.join(part)) {
                Ok(entries) => count += entries.count(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }

    /// Waits until there are `count` messages and gives them; more than that is an error.
    ///
    /// # Errors
    /// When they do not come, or too many do.
    pub fn wait(&self, count: usize) -> Result<Vec<Message>> {
        let what = format!("{count} messages in {}", self.root.display());
        wait::for_true(&what, wait::LONG, || Ok(self.count()? >= count))
            .with_context(|| format!("there are {}", self.count().unwrap_or_default()))?;
        let messages = self.messages()?;
        ensure!(
            messages.len() == count,
            "{} messages in {}, not {count}",
            messages.len(),
            self.root.display()
        );
        Ok(messages)
    }

    /// Files that a delivery left in `tmp`.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn leftovers(&self) -> Result<Vec<PathBuf>> {
        match fs::read_dir(self.root.join("tmp")) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Message {
    /// The message as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The first header field of this name, unfolded.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers(name).into_iter().next()
    }

    /// All header fields of this name, unfolded, top to bottom.
    #[must_use]
    pub fn headers(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let end = text.find("\n\n").map_or(text.len(), |at| at + 1);
        let unfolded = text[..end].replace("\n\t", " ").replace("\n ", " ");
        unfolded
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// What follows the first empty line.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        let at = self.bytes.windows(2).position(|pair| pair == b"\n\n");
        at.map_or(&[], |at| &self.bytes[at + 2..])
    }

    /// Whether the file contains these bytes.
    #[must_use]
    pub fn contains(&self, needle: &[u8]) -> bool {
        !needle.is_empty() && self.bytes.windows(needle.len()).any(|window| window == needle)
    }
}
