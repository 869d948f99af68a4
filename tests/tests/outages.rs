//! A part is away, stopped, killed or flooded: the others say "later" within seconds, lose nothing and go on by themselves.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::Site;
use tests::client::Smtp;
use tests::dns::{self, Dns};
use tests::load::{self, Load, Plan};
use tests::mariadb::OUTAGE_LIMIT;
use tests::outage::{self, Outage, auth, everything_works, imap_login, pop3_login, rcpt};
use tests::process::Process;
use tests::sink::{Offers, Sink};
use tests::site::{DAEMONS, Endpoints, PASSWORD};
use tests::wait;

const SINK_PORT: u16 = 2528;
const ALICE: &str = "alice@example.com";

fn database_outage(outage: Outage) -> Result<()> {
    Site::builder()
        .own_server()
        .set("smtpd.smtpd_error_sleep_time", "0s")
        .set("authd.replica.enabled", false)
        .set("authd.address_cache_time", "0s")
        .run(|site| {
            let relay = outage::with_relay(site)?;
            let starts: Vec<u32> = site.processes().iter().map(Process::starts).collect();
            // Everything has been used once, so that connections and caches are as in normal service.
            site.submit_as("alice@example.com")?.send(
                "alice@example.com",
                &["bob@example.com"],
                "Subject: 1\r\n\r\n1\r\n",
            )?;
            outage.begin(site, &relay)?;
            everything_is_deferred(site, 2).with_context(|| format!("{outage:?}"))?;
            outage.end(site, &relay)?;
            let back = Instant::now();
            let endpoints = site.endpoints().clone();
            wait::for_true("normal service", OUTAGE_LIMIT, || {
                Ok(everything_works(&endpoints).is_ok())
            })
            .with_context(|| format!("{outage:?}: {:?}", everything_works(&endpoints)))?;
            println!(
                "{outage:?}: normal service {:.1} s after the return",
                back.elapsed().as_secs_f64()
            );
            let now: Vec<u32> = site.processes().iter().map(Process::starts).collect();
            ensure!(now == starts, "a daemon was started again");
            Ok(())
        })
}

/// Each answer is the temporary one, and comes in time; asked several times, as the first may meet a live connection.
fn everything_is_deferred(site: &mut Site, rounds: u32) -> Result<()> {
    for round in 0..rounds {
        let timed = |what: &str, ask: &dyn Fn() -> Result<(String, Duration)>, wanted: &str| -> Result<()> {
            let (answer, took) = ask().with_context(|| what.to_owned())?;
            ensure!(answer.contains(wanted), "{what}, round {round}: {answer}");
            ensure!(took < OUTAGE_LIMIT, "{what}, round {round}: took {took:?}");
            Ok(())
        };
        timed("RCPT", &|| rcpt(site, "bob@example.com"), "451 4.3.0")?;
        timed(
            "RCPT of a stranger",
            &|| rcpt(site, "nobody@example.com"),
            "451 4.3.0",
        )?;
        timed("AUTH", &|| auth(site, ALICE, PASSWORD), "454 4.7.0")?;
        timed(
            "AUTH with a wrong password",
            &|| auth(site, ALICE, "wrong"),
            "454 4.7.0",
        )?;
        timed("IMAP", &|| imap_login(site, ALICE, PASSWORD), "NO [UNAVAILABLE]")?;
        timed("POP3", &|| pop3_login(site, ALICE, PASSWORD), "-ERR [SYS/TEMP]")?;
    }
    Ok(())
}

#[test]
fn the_database_is_stopped() -> Result<()> {
    database_outage(Outage::Stopped)
}

#[test]
fn the_database_is_killed() -> Result<()> {
    database_outage(Outage::Killed)
}

#[test]
fn the_database_refuses() -> Result<()> {
    database_outage(Outage::Refusing)
}

#[test]
fn the_database_is_slow() -> Result<()> {
    database_outage(Outage::Slow)
}

#[test]
fn the_database_answers_with_errors() -> Result<()> {
    database_outage(Outage::Errors)
}

#[test]
fn the_database_has_wrong_columns() -> Result<()> {
    database_outage(Outage::WrongColumns)
}

#[test]
fn authd_is_killed_and_stopped() -> Result<()> {
    Site::builder()
        .set("smtpd.smtpd_error_sleep_time", "0s")
        .run(|site| {
            site.kill("authd")?;
            everything_is_deferred(site, 2).context("authd killed")?;
            site.start("authd")?;
            let endpoints = site.endpoints().clone();
            let normal = |what: &str| {
                wait::for_true("normal service", OUTAGE_LIMIT, || {
                    Ok(everything_works(&endpoints).is_ok())
                })
                .with_context(|| format!("{what}: {:?}", everything_works(&endpoints)))
            };
            normal("after the restart")?;
            site.daemon("authd")?.signal(Signal::SIGSTOP)?;
            everything_is_deferred(site, 1).context("authd stopped")?;
            site.daemon("authd")?.signal(Signal::SIGCONT)?;
            normal("after SIGCONT")
        })
}

