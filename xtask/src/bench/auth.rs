//! `cargo xtask bench auth`: resolved recipients and logins per second over authd's socket, and in the same run what
//! Courier's authdaemond (authmysql) and Postfix's proxymap (mysql) do on the same rows of the same MariaDB.

use std::sync::Arc;

use anyhow::{Context, Result};
use auth_api::client::Client;
use clap::Args;
use tests::Site;
use tests::peers::{Authdaemond, Proxymap, Rows};
use tokio::runtime::Runtime;

use super::Place;
use super::load::{self, Measured, Question};
use super::rows::{self, Directory};

/// How much.
#[derive(Args)]
pub struct Options {
    /// Questions for each figure.
    #[arg(long, default_value_t = 10_000)]
    questions: usize,
    /// How often everything is measured; the middle one of the figures counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Clients at a time, one row of the tables for each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 50])]
    clients: Vec<usize>,
    /// Ours alone, without root: for looking at one change after the other.
    #[arg(long)]
    alone: bool,
    /// Processes of authdaemond (its default is 5).
    #[arg(long, default_value_t = 5)]
    daemons: usize,
}

const DOMAINS: usize = 100;

/// The options of the server, which is the same for all three.
pub const SERVER: [&str; 3] = [
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=256M",
    "--innodb-flush-log-at-trx-commit=0",
];

/// Measures.
pub fn run(options: &Options, place: &Place) -> Result<()> {
    let directory = Directory {
        domains: DOMAINS,
        // Every address once for each number of clients, so that nothing is known from before.
        mailboxes: options.questions * options.clients.len() * options.rounds.max(1),
    };
    Site::builder()
        .with_binaries(place.binaries.clone())
        .below(&place.below)
        .server_options(&SERVER)
        .bare()
        .only(&["authd"])
        .run(|site| {
            directory.fill(site, rows::MD5_CRYPT)?;
            site.restart("authd")?;
            let here = site.directory().to_path_buf();
            let socket = here.join("run/authd/smtpd/sock");
            let (server, database) = site.database()?.on_server()?;
            let rows = Rows {
                socket: server.socket(),
                database,
            };
            let peers = match options.alone {
                true => None,
                false => Some(Peers {
                    courier: Authdaemond::start(&here.join("courier"), &rows, options.daemons)?,
                    postfix: Proxymap::start(&here.join("postfix"), &rows)?,
                }),
            };
            let bench = Bench {
                runtime: load::runtime()?,
                socket,
                peers,
                directory,
            };
            bench.tables(options)
        })
}

struct Bench {
    runtime: Runtime,
    socket: std::path::PathBuf,
    peers: Option<Peers>,
    directory: Directory,
}

/// The other servers.
struct Peers {
    courier: Authdaemond,
    postfix: Proxymap,
}

/// A figure: the middle one of the rounds.
fn middle(mut measured: Vec<Measured>) -> Result<Measured> {
    measured.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let index = measured.len() / 2;
    measured.into_iter().nth(index).context("no round")
}

impl Bench {
    fn tables(&self, options: &Options) -> Result<()> {
        let client = self.client();
        println!(
            "per second (median / 99 % of the latency); ours over one connection, as the daemons have it\n"
        );
        println!(
            "| recipients | clients | Postrider | again within 2 s | proxymap, 3 maps | proxymap, 1 map | ratio |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (row, clients) in options.clients.iter().copied().enumerate() {
            let mut figures: [Vec<Measured>; 4] = Default::default();
            for round in 0..options.rounds {
                let some = self.addresses(row * options.rounds + round, options.questions);
                let few: Vec<String> = some.iter().take(500).cycle().take(some.len()).cloned().collect();
                let few = Arc::new(few);
                figures[0].push(load::ask_authd(
                    &self.runtime,
                    &client,
                    Question::Resolve,
                    clients,
                    &some,
                )?);
                figures[1].push(load::ask_authd(
                    &self.runtime,
                    &client,
                    Question::Resolve,
                    clients,
                    &few,
                )?);
                let Some(peers) = &self.peers else { continue };
                figures[2].push(load::ask_peer(clients, &some, || {
                    let mut map = peers.postfix.connect()?;
                    Ok(move |address: &str| map.recipient(address))
                })?);
                figures[3].push(load::ask_peer(clients, &some, || {
                    let mut map = peers.postfix.connect()?;
                    Ok(move |address: &str| map.mailbox(address))
                })?);
            }
            print_row("distinct", clients, figures, 0, 2)?;
        }
        println!(
            "\n| logins, md5-crypt | clients | Postrider, first | Postrider, again | authdaemond | its PRE (no password) | ratio, first |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (row, clients) in options.clients.iter().copied().enumerate() {
            let mut figures: [Vec<Measured>; 4] = Default::default();
            for round in 0..options.rounds {
                let some = self.addresses(row * options.rounds + round, options.questions);
                figures[0].push(load::ask_authd(
                    &self.runtime,
                    &client,
                    Question::Login,
                    clients,
                    &some,
                )?);
                figures[1].push(load::ask_authd(
                    &self.runtime,
                    &client,
                    Question::Login,
                    clients,
                    &some,
                )?);
                let Some(peers) = &self.peers else { continue };
                figures[2].push(load::ask_peer(clients, &some, || {
                    let courier = peers.courier.connect();
                    Ok(move |address: &str| courier.login(address, rows::PASSWORD))
                })?);
                figures[3].push(load::ask_peer(clients, &some, || {
                    let courier = peers.courier.connect();
                    Ok(move |address: &str| courier.lookup(address))
                })?);
            }
            print_row("PLAIN", clients, figures, 0, 2)?;
        }
        Ok(())
    }

    fn client(&self) -> Client {
        let _inside = self.runtime.enter();
        Client::connect(&self.socket)
    }

    /// Addresses of mailboxes that no other part has.
    fn addresses(&self, part: usize, count: usize) -> Arc<Vec<String>> {
        let begin = part * count;
        Arc::new(
            (begin..begin + count)
                .map(|number| self.directory.mailbox(number))
                .collect(),
        )
    }
}

fn print_row(
    name: &str,
    clients: usize,
    figures: [Vec<Measured>; 4],
    ours: usize,
    theirs: usize,
) -> Result<()> {
    let mut cells = Vec::new();
    let mut rates = Vec::new();
    for measured in figures {
        if measured.is_empty() {
            cells.push("-".to_owned());
            rates.push(f64::NAN);
            continue;
        }
        let measured = middle(measured)?;
        cells.push(format!("{:.0} ({})", measured.rate, measured.times.shown()));
        rates.push(measured.rate);
    }
    println!(
        "| {name} | {clients} | {} | {:.1} |",
        cells.join(" | "),
        rates[ours] / rates[theirs]
    );
    Ok(())
}
