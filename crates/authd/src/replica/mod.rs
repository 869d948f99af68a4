//! The copy of the directory that answers while the database is away.

use std::path::PathBuf;
use std::time::Duration;

/// Where it is and how it is kept (`[authd.replica]`).
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// How often it is brought up to date.
    pub refresh_interval: Duration,
    /// How often at least all rows are read again.
    pub full_refresh_interval: Duration,
    /// An older one is not used.
    pub max_age: Duration,
    /// How long a question waits for the database.
    pub patience: Duration,
    /// Most rows together.
    pub max_rows: u64,
    /// Most bytes of the file.
    pub max_size: u64,
}
