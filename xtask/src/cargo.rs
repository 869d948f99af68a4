//! Running cargo and other programs, their output on the terminal.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tests::binaries;

/// A cargo command at the workspace's root.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(binaries::workspace_root()).args(arguments);
    command
}

/// Runs a command, which has to succeed; says first what it runs.
pub fn run(command: &mut Command) -> Result<()> {
    let words: Vec<String> = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let shown = format!("{} {}", program(command), words.join(" "));
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("run {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Whether a program of this name can be run.
pub fn exists(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

fn program(command: &Command) -> String {
    let path = std::path::Path::new(command.get_program());
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
