//! `cargo xtask ci`: formatting, lints, tidiness, generated files, and last every test.

use anyhow::Result;

use crate::cargo::{self, cargo};
use crate::{test, tidy};

/// Runs all checks; the tests come last, so that their summary is the end of the output.
pub fn run(options: &test::Options) -> Result<()> {
    cargo::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run()?;
    cargo::run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    if cargo::exists("cargo-deny") {
        cargo::run(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]))?;
    } else {
        eprintln!("cargo-deny is not installed: the dependency rules of deny.toml were not checked");
    }
    // That generated files are fresh is a test of the crates that own them.
    test::run(options)
}
