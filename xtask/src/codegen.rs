//! `cargo xtask codegen`: writes the committed generated files anew, through the tests that prove them fresh.

use anyhow::Result;

use crate::cargo::{self, cargo};

/// The packages with tests that compare a generated file with its source; with `UPDATE=1` they write it: gRPC code, the
/// configuration reference, the page about events.
const GENERATORS: [&str; 4] = ["auth-api", "queue-api", "config", "events"];

/// Writes all of them.
pub fn run() -> Result<()> {
    for package in GENERATORS {
        cargo::run(cargo(&["test", "--package", package]).env("UPDATE", "1"))?;
    }
    Ok(())
}
