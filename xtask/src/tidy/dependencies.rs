//! Who may depend on whom, checked on cargo's own metadata.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::map::Map;
use crate::cargo::cargo;

/// Crates that speak SQL; authd alone may depend on one, and the harness, which prepares databases for it.
const SQL_DRIVERS: [&str; 9] = [
    "mysql_async",
    "mysql",
    "rusqlite",
    "sqlx",
    "diesel",
    "sea-orm",
    "tokio-postgres",
    "postgres",
    "libsqlite3-sys",
];
const MAY_SPEAK_SQL: [&str; 2] = ["authd", "tests"];

/// Crates of gRPC; the `*-api` crates alone may name them.
const GRPC: [&str; 7] = [
    "tonic",
    "tonic-prost",
    "tonic-prost-build",
    "tonic-build",
    "prost",
    "prost-build",
    "protox",
];

/// Crates that would bring I/O, a clock, randomness or logging into layer 1 (and 0).
const IMPURE: [&str; 13] = [
    "tokio",
    "tokio-util",
    "tokio-stream",
    "tokio-rustls",
    "async-std",
    "mio",
    "nix",
    "rustix",
    "getrandom",
    "rand",
    "tracing",
    "log",
    "tracing-subscriber",
];

const DAEMON_LAYER: u8 = 3;

/// A package of the workspace.
pub struct Package {
    /// Its name.
    pub name: String,
    /// The name of its folder.
    pub folder: String,
    /// Whether `[lints] workspace = true` stands in its manifest.
    pub inherits_lints: bool,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
}

/// One direct dependency.
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// Whether only its tests use it.
    pub for_tests: bool,
}

/// The packages of the workspace with their direct dependencies.
pub fn packages(root: &Path) -> Result<Vec<Package>> {
    let mut command = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let output = command.current_dir(root).output().context("run cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata without packages")?;
    packages.iter().map(read_package).collect()
}

fn read_package(package: &Value) -> Result<Package> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = text(&package["manifest_path"]);
    let folder = Path::new(&manifest)
        .parent()
        .and_then(Path::file_name)
        .context("a manifest without a folder")?;
    let lines = std::fs::read_to_string(&manifest)?;
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    Ok(Package {
        name: text(&package["name"]),
        folder: folder.to_string_lossy().into_owned(),
        inherits_lints: lines.contains("[lints]\nworkspace = true"),
        dependencies: dependencies
            .map(|d| Dependency {
                name: text(&d["name"]),
                for_tests: d["kind"].as_str() == Some("dev"),
            })
            .collect(),
    })
}

/// Every rule about dependencies.
pub fn check(map: &Map, packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        if package.folder != package.name {
            faults.push(format!(
                "{} lies in a folder called {}",
                package.name, package.folder
            ));
        }
        if !package.inherits_lints {
            faults.push(format!(
                "{}: its Cargo.toml lacks `[lints] workspace = true`",
                package.name
            ));
        }
        for dependency in &package.dependencies {
            faults.extend(check_arrow(map, package, dependency));
        }
    }
    faults
}

fn check_arrow(map: &Map, package: &Package, dependency: &Dependency) -> Vec<String> {
    let (from, to) = (package.name.as_str(), dependency.name.as_str());
    let mut faults = Vec::new();
    if let (Some(here), Some(there)) = (map.layer(from), map.layer(to)) {
        if there > here {
            faults.push(format!("{from} (layer {here}) -> {to} (layer {there}) points up"));
        }
        if here == DAEMON_LAYER && there == DAEMON_LAYER {
            faults.push(format!("{from} -> {to}: a daemon depends on a daemon"));
        }
    }
    if SQL_DRIVERS.contains(&to) && !MAY_SPEAK_SQL.contains(&from) {
        faults.push(format!("{from} -> {to}: only authd may depend on a SQL driver"));
    }
    if GRPC.contains(&to) && !from.ends_with("-api") {
        faults.push(format!("{from} -> {to}: only the *-api crates may name gRPC"));
    }
    let pure = map.layer(from).is_some_and(|layer| layer <= 1);
    if pure && !dependency.for_tests && IMPURE.contains(&to) {
        faults.push(format!(
            "{from} -> {to}: layers 0 and 1 have no I/O, clock, randomness or log"
        ));
    }
    faults
}
