//! The runner of `tests/dialogs/**/*.dialog`; the format is described in `tests/dialogs/README.md`.

/// x
pub fn run_against(_e: &std::path::Path, _f: &[std::path::PathBuf]) -> anyhow::Result<()> { Ok(()) }
