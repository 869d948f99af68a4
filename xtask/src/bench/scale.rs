//! `cargo xtask bench scale`: authd on a directory of a million mailboxes. Latency with cold and warm caches, the replica,
//! memory, and what is left of service during and after a flood of logins.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use auth_api::client::Client;
use auth_api::sasl::LoginStep;
use clap::Args;
use mail_types::Secret;
use tests::Site;
use tests::site::Endpoints;
use tests::wait;
use tokio::runtime::Runtime;

use super::Place;
use super::auth::SERVER;
use super::figures::{Times, mebibytes, next_random, rate};
use super::load::{self, Question};
use super::rows::{self, Directory};

/// How much.
#[derive(Args)]
pub struct Options {
    /// Domains.
    #[arg(long, default_value_t = 10_000)]
    domains: usize,
    /// Mailboxes, and as many aliases.
    #[arg(long, default_value_t = 1_000_000)]
    mailboxes: usize,
    /// Questions for each figure of latency.
    #[arg(long, default_value_t = 5_000)]
    questions: usize,
    /// How long the flood of logins lasts, in seconds.
    #[arg(long, default_value_t = 20)]
    flood: u64,
}

/// Questions at a time where latency is measured.
const CLIENTS: usize = 4;
/// How long the replica may take.
const REPLICA_LIMIT: Duration = Duration::from_secs(1800);
/// After a flood a correct login has to succeed within this time.
const AFTER_FLOOD: Duration = Duration::from_secs(5);

/// Measures.
pub fn run(options: &Options, place: &Place) -> Result<()> {
    let directory = Directory {
        domains: options.domains,
        mailboxes: options.mailboxes,
    };
    Site::builder()
        .with_binaries(place.binaries.clone())
        .below(&place.below)
        .server_options(&SERVER)
        .set("authd.replica.enabled", false)
        .bare()
        .only(&["authd", "deliver", "smtpd"])
        .run(|site| {
            let begin = Instant::now();
            directory.fill(site, rows::MD5_CRYPT)?;
            println!(
                "{} domains, {} mailboxes and as many aliases made in {:.0} s\n",
                options.domains,
                options.mailboxes,
                begin.elapsed().as_secs_f64()
            );
            let bench = Bench {
                runtime: load::runtime()?,
                directory,
                run: site.directory().join("run/authd"),
            };
            bench.latencies(site, options.questions)?;
            bench.replica(site)?;
            bench.flood(site, Duration::from_secs(options.flood))
        })
}

struct Bench {
    runtime: Runtime,
    directory: Directory,
    run: std::path::PathBuf,
}

impl Bench {
    fn client(&self, role: &str) -> Client {
        let _inside = self.runtime.enter();
        Client::connect(self.run.join(role).join("sock"))
    }

    fn latencies(&self, site: &mut Site, questions: usize) -> Result<()> {
        println!("latency, median / 99 %, {CLIENTS} questions at a time\n");
        println!("| | recipient: mailbox | recipient: alias | login, md5-crypt |");
        println!("|---|---|---|---|");
        let mut random = 0x2545_f491_4f6c_dd1d;
        let mut some = |alias: bool| {
            let list = (0..questions).map(|_| {
                let number = usize::try_from(next_random(&mut random) >> 16).unwrap_or_default();
                if alias {
                    self.directory.alias(number)
                } else {
                    self.directory.mailbox(number)
                }
            });
            Arc::new(list.collect::<Vec<_>>())
        };
        let sets = [some(false), some(true), some(false)];
        restart_cold(site)?;
        for round in [
            "MariaDB and authd just started",
            "the same again",
            "other addresses",
        ] {
            let sets = if round == "other addresses" {
                [some(false), some(true), some(false)]
            } else {
                sets.clone()
            };
            let mut cells = Vec::new();
            for (set, question) in sets
                .iter()
                .zip([Question::Resolve, Question::Resolve, Question::Login])
            {
                let client = self.client(if question == Question::Login {
                    "imapd"
                } else {
                    "smtpd"
                });
                let measured = load::ask_authd(&self.runtime, &client, question, CLIENTS, set)?;
                cells.push(measured.times.shown());
            }
            println!("| {round} | {} |", cells.join(" | "));
        }
        println!(
            "\nauthd: {} resident\n",
            mebibytes(site.daemon("authd")?.resident_memory()?)
        );
        Ok(())
    }

