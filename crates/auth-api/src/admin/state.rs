//! Where the rows of the directory come from.

use std::time::Duration;

/// Where the rows come from now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectoryState {
    /// The schema, e.g. `postfixadmin`.
    pub schema: String,
    /// The servers, in the order in which they are asked; none where the tables are a file.
    pub servers: Vec<DatabaseServer>,
    /// The copy for the time without them, where there is one.
    pub replica: Option<ReplicaState>,
}

/// A server of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseServer {
    /// As the configuration has it.
    pub name: String,
    /// How long it has not worked; `None`: it works, as far as is known.
    pub away: Option<Duration>,
    /// Why not.
    pub error: String,
}

/// The copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaState {
    /// Where it lies.
    pub path: String,
    /// `None`: the database answers.
    pub trouble: Option<DatabaseTrouble>,
    /// Whether known rows would come from it if the database went away now.
    pub usable: bool,
    /// When the last pass began that succeeded, seconds since 1970; 0: never.
    pub read_at: i64,
    /// The same of the last one that read everything.
    pub whole_at: i64,
    /// How old it may get.
    pub max_age: Duration,
    /// Bytes.
    pub size: u64,
    /// What it holds.
    pub tables: Vec<ReplicaTable>,
    /// The last pass of this process.
    pub last: Option<ReplicaPass>,
    /// Until the next pass.
    pub next: Option<Duration>,
    /// How many passes were asked for.
    pub requested: u64,
    /// The last of those that was served.
    pub served: u64,
}

/// The database does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseTrouble {
    /// How long.
    pub lasts: Duration,
    /// What it said, or did not.
    pub reason: String,
    /// Answers given from the copy since then.
    pub answers: u64,
}

/// A table of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaTable {
    /// `domain`, `mailbox`...
    pub name: String,
    /// How many.
    pub rows: u64,
    /// It holds all rows of the site, and not only those that were asked for.
    pub whole: bool,
}

/// A pass over the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaPass {
    /// Seconds since 1970.
    pub began: i64,
    /// How long.
    pub took: Duration,
    /// It read everything, not only what had changed.
    pub whole: bool,
    /// Rows read.
    pub rows: u64,
    /// Why it failed.
    pub error: Option<String>,
}
