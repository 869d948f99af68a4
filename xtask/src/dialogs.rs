//! `cargo xtask dialogs`: dialogues against a server that runs already.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

/// What to run against whom.
#[derive(Args)]
pub struct Options {
    /// The `endpoints.json` of the server.
    #[arg(long)]
    endpoints: PathBuf,
    /// The dialogues.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// The command.
pub fn run(options: &Options) -> Result<()> {
    tests::dialog::run_against(&options.endpoints, &options.files)
}
