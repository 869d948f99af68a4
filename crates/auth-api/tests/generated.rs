//! Proves that `src/generated/` is what `proto/` says. `UPDATE=1 cargo test -p auth-api --test generated`
//! writes it anew.

// Helpers of tests are tests, which clippy does not see.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Below `proto/`, one file per package.
const PROTOS: [&str; 3] = [
    "postrider/directory/v1/directory.proto",
    "postrider/sasl/v1/sasl.proto",
    "postrider/admin/v1/admin.proto",
];

/// Messages that carry passwords or responses: their generated types get no `Debug`.
const SECRETS: [&str; 8] = [
    ".postrider.sasl.v1.AuthenticateRequest",
    ".postrider.sasl.v1.Start",
    ".postrider.sasl.v1.AuthenticateResponse",
    ".postrider.sasl.v1.ExplainLoginRequest",
    ".postrider.admin.v1.NewMailbox",
    ".postrider.admin.v1.SetPasswordRequest",
    ".postrider.admin.v1.NewAppPassword",
    ".postrider.admin.v1.NewAdministrator",
];

#[test]
fn generated_code_is_fresh() {
    let crate_dir = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let committed = crate_dir.join("src/generated");
    let scratch = tempfile::tempdir().unwrap();
    generate(&crate_dir.join("../../proto"), scratch.path());
    let fresh = rust_files(scratch.path());
    assert_eq!(fresh.len(), PROTOS.len(), "one file per package");

    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&committed).unwrap();
        for stale in rust_files(&committed) {
            fs::remove_file(stale).unwrap();
        }
        for file in &fresh {
            fs::copy(file, committed.join(file.file_name().unwrap())).unwrap();
        }
    }
    let names =
        |files: &[PathBuf]| -> Vec<_> { files.iter().map(|f| f.file_name().unwrap().to_owned()).collect() };
    assert_eq!(names(&rust_files(&committed)), names(&fresh), "{HINT}");
    for file in fresh {
        let old = fs::read_to_string(committed.join(file.file_name().unwrap())).unwrap();
        let new = fs::read_to_string(&file).unwrap();
        assert!(old == new, "{} is stale: {HINT}", file.display());
    }
}

const HINT: &str = "run `UPDATE=1 cargo test -p auth-api --test generated`";

/// Compiles the files of [`PROTOS`] into `out`, without a system `protoc`.
fn generate(proto_dir: &Path, out: &Path) {
    let descriptors = protox::compile(PROTOS, [proto_dir]).unwrap();
    tonic_prost_build::configure()
        .out_dir(out)
        .skip_debug(SECRETS)
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .unwrap();
}

/// The `.rs` files of a directory, sorted.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect();
    files.sort();
    files
}
