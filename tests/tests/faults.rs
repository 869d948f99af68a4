//! Disks that refuse: injected errors in each daemon, and a file system that dies under load.
//!
//! Both need root. Without it nothing is shown, and the test says so.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tests::dns::{self, Dns};
use tests::load::{self, Ledger, Load, Plan};
use tests::sink::{Offers, Sink};
use tests::site::{DAEMONS, SiteBuilder};
use tests::trace::{Call, Trace};
use tests::{Site, wait};

const SINK_PORT: u16 = 2527;

/// One kind of refusal.
struct Fault {
    daemon: &'static str,
    /// As strace counts it: per thread.
    inject: &'static str,
    /// What the load sends.
    recipients: &'static [&'static str],
}

/// A sync that fails makes the volume suspect, and everything is refused until a self-test passes; so few syncs fail.
const FAULTS: [Fault; 8] = [
    Fault {
        daemon: "smtpd",
        inject: "inject=fdatasync:error=EIO:when=2",
        recipients: &["friend@a.test"],
    },
    Fault {
        daemon: "smtpd",
        inject: "inject=fsync:error=EIO:when=2",
        recipients: &["friend@a.test"],
    },
    Fault {
        daemon: "smtpd",
        inject: "inject=renameat2:error=ENOSPC:when=2+3",
        recipients: &["friend@a.test"],
    },
    Fault {
        daemon: "deliver",
        inject: "inject=fdatasync:error=EIO:when=2",
        recipients: &["alice@example.com"],
    },
    Fault {
        daemon: "deliver",
        inject: "inject=fsync:error=ENOSPC:when=2",
        recipients: &["alice@example.com"],
    },
    Fault {
        daemon: "deliver",
        inject: "inject=renameat2:error=ENOSPC:when=2+3",
        recipients: &["alice@example.com", "bob@example.com"],
    },
    Fault {
        daemon: "qmgr",
        inject: "inject=fdatasync:error=EIO:when=2",
        recipients: &["bob@example.com", "friend@a.test"],
    },
    Fault {
        daemon: "qmgr",
        inject: "inject=fdatasync:error=ENOSPC:when=3",
        recipients: &["friend@a.test"],
    },
];

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("not shown: only root can do this");
    }
    root
}

fn quick_queue(builder: SiteBuilder, dns: &Dns) -> SiteBuilder {
    builder
        .world(dns, SINK_PORT)
        .set("general.mynetworks", vec!["127.0.0.0/8".to_owned()])
        .set("qmgr.minimal_backoff_time", "1s")
        .set("qmgr.maximal_backoff_time", "2s")
}

#[test]
fn nothing_is_promised_that_did_not_reach_the_disk() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let (address, _claim) = dns::claim_address()?;
    let sink = Sink::start(address, SINK_PORT, Offers::default())?;
    let dns = Dns::start()?;
    dns.mail_domain("a.test", address);
    for fault in &FAULTS {
        sink.forget();
        quick_queue(Site::builder(), &dns)
            .run(|site| one_fault(site, fault, &sink))
            .with_context(|| format!("{} with {}", fault.daemon, fault.inject))?;
    }
    Ok(())
}

