//! The copy of the directory that answers while the database is away (docs/formats/replica.md).
//!
//! [`file`] is the file and the questions to it, [`refresh`] fills it, [`seen`] adds rows that were asked for
//! where a schema cannot be gone through, [`outage`] knows whether the database answers, [`layer`] puts it
//! all between the tables and the rules.

mod file;
mod format;
mod layer;
mod outage;
mod refresh;
mod rows;
mod seen;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::ErrorCode;

pub use self::file::Extent;
pub use self::format::Meta;
pub use self::layer::{Status, WithReplica};
pub use self::outage::Trouble;
pub use self::refresh::LastPass;
use crate::directory::backend::BackendError;

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

/// Where its rows come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Which tables these are: schema and database. A file of others is not used.
    pub tables: String,
    /// The servers that have them. A file of others is used, but read whole at once: what was deleted or
    /// changed on the way to another server has no time of its own.
    pub servers: String,
}

/// Why the copy cannot be made, or not be used.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The file cannot be made.
    #[error("cannot make {path}")]
    Create {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The new file cannot take the place of the old one.
    #[error("cannot put the new file in place")]
    Replace(#[source] io::Error),
    /// A new file took its place meanwhile.
    #[error("replaced meanwhile")]
    Replaced,
    /// It is a file of another program or version.
    #[error("the file has another format")]
    OtherFormat,
    /// SQLite has trouble with it.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// There are more rows than may be copied.
    #[error("the directory has more than {0} rows; raise [authd.replica] max_rows")]
    TooManyRows(u64),
    /// The file would be bigger than allowed.
    #[error("the directory needs more than {0} bytes; raise [authd.replica] max_size")]
    TooBig(u64),
    /// The tables hold too many rows that cannot be read.
    #[error("more than {0} rows cannot be read: are these the right tables?")]
    Unreadable(usize),
    /// The tables cannot be asked.
    #[error("{0}")]
    Tables(#[from] BackendError),
    /// The work was given up.
    #[error("interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl ReplicaError {
    /// Whether the file will never be right again. Everything else may pass (locks, descriptors, memory, a
    /// disk that cannot be read now), and there is no other copy.
    fn is_damage(&self) -> bool {
        match self {
            Self::OtherFormat => true,
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
            _ => false,
        }
    }
}
