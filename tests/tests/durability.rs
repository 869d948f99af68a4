//! An acknowledged message is durable: the order of system calls seen from outside, and kills at random moments.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::dns::{self, Dns};
use tests::load::{self, Load, Plan};
use tests::sink::{Offers, Sink};
use tests::trace::{Call, Trace};
use tests::{Site, wait};

const SINK_PORT: u16 = 2526;

/// Kills in the suite.
const CYCLES: u32 = 300;

/// If one of the rare cases was not met in `CYCLES`, so many more are made until it is.
const MORE_CYCLES: u32 = 600;

#[test]
fn the_250_comes_after_file_rename_and_directory() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        println!("not shown: only root may look into a daemon");
        return Ok(());
    }
    let traces = tempfile::tempdir()?;
    Site::builder()
        .only(&["authd", "deliver", "smtpd"])
        .set("general.mynetworks", vec!["127.0.0.0/8".to_owned()])
        .run(|site| {
            let calls = ["fdatasync", "fsync", "rename", "renameat", "renameat2"];
            let mut attach =
                |name: &str| Trace::attach(site.daemon(name)?, &traces.path().join(name), &calls, &[]);
            let (smtpd, deliver) = (attach("smtpd")?, attach("deliver")?);
            let mut smtp = site.smtp("mx")?;
            // The first message also makes the Maildir; the second is the usual case.
            smtp.send(
                "out@a.test",
                &["alice@example.com"],
                "Subject: first\r\n\r\nx\r\n",
            )?;
            let direct = smtp.send(
                "out@a.test",
                &["alice@example.com"],
                "Subject: direct\r\n\r\nx\r\n",
            )?;
            let direct = direct.queued_as()?;
            let spooled = smtp.send(
                "out@a.test",
                &["friend@elsewhere.test"],
                "Subject: far\r\n\r\nx\r\n",
            )?;
            let spooled = spooled.queued_as()?;
            smtp.quit()?;
            let told = smtpd.wait_for(|call| call.is_send_of(&format!("queued as {direct}")))?;
            let lmtp = deliver.wait_for(|call| call.is_send_of(&format!("({direct})")))?;
            let barriers = in_order(&deliver.calls()?, direct, "/new", lmtp.start)?;
            ensure!(lmtp.start <= told.start, "smtpd said 250 before deliver did");
            println!("direct: {barriers} barriers in deliver, then LMTP 250, then SMTP 250");
            let syncs = smtpd
                .calls()?
                .iter()
                .filter(|c| c.is_sync() && c.text.contains(direct))
                .count();
            ensure!(syncs == 0, "smtpd synced something for a direct delivery");
            let told = smtpd.wait_for(|call| call.is_send_of(&format!("queued as {spooled}")))?;
            let barriers = in_order(&smtpd.calls()?, spooled, "/incoming/", told.start)?;
            println!("spooled: {barriers} barriers in smtpd, then SMTP 250");
            Ok(())
        })
}

/// Checks file sync, rename to a directory whose path holds `target`, sync of that directory, all before `reply`;
/// the number of barriers between the first and the reply.
fn in_order(calls: &[Call], id: &str, target: &str, reply: f64) -> Result<usize> {
    let story = || {
        let lines: Vec<&str> = calls.iter().map(|call| call.text.as_str()).collect();
        lines.join("\n")
    };
    let rename = calls
        .iter()
        .find(|call| call.name.starts_with("rename") && call.text.contains(id))
        .with_context(|| format!("no rename of {id}:\n{}", story()))?;
    ensure!(rename.text.contains(target), "renamed elsewhere: {}", rename.text);
    let old = rename.renamed_from().context("a rename that cannot be read")?;
    let file = calls
        .iter()
        .find(|call| call.is_sync() && call.path() == old && call.end <= rename.start)
        .with_context(|| format!("{id} was not synced before its rename:\n{}", story()))?;
    let directory = calls
        .iter()
        .find(|call| call.is_sync() && call.path().contains(target) && call.start >= rename.end)
        .with_context(|| format!("the directory was not synced after the rename:\n{}", story()))?;
    ensure!(
        directory.end <= reply,
        "the reply was sent before the directory was synced:\n{}",
        story()
    );
    let between = |call: &&Call| call.is_sync() && call.start >= file.start && call.end <= reply;
    Ok(calls.iter().filter(between).count())
}

/// What the kills met.
#[derive(Debug, Default)]
struct Met {
    kills: BTreeMap<&'static str, u32>,
    direct: usize,
    fallback: usize,
    repeated: usize,
}

impl Met {
    fn count(&mut self, site: &Site) -> Result<()> {
        let events = site.events().all()?;
        let count = |wanted: &str| events.iter().filter(|event| event["event"] == wanted).count();
        self.direct = events
            .iter()
            .filter(|event| event["event"] == "message_accepted" && event["path"] == "direct")
            .count();
        self.fallback = count("direct_fallback");
        self.repeated = count("duplicate");
        Ok(())
    }