fn one_fault(site: &mut Site, fault: &Fault, sink: &Sink) -> Result<()> {
    let traces = tempfile::tempdir()?;
    // The Maildirs exist before the fault, so that it hits messages and not directories.
    let mut smtp = site.smtp("mx")?;
    smtp.send(
        "out@a.test",
        &["alice@example.com"],
        "Subject: first\r\n\r\nx\r\n",
    )?;
    smtp.send("out@a.test", &["bob@example.com"], "Subject: first\r\n\r\nx\r\n")?;
    smtp.quit()?;
    for address in ["alice@example.com", "bob@example.com"] {
        fs::remove_file(&site.mailbox(address).wait(1)?[0].path)?;
    }
    let calls = ["fdatasync", "fsync", "renameat2"];
    let file = traces.path().join("trace");
    let mut trace = Trace::attach(site.daemon(fault.daemon)?, &file, &calls, &[fault.inject])?;
    let mut plan = Plan::to(&[fault.recipients]);
    plan.connections = 3;
    let load = Load::start(site.endpoints(), &plan);
    wait::for_true("an injected error", wait::LONG, || {
        Ok(trace.calls()?.iter().any(Call::is_injected))
    })?;
    // Some more attempts meet whatever state the error left behind.
    let before = load.attempts();
    wait::for_true("attempts after it", wait::LONG, || {
        Ok(load.attempts() > before + 10)
    })?;
    let ledger = load.stop()?;
    trace.detach()?;
    let seen = trace.calls()?;
    let hits = seen.iter().filter(|call| call.is_injected()).count();
    println!(
        "{} {}: {hits} hits, {} accepted, {} deferred",
        fault.daemon,
        fault.inject,
        ledger.accepted.len(),
        ledger.deferred
    );
    ensure!(hits > 0, "nothing was injected");
    ensure!(
        ledger.refused.is_empty(),
        "permanent refusals: {:?}",
        ledger.refused
    );
    if fault.daemon != "qmgr" {
        ensure!(ledger.deferred > 0, "no client heard of it");
        no_false_promise(&ledger, &seen)?;
    }
    // A new process trusts the disk again.
    site.restart(fault.daemon)?;
    everything_arrived(site, &ledger, sink)
}

/// No message whose own write failed was accepted by the path that failed: its id was not told to the client.
fn no_false_promise(ledger: &Ledger, seen: &[Call]) -> Result<()> {
    let accepted: BTreeSet<&str> = ledger
        .accepted
        .iter()
        .map(|message| message.id.as_str())
        .collect();
    let mut named = 0;
    for call in seen.iter().filter(|call| call.is_injected()) {
        let story = what_failed(call, seen);
        for id in &accepted {
            let failed = story.contains(*id) && ledger_has_one_recipient(ledger, id);
            ensure!(
                !failed,
                "{id} was accepted although {} failed:\n{story}",
                call.name
            );
        }
        named += usize::from(names_a_message(&story));
    }
    ensure!(named > 0, "no failed call could be traced to a message");
    Ok(())
}

/// The call and those before it in its thread that tell whose file it was: the rename before the sync of a directory,
/// the writes (with the Received line) before the sync of a file.
fn what_failed(call: &Call, seen: &[Call]) -> String {
    let mut before = seen
        .iter()
        .filter(|other| other.thread == call.thread && other.end <= call.start);
    let related: Vec<&Call> = match call.name.as_str() {
        "fsync" => before
            .rfind(|other| other.name == "renameat2")
            .into_iter()
            .collect(),
        "fdatasync" => before.filter(|other| other.path() == call.path()).collect(),
        _ => Vec::new(),
    };
    let texts: Vec<&str> = related
        .into_iter()
        .chain([call])
        .map(|c| c.text.as_str())
        .collect();
    texts.join("\n")
}

/// Whether an id stands in it: a word of 20 letters and digits, alone or as `QidRn`.
fn names_a_message(story: &str) -> bool {
    story
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.len() == 20 || word.starts_with('Q') && word.as_bytes().get(21) == Some(&b'R'))
}

/// With several recipients one may have failed and wait in the queue while the message was rightly accepted.
fn ledger_has_one_recipient(ledger: &Ledger, id: &str) -> bool {
    let message = ledger.accepted.iter().find(|message| message.id == id);
    message.is_some_and(|message| message.recipients.len() == 1)
}

fn everything_arrived(site: &Site, ledger: &Ledger, sink: &Sink) -> Result<()> {
    wait::for_true("an empty queue", Duration::from_secs(60), || {
        site.flush()?;
        Ok(site.spooled()?.is_empty())
    })?;
    let findings = ledger.check(&|address| match address {
        "friend@a.test" => Ok(load::sink_copies(sink, address)),
        _ => load::inbox_copies(&site.mailbox(address)),
    })?;
    ensure!(findings.lost.is_empty(), "lost: {:?}", findings.lost);
    ensure!(findings.damaged.is_empty(), "damaged: {:?}", findings.damaged);
    let local: Vec<&String> = findings
        .doubled
        .iter()
        .filter(|name| !name.contains("@a.test"))
        .collect();
    ensure!(local.is_empty(), "doubled: {local:?}");
    Ok(())
}

