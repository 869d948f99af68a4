//! What may not stand in a source file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::map::Map;

/// Folders that hold sources of ours.
const FOLDERS: [&str; 3] = ["crates", "tests", "xtask"];

/// Calls that make data durable; only `durable` may make them.
const SYNCS: [&str; 7] = [
    ".sync_all(",
    ".sync_data(",
    "fsync(",
    "fdatasync(",
    "syncfs(",
    "sync_file_range(",
    "unistd::sync(",
];

/// What layers 0 and 1 may not use of the standard library.
const IMPURE: [&str; 8] = [
    "std::fs",
    "std::net",
    "std::io::std",
    "std::env",
    "std::thread",
    "std::process",
    "SystemTime::now",
    "Instant::now",
];

/// File and folder names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["common", "core", "util", "utils", "helpers", "misc", "shared"];

/// Promises that a finished tree does not hold; put together here so that this file does not fail its own check.
fn promises() -> [String; 3] {
    [["to", "do!("], ["unimple", "mented!("], ["FIX", "ME"]].map(|parts| parts.concat())
}

/// Reads every Rust file of ours.
pub fn check(root: &Path, map: &Map) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for folder in FOLDERS {
        walk(&root.join(folder), &mut |path| {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let relative = path.strip_prefix(root).unwrap_or(path).display().to_string();
            faults.extend(check_file(&relative, &text, map));
            Ok(())
        })?;
    }
    Ok(faults)
}

/// Every rule about one file; `path` is relative to the root.
pub fn check_file(path: &str, text: &str, map: &Map) -> Vec<String> {
    let mut faults = Vec::new();
    let parts: Vec<&str> = path.split('/').collect();
    if parts.contains(&"generated") {
        return faults;
    }
    let crate_name = if parts.first() == Some(&"crates") {
        parts.get(1)
    } else {
        parts.first()
    }
    .copied()
    .unwrap_or_default();
    let stem = parts.last().map_or("", |name| name.trim_end_matches(".rs"));
    if !text.starts_with("//! ") {
        faults.push(format!(
            "{path}: its first line is not a `//!` sentence that says what the file is for"
        ));
    }
    if EMPTY_NAMES.contains(&stem) {
        faults.push(format!(
            "{path}: a file called {stem} says nothing about what is inside"
        ));
    }
    let pure = map.layer(crate_name).is_some_and(|layer| layer <= 1) && !is_test(&parts);
    let syncs_are_a_fault = parts.first() == Some(&"crates") && crate_name != "durable" && !is_test(&parts);
    let promises = promises();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or(line);
        let mut fault = |what: &str| faults.push(format!("{path}:{}: {what}", number + 1));
        if syncs_are_a_fault && SYNCS.iter().any(|call| code.contains(call)) {
            fault("only the crate durable syncs");
        }
        if pure && IMPURE.iter().any(|name| code.contains(name)) {
            fault("layers 0 and 1 have no I/O, clock, environment or threads");
        }
        if promises.iter().any(|promise| line.contains(promise.as_str())) {
            fault("unfinished work");
        }
    }
    faults
}

/// Whether a file is only compiled for tests.
fn is_test(parts: &[&str]) -> bool {
    parts.contains(&"tests") || parts.last().is_some_and(|name| *name == "tests.rs")
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, visit)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            visit(&path)?;
        }
    }
    Ok(())
}
