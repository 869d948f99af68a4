//! Many questions at a time: tasks over one client of authd, as the daemons ask, and a thread for each client of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use auth_api::Trace;
use auth_api::client::Client;
use auth_api::directory::Verdict;
use auth_api::sasl::LoginStep;
use mail_types::{MailId, SessionId};
use tokio::runtime::Runtime;

use super::figures::Times;
use super::rows;

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Questions per second.
    pub rate: f64,
    /// The time of each.
    pub times: Times,
}

impl Measured {
    fn new(count: usize, begin: Instant, times: Vec<Duration>) -> Self {
        Self {
            rate: super::figures::rate(count, begin.elapsed()),
            times: Times::new(times),
        }
    }
}

/// The threads that ask authd.
pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

/// One question to authd, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Where a recipient delivers, with the ids that smtpd sends along.
    Resolve,
    /// A login by PLAIN with the right password.
    Login,
}

/// Asks authd about `addresses`, each once, so many at a time over one client.
pub fn ask_authd(
    runtime: &Runtime,
    client: &Client,
    question: Question,
    clients: usize,
    addresses: &Arc<Vec<String>>,
) -> Result<Measured> {
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let times = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..clients {
            let (client, addresses, next) = (client.clone(), Arc::clone(addresses), Arc::clone(&next));
            tasks.spawn(async move {
                let mut times = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(address) = addresses.get(number) else {
                        return anyhow::Ok(times);
                    };
                    let begin = Instant::now();
                    match question {
                        Question::Resolve => resolve(&client, number, address).await?,
                        Question::Login => log_in(&client, number, address).await?,
                    }
                    times.push(begin.elapsed());
                }
            });
        }
        let mut all = Vec::new();
        while let Some(times) = tasks.join_next().await {
            all.extend(times??);
        }
        anyhow::Ok(all)
    })?;
    Ok(Measured::new(addresses.len(), begin, times))
}

async fn resolve(client: &Client, number: usize, address: &str) -> Result<()> {
    let number = u32::try_from(number)?;
    let trace = Trace::message(
        SessionId::new(u64::from(number), 1),
        MailId::new(u64::from(number), 1),
    );
    let resolution = client.resolve(&rows::address(address)?, trace).await?;
    ensure!(
        matches!(&resolution.verdict, Verdict::Deliver(list) if list.len() == 1),
        "{address}: {resolution:?}"
    );
    Ok(())
}

async fn log_in(client: &Client, number: usize, address: &str) -> Result<()> {
    let initial = Some(rows::plain(address, rows::PASSWORD));
    let (step, _) = client
        .login(&rows::context("imap", number), "PLAIN", initial)
        .await;
    ensure!(matches!(step, LoginStep::Success(_)), "{address}: {step:?}");
    Ok(())
}

/// Lets threads ask about `addresses`, each once; `connect` makes what a thread asks with.
pub fn ask_peer<F: FnMut(&str) -> Result<bool> + Send + 'static>(
    clients: usize,
    addresses: &Arc<Vec<String>>,
    connect: impl Fn() -> Result<F>,
) -> Result<Measured> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut askers = Vec::new();
    for _ in 0..clients {
        askers.push(connect().context("a client of the other server")?);
    }
    let begin = Instant::now();
    let threads: Vec<_> = askers
        .into_iter()
        .map(|mut ask| {
            let (addresses, next) = (Arc::clone(addresses), Arc::clone(&next));
            thread::spawn(move || -> Result<Vec<Duration>> {
                let mut times = Vec::new();
                while let Some(address) = addresses.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begin = Instant::now();
                    ensure!(ask(address)?, "{address} is not known");
                    times.push(begin.elapsed());
                }
                Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(
            thread
                .join()
                .map_err(|_| anyhow!("a thread of the load panicked"))??,
        );
    }
    Ok(Measured::new(addresses.len(), begin, times))
}