/// An ext4 in a file, mounted by a loop device; unmounted when dropped.
struct Ext4 {
    image: PathBuf,
    place: PathBuf,
}

impl Ext4 {
    fn make(directory: &Path) -> Result<Self> {
        let disk = Self {
            image: directory.join("image"),
            place: directory.join("m"),
        };
        let image = fs::File::create(&disk.image)?;
        // Sparse; the programs of the site are copied onto it too.
        image.set_len(4 << 30)?;
        run("mkfs.ext4", &["-q", "-F", &disk.image.display().to_string()])?;
        fs::create_dir(&disk.place)?;
        disk.mount()?;
        fs::set_permissions(&disk.place, fs::Permissions::from_mode(0o755))?;
        Ok(disk)
    }

    fn mount(&self) -> Result<()> {
        let (image, place) = (self.image.display().to_string(), self.place.display().to_string());
        run("mount", &["-o", "loop", &image, &place])
    }

    /// Stops the file system as a power cut would; with `flush` its journal is written first.
    fn shut_down(&self, flush: bool) -> Result<()> {
        let command = if flush { "shutdown -f" } else { "shutdown" };
        run(
            "xfs_io",
            &["-x", "-c", command, &self.place.display().to_string()],
        )
    }

    fn unmount(&self) -> Result<()> {
        run("umount", &[&self.place.display().to_string()])
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        // After a failed test processes may still use it; lazily it goes away with them.
        let _ = run("umount", &["-l", &self.place.display().to_string()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_when_the_file_system_dies() -> Result<()> {
    const CUTS: u32 = 6;
    if !is_root() {
        return Ok(());
    }
    let (address, _claim) = dns::claim_address()?;
    let sink = Sink::start(address, SINK_PORT, Offers::default())?;
    let dns = Dns::start()?;
    dns.mail_domain("a.test", address);
    let directory = tempfile::Builder::new().prefix("pr-").tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let disk = Ext4::make(directory.path())?;
    let outcome = quick_queue(Site::builder(), &dns)
        .below(&disk.place)
        .start()
        .and_then(|mut site| {
            // Programs and configuration are as durable as an installation's.
            run("sync", &["-f", &disk.place.display().to_string()])?;
            for cut in 1..=CUTS {
                power_cut(&mut site, &disk, &sink, cut)
                    .with_context(|| format!("cut {cut}; the site's logs:\n{}", site.logs()))?;
            }
            site.shut_down()
        });
    outcome?;
    disk.unmount()
}

fn power_cut(site: &mut Site, disk: &Ext4, sink: &Sink, cut: u32) -> Result<()> {
    sink.forget();
    let mut plan = Plan::to(&[
        &["alice@example.com"],
        &["alice@example.com", "bob@example.com"],
        &["bob@example.com", "friend@a.test"],
    ]);
    plan.connections = 8;
    let load = Load::start(site.endpoints(), &plan);
    wait::for_true("the load to run", wait::LONG, || Ok(load.accepted() >= 150))?;
    disk.shut_down(cut.is_multiple_of(2))?;
    // Whatever is answered now is answered on a dead disk.
    let before = load.attempts();
    wait::for_true("attempts on a dead disk", wait::LONG, || {
        Ok(load.attempts() >= before + 10)
    })?;
    let ledger = load.stop()?;
    for name in DAEMONS {
        site.kill(name)?;
    }
    disk.unmount()?;
    disk.mount()?;
    for name in DAEMONS {
        site.start(name)?;
    }
    println!(
        "cut {cut}: {} accepted, {} deferred, {} in the queue afterwards",
        ledger.accepted.len(),
        ledger.deferred,
        site.spooled()?.len()
    );
    ensure!(
        ledger.refused.is_empty(),
        "permanent refusals: {:?}",
        ledger.refused
    );
    everything_arrived(site, &ledger, sink)?;
    for address in ["alice@example.com", "bob@example.com"] {
        for message in site.mailbox(address).messages()? {
            fs::remove_file(message.path)?;
        }
    }
    Ok(())
}