    fn everything(&self) -> bool {
        self.direct > 0 && self.fallback > 0 && self.repeated > 0
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_daemons_are_killed() -> Result<()> {
    let (address, _claim) = dns::claim_address()?;
    let sink = Sink::start(address, SINK_PORT, Offers::default())?;
    let dns = Dns::start()?;
    dns.mail_domain("a.test", address);
    Site::builder()
        .world(&dns, SINK_PORT)
        .set("general.mynetworks", vec!["127.0.0.0/8".to_owned()])
        .set("qmgr.minimal_backoff_time", "1s")
        .set("qmgr.maximal_backoff_time", "2s")
        .run(|site| {
            let mut plan = Plan::to(&[
                &["alice@example.com"],
                &["alice@example.com", "bob@example.com"],
                &["bob@example.com"],
                &["bob@example.com", "friend@a.test"],
            ]);
            plan.connections = 8;
            let load = Load::start(site.endpoints(), &plan);
            let met = kill_at_random(site, &load)?;
            // The load is alive after the last kill too.
            let before = load.accepted();
            wait::for_true("the load after the last kill", wait::LONG, || {
                Ok(load.accepted() > before)
            })?;
            let ledger = load.stop()?;
            wait::for_true("an empty queue", Duration::from_secs(120), || {
                site.flush()?;
                Ok(site.spooled()?.is_empty())
            })?;
            let findings = ledger.check(&|address| match address {
                "friend@a.test" => Ok(load::sink_copies(&sink, address)),
                _ => load::inbox_copies(&site.mailbox(address)),
            })?;
            println!("kills: {:?}", met.kills);
            println!(
                "messages: {} direct, {} by fallback, {} recognised as repeated",
                met.direct, met.fallback, met.repeated
            );
            println!(
                "ledger: {} attempts, {} accepted, {} deferred, {} copies, {} remote doubles",
                ledger.attempts,
                ledger.accepted.len(),
                ledger.deferred,
                findings.copies,
                findings.doubled.len()
            );
            ensure!(met.everything(), "a case was not met: {met:?}");
            ensure!(
                ledger.refused.is_empty(),
                "permanent refusals: {:?}",
                ledger.refused
            );
            ensure!(findings.damaged.is_empty(), "damaged: {:?}", findings.damaged);
            ensure!(findings.lost.is_empty(), "lost: {:?}", findings.lost);
            doubles_are_in_the_window(site, &findings.doubled)?;
            for part in ["spool", "maildir"] {
                site.mailctl(&["check", part])?;
            }
            Ok(())
        })
}

/// Kills a random daemon at a random moment and starts it again, `CYCLES` times, and some more where one of the
/// rare cases has not been met.
fn kill_at_random(site: &mut Site, load: &Load) -> Result<Met> {
    // imapd and pop3d take no part in delivery; they are killed less often.
    const WHO: [&str; 8] = [
        "smtpd", "deliver", "qmgr", "authd", "deliver", "qmgr", "imapd", "pop3d",
    ];
    let mut met = Met::default();
    let begin = Instant::now();
    for cycle in 1..=CYCLES + MORE_CYCLES {
        let random = tests::random_bytes(2)?;
        let who = WHO[usize::from(random[0]) % WHO.len()];
        let before = load.accepted();
        wait::for_true("the load to run", wait::LONG, || Ok(load.accepted() > before))?;
        // Not a wait for anything: the random moment itself.
        thread::sleep(Duration::from_micros(u64::from(random[1]) * 60));
        site.kill(who)?;
        site.start(who)?;
        *met.kills.entry(who).or_default() += 1;
        if cycle >= CYCLES && cycle % 50 == 0 {
            met.count(site)?;
            if met.everything() {
                break;
            }
        }
    }
    println!(
        "{} kills in {:.1} s",
        met.kills.values().sum::<u32>(),
        begin.elapsed().as_secs_f64()
    );
    Ok(met)
}

/// A remote copy may be double only where qmgr was killed between the server's reply and the record of it
/// (robustness.md 4.6): qmgr never says that it delivered the same recipient twice.
fn doubles_are_in_the_window(site: &Site, doubled: &[String]) -> Result<()> {
    let local: Vec<&String> = doubled.iter().filter(|name| !name.contains("@a.test")).collect();
    ensure!(local.is_empty(), "doubled in a Maildir: {local:?}");
    for name in doubled {
        let id = name
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(id, _)| id)
            .with_context(|| format!("no id in {name}"))?;
        let events = site.events().about(id)?;
        let delivered = events
            .iter()
            .filter(|event| event["event"] == "delivered" && event["address"] == "friend@a.test")
            .count();
        ensure!(
            delivered <= 1,
            "{name} went out again although its delivery was recorded: {events:?}"
        );
    }
    Ok(())
}

/// Keeps the helper that only this file uses honest: a trace that misses a barrier is noticed.
#[test]
fn a_missing_barrier_is_noticed() -> Result<()> {
    let id = "0000000000000000000A";
    let line = |at: &str, text: &str| format!("7 {at} {text} = 0 <0.000001>");
    let whole = [
        line("1.0", &format!("fdatasync(9</m/tmp/Q{id}R0>)")),
        line(
            "2.0",
            &format!("renameat2(8</m/tmp>, \"Q{id}R0\", 7</m/new>, \"Q{id}R0\", RENAME_NOREPLACE)"),
        ),
        line("3.0", "fsync(7</m/new>)"),
    ];
    let check = |lines: &[String]| in_order(&Trace::parse(&lines.join("\n")), id, "/new", 4.0);
    ensure!(check(&whole)? == 2);
    for missing in 0..whole.len() {
        let mut lines = whole.to_vec();
        lines.remove(missing);
        ensure!(
            check(&lines).is_err(),
            "without line {missing} nothing was noticed"
        );
    }
    let mut swapped = whole.to_vec();
    swapped[2] = line("1.5", "fsync(7</m/new>)");
    ensure!(
        check(&swapped).is_err(),
        "a directory synced too early was not noticed"
    );
    ensure!(in_order(&Trace::parse(&whole.join("\n")), id, "/new", 2.5).is_err());
    ensure!(Path::new("/usr/bin/strace").exists(), "strace is not installed");
    Ok(())
}
