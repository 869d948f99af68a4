//! All rows of a folder: each run plainly, cut and dropped, and the general oracle after each.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::check::{Before, Bystander};
use super::parse::Row;
use super::run::{Mode, Run};
use super::world::{self, World};
use crate::binaries;
use crate::client::Tls;
use crate::pki;
use crate::site::{Endpoints, Ports};

/// Inputs longer than this are cut at so many random places only.
const EVERY_BYTE_UP_TO: usize = 200;
const RANDOM_PLACES: usize = 64;
/// Inputs longer than this are neither cut nor dropped.
const NEVER_ABOVE: usize = 4096;
/// Rows that are run at a time, each on a site of its own.
const WORKERS: usize = 2;

/// Runs every `*.dialog` of `tests/dialogs/FOLDER` against daemons of its own; `DIALOG` in the environment chooses
/// rows by id.
///
/// # Errors
/// All rows that failed, with their transcripts; a folder without rows.
pub fn run_folder(folder: &str) -> Result<()> {
    let directory = binaries::workspace_root().join("tests/dialogs").join(folder);
    let chosen = std::env::var("DIALOG").unwrap_or_default();
    let mut rows = Vec::new();
    for file in files(&directory)? {
        let row = Row::read(&file, &[])?;
        if row.id.starts_with(&chosen) {
            rows.push(row);
        }
    }
    ensure!(
        !rows.is_empty() || !chosen.is_empty(),
        "there are no dialogues in {}",
        directory.display()
    );
    // Rows with the same settings stand together, so that one site serves them.
    rows.sort_by(|a, b| b.settings.cmp(&a.settings).then_with(|| b.file.cmp(&a.file)));
    let rows = Mutex::new(rows);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                if let Err(error) = work(&rows, &failures) {
                    failures
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(format!("{error:?}"));
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failures.is_empty() {
        Ok(())
    } else {
        bail!("{} rows failed\n\n{}", failures.len(), failures.join("\n\n"))
    }
}

/// Takes rows until there are none; a site is kept as long as the next row wants the same settings.
fn work(rows: &Mutex<Vec<Row>>, failures: &Mutex<Vec<String>>) -> Result<()> {
    let mut current: Option<(Vec<(String, String)>, World)> = None;
    loop {
        let Some(row) = rows.lock().unwrap_or_else(PoisonError::into_inner).pop() else {
            return Ok(());
        };
        let mut world = match current.take() {
            Some((settings, world)) if settings == row.settings => world,
            _ => World::start(&row.settings).with_context(|| format!("the site of {}", row.id))?,
        };
        let begin = Instant::now();
        match run_row(&mut world, &row) {
            Ok(runs) => {
                println!(
                    "{} ok, {runs} runs, {:.1} s: {}",
                    row.id,
                    begin.elapsed().as_secs_f64(),
                    row.title
                );
                current = Some((row.settings, world));
            }
            Err(error) => {
                // What the row left behind must not fail the next one: that gets a new site.
                println!("{} FAILED: {}", row.id, row.title);
                failures
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(format!("{}: {error:#}", row.id));
            }
        }
    }
}

/// Runs dialogues against a server that runs already, known by its `endpoints.json`; the accounts of the dialogues
/// are replaced by the first two of the server.
///
/// # Errors
/// The rows that failed.
pub fn run_against(endpoints: &Path, files: &[PathBuf]) -> Result<()> {
    let text = fs::read_to_string(endpoints).with_context(|| endpoints.display().to_string())?;
    let described: Value = serde_json::from_str(&text)?;
    let (endpoints, replace) = describe(&described)?;
    let mut failures = 0;
    for file in files {
        let row = Row::read(file, &replace)?;
        let mut world = World {
            endpoints: endpoints.clone(),
            own: None,
        };
        match run_row(&mut world, &row) {
            Ok(runs) => println!("{} ok, {runs} runs: {}", row.id, row.title),
            Err(error) => {
                println!("{} FAILED: {error:?}", row.id);
                failures += 1;
            }
        }
    }
    ensure!(failures == 0, "{failures} rows failed");
    Ok(())
}

fn describe(described: &Value) -> Result<(Endpoints, Vec<(String, String)>)> {
    let port = |name: &str| -> Result<u16> {
        let number = described["ports"][name]
            .as_u64()
            .with_context(|| format!("no port of {name}"))?;
        Ok(u16::try_from(number)?)
    };
    let text = |name: &str| {
        described[name]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no {name}"))
    };
    let ports = Ports {
        smtp: port("smtp")?,
        submission: port("submission")?,
        submissions: port("submissions")?,
        imap: port("imap")?,
        imaps: port("imaps")?,
        pop3: port("pop3")?,
        pop3s: port("pop3s")?,
    };
    let ca_file = PathBuf::from(text("ca_file")?);
    let host = text("host")?;
    let address = if host == "localhost" {
        "127.0.0.1".parse()?
    } else {
        host.parse()?
    };
    let endpoints = Endpoints {
        address,
        ports,
        tls: Tls {
            config: pki::client_config(&ca_file)?,
            name: host,
        },
        lmtp_socket: text("lmtp_socket")?.into(),
        mail_root: text("mail_root")?.into(),
        ca_file,
    };
    let mut replace = Vec::new();
    for (ours, theirs) in world::ACCOUNTS
        .iter()
        .zip(described["accounts"].as_array().into_iter().flatten())
    {
        let address = theirs["address"]
            .as_str()
            .context("an account without an address")?;
        replace.push(((*ours).to_owned(), address.to_owned()));
    }
    Ok((endpoints, replace))
}

/// Runs one row in all its ways; how many runs that were.
fn run_row(world: &mut World, row: &Row) -> Result<usize> {
    world.clean()?;
    let before = Before::note(world)?;
    // A row with settings of its own may shorten the time that a connection can be idle; and a row that starts a
    // daemon again cuts an open connection off by right. For those, only a late connection is a fair one.
    let early = if world.own.is_some() && row.settings.is_empty() && !restarts_something(row) {
        Some(Bystander::open(world, row)?)
    } else {
        None
    };
    let plain = Run::new(world, row, Mode::Plain).go()?;
    let found = u32::try_from(world.message_ids()?.len())?;
    ensure!(
        plain.accepted == found,
        "{} messages accepted, but {found} found",
        plain.accepted
    );
    for bystander in [early, Some(Bystander::open(world, row)?)].into_iter().flatten() {
        bystander.check_served()?;
    }
    let mut runs = 1;
    if plain.input > 0 && plain.input <= NEVER_ABOVE {
        let places = places(row, plain.input);
        for &at in places.iter().filter(|_| row.splits) {
            world.clean()?;
            let cut = Run::new(world, row, Mode::Cut(at)).go()?;
            let found = u32::try_from(world.message_ids()?.len())?;
            ensure!(
                cut.accepted == found,
                "cut at {at}: {} accepted, {found} found",
                cut.accepted
            );
            runs += 1;
        }
        for &at in places.iter().filter(|_| row.drops) {
            world.clean()?;
            Run::new(world, row, Mode::Dropped(at, at % 2 == 1)).go()?;
            let found_now = u32::try_from(world.message_ids()?.len())?;
            ensure!(
                found_now <= found,
                "dropped at {at}: {found_now} messages found, {found} without the drop"
            );
            runs += 1;
        }
    }
    world.clean()?;
    before.compare(world, row)?;
    Ok(runs)
}

fn restarts_something(row: &Row) -> bool {
    fn any(steps: &[super::step::Step]) -> bool {
        steps.iter().any(|step| match &step.kind {
            super::step::Kind::Daemon { .. } => true,
            super::step::Kind::Input(inner) | super::step::Kind::Repeat(_, inner) => any(inner),
            _ => false,
        })
    }
    any(&row.steps)
}

/// Where the input is cut: every byte, or some chosen by a generator seeded with the row's id.
fn places(row: &Row, length: usize) -> Vec<usize> {
    if length <= EVERY_BYTE_UP_TO {
        return (1..length).collect();
    }
    let mut state = row.id.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut places: Vec<usize> = (0..RANDOM_PLACES)
        .map(|_| {
            // xorshift64: enough to spread the cuts, and the same ones every time.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            1 + usize::try_from(state % (length as u64 - 1)).unwrap_or_default()
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "dialog") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