    /// Turns the replica on, and waits until it is whole.
    fn replica(&self, site: &mut Site) -> Result<()> {
        site.set("authd.replica.enabled", true)?;
        let begin = Instant::now();
        site.restart("authd")?;
        let mut most = 0;
        let status = wait::until("the replica", REPLICA_LIMIT, || {
            most = most.max(site.daemon("authd")?.resident_memory()?);
            thread::sleep(Duration::from_millis(100));
            let status = site.mailctl_json(&["directory", "status"])?;
            let rows: u64 = replica_rows(&status);
            Ok((rows >= self.directory.mailboxes as u64 * 3).then_some(status))
        })?;
        let file = site.directory().join("state/replica.sqlite");
        println!(
            "replica: {} rows in {:.0} s, {} on disk; authd {} resident at most meanwhile, {} afterwards\n",
            replica_rows(&status),
            begin.elapsed().as_secs_f64(),
            mebibytes(size_of_database(&file)?),
            mebibytes(most),
            mebibytes(site.daemon("authd")?.resident_memory()?),
        );
        Ok(())
    }

    /// Ten times the logins that the pool can hash, with mail meanwhile, and a correct login at the end.
    fn flood(&self, site: &mut Site, lasting: Duration) -> Result<()> {
        let victim = self.directory.mailbox(0);
        let admin = self.client("admin");
        let address = rows::address(&victim)?;
        self.runtime
            .block_on(admin.set_password(&address, Secret::new(rows::PASSWORD)))?;
        site.sql(&format!(
            "UPDATE mailbox AS m, (SELECT password FROM mailbox WHERE username = '{victim}') AS f \
             SET m.password = f.password WHERE m.username LIKE 'u1___@%' OR m.username LIKE 'u2___@%'"
        ))?;
        let imapd = self.client("imapd");
        let pool = self.runtime.block_on(self.pool_rate(&imapd))?;
        println!("the pool hashes {pool:.0} passwords of the default scheme per second");

        let stop = Arc::new(AtomicBool::new(false));
        let mail = mail_meanwhile(site.endpoints(), &self.directory, &stop);
        let flood = self
            .runtime
            .block_on(self.flood_logins(&imapd, pool * 10.0, lasting))?;
        let end = Instant::now();
        let back = self.runtime.block_on(async {
            loop {
                let (step, _) = imapd
                    .login(
                        &rows::context("imap", 1),
                        "PLAIN",
                        Some(rows::plain(&victim, rows::PASSWORD)),
                    )
                    .await;
                match step {
                    LoginStep::Success(_) => return anyhow::Ok(end.elapsed()),
                    LoginStep::TemporaryFailure { .. } if end.elapsed() < 4 * AFTER_FLOOD => {}
                    step => return Err(anyhow!("after the flood: {step:?}")),
                }
            }
        })?;
        stop.store(true, Ordering::Relaxed);
        let mail = mail
            .join()
            .map_err(|_| anyhow!("the thread of the mail panicked"))??;
        println!(
            "flood: {:.0} logins per second for {:.0} s, {} judged and {} put off; a correct login succeeded {} ms after its end; \
             mail meanwhile: {} messages accepted, none refused, {} each; authd {} resident",
            rate(flood.denied + flood.put_off, lasting),
            lasting.as_secs_f64(),
            flood.denied,
            flood.put_off,
            back.as_millis(),
            mail.count,
            mail.times.shown(),
            mebibytes(site.daemon("authd")?.resident_memory()?),
        );
        ensure!(back <= AFTER_FLOOD, "the correct login took {back:?}");
        Ok(())
    }

    /// Wrong passwords per second, one after the other on every processor.
    async fn pool_rate(&self, client: &Client) -> Result<f64> {
        const EACH: usize = 40;
        let begin = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        let workers = thread::available_parallelism()?.get();
        for worker in 0..workers {
            let (client, directory) = (client.clone(), self.directory);
            tasks.spawn(async move {
                for turn in 0..EACH {
                    let number = worker * EACH + turn;
                    let login = directory.mailbox(1000 + number % 1000);
                    let message = Some(rows::plain(&login, "wrong"));
                    let (step, _) = client
                        .login(&rows::context("imap", 5_000_000 + number), "PLAIN", message)
                        .await;
                    ensure!(matches!(step, LoginStep::Denied { .. }), "{login}: {step:?}");
                }
                Ok(())
            });
        }
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        Ok(rate(workers * EACH, begin.elapsed()))
    }

