//! The files of `deploy/`: every unit is hardened, complete and understood by systemd, every account is made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::binaries;
use tests::site::DAEMONS;

/// What every service has (robustness.md 5.2), exactly so.
const EVERYWHERE: [&str; 31] = [
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "PrivateMounts=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectProc=invisible",
    "ProcSubset=pid",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RemoveIPC=yes",
    "KeyringMode=private",
    "DevicePolicy=closed",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "SystemCallErrorNumber=EPERM",
    "LimitCORE=0",
    "OOMPolicy=continue",
    "Restart=on-failure",
    "Type=notify",
];

fn deploy() -> PathBuf {
    binaries::workspace_root().join("deploy")
}

fn service(daemon: &str) -> Result<String> {
    let file = deploy().join(format!("systemd/postrider-{daemon}.service"));
    fs::read_to_string(&file).with_context(|| file.display().to_string())
}

#[test]
fn every_service_is_hardened() -> Result<()> {
    for daemon in DAEMONS {
        let unit = service(daemon)?;
        for directive in EVERYWHERE {
            ensure!(
                unit.lines().any(|line| line == directive),
                "{daemon}: no line {directive}"
            );
        }
        let private_users = unit.lines().any(|line| line == "PrivateUsers=yes");
        ensure!(
            private_users != matches!(daemon, "authd" | "smtpd"),
            "{daemon}: PrivateUsers={private_users}"
        );
        let no_suid = unit.lines().any(|line| line == "RestrictSUIDSGID=yes");
        ensure!(
            no_suid == matches!(daemon, "authd" | "smtpd" | "qmgr"),
            "{daemon}: RestrictSUIDSGID={no_suid}"
        );
    }
    Ok(())
}

#[test]
fn every_socket_is_required_and_every_account_is_made() -> Result<()> {
    let accounts = fs::read_to_string(deploy().join("sysusers.d/postrider.conf"))?;
    let made: BTreeSet<&str> = accounts
        .lines()
        .filter(|line| line.starts_with("u ") || line.starts_with("g "))
        .filter_map(|line| line.split_ascii_whitespace().nth(1))
        .collect();
    let mut required = BTreeSet::new();
    for daemon in DAEMONS {
        let unit = service(daemon)?;
        for line in unit.lines() {
            if let Some(sockets) = line.strip_prefix("Requires=") {
                required.extend(sockets.split(' ').map(str::to_owned));
            }
            let names = ["User=", "Group=", "SupplementaryGroups="]
                .iter()
                .find_map(|key| line.strip_prefix(key));
            for name in names.into_iter().flat_map(|names| names.split(' ')) {
                ensure!(made.contains(name), "{daemon}: no account {name} is made");
            }
        }
    }
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(deploy().join("systemd"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".socket") {
            there.insert(name);
        }
    }
    ensure!(
        there == required,
        "sockets that are there: {there:?}; required by a service: {required:?}"
    );
    Ok(())
}

/// Runs only where systemd's tools are; `.ci/run` installs them.
#[test]
fn systemd_understands_the_units() -> Result<()> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("systemd-analyze is not installed: the units were not verified");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let mut units = Vec::new();
    for entry in fs::read_dir(deploy().join("systemd"))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        // The programs are not installed on this machine, and that is not what is verified.
        let text = text.replace(
            "ExecStart=/usr/lib/postrider/",
            "ExecStart=/bin/true /usr/lib/postrider/",
        );
        let copy = directory.path().join(path.file_name().context("a name")?);
        fs::write(&copy, text)?;
        units.push(copy);
    }
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .args(&units)
        .output()?;
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    ensure!(
        verified.status.success() && !said.contains("postrider"),
        "systemd-analyze verify: {said}"
    );
    for daemon in DAEMONS {
        let unit = directory.path().join(format!("postrider-{daemon}.service"));
        let limit = if matches!(daemon, "authd" | "deliver") {
            "5"
        } else {
            "15"
        };
        exposure_is_at_most(&unit, limit)?;
    }
    Ok(())
}

/// `limit` in tenths: 15 is 1.5.
fn exposure_is_at_most(unit: &Path, limit: &str) -> Result<()> {
    let output = Command::new("systemd-analyze")
        .args([
            "security",
            "--offline=true",
            "--no-pager",
            &format!("--threshold={limit}"),
        ])
        .arg(unit)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let verdict = said.lines().last().unwrap_or_default().to_owned();
    ensure!(output.status.success(), "{}: {verdict}", unit.display());
    println!("{verdict}");
    Ok(())
}
