//! A configuration as a tree of TOML values, options addressed by dotted names.

use anyhow::{Context, Result};
use toml::{Table, Value};

/// The options of one site.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    table: Table,
}

impl Settings {
    /// Sets `section.option`; tables on the way are made.
    pub fn set(&mut self, option: &str, value: impl Into<Value>) {
        let mut parts: Vec<&str> = option.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        let mut table = &mut self.table;
        for part in parts {
            let entry = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            if !entry.is_table() {
                *entry = Value::Table(Table::new());
            }
            let Value::Table(next) = entry else { return };
            table = next;
        }
        table.insert(last.to_owned(), value.into());
    }

    /// Reads `section.option`.
    #[must_use]
    pub fn get(&self, option: &str) -> Option<&Value> {
        let mut parts = option.split('.');
        let first = self.table.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// Adds the options of a TOML text; they win.
    ///
    /// # Errors
    /// When the text is not TOML.
    pub fn add_text(&mut self, text: &str) -> Result<()> {
        let more: Table = text.parse().context("settings")?;
        merge(&mut self.table, more);
        Ok(())
    }

    /// The text of the file.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string_pretty(&self.table)?)
    }
}

fn merge(into: &mut Table, more: Table) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
