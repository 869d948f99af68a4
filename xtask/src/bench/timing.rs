//! `cargo xtask bench timing`: whether the time that a failed login takes in authd tells that there is no such user
//! (robustness.md A11). Known users with a wrong password and unknown ones, in random order, over authd's socket; Welch's t
//! of the two samples says how sure anybody could be.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use auth_api::client::Client;
use auth_api::sasl::LoginStep;
use clap::Args;
use mail_types::Secret;
use tests::Site;
use tokio::runtime::Runtime;

use super::Place;
use super::auth::SERVER;
use super::figures::{next_random, welch};
use super::load;
use super::rows::{self, Directory};

/// How much.
#[derive(Args)]
pub struct Options {
    /// Attempts of each kind where the passwords are md5-crypt.
    #[arg(long, default_value_t = 10_000)]
    attempts: usize,
    /// Attempts of each kind where they are what new passwords are by default.
    #[arg(long, default_value_t = 500)]
    slow_attempts: usize,
}

/// Beyond it the difference is no chance.
const LIMIT: f64 = 4.5;

/// Measures; fails where the times tell the kinds apart.
pub fn run(options: &Options, place: &Place) -> Result<()> {
    let directory = Directory {
        domains: 10,
        mailboxes: options.attempts.max(options.slow_attempts),
    };
    Site::builder()
        .with_binaries(place.binaries.clone())
        .below(&place.below)
        .server_options(&SERVER)
        .set("authd.replica.enabled", false)
        .bare()
        .only(&["authd"])
        .run(|site| {
            directory.fill(site, rows::MD5_CRYPT)?;
            site.restart("authd")?;
            let socket = site.directory().join("run/authd");
            let bench = Bench {
                runtime: load::runtime()?,
                directory,
            };
            println!("| passwords | attempts of each kind | mean, known | mean, unknown | t | t without the slowest 5 % |");
            println!("|---|---|---|---|---|---|");
            let mut told = bench.row("md5-crypt", &socket, options.attempts)?;
            bench.default_scheme(site, &socket, "")?;
            told |= bench.row("the default of new ones", &socket, options.slow_attempts)?;
            site.sql(&format!("UPDATE mailbox SET password = '{}'", rows::MD5_CRYPT))?;
            bench.default_scheme(site, &socket, "WHERE m.username LIKE '%0@%' OR m.username LIKE '%5@%'")?;
            told |= bench.row("a fifth the default, else md5-crypt", &socket, options.slow_attempts)?;
            if told {
                bail!("the time tells whether there is such a user: |t| has to stay below {LIMIT}");
            }
            Ok(())
        })
}

struct Bench {
    runtime: Runtime,
    directory: Directory,
}

impl Bench {
    /// Gives everybody of these the password of the first mailbox, stored as authd stores new ones. What authd learned of
    /// the rows before is forgotten.
    fn default_scheme(&self, site: &mut Site, socket: &Path, of: &str) -> Result<()> {
        let first = self.directory.mailbox(0);
        let admin = self.client(&socket.join("admin/sock"));
        let password = Secret::new(rows::PASSWORD);
        self.runtime
            .block_on(admin.set_password(&rows::address(&first)?, password))?;
        site.sql(&format!(
            "UPDATE mailbox AS m, (SELECT password FROM mailbox WHERE username = '{first}') AS f SET m.password = f.password {of}"
        ))?;
        site.restart("authd")
    }

    fn client(&self, socket: &Path) -> Client {
        let _inside = self.runtime.enter();
        Client::connect(socket)
    }

    /// One row of the table; whether the kinds can be told apart.
    fn row(&self, scheme: &str, socket: &Path, attempts: usize) -> Result<bool> {
        let client = self.client(&socket.join("imapd/sock"));
        let (known, unknown) = self.runtime.block_on(self.sample(&client, attempts))?;
        let raw = welch(&known, &unknown);
        let cut = {
            let mut all: Vec<f64> = known.iter().chain(&unknown).copied().collect();
            all.sort_by(f64::total_cmp);
            let limit = all[all.len() * 95 / 100];
            let kept = |sample: &[f64]| -> Vec<f64> {
                sample.iter().copied().filter(|time| *time < limit).collect()
            };
            welch(&kept(&known), &kept(&unknown))
        };
        println!(
            "| {scheme} | {attempts} | {:.1} us | {:.1} us | {raw:.2} | {cut:.2} |",
            mean(&known),
            mean(&unknown)
        );
        Ok(raw.abs() >= LIMIT || cut.abs() >= LIMIT)
    }

    /// The times in microseconds. Each attempt has a name and a client address of its own.
    async fn sample(&self, client: &Client, attempts: usize) -> Result<(Vec<f64>, Vec<f64>)> {
        let right = rows::plain(&self.directory.mailbox(0), rows::PASSWORD);
        let (step, _) = client
            .login(&rows::context("imap", 0), "PLAIN", Some(right))
            .await;
        ensure!(matches!(step, LoginStep::Success(_)), "{step:?}");
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        let mut random = 0x9e37_79b9_7f4a_7c15;
        let mut delays = Vec::new();
        while known.len() + unknown.len() < 2 * attempts {
            let take_known = match (known.len() < attempts, unknown.len() < attempts) {
                (true, true) => next_random(&mut random) & 1 == 0,
                (left, _) => left,
            };
            let sample = if take_known { &mut known } else { &mut unknown };
            let mailbox = self.directory.mailbox(sample.len());
            let login = if take_known {
                mailbox
            } else {
                mailbox.replacen('u', "x", 1)
            };
            let context = rows::context("imap", 1 + 2 * sample.len() + usize::from(take_known));
            let message = rows::plain(&login, "not the password");
            let begin = Instant::now();
            let (step, _) = client.login(&context, "PLAIN", Some(message)).await;
            sample.push(begin.elapsed().as_secs_f64() * 1e6);
            let LoginStep::Denied { delay, .. } = step else {
                bail!("{login}: {step:?}");
            };
            delays.push(delay);
        }
        let first: Duration = delays[0];
        ensure!(delays.iter().all(|delay| *delay == first), "the delays differ");
        Ok((known, unknown))
    }
}

#[expect(clippy::cast_precision_loss, reason = "samples are small")]
fn mean(sample: &[f64]) -> f64 {
    sample.iter().sum::<f64>() / sample.len() as f64
}
