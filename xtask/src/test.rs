//! `cargo xtask test`: every test of the workspace, the private MariaDB included.

use anyhow::{Context, Result};
use clap::Args;
use tests::binaries::Binaries;
use tests::mariadb::{SOCKET_VARIABLE, Server};
use tests::packages;

use crate::cargo::{self, cargo, exists};

/// What can be said about a test run.
#[derive(Args)]
pub struct Options {
    /// Passed on to cargo nextest or cargo test, e.g. a part of a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Installs what is missing (as root on Debian), builds the daemons, starts MariaDB, and runs the tests; the server's
/// guard ends it afterwards.
pub fn run(options: &Options) -> Result<()> {
    packages::ensure(&packages::ALL).context("the tests need some programs")?;
    let binaries = Binaries::build_visibly()?;
    let server = Server::shared().context("the private MariaDB of this run")?;
    let nextest = exists("cargo-nextest");
    if nextest && options.arguments.is_empty() {
        // nextest leaves the examples of the documentation out; cargo test has them.
        cargo::run(&mut cargo(&["test", "--workspace", "--doc", "--quiet"]))?;
    }
    let mut command = if nextest {
        cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])
    } else {
        cargo(&["test", "--workspace", "--no-fail-fast"])
    };
    command.args(&options.arguments);
    command
        .env("POSTRIDER_BIN_DIR", binaries.directory())
        .env(SOCKET_VARIABLE, server.socket());
    // An error's own text says where it happened; the stack of the test runner below it says nothing.
    command.env("RUST_LIB_BACKTRACE", "0");
    cargo::run(&mut command)
}
