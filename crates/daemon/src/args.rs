//! The command line of every daemon.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

/// The arguments.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Configuration file; may be given more than once, a later file wins option by option
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub(crate) config: Vec<PathBuf>,
    /// Read configuration and certificate, say what is wrong, and exit
    #[arg(long)]
    pub(crate) check: bool,
}

impl Args {
    /// Reads the command line of the daemon `name`.
    pub(crate) fn read(
        name: &'static str,
        about: &'static str,
        line: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let matches = Self::command()
            .name(name)
            .bin_name(name)
            .about(about)
            .try_get_matches_from(line)?;
        Self::from_arg_matches(&matches)
    }
}
