//! The decision log of a site, read back as plain JSON.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::wait;

/// The directory into which the daemons write their events.
#[derive(Debug, Clone)]
pub struct Events {
    directory: PathBuf,
}

impl Events {
    /// The log in `directory`.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
        }
    }

    /// Every event of every daemon so far, one daemon after the other. A line that is still being written is left out.
    ///
    /// # Errors
    /// When a file cannot be read or a whole line is not JSON.
    pub fn all(&self) -> Result<Vec<Value>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory).with_context(|| self.directory.display().to_string())? {
            files.push(entry?.path());
        }
        files.sort();
        let mut events = Vec::new();
        for file in files
            .iter()
            .filter(|file| file.extension().is_some_and(|ending| ending == "jsonl"))
        {
            let text = fs::read_to_string(file)?;
            let whole = text.rfind('\n').map_or("", |at| &text[..at]);
            for line in whole.lines() {
                events
                    .push(serde_json::from_str(line).with_context(|| format!("{}: {line}", file.display()))?);
            }
        }
        Ok(events)
    }

    /// The last `count` events of all daemons, by their time.
    ///
    /// # Errors
    /// As [`Events::all`].
    pub fn last(&self, count: usize) -> Result<Vec<Value>> {
        let mut events = self.all()?;
        events.sort_by(|a, b| a["time"].as_str().cmp(&b["time"].as_str()));
        Ok(events.split_off(events.len().saturating_sub(count)))
    }

    /// The events whose text contains `needle` (a message id, an address).
    ///
    /// # Errors
    /// As [`Events::all`].
    pub fn about(&self, needle: &str) -> Result<Vec<Value>> {
        Ok(self
            .all()?
            .into_iter()
            .filter(|event| event.to_string().contains(needle))
            .collect())
    }

    /// Waits until an event satisfies `wanted`, and gives it.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        wait::until(what, wait::LONG, || {
            Ok(self.all()?.into_iter().find(|event| wanted(event)))
        })
    }
}
