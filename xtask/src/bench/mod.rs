//! `cargo xtask bench`: figures of release builds. One file for each thing that is measured.
//!
//! Everything runs on the file system of the temporary directory (`--below` chooses another; tmpfs is refused), the load
//! on the same machine. Only figures of one run can be compared with each other.

mod auth;
mod figures;
mod load;
mod mail;
mod rows;
mod scale;
mod timing;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use tests::binaries::Binaries;

use crate::cargo::{self, cargo};

/// What to measure, and where.
#[derive(Args)]
pub struct Options {
    /// The directory below which everything is made for the time of the run.
    #[arg(long, global = true)]
    below: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Messages per second through smtpd into Maildirs, barriers per message, resident memory.
    Mail(mail::Options),
    /// Resolved recipients and logins per second over authd's socket, beside Courier's authdaemond and Postfix's proxymap.
    Auth(auth::Options),
    /// Whether the time of a failed login tells that there is no such user (robustness.md A11).
    Timing(timing::Options),
    /// A million mailboxes: latency cold and warm, memory, the replica, and a flood of logins.
    Scale(scale::Options),
}

/// Where a measurement works.
pub struct Place {
    /// The directory.
    pub below: PathBuf,
    /// The release build.
    pub binaries: Binaries,
}

/// Builds for release if this is not the release build, and measures.
pub fn run(options: &Options) -> Result<()> {
    if cfg!(debug_assertions) {
        let mut command = cargo(&["run", "--release", "--package", "xtask", "--"]);
        command.args(std::env::args_os().skip(1));
        return cargo::run(&mut command);
    }
    let below = options.below.clone().unwrap_or_else(std::env::temp_dir);
    ensure!(
        statfs(&below)?.filesystem_type() != TMPFS_MAGIC,
        "{} is a tmpfs: choose a disk with --below",
        below.display()
    );
    let binaries = Binaries::build_visibly()?;
    let place = Place { below, binaries };
    match &options.what {
        What::Mail(options) => mail::run(options, &place),
        What::Auth(options) => auth::run(options, &place),
        What::Timing(options) => timing::run(options, &place),
        What::Scale(options) => scale::run(options, &place),
    }
}
