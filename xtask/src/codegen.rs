//! `cargo xtask codegen`: writes the committed generated files anew, through the tests that prove them fresh.

use anyhow::Result;

use crate::cargo::{self, cargo};

/// The tests that compare a generated file with its source; with `UPDATE=1` they write it.
const GENERATORS: [(&str, &str); 4] = [
    ("auth-api", "generated"),
    ("queue-api", "generated"),
    ("config", "reference"),
    ("events", "reference"),
];

/// Writes all of them.
pub fn run() -> Result<()> {
    for (package, test) in GENERATORS {
        cargo::run(cargo(&["test", "--package", package, "--test", test]).env("UPDATE", "1"))?;
    }
    Ok(())
}