#[test]
fn authd_deliver_and_qmgr_are_killed_in_turn_under_load() -> Result<()> {
    let (address, _claim) = dns::claim_address()?;
    let sink = Sink::start(address, SINK_PORT, Offers::default())?;
    let dns = Dns::start()?;
    dns.mail_domain("a.test", address);
    Site::builder()
        .world(&dns, SINK_PORT)
        .set("general.mynetworks", vec!["127.0.0.0/8".to_owned()])
        .set("qmgr.minimal_backoff_time", "1s")
        .set("qmgr.maximal_backoff_time", "2s")
        .set("qmgr.queue_scan_interval", "1s")
        .run(|site| {
            let plan = Plan::to(&[
                &["alice@example.com"],
                &["alice@example.com", "bob@example.com"],
                &["bob@example.com", "friend@a.test"],
            ]);
            let load = Load::start(site.endpoints(), &plan);
            for daemon in ["authd", "deliver", "qmgr", "deliver", "authd", "qmgr"] {
                let before = load.accepted();
                wait::for_true("the load to run", wait::LONG, || {
                    Ok(load.accepted() >= before + 15)
                })?;
                site.kill(daemon)?;
                if daemon != "authd" {
                    let before = load.accepted();
                    wait::for_true(&format!("mail without {daemon}"), wait::LONG, || {
                        Ok(load.accepted() > before + 5)
                    })?;
                }
                site.start(daemon)?;
            }
            let before = load.accepted();
            wait::for_true("the load after the last restart", wait::LONG, || {
                Ok(load.accepted() >= before + 15)
            })?;
            let ledger = load.stop()?;
            ensure!(
                ledger.refused.is_empty(),
                "permanent refusals: {:?}",
                ledger.refused
            );
            site.wait_queue_empty()?;
            let findings = ledger.check(&|address| match address {
                "friend@a.test" => Ok(load::sink_copies(&sink, address)),
                _ => load::inbox_copies(&site.mailbox(address)),
            })?;
            println!(
                "{} attempts, {} accepted, {} deferred, {} copies",
                ledger.attempts,
                ledger.accepted.len(),
                ledger.deferred,
                findings.copies
            );
            ensure!(findings.damaged.is_empty(), "damaged: {:?}", findings.damaged);
            ensure!(findings.lost.is_empty(), "lost: {:?}", findings.lost);
            let local: Vec<&String> = findings
                .doubled
                .iter()
                .filter(|name| !name.contains("@a.test"))
                .collect();
            ensure!(local.is_empty(), "doubled: {local:?}");
            Ok(())
        })
}

#[test]
fn clients_that_stop_or_hang_up_inside_auth_disturb_nobody() -> Result<()> {
    const STOPPED: usize = 300;
    const HUNG_UP: usize = 5000;
    Site::builder().run(|site| {
        let endpoints = site.endpoints().clone();
        let reference = exchange_time(&endpoints)?;
        let mut stopped = Vec::new();
        for _ in 0..STOPPED {
            stopped.push(half_login(&endpoints)?);
        }
        let with_stopped = exchange_time(&endpoints).context("while 300 clients stand inside AUTH")?;
        let hangers: Vec<_> = (0..4)
            .map(|_| {
                let endpoints = endpoints.clone();
                thread::spawn(move || -> Result<()> {
                    for _ in 0..HUNG_UP / 4 {
                        half_login(&endpoints)?.line.close();
                    }
                    Ok(())
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        let mut exchanges = 0;
        while hangers.iter().any(|hanger| !hanger.is_finished()) {
            slowest = slowest.max(exchange_time(&endpoints).context("while others hang up inside AUTH")?);
            exchanges += 1;
        }
        for hanger in hangers {
            hanger.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        println!("reference {reference:?}, 300 stopped {with_stopped:?}, slowest of {exchanges} during 5000 hang-ups {slowest:?}");
        ensure!(with_stopped < Duration::from_secs(2) && slowest < Duration::from_secs(2), "an exchange was delayed");
        drop(stopped);
        exchange_time(&endpoints).context("afterwards").map(drop)
    })
}

/// Goes into AUTH LOGIN up to the password prompt. Without TLS this would not be offered; the handshakes are the cost.
fn half_login(endpoints: &Endpoints) -> Result<Smtp> {
    let mut smtp = endpoints.smtp("submissions")?;
    smtp.expect("AUTH LOGIN", 334)?;
    smtp.expect("YWxpY2VAZXhhbXBsZS5jb20=", 334)?;
    Ok(smtp)
}

/// One login and one recipient by somebody else.
fn exchange_time(endpoints: &Endpoints) -> Result<Duration> {
    let begin = Instant::now();
    endpoints.submit_as("bob@example.com", PASSWORD)?.quit()?;
    let (answer, _) = rcpt(endpoints, "alice@example.com")?;
    ensure!(answer.starts_with("250"), "{answer}");
    Ok(begin.elapsed())
}

#[test]
fn every_order_of_start_works() -> Result<()> {
    Site::builder().run(|site| {
        site.shut_down()?;
        for daemon in DAEMONS.iter().rev() {
            site.start(daemon)?;
        }
        let endpoints = site.endpoints().clone();
        wait::for_true("normal service", OUTAGE_LIMIT, || {
            Ok(everything_works(&endpoints).is_ok())
        })
    })
}

#[test]
fn a_second_instance_refuses_the_spool() -> Result<()> {
    Site::builder().run(|site| {
        let config = site.configuration_file();
        let output = std::process::Command::new(site.directory().join("bin/qmgr"))
            .arg("--config")
            .arg(&config)
            .output()
            .context("run a second qmgr")?;
        ensure!(!output.status.success(), "a second qmgr works on the same spool");
        std::io::stdout().write_all(&output.stderr)?;
        Ok(())
    })
}