    /// Wrong passwords at this rate, each from an address of its own, whether they are answered or not.
    async fn flood_logins(&self, client: &Client, per_second: f64, lasting: Duration) -> Result<Flood> {
        let (denied, put_off) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let begin = Instant::now();
        let mut sent: usize = 0;
        let mut tasks = tokio::task::JoinSet::new();
        while begin.elapsed() < lasting {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "counts are small"
            )]
            let due = (begin.elapsed().as_secs_f64() * per_second) as usize;
            while sent < due {
                sent += 1;
                let (client, denied, put_off) = (client.clone(), Arc::clone(&denied), Arc::clone(&put_off));
                let login = self.directory.mailbox(1000 + sent % 2000);
                let context = rows::context("imap", 1_000_000 + sent);
                tasks.spawn(async move {
                    let (step, _) = client
                        .login(&context, "PLAIN", Some(rows::plain(&login, "wrong")))
                        .await;
                    match step {
                        LoginStep::Denied { .. } => denied.fetch_add(1, Ordering::Relaxed),
                        _ => put_off.fetch_add(1, Ordering::Relaxed),
                    };
                });
            }
            while tasks.try_join_next().is_some() {}
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // What is still under way belongs to the flood, but nobody waits for it.
        tasks.detach_all();
        Ok(Flood {
            denied: denied.load(Ordering::Relaxed),
            put_off: put_off.load(Ordering::Relaxed),
        })
    }
}

/// What came of the logins of a flood.
struct Flood {
    denied: usize,
    put_off: usize,
}

/// What came of the mail during a flood.
struct Mail {
    count: usize,
    times: Times,
}

/// Sends mail to known recipients until the stop, one message after the other; each has to be accepted.
fn mail_meanwhile(
    endpoints: &Endpoints,
    directory: &Directory,
    stop: &Arc<AtomicBool>,
) -> thread::JoinHandle<Result<Mail>> {
    let (endpoints, directory, stop) = (endpoints.clone(), *directory, Arc::clone(stop));
    thread::spawn(move || {
        let mut times = Vec::new();
        let mut smtp = endpoints.smtp("mx")?;
        while !stop.load(Ordering::Relaxed) {
            let number = times.len();
            let to = if number % 2 == 0 {
                directory.mailbox(number)
            } else {
                directory.alias(number)
            };
            let begin = Instant::now();
            smtp.send("out@a.test", &[&to], "Subject: flood\r\n\r\nhello\r\n")
                .with_context(|| format!("message {number}, to {to}"))?;
            times.push(begin.elapsed());
            if times.len() % 50 == 0 {
                smtp.quit()?;
                smtp = endpoints.smtp("mx")?;
            }
        }
        Ok(Mail {
            count: times.len(),
            times: Times::new(times),
        })
    })
}

/// Stops authd and MariaDB, empties the caches of the kernel where that is allowed, and starts them again.
fn restart_cold(site: &mut Site) -> Result<()> {
    site.kill("authd")?;
    site.database()?.server()?.process()?.terminate(wait::LONG)?;
    if fs::write("/proc/sys/vm/drop_caches", "3").is_err() {
        println!("(the kernel's caches could not be emptied: the files of MariaDB are warm)\n");
    }
    site.database()?.server()?.start()?;
    site.start("authd")
}

/// The rows of all tables of the replica.
fn replica_rows(status: &serde_json::Value) -> u64 {
    let tables = status
        .pointer("/replica/tables")
        .and_then(serde_json::Value::as_object);
    tables
        .into_iter()
        .flat_map(serde_json::Map::values)
        .filter_map(|table| table.get("rows").and_then(serde_json::Value::as_u64))
        .sum()
}

/// A SQLite file with what lies beside it.
fn size_of_database(file: &Path) -> Result<u64> {
    let mut bytes = fs::metadata(file)
        .with_context(|| file.display().to_string())?
        .len();
    for suffix in ["-wal", "-shm"] {
        let mut beside = file.as_os_str().to_owned();
        beside.push(suffix);
        bytes += fs::metadata(beside).map_or(0, |file| file.len());
    }
    Ok(bytes)
}
